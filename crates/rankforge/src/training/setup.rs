//! The immutable inputs of a run, which are checked before its first step.

use crate::arguments::{IntervalStrategy, TrainingArguments};
use crate::error::Error;
use crate::evaluation::{Evaluator, with_name};
use crate::model_card::ModelCardData;
use crate::training::batches::{Preparer, preparer};
use crate::training::definition::{RunDefinition, SetDefinition};
use crate::training::epoch::{EpochSampler, SetBatch};
use crate::training::plateau::Plateau;
use crate::training::position::Position;
use crate::training::record::Origin;
use crate::training::schedule::{RunLength, Schedule};
use crate::training::token_budget::max_tokens_per_chunk;
use crate::training::tracking::{Tracking, tracker_settings};
use crate::training::training_set::TrainingSet;
use rankforge_base::{FileError, Reporter, Stop, nearest};
use rankforge_encoder::{LoraConfig, ModelKind, TextModel};
use rankforge_kernels::Precision;
use rankforge_trackers::Settings;
use std::sync::Arc;

/// The kinds of sets in errors.
const TRAINING: &str = "training data";
const EVALUATION: &str = "evaluation data";

/// The fields of a trainer that a run reads.
pub(super) struct Parts<'a, M> {
    pub(super) arguments: &'a TrainingArguments,
    pub(super) train_sets: &'a [TrainingSet],
    pub(super) eval_sets: &'a [TrainingSet],
    pub(super) evaluators: &'a [Box<dyn Evaluator<M>>],
    pub(super) card: &'a ModelCardData,
    pub(super) origin: &'a Origin,
    pub(super) tracking: &'a Tracking,
    pub(super) stop: &'a Stop,
    pub(super) reporter: &'a Arc<dyn Reporter>,
}

// Written out, as `derive` would require `M: Clone` and `M: Copy`.
impl<M> Clone for Parts<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Parts<'_, M> {}

/// The inputs of a run besides the model.
pub(super) struct Setup<'a, M> {
    pub(super) parts: Parts<'a, M>,
    /// Batch preparers, one for each training set.
    pub(super) training: Vec<Preparer>,
    pub(super) sampler: EpochSampler,
    /// Batch preparer and batches of each evaluation set. All evaluations use the same batches, so
    /// that their losses are comparable.
    pub(super) evaluation: Vec<(Preparer, Vec<SetBatch>)>,
    pub(super) length: RunLength,
    /// Number of warm-up steps.
    pub(super) warmup: u64,
    pub(super) schedule: Schedule,
    /// The rule by which evaluations lower the learning rate, if one does.
    pub(super) plateau: Option<Plateau>,
    /// Maximum number of tokens in a chunk of gradient caching.
    pub(super) max_tokens_per_chunk: Option<usize>,
    /// Who gets the log beside the folder of the run.
    pub(super) trackers: Settings,
}

