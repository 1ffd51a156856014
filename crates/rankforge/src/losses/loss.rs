use crate::error::Error;
use crate::losses::examples::{Examples, Targets};
use rankforge_encoder::{Input, ModelKind, Outputs};
use rankforge_kernels::Device;
use std::sync::Arc;

/// The sequences that the model reads for a batch, and what the loss compares their outputs with.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<'a> {
    /// The sequences, in the order of the rows of the outputs.
    pub inputs: Vec<Input<'a>>,
    /// Rows of the batch, `B`.
    pub rows: usize,
    /// The targets.
    pub targets: Targets,
}

/// Determines a random draw: equal numbers draw the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the run.
    pub seed: u64,
    /// Micro-batch of the run.
    pub step: u64,
}

/// What a loss is computed of.
#[derive(Clone, Copy, Debug)]
pub struct LossBatch<'a> {
    /// One row for each input of the plan: scores, or embeddings.
    pub outputs: &'a Outputs,
    /// Rows of the batch, `B`, as in the plan.
    pub rows: usize,
    /// The targets of the plan.
    pub targets: &'a Targets,
    /// The device for matrix products.
    pub device: &'a Device,
}

/// Value and gradient of a loss.
#[derive(Clone, Debug, PartialEq)]
pub struct LossOutput {
    /// Mean loss of the batch.
    pub value: f64,
    /// Gradient of `value` with respect to the outputs, of the same shape.
    pub d_outputs: Outputs,
    /// Named parts that sum to `value`, logged one by one; empty when there is one.
    pub components: Vec<(String, f64)>,
}

/// A training objective.
pub trait Loss: Send + Sync {
    /// Name as in sentence-transformers.
    fn name(&self) -> &'static str;

    /// Settings, for the model card (`get_config_dict`).
    fn config(&self) -> serde_json::Value;

    /// BibTeX of the paper; empty when there is none.
    fn citation(&self) -> &'static str {
        ""
    }

    /// Most sequences in a gradient-caching chunk, for the losses that set one.
    fn mini_batch_size(&self) -> Option<usize> {
        None
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Checks that a model of this kind, with so many output columns (labels, or embedding
    /// dimensions), is one that the loss can train.
    ///
    /// # Errors
    /// A model of the other kind, or with another number of columns.
    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error>;

    /// Arranges a batch into sequences.
    ///
    /// # Errors
    /// When the columns or labels do not fit the loss.
    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error>;

    /// Value and gradient.
    ///
    /// # Panics
    /// When the shape of the outputs does not fit the plan, which [`Loss::check_model`] and
    /// [`Loss::plan`] rule out.
    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput;
}

/// A pointer to a loss is that loss: sets can share one, and tables can give any of them.
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
