use crate::parallel::for_row_blocks;
use crate::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
use crate::{Buffer, Device, Indices, Ragged, ViewMut};

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

/// Rotates the first `heads` heads of each row in place by the position of its token within its
/// sequence; other columns stay. Rows are those of `tokens`, in ascending order, or of all.
///
/// # Shapes
/// `x`: `T x K`, or as many rows as `tokens`, with `K` at least `heads` times the table's dimension.
///
/// # Panics
/// When a sequence is longer than the table, `tokens` does not ascend, or the shape differs.
pub fn rotary(
    rotary: &Rotary,
    ragged: &Ragged,
    tokens: Option<&Indices>,
    heads: usize,
    x: ViewMut<'_>,
) {
    rotate(rotary, ragged, tokens, heads, 1.0, x);
}

/// Rotates the gradients of what [`rotary`] rotated back, in place.
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
    rotate(rotary, ragged, tokens, heads, -1.0, d_x);
}

/// Rotates by the table's angles times `sign`.
fn rotate(
    rotary: &Rotary,
    ragged: &Ragged,
    tokens: Option<&Indices>,
    heads: usize,
    sign: f32,
    x: ViewMut<'_>,
) {
    let (positions, head_dim) = (rotary.table.rows(), rotary.table.columns());
    let longest = ragged.longest();
    assert!(longest <= positions, "sequence of {longest} tokens, rotary table of {positions}");
    let (device, rows, columns) = (x.device, x.rows, x.columns);
    assert_eq!(rows, tokens.map_or(ragged.tokens(), Indices::len), "rows to rotate");
    assert!(heads * head_dim <= columns, "{heads} heads of {head_dim} in {columns} columns");
    let tokens = tokens.map(Indices::values);
    if let Some(tokens) = tokens {
        assert!(tokens.is_sorted(), "tokens of rows to rotate in ascending order");
    }
    let table = rotary.table.view().data;
    for_row_blocks(device, rows, columns, x, |first, x| {
        let rotate =
            Rotate { table, ragged, tokens, heads, head_dim, sign, first, columns, x: x.data };
        dispatch(device.cpu_isa(), rotate);
    });
}

struct Rotate<'a> {
    table: &'a [f32],
    ragged: &'a Ragged,
    /// Tokens of all rows, where they are not all tokens.
    tokens: Option<&'a [u32]>,
    heads: usize,
    head_dim: usize,
    sign: f32,
    /// The first row of `x` among all rows.
    first: usize,
    columns: usize,
    x: &'a mut [f32],
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
        let token_of = |row: usize| self.tokens.map_or(row, |tokens| tokens[row] as usize);
        let first = token_of(self.first);
        let mut sequence = starts.partition_point(|&start| start <= first) - 1;
        let sign = S::splat(self.sign);
        for (index, row) in (self.first..).zip(self.x.chunks_exact_mut(self.columns)) {
            let token = token_of(index);
            while starts[sequence + 1] <= token {
                sequence += 1;
            }
            let position = token - starts[sequence];
            let angles = &self.table[position * head_dim..(position + 1) * head_dim];
            let (cosines, sines) = angles.split_at(half);
            for head in row[..width].chunks_exact_mut(head_dim) {
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
