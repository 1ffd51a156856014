//! The matrix product: packing, tiling and threads around the `gemm` crate's microkernels.
//!
//! The crate's own driver packs an operand again for every block of rows and allocates for it;
//! here the weight is packed once per use, and every tile is finished while it is in cache.
//!
//! Each number of the result is one chain of multiply-adds in the order of the depth, cut every
//! `depth block` numbers. The chain does not depend on tiles, threads or the other rows.

use crate::pack::PackPanel;
use crate::parallel::{SharedRows, for_chunks, for_each};
use crate::simd::dispatch;
use crate::{Device, Isa, Precision};
use gemm_common::microkernel::MicroKernelFn;
use std::ops::Range;

/// An operand seen as `rows x depth`, with any strides.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) depth_stride: usize,
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

/// Products with fewer multiply-adds run on the calling thread.
const INLINE_WORK: usize = 1 << 22;

/// Longest chain of multiply-adds kept in registers: a micro-panel of the other operand
/// (8 x 512 numbers) takes half of a 32 KiB L1 cache.
const DEPTH_BLOCK: usize = 512;

/// Most numbers packed before they are used; only very large operands are packed in turns.
const PACKED_NUMBERS: usize = 1 << 23;

/// Rows of a tile: enough to use each packed panel often, few enough to balance threads.
/// A multiple of every microkernel's count of columns.
const TILE_ROWS: usize = 96;

/// Columns of a tile: with a depth block, the packed panels stay in a 1 MiB L2 cache.
const TILE_COLUMNS: usize = 320;

/// Computes the product into `out`, calling `finish(rows, columns)` on the thread that computed a
/// tile, once for each, when all of its numbers are final.
pub(crate) fn product(
    device: &Device,
    product: &Product<'_>,
    out: &SharedRows<'_>,
    finish: impl Fn(Range<usize>, Range<usize>) + Sync,
) {
    assert_eq!(product.precision, Precision::Float32, "products of rounded operands");
    let (rows, columns, depth) = (out.row_count, out.columns, product.depth);
    if rows == 0 || columns == 0 {
        return;
    }
    product.left.check("left", rows, depth);
    product.right.check("right", columns, depth);
    if depth == 0 {
        for row in 0..rows {
            // SAFETY: one segment at a time.
            let segment = unsafe { out.part(row, 0..columns) };
            if !product.accumulate {
                segment.fill(0.0);
            }
        }
        return finish(0..rows, 0..columns);
    }
    let kernels = MicroKernels::of(device.isa());
    // With few rows, packing the weight would cost more than the product: the rows are packed
    // instead and the weight is read in place. Each chain of multiply-adds is the same.
    let swap = rows <= kernels.panel && product.right.depth_stride == 1;
    let (panels, broadcast) =
        if swap { (product.left, product.right) } else { (product.right, product.left) };
    let (panel_count, broadcast_count) = if swap { (rows, columns) } else { (columns, rows) };
    let plan = Plan {
        kernels,
        panels: (panels, panel_count),
        broadcast: (broadcast, broadcast_count),
        depth,
        depth_block: depth.div_ceil(depth.div_ceil(DEPTH_BLOCK)),
        pack_broadcast: broadcast.depth_stride != 1,
        panel_stride: if swap { columns } else { 1 },
        broadcast_stride: if swap { 1 } else { columns },
        accumulate: product.accumulate,
        parallel: device.threads() > 1 && rows * columns * depth >= INLINE_WORK,
    };
    let finish = |panels: Range<usize>, broadcast: Range<usize>| {
        if swap { finish(panels, broadcast) } else { finish(broadcast, panels) }
    };
    if plan.parallel {
        device.run(|| plan.run(device, out, finish));
    } else {
        plan.run(device, out, finish);
    }
}

impl Operand<'_> {
    fn check(&self, name: &str, rows: usize, depth: usize) {
        let last = (rows.max(1) - 1) * self.row_stride + (depth.max(1) - 1) * self.depth_stride;
        assert!(
            depth == 0 || last < self.data.len(),
            "{name} of {} numbers cannot be {rows} x {depth}",
            self.data.len()
        );
    }
}

