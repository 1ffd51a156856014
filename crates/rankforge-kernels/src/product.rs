//! The matrix product: packing, tiling and threads around the register-blocked core in `micro`.
//!
//! An operand is packed once per product, into words of the format that the precision and the
//! instruction set ask for, and every tile is finished while it is in cache.
//!
//! Each number of the result is one chain of multiply-adds in the order of the depth, cut every
//! `depth block` words. The chain does not depend on tiles, threads or the other rows.

use crate::micro::most_rows;
use crate::pack::{Aside, Format, MOST_ROWS, PackPanels, PackRows};
use crate::parallel::{SharedRows, for_chunks, for_each};
use crate::simd::{Kernel, Simd, dispatch};
use crate::tile::Lines;
use crate::{Device, Isa, Precision};
use std::ops::Range;
use tile::Tiles;

pub(crate) use gradients::{InputProduct, gradients};

mod gradients;
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
            rows == 0 || depth == 0 || lies && last < self.data.len(),
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

/// Operands with fewer elements are packed by the calling thread.
const INLINE_PACKING: usize = 1 << 15;

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

/// What is done with rows and columns of the output when they are final. Not generic: a tile is compiled once.
pub(crate) type Finish<'a> = &'a (dyn Fn(Range<usize>, Range<usize>) + Sync);

/// Computes the product into `out`, calling `finish(rows, columns)` on the thread that computed them,
/// once for each part of `out`, when its numbers are final and still in the inner cache.
pub(crate) fn product(
    device: &Device,
    product: &Product<'_>,
    out: &SharedRows<'_>,
    finish: Finish<'_>,
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
    // With few rows, packing the weight would cost more than the product: the rows are packed
    // instead and the weight is read in place. Each chain of multiply-adds is the same.
    let swap = rows <= Plan::panel(device) && product.right.depth_stride == 1;
    let plan = Plan::of(device, product, [rows, columns], swap);
    let panels = if swap { product.left } else { product.right };
    plan.start(device, Panels::ToPack(panels), out, finish);
}

/// [`product`] of `left`, rows of `out` x depth, and a right operand that was packed before: in the
/// same bits.
pub(crate) fn product_with_packed(
    device: &Device,
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
        // SAFETY: the only part there is.
        unsafe { out.rows(0..rows) }.fill(0.0);
        return finish(0..rows, 0..columns);
    }
    let plan = Plan::new(device, right.format, depth, columns, (left, rows));
    plan.start(device, Panels::Packed(&right.words), out, finish);
}

/// The right operand of products, packed once: panels of the whole depth.
#[derive(Clone)]
pub(crate) struct PackedPanels {
    format: Format,
    rows: usize,
    depth: usize,
    words: Lines,
}

impl PackedPanels {
    /// Packs `operand`, `rows x depth`, as [`product`] packs its right operand.
    pub(crate) fn pack(
        device: &Device,
        operand: Operand<'_>,
        rows: usize,
        depth: usize,
        precision: Precision,
    ) -> PackedPanels {
        operand.check("the operand to pack", rows, depth);
        let (isa, width) = (device.cpu_isa(), Plan::panel(device));
        let format = Format::of(isa, precision);
        let length = rows.next_multiple_of(width) * depth.div_ceil(format.per_word());
        let mut words = Lines::zeros(length);
        if length > 0 {
            let (kind, depths) = (PanelKind { isa, format, width }, 0..depth);
            let groups = Groups::of(kind, (operand, rows), &depths, &mut words);
            let parallel = rows * depth >= INLINE_PACKING;
            for_each(device, parallel, groups.count(), |group| groups.pack(group));
        }
        PackedPanels { format, rows, depth, words }
    }

