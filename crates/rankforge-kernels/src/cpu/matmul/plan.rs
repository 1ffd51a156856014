//! How a large product is computed: which operand is packed, where words are read from, and how
//! much at a time.

use crate::cpu::caches::second_level;
use crate::cpu::machine::Cpu;
use crate::cpu::matmul::block::most_rows;
use crate::cpu::matmul::format::Format;
use crate::cpu::matmul::operand::{Operand, Product};
use crate::cpu::matmul::panels::{PanelKind, panel_rows};
use crate::isa::Supported;
use std::ops::Range;

/// Products with fewer multiply-adds run on the calling thread: they take 2 us or less.
const INLINE_WORK: usize = 1 << 18;

/// Tiles that there are at least for each thread, where the output is large enough. More cost more
/// than they gain in balance.
const TILES_PER_THREAD: usize = 2;

/// Longest chain of words kept in registers: a block of the broadcast operand (12 x 512 words)
/// fits a 32 KiB L1 cache.
const DEPTH_BLOCK: usize = 512;

/// Rows of a tile: enough to use each packed panel often, few enough to balance threads.
/// A multiple of every block's rows.
pub(super) const TILE_ROWS: usize = 96;

/// Most columns of a tile.
const TILE_COLUMNS: usize = 320;

/// Columns of a tile: with a depth block of words, the packed panels fill at most 5/8 of L2.
pub(super) fn tile_columns() -> usize {
    let bytes = second_level() / 8 * 5;
    (bytes / (DEPTH_BLOCK * size_of::<f32>())).clamp(64, TILE_COLUMNS)
}

/// Rows whose distance in words is a multiple of this share cache sets.
const ALIASING: usize = 1024;

/// Called with ranges of rows and columns of the output when they are final. Not generic, so that
/// tiles are compiled once.
pub(crate) type OnFinished<'a> = &'a (dyn Fn(Range<usize>, Range<usize>) + Sync);

/// Where the words of the broadcast operand are read from.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum WordSource {
    /// The operand itself, its depth contiguous.
    Original,
    /// A packed copy, row by row.
    Rows,
    /// A packed copy in panels of `most` rows, word by word.
    Panels,
}

impl WordSource {
    /// For an operand whose depth is contiguous.
    fn of(operand: &Operand<'_>, format: Format) -> WordSource {
        let aliases = operand.row_stride.is_multiple_of(ALIASING);
        if format == Format::Exact && !aliases { WordSource::Original } else { WordSource::Rows }
    }
}

/// How one product is computed. One operand is in panels, and its words fill vectors; a word of the
/// other is broadcast to all lanes.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) isa: Supported,
    pub(super) format: Format,
    /// Rows of a packed panel: two vectors.
    pub(super) panel: usize,
    /// Rows of a block of the broadcast operand.
    pub(super) most: usize,
    /// Rows of the operand in panels.
    pub(super) panels: usize,
    /// The broadcast operand, and its rows.
    pub(super) broadcast: (Operand<'a>, usize),
    pub(super) source: WordSource,
    pub(super) depth: usize,
    /// Words of a depth block.
    pub(super) block: usize,
    /// Whether the panels are along the rows of `out`, not its columns.
    pub(super) swap: bool,
    pub(super) accumulate: bool,
    pub(super) parallel: bool,
    /// Least number of tiles, unless they would be narrower than two panels.
    pub(super) least_tiles: usize,
}

/// The packed words of a range of depths.
pub(super) struct PackedWords<'a> {
    pub(super) depths: Range<usize>,
    pub(super) words: usize,
    /// Panels of `panel_words` words, those of `depths` from word `panel_start` on.
    pub(super) panels: &'a [f32],
    pub(super) panel_words: usize,
    pub(super) panel_start: usize,
    pub(super) broadcast: &'a [f32],
}

impl<'a> PackedWords<'a> {
    /// `words` words at `depths`, all that there are of them in `panels`.
    pub(super) fn of(
        depths: Range<usize>,
        words: usize,
        panels: &'a [f32],
        broadcast: &'a [f32],
    ) -> PackedWords<'a> {
        PackedWords { depths, words, panels, panel_words: words, panel_start: 0, broadcast }
    }
}

