//! The matrix product: packing, tiling and threads around the register-blocked core in `micro`.
//!
//! An operand is packed once per product, into words of the format that the precision and the
//! instruction set ask for, and every tile is finished while it is in cache.
//!
//! Each number of the result is one chain of multiply-adds in the order of the depth, cut every
//! `depth block` words. The chain does not depend on tiles, threads or the other rows.

use crate::micro::most_rows;
use crate::pack::{Format, PackPanels, PackRows};
use crate::parallel::{SharedRows, for_chunks, for_each};
use crate::simd::{Kernel, Simd, dispatch};
use crate::{Device, Isa, Precision};
use std::ops::Range;
use tile::{Cut, Tile};

mod tile;

/// An operand seen as `rows x depth`; one of the strides is 1.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) depth_stride: usize,
}

impl<'a> Operand<'a> {
    fn check(&self, name: &str, rows: usize, depth: usize) {
        let last = (rows.max(1) - 1) * self.row_stride + (depth.max(1) - 1) * self.depth_stride;
        let lies = self.row_stride == 1 || self.depth_stride == 1;
        assert!(
            depth == 0 || lies && last < self.data.len(),
            "{name} of {} numbers cannot be {rows} x {depth}",
            self.data.len()
        );
    }

    /// A row's numbers at `depths`, where they are contiguous.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize, depths: &Range<usize>) -> &'a [f32] {
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

/// Products with fewer multiply-adds run on the calling thread.
const INLINE_WORK: usize = 1 << 22;

/// Longest chain of words kept in registers: a block of the broadcast operand (12 x 512 words)
/// fits a 32 KiB L1 cache.
const DEPTH_BLOCK: usize = 512;

/// Most words packed before they are used; only very large operands are packed in turns.
const PACKED_WORDS: usize = 1 << 23;

/// The same where both operands are packed, as for the gradient of a weight: their depth, the
/// tokens, is long, and its pieces can stay in the outer cache.
const CACHED_WORDS: usize = 1 << 20;

/// Rows of a tile: enough to use each packed panel often, few enough to balance threads.
/// A multiple of every block's rows.
const TILE_ROWS: usize = 96;

/// Columns of a tile: with a depth block, the packed panels stay in a 1 MiB L2 cache.
const TILE_COLUMNS: usize = 320;

/// Rows whose distance in words is a multiple of this share cache sets.
const ALIASING: usize = 1024;

/// Computes the product into `out`, calling `finish(rows, columns)` on the thread that computed them,
/// once for each part of `out`, when its numbers are final and still in the inner cache.
pub(crate) fn product(
    device: &Device,
    product: &Product<'_>,
    out: &SharedRows<'_>,
    finish: impl Fn(Range<usize>, Range<usize>) + Sync,
) {
    let (rows, columns, depth) = (out.row_count, out.columns, product.depth);
    if rows == 0 || columns == 0 {
        return;
    }
    product.left.check("left", rows, depth);
    product.right.check("right", columns, depth);
    if depth == 0 {
        if !product.accumulate {
            // SAFETY: the only part there is.
            unsafe { out.rows(0..rows) }.fill(0.0);
        }
        return finish(0..rows, 0..columns);
    }
    let format = Format::of(device.isa(), product.precision);
    let lanes = dispatch(device.isa(), Lanes);
    let panel = 2 * lanes;
    // With few rows, packing the weight would cost more than the product: the rows are packed
    // instead and the weight is read in place. Each chain of multiply-adds is the same.
    let swap = rows <= panel && product.right.depth_stride == 1;
    let (panels, broadcast) =
        if swap { (product.left, product.right) } else { (product.right, product.left) };
    let (panel_count, broadcast_count) = if swap { (rows, columns) } else { (columns, rows) };
    let words = depth.div_ceil(format.per_word());
    let plan = Plan {
        isa: device.isa(),
        format,
        panel,
        most: most_rows(lanes),
        panels: (panels, panel_count),
        broadcast: (broadcast, broadcast_count),
        place: Place::of(&broadcast, format),
        depth,
        block: words.div_ceil(words.div_ceil(DEPTH_BLOCK)),
        swap,
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

/// The lanes of an instruction set.
struct Lanes;

impl Kernel for Lanes {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self) -> usize {
        S::LANES
    }
}

/// Where the operand whose words are broadcast is read from.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// The operand itself, its depth contiguous.
    Original,
    /// A packed copy, row by row.
    Rows,
    /// A packed copy in panels of `most` rows, word by word.
    Panels,
}

impl Place {
    fn of(operand: &Operand<'_>, format: Format) -> Place {
        match operand {
            Operand { depth_stride: 1, row_stride, .. } => {
                let aliases = row_stride.is_multiple_of(ALIASING);
                if format == Format::Exact && !aliases { Place::Original } else { Place::Rows }
            }
            _ => Place::Panels,
        }
    }
}

/// One product, with the operand whose words fill vectors (`panels`) told from the one whose words
/// are broadcast.
struct Plan<'a> {
    isa: Isa,
    format: Format,
    /// Rows of a packed panel: two vectors.
    panel: usize,
    /// Rows of a block of the broadcast operand.
    most: usize,
    panels: (Operand<'a>, usize),
    broadcast: (Operand<'a>, usize),
    place: Place,
    depth: usize,
    /// Words of a depth block.
    block: usize,
    /// The panels are along the rows of `out`.
    swap: bool,
    accumulate: bool,
    parallel: bool,
}

/// The words of a run of depths, as they lie in memory.
struct Packed<'a> {
    depths: Range<usize>,
    words: usize,
    panels: &'a [f32],
    broadcast: &'a [f32],
}

impl Plan<'_> {
    fn run(
        &self,
        device: &Device,
        out: &SharedRows<'_>,
        finish: impl Fn(Range<usize>, Range<usize>) + Sync,
    ) {
        let words = self.depth.div_ceil(self.format.per_word());
        let panel_rows = self.panels.1.next_multiple_of(self.panel);
        let broadcast_rows = match self.place {
            Place::Original => 0,
            Place::Rows => self.broadcast.1,
            Place::Panels => self.broadcast.1.next_multiple_of(self.most),
        };
        let most = if self.place == Place::Panels { CACHED_WORDS } else { PACKED_WORDS };
        let blocks = most / ((panel_rows + broadcast_rows) * self.block);
        let chunk = (blocks.max(1) * self.block).min(words);
        let mut scratch =
            device.scratch(panel_rows * chunk + broadcast_rows * self.row_stride(chunk));
        for start in (0..words).step_by(chunk) {
            let words = chunk.min(words - start);
            let per_word = self.format.per_word();
            let depths = start * per_word..((start + words) * per_word).min(self.depth);
            let (panels, broadcast) = scratch.split_at_mut(panel_rows * words);
            self.pack_panels(device, &self.panels, self.panel, &depths, panels);
            match self.place {
                Place::Original => {}
                Place::Rows => {
                    let packed = &mut broadcast[..broadcast_rows * self.row_stride(words)];
                    self.pack_rows(device, &depths, packed);
                }
                Place::Panels => {
                    let packed = &mut broadcast[..broadcast_rows * words];
                    self.pack_panels(device, &self.broadcast, self.most, &depths, packed);
                }
            }
            self.tiles(device, &Packed { depths, words, panels, broadcast }, out, &finish);
        }
    }