impl<'a, M: TextModel> Setup<'a, M> {
    /// Checks everything that can be checked before the first step.
    ///
    /// # Errors
    /// Arguments, rows or a model that cannot be used, or an output directory that cannot be
    /// created.
    pub(super) fn new(model: &M, parts: Parts<'a, M>) -> Result<Setup<'a, M>, Error> {
        let Parts { arguments, train_sets, eval_sets, .. } = parts;
        arguments.validate()?;
        check_evaluation(&parts)?;
        check_best_metric(model, &parts)?;
        warn_without_effect(model, &parts);
        let trackers = tracker_settings(arguments, parts.tracking, &**parts.reporter)?;
        let architecture = model.model().architecture();
        let (outputs, blocks) = (architecture.output_columns(), architecture.encoder.blocks.len());
        for set in train_sets.iter().chain(eval_sets) {
            set.loss.check()?;
            set.loss.check_model(model.kind(), outputs)?;
            set.loss.check_layers(blocks)?;
        }
        let (training, evaluation) = all_preparers(model, arguments, train_sets, eval_sets)?;
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
        let plateau = Plateau::new(arguments)?;
        let max_tokens_per_chunk = max_tokens_per_chunk(model, arguments, train_sets)?;
        if let (true, Some(tokens)) = (arguments.auto_find_batch_size, max_tokens_per_chunk) {
            parts.reporter.message(&format!("at most {tokens} tokens in a forward pass"));
        }
        // An error here is better than one at the first checkpoint, after hours of training.
        let output_dir = &arguments.output_dir;
        std::fs::create_dir_all(output_dir).map_err(FileError::io(output_dir))?;
        let evaluation = evaluation.into_iter().map(|preparer| {
            let size = arguments.per_device_eval_batch_size;
            let sampler = EpochSampler::new([preparer.dataset()], size, arguments)?;
            let batches = match sampler.epoch(0) {
                // The evaluation loss is never computed, so no batch is needed.
                Err(Error::NoFullBatch { .. }) if !evaluates(arguments) => Vec::new(),
                epoch => epoch?.batches,
            };
            Ok((preparer, batches))
        });
        let evaluation = evaluation.collect::<Result<_, Error>>()?;
        warn_without_evaluation(&parts, &length);
        Ok(Setup {
            parts,
            training,
            sampler,
            evaluation,
            length,
            warmup,
            schedule,
            plateau,
            max_tokens_per_chunk,
            trackers,
        })
    }

    /// Model, losses and data of the run.
    ///
    /// # Errors
    /// A row that cannot be read, or a tokenizer that cannot be written.
    pub(super) fn definition(&self, model: &M) -> Result<RunDefinition, Error> {
        let Parts { train_sets, eval_sets, .. } = self.parts;
        let define = |(set, preparer)| SetDefinition::new(set, preparer);
        let training = train_sets.iter().zip(&self.training).map(define);
        let evaluation = self.evaluation.iter().map(|(preparer, _)| preparer);
        Ok(RunDefinition {
            model: model.parts().digest()?,
            adapter: model.model().lora().map(LoraConfig::to_json),
            train_sets: training.collect::<Result<_, Error>>()?,
            eval_sets: eval_sets
                .iter()
                .zip(evaluation)
                .map(define)
                .collect::<Result<_, Error>>()?,
        })
    }

    /// The position before the first step.
    pub(super) fn start(&self) -> Position {
        let sets = self.parts.train_sets;
        Position {
            dataset_rows: sets.iter().map(|set| set.rows.len()).collect(),
            dataset_names: sets.iter().map(|set| set.name.clone()).collect(),
            ..Position::default()
        }
    }
}

/// Creates the batch preparers of all training sets and of all evaluation sets.
///
/// # Errors
/// No training set, two sets of one kind with the same name, columns that cannot be used, or
/// prompts for columns that do not exist.
pub(super) fn all_preparers(
    model: &impl TextModel,
    arguments: &TrainingArguments,
    train_sets: &[TrainingSet],
    eval_sets: &[TrainingSet],
) -> Result<(Vec<Preparer>, Vec<Preparer>), Error> {
    if train_sets.is_empty() {
        return Err(Error::rows(TRAINING, "at least one training set", "none"));
    }
    // Prompts by set name apply to training and evaluation.
    let mut names: Vec<&str> = Vec::new();
    for set in train_sets.iter().chain(eval_sets) {
        if !names.contains(&set.name.as_str()) {
            names.push(&set.name);
        }
    }
    let training = preparers(model, arguments, train_sets, &names, TRAINING)?;
    let evaluation = preparers(model, arguments, eval_sets, &names, EVALUATION)?;
    Ok((training, evaluation))
}

/// Creates the batch preparers of training or evaluation sets. `names` are the names of all sets;
/// `what` is the kind of the sets in errors.
///
/// # Errors
/// No training set, two sets with the same name, columns that cannot be used, or prompts for
/// columns that do not exist.
pub(super) fn preparers(
    model: &impl TextModel,
    arguments: &TrainingArguments,
    sets: &[TrainingSet],
    names: &[&str],
    what: &str,
) -> Result<Vec<Preparer>, Error> {
    for (index, TrainingSet { name, .. }) in sets.iter().enumerate() {
        if sets[..index].iter().any(|earlier| earlier.name == *name) {
            let expected = "a name of its own for each set";
            return Err(Error::rows(what, expected, format!("two sets named \"{name}\"")));
        }
    }
    let default = model.parts().prompt(None, None)?.map(|prompt| prompt.text().to_owned());
    let of_columns = |set: &TrainingSet, columns: &[String]| {
        let prompts = match (&set.prompts, &arguments.prompts) {
            // Prompts of a single set: all names are names of its columns.
            (Some(prompts), _) => prompts.of_columns(&set.name, &[], columns)?,
            (None, Some(prompts)) => prompts.of_columns(&set.name, names, columns)?,
            (None, None) => vec![default.clone(); columns.len()],
        };
        check_prompts(model.kind(), prompts)
    };
    let prepare = |set: &TrainingSet| {
        let prompts = |columns: &[String]| of_columns(set, columns);
        let outputs = model.model().architecture().output_columns();
        let preparer = preparer(set, what, model.tokenizer(), prompts, arguments.seed)?;
        Ok(preparer.for_outputs(outputs))
    };
    sets.iter().map(prepare).collect()
}

/// Checks that all columns of a cross-encoder have the same prompt, as it reads them in one
/// sequence with one prompt.
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

/// Whether the arguments request evaluation.
fn evaluates(arguments: &TrainingArguments) -> bool {
    arguments.eval_strategy != IntervalStrategy::No || arguments.eval_on_start
}

/// Checks that there is an evaluation set or an evaluator if the arguments request evaluation.
fn check_evaluation<M>(parts: &Parts<'_, M>) -> Result<(), Error> {
    let strategy = parts.arguments.eval_strategy;
    if evaluates(parts.arguments) && parts.eval_sets.is_empty() && parts.evaluators.is_empty() {
        let expected = "no, as there is neither an evaluation data set nor an evaluator";
        let got = serde_json::to_value(strategy).expect("a name");
        return Err(Error::argument("eval_strategy", expected, got.as_str().unwrap_or_default()));
    }
    Ok(())
}

/// Checks that evaluations have the metric that decides which checkpoint is best.
fn check_best_metric<M>(model: &M, parts: &Parts<'_, M>) -> Result<(), Error> {
    let arguments = parts.arguments;
    let Some(metric) = arguments.best_metric() else { return Ok(()) };
    if !evaluates(arguments) {
        return Ok(());
    }
    let known = evaluation_metrics(model, parts);
    if known.contains(&metric) {
        return Ok(());
    }
    let got = match (&arguments.metric_for_best_model, nearest(&metric, known.iter().map(|s| &**s)))
    {
        (None, _) => format!("{metric}, the default"),
        (Some(given), Some(name)) => {
            // The prefix is optional: the user keeps to one way of writing.
            let prefix = if given == &metric { "" } else { "eval_" };
            format!("{given}; did you mean {}?", name.strip_prefix(prefix).unwrap_or(name))
        }
        (Some(given), None) => given.clone(),
    };
    let expected = format!("one of the metrics of an evaluation ({})", known.join(", "));
    Err(Error::argument("metric_for_best_model", expected, got))
}

/// The keys of all metrics of an evaluation, as [`Run::evaluate`](crate::training) logs them.
fn evaluation_metrics<M>(model: &M, parts: &Parts<'_, M>) -> Vec<String> {
    let mut names = Vec::new();
    for set in parts.eval_sets {
        let components = set.loss.component_names();
        let keys = std::iter::once("loss").chain(components);
        names.extend(keys.map(|key| with_name(&set.name, key)));
    }
    names.extend(parts.evaluators.iter().flat_map(|evaluator| evaluator.metric_names(model)));
    if parts.evaluators.len() > 1 {
        names.push("sequential_score".to_owned());
    }
    names.push("runtime".to_owned());
    if !parts.eval_sets.is_empty() {
        names.extend(["samples_per_second", "steps_per_second"].map(str::to_owned));
    }
    names.iter().map(|name| format!("eval_{name}")).collect()
}

/// Warns about what has no effect as the model is never evaluated.
fn warn_without_evaluation<M>(parts: &Parts<'_, M>, length: &RunLength) {
    let arguments = parts.arguments;
    let (delay, end) = match arguments.eval_strategy {
        IntervalStrategy::No if arguments.eval_on_start => return,
        IntervalStrategy::No => {
            let mut idle = Vec::new();
            idle.extend((!parts.eval_sets.is_empty()).then_some("the evaluation data"));
            idle.extend((!parts.evaluators.is_empty()).then_some("the evaluators"));
            idle.extend(arguments.best_metric().map(|_| "metric_for_best_model"));
            if !idle.is_empty() {
                let idle = idle.join(" and ");
                let text = format!("{idle} will not be used, as eval_strategy is no");
                parts.reporter.warning(&text);
            }
            return;
        }
        IntervalStrategy::Steps => (arguments.eval_delay, length.max_steps),
        IntervalStrategy::Epoch => (arguments.eval_delay, length.epochs),
    };
    if delay > end as f64 {
        parts.reporter.warning(&format!(
            "eval_delay = {delay} is beyond the end of the run, {end}: the model will not be \
             evaluated"
        ));
    }
}

/// Warns when half precision has no effect, as the model has no linear layers.
fn warn_without_effect<M: TextModel>(model: &M, parts: &Parts<'_, M>) {
    let columns = model.model().architecture().output_columns();
    for text in parts.train_sets.iter().flat_map(|set| set.loss.warnings(columns)) {
        parts.reporter.warning(&text);
    }
    let precision = parts.arguments.precision();
    if precision != Precision::Float32 && !model.model().architecture().has_linear_layers() {
        let text = format!("{precision} = true has no effect: there is no linear layer");
        parts.reporter.warning(&text);
    }
}
