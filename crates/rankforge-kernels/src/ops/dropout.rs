use crate::ViewMut;

/// Counter-based dropout: whether number `index` is kept is a pure function of `key` and `index`,
/// so a backward pass or a second forward pass draws the same mask without storing it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability that a number is zeroed, `0..1`; the others are scaled by `1 / (1 - p)`.
    pub probability: f32,
    /// Mixed from seed, step, batch part, layer and place by [`Dropout::new`].
    pub key: u64,
}

impl Dropout {
    /// Mixes the coordinates of one use of dropout into a key.
    ///
    /// `step` counts micro-batches of the run, `part` the gradient-caching chunk within one,
    /// `place` which dropout of the model (layer and site).
    pub fn new(probability: f32, seed: u64, step: u64, part: u64, place: u64) -> Dropout {
        unimplemented!()
    }
}

/// `x = mask * x / (1 - p)` in place; index is `row * columns + column`. Its own backward.
pub fn dropout(dropout: Dropout, x: ViewMut<'_>) {
    unimplemented!()
}
