use crate::error::Error;
use crate::losses::{Draw, Examples, Loss, Plan, Targets};
use crate::training::dataset::Dataset;
use crate::training::epoch::SetBatch;
use crate::training::training_set::TrainingSet;
use rankforge_encoder::{BatchBudget, Prompt, Tokenizer, Tokens};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

/// Number of batches that are prefetched.
const PREPARED_AHEAD: usize = 1;

/// Number of rows that are passed to the loss at a time when all rows are checked.
const CHECKED_TOGETHER: usize = 256;

/// A tokenized batch, ready for the model and the loss.
#[derive(Clone, Debug)]
pub struct PreparedBatch {
    /// Index of its training set.
    pub set: usize,
    /// Indices of the rows in the set.
    pub rows: Vec<usize>,
    /// Tokens of the sequences of the loss's plan.
    pub tokens: Vec<Tokens>,
    /// Number of rows of the plan.
    pub plan_rows: usize,
    /// Targets of the plan.
    pub targets: Targets,
    /// Seed and step of the random choices of the plan, and of dropout.
    pub draw: Draw,
}

/// The set and the rows of a prepared batch.
impl From<PreparedBatch> for SetBatch {
    fn from(batch: PreparedBatch) -> SetBatch {
        SetBatch { set: batch.set, rows: batch.rows }
    }
}

/// Turns rows of one training or evaluation set into prepared batches.
#[derive(Clone)]
pub struct Preparer {
    dataset: Dataset,
    loss: Arc<dyn Loss>,
    tokenizer: Tokenizer,
    /// One for each text column.
    prompts: Vec<Option<Prompt>>,
    seed: u64,
    /// Number of output columns of the model, if plans are checked for it.
    output_columns: Option<usize>,
}

impl Preparer {
    /// `prompts` has an entry for each text column of the set. `seed` determines the random choices
    /// of the loss and dropout.
    ///
    /// # Errors
    /// A prompt that the tokenizer cannot encode.
    pub fn new(
        dataset: Dataset,
        loss: Arc<dyn Loss>,
        tokenizer: Tokenizer,
        prompts: &[Option<String>],
        seed: u64,
    ) -> Result<Preparer, Error> {
        let prompt = |text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => tokenizer.prompt(text),
        };
        let prompts = prompts.iter().map(prompt).collect::<Result<_, _>>()?;
        Ok(Preparer { dataset, loss, tokenizer, prompts, seed, output_columns: None })
    }

    /// The same preparer, which checks its plans for a model with this number of output columns
    /// ([`Loss::check_plan`]).
    pub fn for_outputs(self, output_columns: usize) -> Preparer {
        Preparer { output_columns: Some(output_columns), ..self }
    }

    /// The loss of the set.
    pub fn loss(&self) -> &dyn Loss {
        &*self.loss
    }

    /// The rows of the set, with the roles of their columns.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The prompt of each text column.
    pub(super) fn prompts(&self) -> Vec<Option<String>> {
        let text = |prompt: &Prompt| prompt.text().to_owned();
        self.prompts.iter().map(|prompt| prompt.as_ref().map(text)).collect()
    }

    /// The limits of a chunk of gradient caching: the loss's mini-batch size or tokens, and
    /// `max_tokens`.
    pub fn budget(&self, max_tokens: Option<usize>) -> BatchBudget {
        let max_tokens = max_tokens.unwrap_or(usize::MAX);
        match self.loss.mini_batch_num_tokens() {
            Some(tokens) => {
                BatchBudget { max_sequences: usize::MAX, max_tokens: tokens.min(max_tokens) }
            }
            None => BatchBudget {
                max_sequences: self.loss.mini_batch_size().unwrap_or(usize::MAX),
                max_tokens,
            },
        }
    }

    /// Arranges the rows of one batch into sequences and tokenizes them. `step` determines the
    /// random choices of the loss.
    ///
    /// # Errors
    /// Rows that cannot be read or that the loss cannot use, or a text that the tokenizer cannot
    /// encode.
    pub fn prepare(&self, batch: &SetBatch, step: u64) -> Result<PreparedBatch, Error> {
        let draw = Draw { seed: self.seed, step };
        let examples = self.dataset.examples(&batch.rows, &self.prompts)?;
        let mut plan = self.plan(&examples, draw, &batch.rows)?;
        self.loss.prepare(&mut plan)?;
        let Plan { inputs, rows, targets } = plan;
        let tokens = self.tokenizer.encode(&inputs)?;
        let targets = match targets {
            Targets::SameTokens => Targets::Scalars(same_tokens(&tokens, rows)),
            targets => targets,
        };
        let SetBatch { set, rows: indices } = batch.clone();
        Ok(PreparedBatch { set, rows: indices, tokens, plan_rows: rows, targets, draw })
    }

    /// Passes every row to the loss once, so that an invalid row is found before training.
    ///
    /// # Errors
    /// The first row that the loss cannot use.
    pub fn check_rows(&self) -> Result<(), Error> {
        let draw = Draw { seed: 0, step: 0 };
        let all = self.dataset.len();
        (0..all).step_by(CHECKED_TOGETHER).try_for_each(|start| {
            let rows: Vec<usize> = (start..all.min(start + CHECKED_TOGETHER)).collect();
            let examples = self.dataset.examples(&rows, &self.prompts)?;
            self.plan(&examples, draw, &rows).map(drop)
        })
    }

    /// The plan of the loss for the rows with these indices.
    fn plan<'a>(
        &self,
        examples: &'a Examples,
        draw: Draw,
        rows: &[usize],
    ) -> Result<Plan<'a>, Error> {
        let plan = self.loss.plan(examples, draw).and_then(|plan| {
            if let Some(output_columns) = self.output_columns {
                self.loss.check_plan(&plan, output_columns)?;
            }
            Ok(plan)
        });
        plan.map_err(|error| self.dataset.locate(error, rows))
    }
}

