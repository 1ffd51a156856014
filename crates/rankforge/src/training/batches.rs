use crate::error::Error;
use crate::losses::{Draw, Loss, Plan, Targets};
use crate::training::dataset::Dataset;
use crate::training::epoch::SetBatch;
use crate::training::training_set::TrainingSet;
use rankforge_encoder::{BatchBudget, Prompt, Tokenizer, Tokens};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

/// Batches that are prepared ahead of the one that is computed.
const PREPARED_AHEAD: usize = 1;

/// Rows that the loss is shown at a time when all are checked.
const CHECKED_TOGETHER: usize = 256;

/// A batch that needs nothing but the model and the loss.
#[derive(Clone, Debug)]
pub struct PreparedBatch {
    /// Index of its training set.
    pub set: usize,
    /// Row numbers in the set.
    pub rows: Vec<usize>,
    /// The sequences of the loss's plan.
    pub tokens: Vec<Tokens>,
    /// Rows of the plan.
    pub plan_rows: usize,
    /// Targets of the plan.
    pub targets: Targets,
    /// The draw that the plan was made with.
    pub draw: Draw,
}

/// Turns rows of one training set into prepared batches.
#[derive(Clone)]
pub struct Preparer {
    dataset: Dataset,
    loss: Arc<dyn Loss>,
    tokenizer: Tokenizer,
    /// One for each text column.
    prompts: Vec<Option<Prompt>>,
    seed: u64,
}

impl Preparer {
    /// `prompts` has a text for each text column of the set; `seed` is that of the loss's draws.
    ///
    /// # Errors
    /// When the tokenizer cannot read a prompt.
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
        Ok(Preparer { dataset, loss, tokenizer, prompts, seed })
    }

    /// The loss of the set.
    pub fn loss(&self) -> &dyn Loss {
        &*self.loss
    }

    /// The rows of the set, with the roles of their columns.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// What bounds a chunk of gradient caching: the loss's own size, and a token budget.
    pub fn budget(&self, max_tokens: Option<usize>) -> BatchBudget {
        BatchBudget {
            max_sequences: self.loss.mini_batch_size().unwrap_or(usize::MAX),
            max_tokens: max_tokens.unwrap_or(usize::MAX),
        }
    }

    /// Arranges and tokenises the rows of one batch; `step` determines the loss's draw.
    ///
    /// # Errors
    /// When the rows do not fit the loss, or the tokenizer cannot read a text.
    pub fn prepare(&self, batch: &SetBatch, step: u64) -> Result<PreparedBatch, Error> {
        let draw = Draw { seed: self.seed, step };
        let examples = self.dataset.examples(&batch.rows, &self.prompts)?;
        let plan = self.loss.plan(&examples, draw);
        let Plan { inputs, rows, targets } =
            plan.map_err(|error| self.dataset.locate(error, &batch.rows))?;
        let tokens = self.tokenizer.encode(&inputs)?;
        let SetBatch { set, rows: numbers } = batch.clone();
        Ok(PreparedBatch { set, rows: numbers, tokens, plan_rows: rows, targets, draw })
    }

    /// Shows every row to the loss once, so that a bad one is found now and not after hours.
    ///
    /// # Errors
    /// The first row that does not fit the loss, by its number in the set.
    pub fn check_rows(&self) -> Result<(), Error> {
        let draw = Draw { seed: 0, step: 0 };
        let numbers: Vec<usize> = (0..self.dataset.len()).collect();
        numbers.chunks(CHECKED_TOGETHER).try_for_each(|rows| {
            let examples = self.dataset.examples(rows, &self.prompts)?;
            let plan = self.loss.plan(&examples, draw).map(drop);
            plan.map_err(|error| self.dataset.locate(error, rows))
        })
    }
}

/// Prepares batches in order on a thread of `scope`, one ahead of the receiver; the draws are
/// numbered from `first_step`. Ends after the first error, or when the receiver is dropped.
pub fn prepare_ahead<'scope>(
    preparers: &'scope [Preparer],
    scope: &'scope Scope<'scope, '_>,
    batches: &'scope [SetBatch],
    first_step: u64,
) -> Receiver<Result<PreparedBatch, Error>> {
    let (sender, receiver) = sync_channel(PREPARED_AHEAD);
    #[expect(clippy::disallowed_methods, reason = "the thread that prepares batches ahead")]
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

/// The preparer of a set, given the prompts of its columns.
///
/// # Errors
/// Rows whose columns cannot be used, or prompts that the tokenizer cannot read.
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
