use crate::parallel::for_row_blocks;
use crate::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
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
    ///
    /// # Panics
    /// When `head_dim` is odd.
    pub fn new(device: &Device, positions: usize, head_dim: usize, theta: f64) -> Rotary {
        assert!(head_dim.is_multiple_of(2), "rotary head dimension {head_dim} is odd");
        let half = head_dim / 2;
        let mut values = vec![0.0; positions * head_dim];
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

/// Rotates queries and keys in place by the position within their sequence; values stay.
///
/// # Shapes
/// `qkv`: `T x 3H`, queries, keys, values, each head by head.
///
/// # Panics
/// When a sequence is longer than the table, or `H` is not `heads` times the table's dimension.
pub fn rotary(rotary: &Rotary, ragged: &Ragged, heads: usize, qkv: ViewMut<'_>) {
    rotate(rotary, ragged, heads, 1.0, qkv);
}

/// Rotates the gradients of queries and keys back, in place.
///
/// # Shapes
/// As [`rotary`].
///
/// # Panics
/// As [`rotary`].
pub fn rotary_backward(rotary: &Rotary, ragged: &Ragged, heads: usize, d_qkv: ViewMut<'_>) {
    rotate(rotary, ragged, heads, -1.0, d_qkv);
}

/// Rotates by the table's angles times `sign`.
fn rotate(rotary: &Rotary, ragged: &Ragged, heads: usize, sign: f32, qkv: ViewMut<'_>) {
    let (positions, head_dim) = (rotary.table.rows(), rotary.table.columns());
    let longest = ragged.longest();
    assert!(longest <= positions, "sequence of {longest} tokens, rotary table of {positions}");
    qkv.expect_shape("qkv", ragged.tokens(), 3 * heads * head_dim);
    let (device, rows, columns) = (qkv.device, qkv.rows, qkv.columns);
    let table = rotary.table.view().data;
    for_row_blocks(device, rows, columns, qkv, |first, qkv| {
        let rotate = Rotate { table, ragged, heads, head_dim, sign, first, qkv: qkv.data };
        dispatch(device.isa(), rotate);
    });
}

struct Rotate<'a> {
    table: &'a [f32],
    ragged: &'a Ragged,
    heads: usize,
    head_dim: usize,
    sign: f32,
    /// Token of the first row of `qkv`.
    first: usize,
    qkv: &'a mut [f32],
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let (head_dim, half) = (self.head_dim, self.head_dim / 2);
        let width = self.heads * head_dim;
        if width == 0 {
            return;
        }
        let starts = self.ragged.cu_seqlens();
        let mut sequence = starts.partition_point(|&start| start <= self.first) - 1;
        let sign = S::splat(self.sign);
        for (token, row) in (self.first..).zip(self.qkv.chunks_exact_mut(3 * width)) {
            while starts[sequence + 1] <= token {
                sequence += 1;
            }
            let position = token - starts[sequence];
            let angles = &self.table[position * head_dim..(position + 1) * head_dim];
            let (cosines, sines) = angles.split_at(half);
            for head in row[..2 * width].chunks_exact_mut(head_dim) {
                let (left, right) = head.split_at_mut(half);
                let angles = cosines.chunks(S::LANES).zip(sines.chunks(S::LANES));
                let numbers = left.chunks_mut(S::LANES).zip(right.chunks_mut(S::LANES));
                for ((cosine, sine), (left, right)) in angles.zip(numbers) {
                    let cosine = load_up_to::<S>(cosine);
                    let sine = S::mul(load_up_to::<S>(sine), sign);
                    let (a, b) = (load_up_to::<S>(left), load_up_to::<S>(right));
                    store_up_to::<S>(S::sub(S::mul(a, cosine), S::mul(b, sine)), left);
                    store_up_to::<S>(S::mul_add(b, cosine, S::mul(a, sine)), right);
                }
            }
        }
    }
}
