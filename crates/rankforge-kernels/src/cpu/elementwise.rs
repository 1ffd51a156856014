use crate::cpu::block_sums::{BLOCK_ROWS, BlockSums, add_to};
use crate::cpu::machine::Cpu;
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::{INLINE_ELEMENTS, for_blocks, for_row_blocks};
use crate::cpu::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
use crate::settings::zeros::Zeros;

pub(crate) fn add(cpu: &Cpu, x: Matrix<'_>, out: MatrixMut<'_>) {
    for_row_blocks(cpu, x.data.len(), 1, (x.flat(), out.flat()), |_, (x, out)| {
        dispatch(cpu.isa(), Add { x: x.data, out: out.data });
    });
}

pub(crate) fn scale(cpu: &Cpu, factor: f32, out: MatrixMut<'_>) {
    for_row_blocks(cpu, out.data.len(), 1, out.flat(), |_, out| {
        dispatch(cpu.isa(), Scale { factor, out: out.data });
    });
}

pub(crate) fn column_sums(cpu: &Cpu, x: Matrix<'_>, out: MatrixMut<'_>) {
    let (rows, columns) = (x.rows, x.columns);
    if columns == 0 {
        return;
    }
    let mut scratch = cpu.scratch(rows.div_ceil(BLOCK_ROWS) * columns);
    let sums = BlockSums::new(rows, columns, &mut scratch);
    let parallel = rows * columns >= INLINE_ELEMENTS;
    for_blocks(cpu, parallel, rows, BLOCK_ROWS, (x, sums), |_, (x, sums)| {
        dispatch(cpu.isa(), ColumnSums { x: x.data, sums: sums.into_sums() });
    });
    for sums in scratch.chunks_exact(columns) {
        add_to(sums, out.data);
    }
}

pub(crate) fn zeros(cpu: &Cpu, x: Matrix<'_>) -> Zeros {
    dispatch(cpu.isa(), FindZeros(x.data))
}

struct Add<'a> {
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for (x, out) in self.x.chunks(S::LANES).zip(self.out.chunks_mut(S::LANES)) {
            store_up_to::<S>(S::add(load_up_to::<S>(out), load_up_to::<S>(x)), out);
        }
    }
}

struct Scale<'a> {
    factor: f32,
    out: &'a mut [f32],
}

impl Kernel for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let factor = S::splat(self.factor);
        for out in self.out.chunks_mut(S::LANES) {
            store_up_to::<S>(S::mul(load_up_to::<S>(out), factor), out);
        }
    }
}

struct ColumnSums<'a> {
    x: &'a [f32],
    /// Overwritten.
    sums: &'a mut [f32],
}

impl Kernel for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        self.sums.fill(0.0);
        for row in self.x.chunks_exact(self.sums.len()) {
            for (x, sum) in row.chunks(S::LANES).zip(self.sums.chunks_mut(S::LANES)) {
                store_up_to::<S>(S::add(load_up_to::<S>(sum), load_up_to::<S>(x)), sum);
            }
        }
    }
}

struct FindZeros<'a>(&'a [f32]);

/// Elements between two checks for the end of the search.
const STRETCH: usize = 1024;

impl Kernel for FindZeros<'_> {
    type Output = Zeros;

    #[inline(always)]
    fn run<S: Simd>(self) -> Zeros {
        let mut found = Zeros { all: true, all_negative: true };
        for stretch in self.0.chunks(STRETCH) {
            // Bits that any element has, and bits that every element has.
            let (mut any, mut every) = (0, u32::MAX);
            for element in stretch {
                any |= element.to_bits();
                every &= element.to_bits();
            }
            found.all &= any << 1 == 0;
            found.all_negative &= any == SIGN && every == SIGN;
            if !found.all {
                break;
            }
        }
        found
    }
}

/// The bits of -0.0.
const SIGN: u32 = 1 << 31;
