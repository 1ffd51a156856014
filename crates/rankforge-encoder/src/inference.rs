//! Applying a model to many inputs, which are tokenised in blocks, sorted by length and batched by
//! tokens.

use crate::batch::{Batch, BatchBudget};
use crate::error::EncoderError;
use crate::input::{Input, Prompt, Text};
use crate::mode::Mode;
use crate::outputs::Outputs;
use crate::parts::Parts;
use crate::workspace::Workspace;
use rankforge_base::{Reporter, Task};

/// Number of inputs that are tokenised and sorted at a time; it bounds the memory for their tokens.
const BLOCK: usize = 4096;

/// A model and the options of applying it to inputs.
pub(crate) struct Inference<'a> {
    pub(crate) parts: &'a Parts,
    /// Maximum number of inputs in a batch.
    pub(crate) batch_size: usize,
    /// Maximum number of tokens in a batch.
    pub(crate) max_tokens: usize,
    /// Prepended to the first text of each input.
    pub(crate) prompt: Option<Prompt>,
    /// Title of the task that is reported.
    pub(crate) task: &'a str,
    /// Plural noun for inputs in the report.
    pub(crate) unit: &'a str,
    pub(crate) reporter: &'a dyn Reporter,
}

impl Inference<'_> {
    /// The outputs of `inputs`, in their order.
    ///
    /// # Shapes
    /// `B` inputs give `B x output_columns`.
    ///
    /// # Errors
    /// A `batch_size` or `max_tokens` of 0, a text that the tokenizer fails on, or an output that
    /// is not finite.
    pub(crate) fn run(&self, inputs: &[Input<'_>]) -> Result<Outputs, EncoderError> {
        for (field, value) in [("batch_size", self.batch_size), ("max_tokens", self.max_tokens)] {
            if value == 0 {
                return Err(EncoderError::argument(field, "a positive number", 0));
            }
        }
        let budget = BatchBudget { max_sequences: self.batch_size, max_tokens: self.max_tokens };
        let Parts { model, tokenizer, .. } = self.parts;
        let columns = model.architecture().output_columns();
        let mut values = vec![0.0; inputs.len() * columns];
        let mut workspace = Workspace::new(model.device());
        let progress = Task::begin(self.reporter, self.task, inputs.len(), self.unit);
        let blocks = inputs.chunks(BLOCK).zip(values.chunks_mut(BLOCK * columns));
        for (block_index, (block, block_values)) in blocks.enumerate() {
            let prompted: Vec<Input<'_>> = block.iter().map(|input| self.prompted(input)).collect();
            let tokens = model.device().workers().run(|| tokenizer.encode(&prompted))?;
            let mut order: Vec<usize> = (0..tokens.len()).collect();
            order.sort_by_key(|&index| std::cmp::Reverse(tokens[index].ids.len()));
            for range in budget.split(order.iter().map(|&index| tokens[index].ids.len())) {
                let indices = &order[range];
                let sequences = indices.iter().map(|&index| &tokens[index]);
                let batch = Batch::new(model.device(), sequences, &model.architecture().encoder);
                let outputs = model.forward(&batch, Mode::Inference, false, &mut workspace);
                for (row, &index) in indices.iter().enumerate() {
                    self.check_finite(outputs.row(row), block_index * BLOCK + index)?;
                    block_values[index * columns..][..columns].copy_from_slice(outputs.row(row));
                }
                progress.advance(indices.len());
            }
        }
        Ok(Outputs { rows: inputs.len(), columns, values })
    }

    /// The input with the prompt before its first text.
    fn prompted<'i>(&'i self, input: &Input<'i>) -> Input<'i> {
        let first = Text { prompt: self.prompt.as_ref(), ..input.first };
        Input { first, ..*input }
    }

    /// Checks that the outputs of the input at index `input` are finite.
    fn check_finite(&self, outputs: &[f32], input: usize) -> Result<(), EncoderError> {
        match outputs.iter().find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(&value) => {
                let model = self.parts.base_model.clone();
                let precision = self.parts.model.precision();
                Err(EncoderError::NotFinite { model, input, value, precision })
            }
        }
    }
}