    /// Memory of the packed words.
    pub(crate) fn size_in_bytes(&self) -> usize {
        self.words.len() * size_of::<f32>()
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
    /// For an operand whose depth is contiguous.
    fn of(operand: &Operand<'_>, format: Format) -> Place {
        let aliases = operand.row_stride.is_multiple_of(ALIASING);
        if format == Format::Exact && !aliases { Place::Original } else { Place::Rows }
    }
}

/// Where the panels come from: the operand whose words fill vectors.
#[derive(Clone, Copy)]
enum Panels<'a> {
    /// Packed as the product goes.
    ToPack(Operand<'a>),
    /// Packed before, all of its depth.
    Packed(&'a [f32]),
}

/// How panels are made.
#[derive(Clone, Copy)]
struct PanelKind {
    isa: Isa,
    format: Format,
    /// Rows of a panel.
    width: usize,
}

/// One product, with the operand whose words fill vectors (`panels`) told from the one whose words
/// are broadcast.
#[derive(Clone, Copy)]
struct Plan<'a> {
    isa: Isa,
    format: Format,
    /// Rows of a packed panel: two vectors.
    panel: usize,
    /// Rows of a block of the broadcast operand.
    most: usize,
    /// Rows of the operand in panels.
    panels: usize,
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
    /// Panels of `panel_words` words, those of `depths` from word `panel_start` on.
    panels: &'a [f32],
    panel_words: usize,
    panel_start: usize,
    broadcast: &'a [f32],
}

/// An operand that is packed at `depths` as panels: `width` neighbours for each word. A group of panels is one task:
/// their rows are read along, and a task is worth its start.
struct Groups<'a> {
    kind: PanelKind,
    operand: Operand<'a>,
    rows: usize,
    depths: &'a Range<usize>,
    packed: SharedRows<'a>,
}

impl<'a> Groups<'a> {
    fn of(
        kind: PanelKind,
        (operand, rows): (Operand<'a>, usize),
        depths: &'a Range<usize>,
        packed: &'a mut [f32],
    ) -> Groups<'a> {
        let length = packed.len();
        let packed = SharedRows::of_slice(packed, 1, length);
        Groups { kind, operand, rows, depths, packed }
    }

    /// Rows of a whole group: of 12 and 32 it is a multiple.
    fn group_rows(&self) -> usize {
        MOST_ROWS / self.kind.width * self.kind.width
    }

    fn count(&self) -> usize {
        self.rows.div_ceil(self.group_rows())
    }

    /// The rows of a group.
    fn rows(&self, group: usize) -> Range<usize> {
        let length = self.group_rows();
        group * length..((group + 1) * length).min(self.rows)
    }

    fn pack(&self, group: usize) {
        self.pack_with(group, Aside::default());
    }

    /// Packs a group, and what else its rows are read for.
    fn pack_with(&self, group: usize, aside: Aside<'_>) {
        let Groups { kind: PanelKind { isa, format, width }, ref operand, depths, .. } = *self;
        let (rows, words) = (self.rows(group), depths.len().div_ceil(format.per_word()));
        let place = rows.start * words..rows.end.next_multiple_of(width) * words;
        // SAFETY: groups are disjoint, and each is packed by one task.
        let packed = unsafe { self.packed.part(0, place) };
        dispatch(isa, PackPanels { operand, format, rows, width, depths, packed, aside });
    }
}

impl<'a> Plan<'a> {
    /// Rows of a panel.
    fn panel(device: &Device) -> usize {
        2 * dispatch(device.cpu_isa(), Lanes)
    }

