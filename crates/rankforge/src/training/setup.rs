//! What a run needs and never changes, checked before its first step.

use crate::arguments::{IntervalStrategy, ResumeFrom, SaveStrategy, TrainingArguments};
use crate::error::Error;
use crate::evaluation::Evaluator;
use crate::model_card::ModelCardData;
use crate::training::batches::{Preparer, preparer};
use crate::training::epoch::{EpochSampler, SetBatch};
use crate::training::schedule::{RunLength, Schedule};
use crate::training::training_set::TrainingSet;
use rankforge_base::{FileError, Reporter, Stop};
use rankforge_encoder::{ModelKind, TextModel};
use rankforge_kernels::Precision;
use std::sync::Arc;

/// The parts of a trainer that a run reads.
pub(super) struct Parts<'a, M> {
    pub(super) arguments: &'a TrainingArguments,
    pub(super) train_sets: &'a [TrainingSet],
    pub(super) eval_sets: &'a [TrainingSet],
    pub(super) evaluators: &'a [Box<dyn Evaluator<M>>],
    pub(super) card: &'a ModelCardData,
    pub(super) stop: &'a Stop,
    pub(super) reporter: &'a Arc<dyn Reporter>,
}

// Derived, these would need a model that can be copied.
impl<M> Clone for Parts<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Parts<'_, M> {}

/// What a run needs.
pub(super) struct Setup<'a, M> {
    pub(super) parts: Parts<'a, M>,
    /// One for each training set.
    pub(super) training: Vec<Preparer>,
    pub(super) sampler: EpochSampler,
    /// One for each evaluation set, with the batches that every evaluation uses, so that the losses
    /// can be compared.
    pub(super) evaluation: Vec<(Preparer, Vec<SetBatch>)>,
    pub(super) length: RunLength,
    /// Warm-up steps.
    pub(super) warmup: u64,
    pub(super) schedule: Schedule,
}

impl<'a, M: TextModel> Setup<'a, M> {
    /// Checks everything that can be checked before the first step.
    ///
    /// # Errors
    /// Arguments, rows or a model that cannot be used, or an output directory that cannot be made.
    pub(super) fn new(model: &M, parts: Parts<'a, M>) -> Result<Setup<'a, M>, Error> {
        let Parts { arguments, train_sets, eval_sets, .. } = parts;
        arguments.validate()?;
        check_evaluation(&parts)?;
        check_adapters(model, arguments)?;
        warn_without_effect(model, &parts);
        let outputs = model.model().architecture().output_columns();
        for set in train_sets.iter().chain(eval_sets) {
            set.loss.check()?;
            set.loss.check_model(model.kind(), outputs)?;
        }
        let names = names(train_sets, eval_sets);
        let training = preparers(model, arguments, train_sets, &names, "training data")?;
        let evaluation = preparers(model, arguments, eval_sets, &names, "evaluation data")?;
        let sampler = EpochSampler::new(
            training.iter().map(Preparer::dataset),
            arguments.per_device_train_batch_size,
            arguments,
        )?;
        let length = RunLength::new(
            sampler.batches_per_epoch(),
            arguments.gradient_accumulation_steps,
            arguments.max_steps,
            arguments.num_train_epochs,
        );
        let warmup = arguments.warmup_steps.resolve(length.max_steps);
        let schedule = Schedule::new(
            arguments.lr_scheduler_type,
            &arguments.lr_scheduler_kwargs,
            warmup,
            length.max_steps,
            arguments.learning_rate,
        )?;
        // Where nothing can be written, hours of training would be lost.
        let output_dir = &arguments.output_dir;
        std::fs::create_dir_all(output_dir).map_err(FileError::io(output_dir))?;
        let evaluation = evaluation.into_iter().map(|preparer| {
            let size = arguments.per_device_eval_batch_size;
            let sampler = EpochSampler::new([preparer.dataset()], size, arguments)?;
            let batches = sampler.epoch(0)?.batches;
            Ok((preparer, batches))
        });
        let evaluation = evaluation.collect::<Result<_, Error>>()?;
        Ok(Setup { parts, training, sampler, evaluation, length, warmup, schedule })
    }

    /// Rows of each training set.
    pub(super) fn rows(&self) -> Vec<usize> {
        self.parts.train_sets.iter().map(|set| set.rows.len()).collect()
    }
}

/// The names of all sets, each once: prompts by name serve training and evaluation.
pub(super) fn names<'a>(
    train_sets: &'a [TrainingSet],
    eval_sets: &'a [TrainingSet],
) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for set in train_sets.iter().chain(eval_sets) {
        if !names.contains(&set.name.as_str()) {
            names.push(&set.name);
        }
    }
    names
}

