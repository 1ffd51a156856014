use crate::buffer::Buffer;
use crate::device::{Device, Kind};
use crate::indices::Indices;
use crate::ragged::Ragged;
use crate::settings::rotary::RotationOf;
use crate::shape::elements;
use crate::view::ViewMut;
use crate::{cpu, reference};

/// Cosines and sines of the rotary position embedding (Su et al. 2021, arXiv:2104.09864) in the
/// rotate-half layout.
#[derive(Clone)]
pub struct Rotary {
    /// `positions x D`: the first half of each row cosines, the second sines.
    table: Buffer,
}

impl Rotary {
    /// Angles `position * theta^(-2i / D)` for `positions` positions.
    ///
    /// # Panics
    /// When `head_dim` is odd.
    pub fn new(device: &Device, positions: usize, head_dim: usize, theta: f64) -> Rotary {
        assert!(head_dim.is_multiple_of(2), "rotary head dimension {head_dim} is odd");
        let half = head_dim / 2;
        let mut values = vec![0.0; elements(positions, head_dim)];
        for (position, row) in values.chunks_exact_mut(head_dim.max(1)).enumerate() {
            for index in 0..half {
                let frequency = theta.powf(-2.0 * index as f64 / head_dim as f64);
                let (sine, cosine) = (position as f64 * frequency).sin_cos();
                row[index] = cosine as f32;
                row[half + index] = sine as f32;
            }
        }
        Rotary { table: Buffer::upload(device, positions, head_dim, &values) }
    }

    /// Number of positions in the table.
    pub fn positions(&self) -> usize {
        self.table.rows()
    }
}

/// Rotates the first `heads` heads of each row in place, by the position of its token within its
/// sequence; other columns keep their values. Rows are those of `tokens`, in ascending order, or of
/// all tokens.
///
/// # Shapes
/// `x`: `T x K`, or as many rows as `tokens`, with `K` at least `heads` times the table's
/// dimension.
///
/// # Panics
/// When a sequence is longer than the table, `tokens` are not ascending tokens of the batch, or the
/// shape differs.
pub fn rotary(
    rotary: &Rotary,
    ragged: &Ragged,
    tokens: Option<&Indices>,
    heads: usize,
    x: ViewMut<'_>,
) {
    rotate(rotary, ragged, tokens, heads, false, x);
}

/// Backward of [`rotary`]: rotates gradients back, in place.
///
/// # Shapes
/// As [`rotary`].
///
/// # Panics
/// As [`rotary`].
pub fn rotary_backward(
    rotary: &Rotary,
    ragged: &Ragged,
    tokens: Option<&Indices>,
    heads: usize,
    d_x: ViewMut<'_>,
) {
    rotate(rotary, ragged, tokens, heads, true, d_x);
}

/// Rotates by the table's angles, or back by them.
fn rotate(
    rotary: &Rotary,
    ragged: &Ragged,
    tokens: Option<&Indices>,
    heads: usize,
    back: bool,
    x: ViewMut<'_>,
) {
    let (positions, head_dim) = (rotary.table.rows(), rotary.table.columns());
    let longest = ragged.longest();
    assert!(longest <= positions, "sequence of {longest} tokens, rotary table of {positions}");
    let columns = x.columns();
    assert_eq!(
        x.rows(),
        tokens.map_or(ragged.tokens(), Indices::len),
        "rows of x, tokens to rotate"
    );
    let fit = heads.checked_mul(head_dim).is_some_and(|width| width <= columns);
    assert!(fit, "{heads} heads of {head_dim} in {columns} columns");
    if let Some(tokens) = tokens {
        let ascending = tokens.values().is_sorted();
        assert!(ascending, "tokens of the rows to rotate must ascend");
        if let Some(&last) = tokens.values().last() {
            let count = ragged.tokens();
            assert!((last as usize) < count, "rotation of token {last} of a batch of {count}");
        }
    }
    let (device, table) = (x.device(), rotary.table.view());
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (table, tokens) = (table.host(device), tokens.map(|values| values.host(device)));
            let rotation =
                RotationOf { table, sequences: ragged.host(device), tokens, heads, back };
            cpu::rotary::rotate(cpu, rotation, x.host(device));
        }
        Kind::Reference(_) => {
            let table = table.reference(device);
            let tokens = tokens.map(|tokens| tokens.reference(device));
            let rotation =
                RotationOf { table, sequences: ragged.reference(device), tokens, heads, back };
            reference::rotary::rotate(rotation, x.reference(device));
        }
    }
}
