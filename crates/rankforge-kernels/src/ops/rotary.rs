use crate::{Buffer, Device, Ragged, ViewMut};

/// Cosines and sines of the rotary position embedding (Su et al. 2021, arXiv:2104.09864) in the
/// rotate-half layout.
#[derive(Clone)]
pub struct Rotary {
    /// `positions x D`: the first half of each row cosines, the second sines.
    table: Buffer,
}

impl Rotary {
    /// Angles `position * theta^(-2i / D)` for `positions` positions.
    pub fn new(device: &Device, positions: usize, head_dim: usize, theta: f64) -> Rotary {
        unimplemented!()
    }

    /// Number of positions in the table.
    pub fn positions(&self) -> usize {
        self.table.rows()
    }
}

/// Rotates queries and keys in place by the position within their sequence; values stay.
///
/// # Shapes
/// `qkv`: `T x 3H`, queries, keys, values, each head by head.
///
/// # Panics
/// When a sequence is longer than the table.
pub fn rotary(rotary: &Rotary, ragged: &Ragged, heads: usize, qkv: ViewMut<'_>) {
    unimplemented!()
}

/// Rotates the gradients of queries and keys back, in place.
///
/// # Shapes
/// As [`rotary`].
pub fn rotary_backward(rotary: &Rotary, ragged: &Ragged, heads: usize, d_qkv: ViewMut<'_>) {
    unimplemented!()
}