/// The microkernels of one instruction set.
#[derive(Clone, Copy)]
struct MicroKernels {
    /// Numbers in a vector.
    lanes: usize,
    /// Numbers along the packed operand, a multiple of `lanes`.
    panel: usize,
    /// Numbers along the broadcast operand.
    columns: usize,
    /// For 1 to `panel / lanes` vectors, for 1 to `columns` columns.
    table: &'static [MicroKernelFn<f32>],
}

impl MicroKernels {
    fn of(isa: Isa) -> MicroKernels {
        match isa {
            Isa::Scalar => {
                use gemm_f32::microkernel::scalar::f32::{MR_DIV_N, NR, UKR};
                static TABLE: [[MicroKernelFn<f32>; NR]; MR_DIV_N] = UKR;
                MicroKernels { lanes: 1, panel: MR_DIV_N, columns: NR, table: TABLE.as_flattened() }
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                use gemm_f32::microkernel::fma::f32::{MR_DIV_N, NR, UKR};
                static TABLE: [[MicroKernelFn<f32>; NR]; MR_DIV_N] = UKR;
                let panel = 8 * MR_DIV_N;
                MicroKernels { lanes: 8, panel, columns: NR, table: TABLE.as_flattened() }
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                use gemm_f32::microkernel::avx512f::f32::{MR_DIV_N, NR, UKR};
                static TABLE: [[MicroKernelFn<f32>; NR]; MR_DIV_N] = UKR;
                let panel = 16 * MR_DIV_N;
                MicroKernels { lanes: 16, panel, columns: NR, table: TABLE.as_flattened() }
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("{isa} is not available on this machine"),
        }
    }
}

/// One product, with the operand whose numbers fill vectors (`panels`) told from the one whose
/// numbers are broadcast.
struct Plan<'a> {
    kernels: MicroKernels,
    panels: (Operand<'a>, usize),
    broadcast: (Operand<'a>, usize),
    depth: usize,
    depth_block: usize,
    pack_broadcast: bool,
    /// Distance in `out` between neighbours along the panels.
    panel_stride: usize,
    broadcast_stride: usize,
    accumulate: bool,
    parallel: bool,
}

impl Plan<'_> {
    fn run(
        &self,
        device: &Device,
        out: &SharedRows<'_>,
        finish: impl Fn(Range<usize>, Range<usize>) + Sync,
    ) {
        let MicroKernels { panel, columns, .. } = self.kernels;
        let panel_slots = self.panels.1.div_ceil(panel);
        let broadcast_slots =
            if self.pack_broadcast { self.broadcast.1.div_ceil(columns) } else { 0 };
        let width = panel_slots * panel + broadcast_slots * columns;
        let blocks = (PACKED_NUMBERS / (width * self.depth_block)).max(1);
        let chunk = (blocks * self.depth_block).min(self.depth);
        let mut scratch = device.scratch(width * chunk);
        let mut start = 0;
        while start < self.depth {
            let depths = start..(start + chunk).min(self.depth);
            let (packed_panels, packed_broadcast) =
                scratch.split_at_mut(panel_slots * panel * depths.len());
            self.pack(device, &self.panels, panel, &depths, packed_panels);
            if self.pack_broadcast {
                let packed = &mut packed_broadcast[..broadcast_slots * columns * depths.len()];
                self.pack(device, &self.broadcast, columns, &depths, packed);
            }
            self.tiles(device, depths, packed_panels, packed_broadcast, out, &finish);
            start += chunk;
        }
    }

    /// Packs the numbers of an operand at `depths` as panels: `width` neighbours at each depth.
    fn pack(
        &self,
        device: &Device,
        (operand, count): &(Operand<'_>, usize),
        width: usize,
        depths: &Range<usize>,
        packed: &mut [f32],
    ) {
        // Several thin panels at once: a task should be worth its start.
        let panels_per_task = 64usize.div_ceil(width);
        let size = panels_per_task * width * depths.len();
        for_chunks(device, self.parallel, packed, size, |task, packed| {
            for (index, packed) in packed.chunks_mut(width * depths.len()).enumerate() {
                let first = (task * panels_per_task + index) * width;
                let used = width.min(count - first);
                let panel = PackPanel { operand, first, used, width, depths, packed };
                dispatch(device.isa(), panel);
            }
        });
    }

    /// Multiplies what was packed, tile by tile.
    fn tiles(
        &self,
        device: &Device,
        depths: Range<usize>,
        packed_panels: &[f32],
        packed_broadcast: &[f32],
        out: &SharedRows<'_>,
        finish: &(impl Fn(Range<usize>, Range<usize>) + Sync),
    ) {
        let MicroKernels { panel, columns, .. } = self.kernels;
        let (panel_count, broadcast_count) = (self.panels.1, self.broadcast.1);
        let last = depths.end == self.depth;
        let across = Cut::new(panel_count, TILE_COLUMNS, panel);
        let down = Cut::new(broadcast_count, TILE_ROWS, columns);
        // Neighbouring tasks share their packed panels, which stay in the cache.
        for_each(device, self.parallel, across.pieces * down.pieces, |task| {
            let panels = across.piece(task / down.pieces);
            let broadcast = down.piece(task % down.pieces);
            let mut start = depths.start;
            while start < depths.end {
                let end = (start + self.depth_block).min(depths.end);
                for first in broadcast.clone().step_by(columns) {
                    let count = columns.min(broadcast.end - first);
                    let (pointer, depth_stride, stride) =
                        self.broadcast_panel(first, start, &depths, packed_broadcast);
                    for lane in panels.clone().step_by(panel) {
                        let offset = lane * depths.len() + (start - depths.start) * panel;
                        let lanes = panel.min(panels.end - lane);
                        // SAFETY: tiles of different tasks are disjoint parts of `out`, and
                        // `check` bounded the operands.
                        unsafe {
                            self.micro_kernel(lanes, count)(
                                lanes,
                                count,
                                end - start,
                                out.data
                                    .add(lane * self.panel_stride + first * self.broadcast_stride),
                                packed_panels[offset..].as_ptr(),
                                pointer,
                                self.broadcast_stride as isize,
                                self.panel_stride as isize,
                                panel as isize,
                                depth_stride as isize,
                                stride as isize,
                                1.0,
                                1.0,
                                u8::from(self.accumulate || start > 0),
                                false,
                                false,
                                false,
                                std::ptr::null(),
                            );
                        }
                    }
                }
                start = end;
            }
            if last {
                finish(panels, broadcast);
            }
        });
    }

    /// Where the broadcast operand is from row `first` and depth `start` on, and its strides
    /// along the depth and along the rows.
    fn broadcast_panel(
        &self,
        first: usize,
        start: usize,
        depths: &Range<usize>,
        packed: &[f32],
    ) -> (*const f32, usize, usize) {
        let columns = self.kernels.columns;
        if self.pack_broadcast {
            let offset = first * depths.len() + (start - depths.start) * columns;
            (packed[offset..].as_ptr(), columns, 1)
        } else {
            let operand = &self.broadcast.0;
            let offset = first * operand.row_stride + start * operand.depth_stride;
            (operand.data[offset..].as_ptr(), operand.depth_stride, operand.row_stride)
        }
    }

    fn micro_kernel(&self, lanes: usize, columns: usize) -> MicroKernelFn<f32> {
        let vectors = lanes.div_ceil(self.kernels.lanes);
        self.kernels.table[(vectors - 1) * self.kernels.columns + columns - 1]
    }
}

/// A range cut into pieces of about equal length, multiples of a unit but for the last.
struct Cut {
    total: usize,
    length: usize,
    pieces: usize,
}

impl Cut {
    fn new(total: usize, longest: usize, unit: usize) -> Cut {
        let pieces = total.div_ceil(longest.next_multiple_of(unit));
        let length = total.div_ceil(pieces).next_multiple_of(unit);
        Cut { total, length, pieces: total.div_ceil(length) }
    }

    fn piece(&self, index: usize) -> Range<usize> {
        index * self.length..((index + 1) * self.length).min(self.total)
    }
}