/// For each row 1 if its two texts have the same tokens, and 0 otherwise.
fn same_tokens(tokens: &[Tokens], rows: usize) -> Vec<f32> {
    let (first, second) = tokens.split_at(rows);
    let pairs = first.iter().zip(second);
    pairs.map(|(first, second)| f32::from(u8::from(first.ids == second.ids))).collect()
}

/// Prefetches batches in order on a thread of `scope`, one ahead of the receiver. The steps of
/// their random choices count from `first_step`. The thread ends after the first error, or when the
/// receiver is dropped.
pub fn prepare_ahead<'scope>(
    preparers: &'scope [Preparer],
    scope: &'scope Scope<'scope, '_>,
    batches: &'scope [SetBatch],
    first_step: u64,
) -> Receiver<Result<PreparedBatch, Error>> {
    let (sender, receiver) = sync_channel(PREPARED_AHEAD);
    #[expect(clippy::disallowed_methods, reason = "the thread that prefetches batches")]
    scope.spawn(move || {
        for (batch, step) in batches.iter().zip(first_step..) {
            let prepared = preparers[batch.set].prepare(batch, step);
            let failed = prepared.is_err();
            if sender.send(prepared).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

/// Creates the preparer of a set. `prompts` returns the prompts of the text columns with the given
/// names.
///
/// # Errors
/// Columns that cannot be used, an error of `prompts`, or a prompt that the tokenizer cannot
/// encode.
pub(super) fn preparer(
    set: &TrainingSet,
    what: &str,
    tokenizer: &Tokenizer,
    prompts: impl FnOnce(&[String]) -> Result<Vec<Option<String>>, Error>,
    seed: u64,
) -> Result<Preparer, Error> {
    let dataset = Dataset::new(set.rows.clone(), set.columns.as_deref(), &set.role(what))?;
    let prompts = prompts(&dataset.text_names())?;
    Preparer::new(dataset, set.loss.clone(), tokenizer.clone(), &prompts, seed)
}
