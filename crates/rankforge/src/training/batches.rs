use crate::Error;
use crate::losses::{Draw, Labels, Loss};
use crate::training::Dataset;
use rankforge_encoder::{Input, Tokenizer, Tokens};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

/// Batches that wait ready-made: one, while another is computed.
const PREPARED_AHEAD: usize = 1;

/// A batch that needs nothing but the model and the loss.
#[derive(Clone, Debug)]
pub struct PreparedBatch {
    /// Row numbers in the data set.
    pub rows: Vec<usize>,
    /// The sequences of the loss's plan.
    pub tokens: Vec<Tokens>,
    /// Rows as the plan counts them.
    pub plan_rows: usize,
    /// Labels of the plan.
    pub labels: Labels,
    /// Which draw the plan was made with.
    pub draw: Draw,
    /// Leading tokens of each sequence that belong to the prompt.
    pub prompt_tokens: usize,
}

/// Turns rows into prepared batches.
pub struct Preparer<'a> {
    dataset: Dataset<'a>,
    loss: &'a dyn Loss,
    tokenizer: Tokenizer,
    prompt: Option<String>,
    prompt_tokens: usize,
    seed: u64,
}

impl<'a> Preparer<'a> {
    /// `prompt` goes before the first text of each input; `seed` is that of the loss's draws.
    ///
    /// # Errors
    /// When the tokenizer refuses the prompt.
    pub fn new(
        dataset: Dataset<'a>,
        loss: &'a dyn Loss,
        tokenizer: Tokenizer,
        prompt: Option<String>,
        seed: u64,
    ) -> Result<Preparer<'a>, Error> {
        let prompt_tokens = match &prompt {
            None => 0,
            Some(prompt) => tokenizer.prompt_length(prompt)?,
        };
        Ok(Preparer { dataset, loss, tokenizer, prompt, prompt_tokens, seed })
    }

    /// Arranges and tokenises the rows of one batch; `step` names the loss's draw.
    ///
    /// # Errors
    /// When the rows do not fit the loss, or the tokenizer refuses a text.
    pub fn prepare(&self, rows: &[usize], step: u64) -> Result<PreparedBatch, Error> {
        let draw = Draw { seed: self.seed, step };
        let examples = self.dataset.examples(rows);
        let plan = self.loss.plan(&examples, draw)?;
        let tokens = match &self.prompt {
            None => self.tokenizer.encode(&plan.inputs)?,
            Some(prompt) => {
                let first: Vec<String> = plan
                    .inputs
                    .iter()
                    .map(|input| format!("{prompt}{}", first_text(input)))
                    .collect();
                let inputs: Vec<Input<'_>> = plan
                    .inputs
                    .iter()
                    .zip(&first)
                    .map(|(input, first)| match input {
                        Input::Single(_) => Input::Single(first),
                        Input::Pair(_, second) => Input::Pair(first, second),
                    })
                    .collect();
                self.tokenizer.encode(&inputs)?
            }
        };
        Ok(PreparedBatch {
            rows: rows.to_vec(),
            tokens,
            plan_rows: plan.rows,
            labels: plan.labels,
            draw,
            prompt_tokens: self.prompt_tokens,
        })
    }

    /// Prepares batches in order on a thread of `scope`, one ahead of the receiver; the draws are
    /// numbered from `first_step`. Ends after the first error, or when the receiver is dropped.
    pub fn prepare_ahead<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        batches: &'scope [Vec<usize>],
        first_step: u64,
    ) -> Receiver<Result<PreparedBatch, Error>> {
        let (sender, receiver) = sync_channel(PREPARED_AHEAD);
        scope.spawn(move || {
            for (rows, step) in batches.iter().zip(first_step..) {
                let prepared = self.prepare(rows, step);
                let failed = prepared.is_err();
                if sender.send(prepared).is_err() || failed {
                    break;
                }
            }
        });
        receiver
    }
}

fn first_text<'a>(input: &Input<'a>) -> &'a str {
    match input {
        Input::Single(text) | Input::Pair(text, _) => text,
    }
}