impl<'a> Plan<'a> {
    /// The plan of `product` for an output of `[rows, columns]`; `swap` puts the left operand in
    /// panels.
    pub(super) fn of(cpu: &Cpu, product: &Product<'a>, size: [usize; 2], swap: bool) -> Plan<'a> {
        let format = Format::of(cpu.isa().isa(), product.precision);
        let ([rows, columns], depth) = (size, product.depth);
        let (panels, broadcast) =
            if swap { (rows, (product.right, columns)) } else { (columns, (product.left, rows)) };
        let plan = Plan::new(cpu, format, depth, panels, broadcast);
        Plan { swap, accumulate: product.accumulate, ..plan }
    }

    /// The plan of a product of an operand of `panels` rows in panels, along the columns of the
    /// output, and a broadcast operand.
    pub(super) fn new(
        cpu: &Cpu,
        format: Format,
        depth: usize,
        panels: usize,
        broadcast: (Operand<'a>, usize),
    ) -> Plan<'a> {
        let panel = panel_rows(cpu.isa());
        let words = depth.div_ceil(format.per_word());
        let parallel = cpu.threads() > 1 && panels * broadcast.1 * depth >= INLINE_WORK;
        Plan {
            isa: cpu.isa(),
            format,
            panel,
            most: most_rows(panel / 2),
            panels,
            broadcast,
            source: WordSource::of(&broadcast.0, format),
            depth,
            block: words.div_ceil(words.div_ceil(DEPTH_BLOCK)),
            swap: false,
            accumulate: false,
            parallel,
            least_tiles: if parallel { TILES_PER_THREAD * cpu.threads() } else { 1 },
        }
    }

    /// Rows of the next block of the broadcast operand, of `rest` that are left of a tile. They are
    /// nearly equal: a block of one row would wait for each addition.
    #[inline(always)]
    pub(super) fn height(&self, rest: usize) -> usize {
        match self.source {
            // Blocks are panels.
            WordSource::Panels => self.most.min(rest),
            _ => rest.div_ceil(rest.div_ceil(self.most)),
        }
    }

    /// Panels of `width` rows for this product.
    pub(super) fn panel_kind(&self, width: usize) -> PanelKind {
        PanelKind { isa: self.isa, format: self.format, width }
    }

    /// Rows of the packed panels, padding included.
    pub(super) fn panel_rows(&self) -> usize {
        self.panels.next_multiple_of(self.panel)
    }

    /// Words of the whole depth.
    pub(super) fn words(&self) -> usize {
        self.depth.div_ceil(self.format.per_word())
    }

    /// Words of a row that are packed at once: whole depth blocks, at least one, about `most` words
    /// in all `rows` rows.
    pub(super) fn chunk(&self, most: usize, rows: usize) -> usize {
        let blocks = most / (rows * self.block).max(1);
        (blocks.max(1) * self.block).min(self.words())
    }

    /// The depths of `chunk` words from word `start` on, and how many words there are.
    pub(super) fn depths(&self, start: usize, chunk: usize) -> (Range<usize>, usize) {
        let (words, per_word) = (chunk.min(self.words() - start), self.format.per_word());
        (start * per_word..((start + words) * per_word).min(self.depth), words)
    }

    /// Words from one packed row to the next: never a multiple of [`ALIASING`].
    pub(super) fn row_stride(words: usize) -> usize {
        words.next_multiple_of(16) + 16
    }

    /// The address of the broadcast operand at row `first` and word `start`, and its strides along
    /// the rows and along the words.
    pub(super) fn broadcast_block(
        &self,
        packed: &PackedWords<'_>,
        first: usize,
        start: usize,
    ) -> (*const f32, usize, usize) {
        match self.source {
            WordSource::Original => {
                let operand = &self.broadcast.0;
                let offset = first * operand.row_stride + packed.depths.start + start;
                (operand.data[offset..].as_ptr(), operand.row_stride, 1)
            }
            WordSource::Rows => {
                let stride = Plan::row_stride(packed.words);
                (packed.broadcast[first * stride + start..].as_ptr(), stride, 1)
            }
            WordSource::Panels => {
                let offset = first * packed.words + start * self.most;
                (packed.broadcast[offset..].as_ptr(), 1, self.most)
            }
        }
    }
}
