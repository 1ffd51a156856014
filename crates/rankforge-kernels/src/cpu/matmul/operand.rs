use crate::precision::Precision;
use std::ops::Range;

/// An operand seen as `rows x depth`; one of the strides is 1.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) depth_stride: usize,
}

impl<'a> Operand<'a> {
    #[track_caller]
    pub(super) fn check(&self, name: &str, rows: usize, depth: usize) {
        // What is read without bounds depends on this, so that the arithmetic must not wrap.
        let last = || {
            let row = (rows - 1).checked_mul(self.row_stride)?;
            row.checked_add((depth - 1).checked_mul(self.depth_stride)?)
        };
        let strides = self.row_stride == 1 || self.depth_stride == 1;
        assert!(
            rows == 0 || depth == 0 || strides && last().is_some_and(|last| last < self.data.len()),
            "{name} of {} elements cannot be {rows} x {depth}",
            self.data.len()
        );
    }

    /// A row's elements at `depths`, where they are contiguous.
    #[inline(always)]
    pub(super) fn row(&self, row: usize, depths: &Range<usize>) -> &'a [f32] {
        let start = row * self.row_stride;
        &self.data[start + depths.start..start + depths.end]
    }
}

/// `out = left rightᵀ`, or `out += left rightᵀ` when `accumulate`.
///
/// `left`: rows of `out` x depth; `right`: columns of `out` x depth.
pub(crate) struct Product<'a> {
    pub(crate) precision: Precision,
    pub(crate) depth: usize,
    pub(crate) left: Operand<'a>,
    pub(crate) right: Operand<'a>,
    pub(crate) accumulate: bool,
}
