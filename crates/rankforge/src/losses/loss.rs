use crate::error::Error;
use crate::losses::examples::{Examples, Targets};
use rankforge_encoder::{Input, ModelKind, Outputs};
use rankforge_kernels::Device;
use std::sync::Arc;

/// The input sequences of a batch, and the targets that the loss compares their outputs with.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<'a> {
    /// The input sequences. Row `i` of the outputs belongs to sequence `i`.
    pub inputs: Vec<Input<'a>>,
    /// Number of rows of the batch, `B`.
    pub rows: usize,
    /// Targets of the outputs.
    pub targets: Targets,
}

/// The seed and step that determine a random choice. Equal values give equal choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the run.
    pub seed: u64,
    /// Index of the micro-batch in the run.
    pub step: u64,
}

/// The inputs of [`Loss::compute`].
#[derive(Clone, Copy, Debug)]
pub struct LossBatch<'a> {
    /// Outputs of the model, one row for each input of the plan: scores or embeddings.
    pub outputs: &'a Outputs,
    /// Number of rows of the batch, `B`, as in the plan.
    pub rows: usize,
    /// Targets of the plan.
    pub targets: &'a Targets,
    /// Device for matrix products.
    pub device: &'a Device,
}

/// Value and gradient of a loss.
#[derive(Clone, Debug, PartialEq)]
pub struct LossOutput {
    /// Mean loss of the batch.
    pub value: f64,
    /// Gradient of `value` with respect to the outputs, in their shape.
    pub d_outputs: Outputs,
    /// Named terms that add up to `value` and are logged separately; empty for a single term.
    pub components: Vec<(String, f64)>,
}

/// A training loss: arranges rows into sequences, and computes its value and gradient from outputs.
pub trait Loss: Send + Sync {
    /// Name, the one of sentence-transformers if it has this loss.
    fn name(&self) -> &'static str;

    /// Settings for the model card (`get_config_dict` in sentence-transformers).
    fn config(&self) -> serde_json::Value;

    /// BibTeX entry of the paper; empty when there is none.
    fn citation(&self) -> &'static str {
        ""
    }

    /// Maximum number of sequences in a chunk of gradient caching; `None` sets no limit.
    fn mini_batch_size(&self) -> Option<usize> {
        None
    }

    /// Names of the [components](LossOutput::components) of the loss.
    fn component_names(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// The first setting with an invalid value.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Checks that the loss can train a model of this kind with this number of output columns:
    /// labels of a cross-encoder, embedding dimensions of a dual encoder.
    ///
    /// # Errors
    /// A kind of model or a number of output columns that the loss cannot train.
    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error>;

    /// Arranges a batch into sequences.
    ///
    /// # Errors
    /// Columns or labels that the loss cannot use.
    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error>;

    /// Computes the loss and its gradient with respect to the outputs.
    ///
    /// # Panics
    /// When the shape of the outputs does not match the plan. It matches if [`Loss::check_model`]
    /// and [`Loss::plan`] succeeded.
    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput;
}

/// Implements [`Loss`] for a pointer to a loss. Data sets share a loss through `Arc`, and the table
/// of losses returns any of them in a `Box`.
macro_rules! through_pointer {
    ($pointer:ident) => {
        impl<L: Loss + ?Sized> Loss for $pointer<L> {
            fn name(&self) -> &'static str {
                (**self).name()
            }

            fn config(&self) -> serde_json::Value {
                (**self).config()
            }

            fn citation(&self) -> &'static str {
                (**self).citation()
            }

            fn mini_batch_size(&self) -> Option<usize> {
                (**self).mini_batch_size()
            }

            fn component_names(&self) -> Vec<&'static str> {
                (**self).component_names()
            }

            fn check(&self) -> Result<(), Error> {
                (**self).check()
            }

            fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
                (**self).check_model(kind, output_columns)
            }

            fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error> {
                (**self).plan(examples, draw)
            }

            fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
                (**self).compute(batch)
            }
        }
    };
}

through_pointer!(Box);
through_pointer!(Arc);
