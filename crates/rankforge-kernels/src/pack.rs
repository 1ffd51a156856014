//! Packing of an operand of the matrix product into panels.

use crate::product::Operand;
use crate::simd::{Kernel, Simd};
use std::ops::Range;

/// Writes `width` neighbouring rows of an operand, depth by depth, to `packed`; rows beyond
/// `used` become zeros.
pub(crate) struct PackPanel<'a> {
    pub(crate) operand: &'a Operand<'a>,
    /// First row of the panel.
    pub(crate) first: usize,
    /// Rows of the panel that exist.
    pub(crate) used: usize,
    pub(crate) width: usize,
    pub(crate) depths: &'a Range<usize>,
    /// `depths x width`.
    pub(crate) packed: &'a mut [f32],
}

impl Kernel for PackPanel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        if self.operand.row_stride == 1 && self.operand.depth_stride >= self.used {
            self.copy();
        } else if self.used == self.width && self.operand.depth_stride == 1 {
            self.transpose::<S>();
        } else {
            self.gather();
        }
    }
}

impl PackPanel<'_> {
    /// Neighbouring rows are neighbours in memory.
    #[inline(always)]
    fn copy(self) {
        let start = self.depths.start * self.operand.depth_stride + self.first;
        let source = &self.operand.data[start..];
        let rows = source.chunks(self.operand.depth_stride.max(1));
        // Fixed lengths turn into a few vector moves.
        match (self.used == self.width, self.width) {
            (true, 64) => copy_fixed::<64>(rows, self.packed),
            (true, 16) => copy_fixed::<16>(rows, self.packed),
            (true, 6) => copy_fixed::<6>(rows, self.packed),
            _ => {
                for (target, row) in self.packed.chunks_mut(self.width).zip(rows) {
                    target[..self.used].copy_from_slice(&row[..self.used]);
                    target[self.used..].fill(0.0);
                }
            }
        }
    }

    /// Rows are contiguous: blocks of `LANES x LANES` are turned in registers.
    #[inline(always)]
    fn transpose<S: Simd>(self) {
        let (width, operand, depths) = (self.width, self.operand, self.depths);
        let row = |index: usize| {
            let start = (self.first + index) * operand.row_stride;
            &operand.data[start + depths.start..start + depths.end]
        };
        let lanes = S::LANES;
        let whole = if width.is_multiple_of(lanes) { depths.len() / lanes * lanes } else { 0 };
        // Along the rows first: the processor follows `LANES` streams better than `width`.
        for group in (0..width).step_by(lanes) {
            for depth in (0..whole).step_by(lanes) {
                S::transpose(
                    #[inline(always)]
                    |lane| &row(group + lane)[depth..],
                    &mut self.packed[depth * width + group..],
                    width,
                );
            }
        }
        for index in 0..width {
            for (depth, &value) in row(index).iter().enumerate().skip(whole) {
                self.packed[depth * width + index] = value;
            }
        }
    }

    #[inline(always)]
    fn gather(self) {
        let (operand, depths) = (self.operand, self.depths);
        for (target, depth) in self.packed.chunks_mut(self.width).zip(depths.clone()) {
            target[self.used..].fill(0.0);
            for (index, target) in target[..self.used].iter_mut().enumerate() {
                let row = (self.first + index) * operand.row_stride;
                *target = operand.data[row + depth * operand.depth_stride];
            }
        }
    }
}

#[inline(always)]
fn copy_fixed<'a, const WIDTH: usize>(rows: impl Iterator<Item = &'a [f32]>, packed: &mut [f32]) {
    for (target, row) in packed.chunks_exact_mut(WIDTH).zip(rows) {
        target.copy_from_slice(&row[..WIDTH]);
    }
}
