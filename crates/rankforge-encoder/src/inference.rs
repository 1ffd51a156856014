//! Many inputs through a model: tokenised in blocks, sorted by length, batched by tokens.

use crate::batch::plan;
use crate::{
    Batch, EncoderError, Input, Mode, Model, Outputs, Reporter, Tokenizer, Tokens, Workspace,
};
use rankforge_kernels::Precision;

/// Inputs that are tokenised together; what bounds the memory for tokens.
const BLOCK: usize = 4096;

/// How a run over many inputs works.
pub(crate) struct Inference<'a> {
    pub model: &'a Model,
    pub tokenizer: &'a Tokenizer,
    pub batch_size: usize,
    pub max_tokens: usize,
    /// Prepended to the first text of each input.
    pub prompt: Option<&'a str>,
    /// What the reporter calls the task.
    pub task: &'a str,
    /// What the reporter calls an input.
    pub unit: &'a str,
}

impl Inference<'_> {
    /// Outputs of `inputs`, in their order.
    ///
    /// # Errors
    /// Batch size or token budget 0, a text the tokenizer refuses, or outputs that are not finite.
    pub(crate) fn run(
        &self,
        inputs: &[Input<'_>],
        reporter: &dyn Reporter,
    ) -> Result<Outputs, EncoderError> {
        if self.batch_size == 0 || self.max_tokens == 0 {
            let (size, tokens) = (self.batch_size, self.max_tokens);
            return Err(EncoderError::Input(format!(
                "batch_size and max_tokens must be positive, got {size} and {tokens}"
            )));
        }
        let prompt = self.prompt.filter(|prompt| !prompt.is_empty());
        let prompt_tokens = match prompt {
            Some(prompt) => self.tokenizer.prompt_length(prompt)?,
            None => 0,
        };
        let columns = self.model.architecture().output_columns();
        let mut values = vec![0.0; inputs.len() * columns];
        let mut workspace = Workspace::new(self.model.device());
        let progress = Progress::begin(reporter, self.task, inputs.len(), self.unit);
        let blocks = inputs.chunks(BLOCK).zip(values.chunks_mut(BLOCK * columns));
        for (number, (block, rows)) in blocks.enumerate() {
            let tokens = self.tokenise(block, prompt)?;
            let mut order: Vec<usize> = (0..tokens.len()).collect();
            order.sort_by_key(|&index| std::cmp::Reverse(tokens[index].ids.len()));
            let lengths = order.iter().map(|&index| tokens[index].ids.len());
            for run in plan(lengths, self.batch_size, self.max_tokens) {
                let run = &order[run];
                let sequences = run.iter().map(|&index| &tokens[index]);
                let mut batch =
                    Batch::new(self.model.device(), sequences, &self.model.architecture().encoder);
                batch.prompt_tokens = prompt_tokens;
                let outputs = self.model.forward(&batch, Mode::Inference, false, &mut workspace);
                for (row, &index) in run.iter().enumerate() {
                    self.check_finite(outputs.row(row), number * BLOCK + index)?;
                    rows[index * columns..][..columns].copy_from_slice(outputs.row(row));
                }
                progress.advance(run.len());
            }
        }
        Ok(Outputs { rows: inputs.len(), columns, values })
    }

    /// Refuses outputs that no score or vector can be made of.
    fn check_finite(&self, outputs: &[f32], index: usize) -> Result<(), EncoderError> {
        let Some(value) = outputs.iter().find(|value| !value.is_finite()) else {
            return Ok(());
        };
        let why = match self.model.precision() {
            Precision::Float16 => {
                "; fp16 ends at 65,504, beyond which numbers overflow: use bf16 or fp32"
            }
            Precision::Float32 | Precision::BFloat16 => "",
        };
        Err(EncoderError::Input(format!(
            "expected finite outputs, but the model gives {value} for input {}{why}",
            index + 1
        )))
    }

    fn tokenise(
        &self,
        block: &[Input<'_>],
        prompt: Option<&str>,
    ) -> Result<Vec<Tokens>, EncoderError> {
        let encode =
            |inputs: &[Input<'_>]| self.model.device().run(|| self.tokenizer.encode(inputs));
        let Some(prompt) = prompt else {
            return encode(block);
        };
        let first = |input: &Input<'_>| match input {
            Input::Single(first) | Input::Pair(first, _) => format!("{prompt}{first}"),
        };
        let prefixed: Vec<String> = block.iter().map(first).collect();
        let inputs: Vec<Input<'_>> = block
            .iter()
            .zip(&prefixed)
            .map(|(input, first)| match input {
                Input::Single(_) => Input::Single(first),
                Input::Pair(_, second) => Input::Pair(first, second),
            })
            .collect();
        encode(&inputs)
    }
}

/// A task that ends when it is dropped, by an error too.
struct Progress<'a> {
    reporter: &'a dyn Reporter,
}

impl<'a> Progress<'a> {
    fn begin(reporter: &'a dyn Reporter, task: &str, total: usize, unit: &str) -> Progress<'a> {
        reporter.begin(task, Some(total as u64), unit);
        Progress { reporter }
    }

    fn advance(&self, amount: usize) {
        self.reporter.advance(amount as u64);
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.reporter.end();
    }
}
