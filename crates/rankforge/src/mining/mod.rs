//! Hard negative mining: for each query of a table of pairs, the nearest texts that are not its answers.

mod encoder;
mod options;
mod outcome;

pub use encoder::TextEncoder;
pub use options::{MiningOptions, OutputFormat, SamplingStrategy};
pub use outcome::{Mined, Skipped, Statistics, Summary};

use crate::Error;
use crate::evaluation::PairScorer;
use rankforge_data::Rows;
use rankforge_encoder::Reporter;

/// Adds hard negatives to a table of (anchor, positive) pairs; several rows of one anchor are several
/// positives of it.
///
/// Candidates are the texts of `corpus` (the positives, when there is none) and all positives.
/// `cross_encoder` scores them again where a margin or a score bound is set. The printed text of
/// sentence-transformers goes to `reporter` and comes back in [`Mined`].
///
/// # Errors
/// An empty table, fewer than two columns, cells that are not texts, options that cannot be met, or
/// what the encoders refuse.
pub fn mine_hard_negatives(
    _rows: &Rows,
    _encoder: &dyn TextEncoder,
    _options: &MiningOptions,
    _cross_encoder: Option<&dyn PairScorer>,
    _corpus: Option<&[String]>,
    _reporter: &dyn Reporter,
) -> Result<Mined, Error> {
    unimplemented!()
}