    /// The plan of `product` for `[rows, columns]` of the output; `swap` makes panels of the left
    /// operand.
    fn of(device: &Device, product: &Product<'a>, size: [usize; 2], swap: bool) -> Plan<'a> {
        let format = Format::of(device.cpu_isa(), product.precision);
        let ([rows, columns], depth) = (size, product.depth);
        let (panels, broadcast) =
            if swap { (rows, (product.right, columns)) } else { (columns, (product.left, rows)) };
        let plan = Plan::new(device, format, depth, panels, broadcast);
        Plan { swap, accumulate: product.accumulate, ..plan }
    }

    /// The plan of a product of an operand with `panels` rows and one whose words are broadcast, to
    /// be written with the panels along the columns of the output.
    fn new(
        device: &Device,
        format: Format,
        depth: usize,
        panels: usize,
        broadcast: (Operand<'a>, usize),
    ) -> Plan<'a> {
        let panel = Plan::panel(device);
        let words = depth.div_ceil(format.per_word());
        Plan {
            isa: device.cpu_isa(),
            format,
            panel,
            most: most_rows(panel / 2),
            panels,
            broadcast,
            place: Place::of(&broadcast.0, format),
            depth,
            block: words.div_ceil(words.div_ceil(DEPTH_BLOCK)),
            swap: false,
            accumulate: false,
            parallel: device.threads() > 1 && panels * broadcast.1 * depth >= INLINE_WORK,
        }
    }

    /// [`Plan::run`] on the workers, where the product is worth waking them.
    fn start(&self, device: &Device, panels: Panels<'_>, out: &SharedRows<'_>, finish: Finish<'_>) {
        if self.parallel {
            device.run(|| self.run(device, panels, out, finish));
        } else {
            self.run(device, panels, out, finish);
        }
    }

    fn run(&self, device: &Device, panels: Panels<'_>, out: &SharedRows<'_>, finish: Finish<'_>) {
        let words = self.words();
        let packed_rows = match panels {
            Panels::ToPack(_) => self.panel_rows(),
            Panels::Packed(_) => 0,
        };
        let broadcast_rows = if self.place == Place::Rows { self.broadcast.1 } else { 0 };
        let chunk = self.chunk(PACKED_WORDS, packed_rows + broadcast_rows);
        let mut scratch =
            device.scratch(packed_rows * chunk + broadcast_rows * Plan::row_stride(chunk));
        for start in (0..words).step_by(chunk) {
            let (depths, words) = self.depths(start, chunk);
            let (target, rows) = scratch.split_at_mut(packed_rows * words);
            let rows = &mut rows[..broadcast_rows * Plan::row_stride(words)];
            let (panels, panel_words, panel_start) = match panels {
                Panels::Packed(panels) => (panels, self.words(), start),
                Panels::ToPack(operand) => {
                    let source = (operand, self.panels);
                    let groups =
                        Groups::of(self.panel_kind(self.panel), source, &depths, &mut *target);
                    for_each(device, self.parallel, groups.count(), |group| groups.pack(group));
                    (&*target, words, 0)
                }
            };
            if self.place == Place::Rows {
                self.pack_rows(device, &depths, rows);
            }
            let packed =
                Packed { depths, words, panels, panel_words, panel_start, broadcast: rows };
            let tiles = Tiles::of(self, &packed, out, finish);
            for_each(device, self.parallel, tiles.count(), |task| tiles.run(task));
        }
    }

    /// Panels of `width` rows for this product.
    fn panel_kind(&self, width: usize) -> PanelKind {
        PanelKind { isa: self.isa, format: self.format, width }
    }

    /// Rows of the packed panels, the zeros at the end included.
    fn panel_rows(&self) -> usize {
        self.panels.next_multiple_of(self.panel)
    }

    /// Words of the whole depth.
    fn words(&self) -> usize {
        self.depth.div_ceil(self.format.per_word())
    }

    /// Words of a row that are packed at once: whole blocks, one at least, of about `most` words in `rows` rows.
    fn chunk(&self, most: usize, rows: usize) -> usize {
        let blocks = most / (rows * self.block).max(1);
        (blocks.max(1) * self.block).min(self.words())
    }

    /// The depths of `chunk` words from word `start` on, and how many words there are.
    fn depths(&self, start: usize, chunk: usize) -> (Range<usize>, usize) {
        let (words, per_word) = (chunk.min(self.words() - start), self.format.per_word());
        (start * per_word..((start + words) * per_word).min(self.depth), words)
    }

    /// Words from one packed row to the next: no multiple of what makes rows share cache sets.
    fn row_stride(words: usize) -> usize {
        words.next_multiple_of(16) + 16
    }

    /// Packs the broadcast operand at `depths` row by row.
    fn pack_rows(&self, device: &Device, depths: &Range<usize>, packed: &mut [f32]) {
        const ROWS: usize = 16;
        let ((operand, count), format) = (&self.broadcast, self.format);
        let stride = Plan::row_stride(depths.len().div_ceil(format.per_word()));
        for_chunks(device, self.parallel, packed, ROWS * stride, |task, packed| {
            let rows = task * ROWS..((task + 1) * ROWS).min(*count);
            dispatch(self.isa, PackRows { operand, format, rows, depths, stride, packed });
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
                let stride = Plan::row_stride(packed.words);
                (packed.broadcast[first * stride + start..].as_ptr(), stride, 1)
            }
            Place::Panels => {
                let offset = first * packed.words + start * self.most;
                (packed.broadcast[offset..].as_ptr(), 1, self.most)
            }
        }
    }
}
