use crate::cpu::machine::Cpu;
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::for_row_blocks;
use crate::cpu::sequences::Sequences;
use crate::cpu::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
use crate::settings::rotary::RotationOf;

/// A rotation with host memory.
type Rotation<'a> = RotationOf<Sequences<'a>, &'a [u32], Matrix<'a>>;

pub(crate) fn rotate(cpu: &Cpu, rotation: Rotation<'_>, x: MatrixMut<'_>) {
    let Rotation { table, sequences, tokens, heads, back } = rotation;
    let (rows, columns, head_dim) = (x.rows, x.columns, table.columns);
    let (table, sign) = (table.data, if back { -1.0 } else { 1.0 });
    for_row_blocks(cpu, rows, columns, x, |first, x| {
        let rotate =
            Rotate { table, sequences, tokens, heads, head_dim, sign, first, columns, x: x.data };
        dispatch(cpu.isa(), rotate);
    });
}

struct Rotate<'a> {
    table: &'a [f32],
    sequences: Sequences<'a>,
    /// The token of each row; `None` when rows are tokens.
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
        let token_of = |row: usize| self.tokens.map_or(row, |tokens| tokens[row] as usize);
        let first = token_of(self.first);
        let mut sequence = self.sequences.of_token(first);
        let mut tokens = self.sequences.range(sequence);
        let sign = S::splat(self.sign);
        for (index, row) in (self.first..).zip(self.x.chunks_exact_mut(self.columns)) {
            let token = token_of(index);
            while tokens.end <= token {
                sequence += 1;
                tokens = self.sequences.range(sequence);
            }
            let position = token - tokens.start;
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