    /// Words from one packed row to the next: no multiple of what makes rows share cache sets.
    fn row_stride(&self, words: usize) -> usize {
        match self.place {
            Place::Rows => words.next_multiple_of(16) + 16,
            Place::Original | Place::Panels => words,
        }
    }

    /// Packs an operand at `depths` as panels: `width` neighbours for each word.
    fn pack_panels(
        &self,
        device: &Device,
        (operand, count): &(Operand<'_>, usize),
        width: usize,
        depths: &Range<usize>,
        packed: &mut [f32],
    ) {
        let (isa, format) = (self.isa, self.format);
        let words = depths.len().div_ceil(format.per_word());
        // Several panels at once: their rows are read along, and a task is worth its start.
        let rows_per_task = 192usize.next_multiple_of(width);
        for_chunks(device, self.parallel, packed, rows_per_task * words, |task, packed| {
            let rows = task * rows_per_task..((task + 1) * rows_per_task).min(*count);
            dispatch(isa, PackPanels { operand, format, rows, width, depths, packed });
        });
    }

    /// Packs the broadcast operand at `depths` row by row.
    fn pack_rows(&self, device: &Device, depths: &Range<usize>, packed: &mut [f32]) {
        const ROWS: usize = 16;
        let ((operand, count), format) = (&self.broadcast, self.format);
        let stride = self.row_stride(depths.len().div_ceil(format.per_word()));
        for_chunks(device, self.parallel, packed, ROWS * stride, |task, packed| {
            let rows = task * ROWS..((task + 1) * ROWS).min(*count);
            dispatch(self.isa, PackRows { operand, format, rows, depths, stride, packed });
        });
    }

    /// Multiplies what was packed, tile by tile.
    fn tiles(
        &self,
        device: &Device,
        packed: &Packed<'_>,
        out: &SharedRows<'_>,
        finish: &(impl Fn(Range<usize>, Range<usize>) + Sync),
    ) {
        let across = Cut::new(self.panels.1, TILE_COLUMNS, self.panel);
        let down = Cut::new(self.broadcast.1, TILE_ROWS, self.most);
        // Neighbouring tasks share their packed panels, which stay in the cache.
        for_each(device, self.parallel, across.pieces * down.pieces, |task| {
            let panels = across.piece(task / down.pieces);
            let broadcast = down.piece(task % down.pieces);
            dispatch(self.isa, Tile { plan: self, packed, panels, broadcast, out, finish });
        });
    }

    /// Where the broadcast operand is from row `first` and word `start` on, and its strides along
    /// the rows and along the words.
    fn broadcast_block(
        &self,
        packed: &Packed<'_>,
        first: usize,
        start: usize,
    ) -> (*const f32, usize, usize) {
        match self.place {
            Place::Original => {
                let operand = &self.broadcast.0;
                let offset = first * operand.row_stride + packed.depths.start + start;
                (operand.data[offset..].as_ptr(), operand.row_stride, 1)
            }
            Place::Rows => {
                let stride = self.row_stride(packed.words);
                (packed.broadcast[first * stride + start..].as_ptr(), stride, 1)
            }
            Place::Panels => {
                let offset = first * packed.words + start * self.most;
                (packed.broadcast[offset..].as_ptr(), 1, self.most)
            }
        }
    }
}
