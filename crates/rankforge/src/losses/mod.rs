//! Losses: pure functions from outputs and labels to a value and the gradient of the outputs.
//!
//! A loss sees neither the model nor the tokens nor the chunks, so gradient caching is one function
//! of the trainer that serves every loss.

mod activation;
mod binary_cross_entropy;
mod cached_multiple_negatives_ranking;
mod columns;
pub mod dual_encoder;
mod multiple_negatives_ranking;
mod named;
mod softmax;

pub use activation::Activation;
pub use binary_cross_entropy::BinaryCrossEntropyLoss;
pub use cached_multiple_negatives_ranking::CachedMultipleNegativesRankingLoss;
pub use multiple_negatives_ranking::MultipleNegativesRankingLoss;
pub use named::{CROSS_ENCODER_LOSSES, cross_encoder_loss};

use crate::Error;
use rankforge_encoder::{Input, Outputs};

/// A batch of training rows: the non-label columns in data set order, and the labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examples {
    /// Each column: one cell for each row.
    pub columns: Vec<Vec<Cell>>,
    /// One for each row.
    pub labels: Labels,
}

/// One cell of a text column.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A text.
    Text(String),
    /// Several texts (the documents of list-wise data).
    Texts(Vec<String>),
}

/// The labels of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Labels {
    /// The data have no label column.
    #[default]
    None,
    /// A number for each row.
    Scalars(Vec<f32>),
    /// A list of numbers for each row.
    Lists(Vec<Vec<f32>>),
}

/// What the model is to read for a batch, and what the loss must know of the arrangement.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<'a> {
    /// The sequences, in the order of the rows of the outputs.
    pub inputs: Vec<Input<'a>>,
    /// Rows of the batch, `B`.
    pub rows: usize,
    /// The labels of the batch.
    pub labels: Labels,
}

/// Names a random draw: equal numbers draw the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the run.
    pub seed: u64,
    /// Micro-batch of the run.
    pub step: u64,
}

/// Value and gradient of a loss.
#[derive(Clone, Debug, PartialEq)]
pub struct LossOutput {
    /// Mean loss of the batch.
    pub value: f64,
    /// Gradient of `value` with respect to the outputs, same shape.
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

    /// BibTeX of the paper, empty when there is none.
    fn citation(&self) -> &'static str;

    /// Pairs in a gradient-caching chunk, for the losses that have one.
    fn mini_batch_size(&self) -> Option<usize> {
        None
    }

    /// Compares the output columns of a model (labels, or embedding dimension) with what the loss reads.
    ///
    /// # Errors
    /// When the model has another number of columns than the loss can use.
    fn check_model(&self, output_columns: usize) -> Result<(), Error>;

    /// Arranges a batch into sequences.
    ///
    /// # Errors
    /// When the columns or labels do not fit the loss, naming what was expected and what came.
    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error>;

    /// Value and gradient; `outputs` has one row for each input of the plan.
    ///
    /// # Panics
    /// When the shape of `outputs` does not fit `rows` and `labels`, which [`Loss::check_model`] and
    /// [`Loss::plan`] rule out.
    fn compute(&self, outputs: &Outputs, rows: usize, labels: &Labels) -> LossOutput;
}
