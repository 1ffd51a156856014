use crate::cpu::machine::Cpu;
use crate::cpu::matmul::operand::{Operand, Product};
use crate::cpu::matmul::pack::PackRows;
use crate::cpu::matmul::panels::{Groups, PanelRows, panel_rows};
use crate::cpu::matmul::plan::{OnFinished, PackedWords, Plan, WordSource};
use crate::cpu::matmul::tiles::Tiles;
use crate::cpu::parallel::{SharedRows, for_chunks, for_each};
use crate::cpu::simd::dispatch;
use std::ops::Range;

/// Most words packed at a time; only very large operands are packed in parts.
const PACKED_WORDS: usize = 1 << 23;

/// Computes the product into `out`, and calls `finish(rows, columns)` once for each part of `out`,
/// on the thread that computed it, when its elements are final and still in L1.
pub(crate) fn product(
    cpu: &Cpu,
    product: &Product<'_>,
    out: &SharedRows<'_>,
    finish: OnFinished<'_>,
) {
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
    let swap = rows <= panel_rows(cpu.isa()) && product.right.depth_stride == 1;
    let plan = Plan::of(cpu, product, [rows, columns], swap);
    let panels = if swap { product.left } else { product.right };
    run(&plan, cpu, Panels::ToPack(panels), out, finish);
}

/// [`product`] of `left`, rows of `out` x depth, and a right operand that was packed before, with
/// the same bits.
pub(crate) fn product_with_packed(
    cpu: &Cpu,
    left: Operand<'_>,
    right: &PanelRows<'_>,
    accumulate: bool,
    out: &SharedRows<'_>,
    finish: OnFinished<'_>,
) {
    let (rows, columns, depth) = (out.row_count, out.columns, right.depth);
    if rows == 0 || columns == 0 {
        return;
    }
    left.check("left", rows, depth);
    assert_eq!(right.rows, columns, "rows of the packed operand, columns of the output");
    if depth == 0 {
        return without_depth(accumulate, out, finish);
    }
    let plan = Plan::new(cpu, right.format, depth, columns, (left, rows));
    let plan = Plan { accumulate, ..plan };
    run(&plan, cpu, Panels::Packed(right.words), out, finish);
}

/// The product of operands without depth: zeros.
fn without_depth(accumulate: bool, out: &SharedRows<'_>, finish: OnFinished<'_>) {
    if !accumulate {
        // SAFETY: this is the only part of `out` that is alive.
        unsafe { out.rows(0..out.row_count) }.fill(0.0);
    }
    finish(0..out.row_count, 0..out.columns);
}

/// The operand in panels.
#[derive(Clone, Copy)]
pub(super) enum Panels<'a> {
    /// Packed by this product.
    ToPack(Operand<'a>),
    /// Packed before, over the whole depth.
    Packed(&'a [f32]),
}

/// Computes the product, chunk by chunk of the depth.
fn run(
    plan: &Plan<'_>,
    cpu: &Cpu,
    panels: Panels<'_>,
    out: &SharedRows<'_>,
    finish: OnFinished<'_>,
) {
    let words = plan.words();
    let packed_rows = match panels {
        Panels::ToPack(_) => plan.panel_rows(),
        Panels::Packed(_) => 0,
    };
    let broadcast_rows = if plan.source == WordSource::Rows { plan.broadcast.1 } else { 0 };
    let chunk = plan.chunk(PACKED_WORDS, packed_rows + broadcast_rows);
    let mut scratch = cpu.scratch(packed_rows * chunk + broadcast_rows * Plan::row_stride(chunk));
    for start in (0..words).step_by(chunk) {
        let (depths, words) = plan.depths(start, chunk);
        let (target, rows) = scratch.split_at_mut(packed_rows * words);
        let rows = &mut rows[..broadcast_rows * Plan::row_stride(words)];
        if let Panels::ToPack(operand) = panels {
            let (kind, source) = (plan.panel_kind(plan.panel), (operand, plan.panels));
            let groups = Groups::of(kind, source, &depths, &mut *target);
            for_each(cpu, plan.parallel, groups.count(), |group| groups.pack(group));
        }
        if plan.source == WordSource::Rows {
            pack_rows(plan, cpu, &depths, rows);
        }
        let packed = match panels {
            Panels::ToPack(_) => PackedWords::of(depths, words, target, rows),
            Panels::Packed(panels) => {
                let (panel_words, panel_start) = (plan.words(), start);
                PackedWords { depths, words, panels, panel_words, panel_start, broadcast: rows }
            }
        };
        let tiles = Tiles::of(plan, &packed, out, finish);
        for_each(cpu, plan.parallel, tiles.count(), |task| tiles.run(task));
    }
}

/// Packs the broadcast operand at `depths` row by row.
fn pack_rows(plan: &Plan<'_>, cpu: &Cpu, depths: &Range<usize>, packed: &mut [f32]) {
    const ROWS: usize = 16;
    let ((operand, count), format) = (&plan.broadcast, plan.format);
    let stride = Plan::row_stride(depths.len().div_ceil(format.per_word()));
    for_chunks(cpu, plan.parallel, packed, ROWS * stride, |task, packed| {
        let rows = task * ROWS..((task + 1) * ROWS).min(*count);
        dispatch(plan.isa, PackRows { operand, format, rows, depths, stride, packed });
    });
}
