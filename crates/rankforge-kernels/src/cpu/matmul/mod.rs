//! Matrix products.
//!
//! The large ones, of linear layers: an operand is packed once per product (`pack`), into words of
//! the format that the precision and the instruction set ask for; a plan cuts the output into tiles
//! (`plan`, `tiles`), and every tile is finished while it is in cache. `gradients` makes both
//! gradients of a layer together. The small ones, of attention and of searches, are in `small`. All
//! of them end in the register-blocked core of `block`.
//!
//! Each element of a large product is one chain of multiply-adds in the order of the depth, cut
//! every depth block of words. The chain does not depend on tiles, threads or the other rows.

pub(crate) mod block;
mod gradients;
pub(crate) mod pack;
mod panels;
mod plan;
pub(crate) mod small;
mod tiles;

pub(crate) use gradients::{InputProduct, gradients};
pub(crate) use panels::PackedPanels;
pub(crate) use plan::Finish;

use crate::cpu::Cpu;
use crate::cpu::matmul::plan::{Panels, Plan};
use crate::cpu::parallel::SharedRows;
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
    fn check(&self, name: &str, rows: usize, depth: usize) {
        let last = (rows.max(1) - 1) * self.row_stride + (depth.max(1) - 1) * self.depth_stride;
        let lies = self.row_stride == 1 || self.depth_stride == 1;
        assert!(
            rows == 0 || depth == 0 || lies && last < self.data.len(),
            "{name} of {} elements cannot be {rows} x {depth}",
            self.data.len()
        );
    }

    /// A row's elements at `depths`, where they are contiguous.
    #[inline(always)]
    fn row(&self, row: usize, depths: &Range<usize>) -> &'a [f32] {
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

/// Computes the product into `out`, calling `finish(rows, columns)` on the thread that computed
/// them, once for each part of `out`, when its elements are final and still in the inner cache.
pub(crate) fn product(cpu: &Cpu, product: &Product<'_>, out: &SharedRows<'_>, finish: Finish<'_>) {
    let (rows, columns, depth) = (out.row_count, out.columns, product.depth);
    if rows == 0 || columns == 0 {
        return;
    }
    product.left.check("left", rows, depth);
    product.right.check("right", columns, depth);
    if depth == 0 {
        return without_depth(product.accumulate, out, finish);
    }
    // With few rows, packing the weight would cost more than the product: the rows are packed
    // instead and the weight is read in place. Each chain of multiply-adds is the same.
    let swap = rows <= Plan::panel(cpu) && product.right.depth_stride == 1;
    let plan = Plan::of(cpu, product, [rows, columns], swap);
    let panels = if swap { product.left } else { product.right };
    plan.run(cpu, Panels::ToPack(panels), out, finish);
}

/// [`product`] of `left`, rows of `out` x depth, and a right operand that was packed before: in the
/// same bits.
pub(crate) fn product_with_packed(
    cpu: &Cpu,
    left: Operand<'_>,
    right: &PackedPanels,
    out: &SharedRows<'_>,
    finish: Finish<'_>,
) {
    let (rows, columns, depth) = (out.row_count, out.columns, right.depth);
    if rows == 0 || columns == 0 {
        return;
    }
    left.check("left", rows, depth);
    assert_eq!(right.rows, columns, "rows of the packed operand, columns of the output");
    if depth == 0 {
        return without_depth(false, out, finish);
    }
    let plan = Plan::new(cpu, right.format, depth, columns, (left, rows));
    plan.run(cpu, Panels::Packed(&right.words), out, finish);
}

/// A product of nothing: zeros.
fn without_depth(accumulate: bool, out: &SharedRows<'_>, finish: Finish<'_>) {
    if !accumulate {
        // SAFETY: this is the only part of `out` that is alive.
        unsafe { out.rows(0..out.row_count) }.fill(0.0);
    }
    finish(0..out.row_count, 0..out.columns);
}