/// Makes training or evaluation sets ready for the model that is to read them; `names` are those
/// of all sets.
///
/// # Errors
/// No set, two sets of one name, rows whose columns cannot be used, or prompts that name no column.
pub(super) fn preparers(
    model: &impl TextModel,
    arguments: &TrainingArguments,
    sets: &[TrainingSet],
    names: &[&str],
    what: &str,
) -> Result<Vec<Preparer>, Error> {
    if sets.is_empty() && what == "training data" {
        return Err(Error::rows(what, "at least one training set", "none"));
    }
    for (index, TrainingSet { name, .. }) in sets.iter().enumerate() {
        if sets[..index].iter().any(|earlier| earlier.name == *name) {
            let expected = "a name of its own for each set";
            return Err(Error::rows(what, expected, format!("two sets named {name:?}")));
        }
    }
    let default = model.parts().prompt(None, None)?.map(|prompt| prompt.text().to_owned());
    let of_columns = |set: &TrainingSet, columns: &[String]| {
        let prompts = match (&set.prompts, &arguments.prompts) {
            // Of a single set: names are those of its columns.
            (Some(prompts), _) => prompts.of_columns(&set.name, &[], columns)?,
            (None, Some(prompts)) => prompts.of_columns(&set.name, names, columns)?,
            (None, None) => vec![default.clone(); columns.len()],
        };
        check_prompts(model.kind(), prompts)
    };
    let prepare = |set: &TrainingSet| {
        let prompts = |columns: &[String]| of_columns(set, columns);
        preparer(set, what, model.tokenizer(), prompts, arguments.seed)
    };
    sets.iter().map(prepare).collect()
}

/// A cross-encoder reads its columns together, so that one prompt stands before all of them.
fn check_prompts(
    kind: ModelKind,
    prompts: Vec<Option<String>>,
) -> Result<Vec<Option<String>>, Error> {
    let differ = prompts.windows(2).any(|pair| pair[0] != pair[1]);
    if kind == ModelKind::CrossEncoder && differ {
        let expected = "one text, as prompts of a cross-encoder cannot be per column";
        return Err(Error::argument("prompts", expected, "a text for some columns"));
    }
    Ok(prompts)
}

/// Refuses evaluation during training when there is nothing to evaluate.
fn check_evaluation<M>(parts: &Parts<'_, M>) -> Result<(), Error> {
    let strategy = parts.arguments.eval_strategy;
    let evaluates = strategy != IntervalStrategy::No || parts.arguments.eval_on_start;
    if evaluates && parts.eval_sets.is_empty() && parts.evaluators.is_empty() {
        let expected = "no, as there is neither an evaluation data set nor an evaluator";
        let got = serde_json::to_value(strategy).expect("a name");
        return Err(Error::argument("eval_strategy", expected, got.as_str().unwrap_or_default()));
    }
    Ok(())
}

/// Refuses checkpoints of a model with adapters: its files have them merged into the weights, and a
/// run could not continue from those.
fn check_adapters(model: &impl TextModel, arguments: &TrainingArguments) -> Result<(), Error> {
    if !model.model().has_adapters() {
        return Ok(());
    }
    if arguments.save_strategy != SaveStrategy::No {
        let expected = "no, as runs with adapters cannot be resumed yet";
        return Err(Error::argument("save_strategy", expected, "another strategy"));
    }
    if !matches!(arguments.resume_from_checkpoint, None | Some(ResumeFrom::Newest(false))) {
        let expected = "none, as runs with adapters cannot be resumed yet";
        return Err(Error::argument("resume_from_checkpoint", expected, "a checkpoint"));
    }
    Ok(())
}

/// Warns of a precision that rounds nothing.
fn warn_without_effect<M: TextModel>(model: &M, parts: &Parts<'_, M>) {
    let precision = parts.arguments.precision();
    if precision != Precision::Float32 && !model.model().architecture().has_linear_layers() {
        let text = format!("{precision} = true has no effect: there is no linear layer");
        parts.reporter.warning(&text);
    }
}
