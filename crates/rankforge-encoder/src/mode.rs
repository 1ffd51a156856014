//! Whether a pass draws masks of dropout, and where in the model it does.

use rankforge_kernels::ops::Dropout;

/// Whether dropout is on. Seed, step and chunk determine its masks, so that a second pass with the
/// same three has the same masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No dropout.
    Inference,
    /// Dropout; its masks are a function of these three, the layer, and the index of the element.
    Training {
        /// Seed of the run.
        seed: u64,
        /// Micro-batch of the run.
        step: u64,
        /// Chunk of the micro-batch, in gradient caching.
        chunk: u64,
    },
}

impl Mode {
    /// The dropout at `place` of the model; `None` when it is off.
    pub(crate) fn dropout(self, probability: f32, place: u64) -> Option<Dropout> {
        match self {
            Mode::Training { seed, step, chunk } if probability > 0.0 => {
                Some(Dropout::new(probability, seed, step, chunk, place))
            }
            Mode::Training { .. } | Mode::Inference => None,
        }
    }
}

/// Places of dropout: one for the embeddings, four for each block; those of the head begin at
/// `HEAD`, those of the inputs of adapters at `ADAPTER`.
pub(crate) const EMBEDDING: u64 = 0;
pub(crate) const HEAD: u64 = 1 << 32;
pub(crate) const ADAPTER: u64 = 1 << 33;

/// The dropouts of a block.
#[derive(Clone, Copy)]
pub(crate) enum Site {
    Probabilities = 1,
    AttentionOutput,
    MlpHidden,
    MlpOutput,
}

/// The place of a dropout of a block.
pub(crate) fn place(block: usize, site: Site) -> u64 {
    4 * block as u64 + site as u64
}
