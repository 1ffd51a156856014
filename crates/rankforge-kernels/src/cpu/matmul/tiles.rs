//! A tile of a product: the blocks it is made of, and how the output is cut into tiles.

use crate::cpu::matmul::block::{Block, LINE, Multiply, MultiplyPairs};
use crate::cpu::matmul::format::Format;
use crate::cpu::matmul::plan::{OnFinished, PackedWords, Plan, TILE_ROWS, tile_columns};
use crate::cpu::parallel::SharedRows;
use crate::cpu::simd::{Kernel, Simd, dispatch};
use std::ops::Range;

/// The tiles of the output for the packed words; each is one task.
pub(super) struct Tiles<'a> {
    plan: &'a Plan<'a>,
    packed: &'a PackedWords<'a>,
    out: &'a SharedRows<'a>,
    finish: OnFinished<'a>,
    across: Cut,
    down: Cut,
}

impl<'a> Tiles<'a> {
    pub(super) fn of(
        plan: &'a Plan<'a>,
        packed: &'a PackedWords<'a>,
        out: &'a SharedRows<'a>,
        finish: OnFinished<'a>,
    ) -> Tiles<'a> {
        let down = Cut::new(plan.broadcast.1, TILE_ROWS, plan.most);
        // Narrower tiles where rows are few.
        let pieces = plan.least_tiles.div_ceil(down.pieces.max(1));
        let columns = (plan.panels / pieces).clamp(2 * plan.panel, tile_columns());
        let across = Cut::new(plan.panels, columns, plan.panel);
        Tiles { plan, packed, out, finish, across, down }
    }

    pub(super) fn count(&self) -> usize {
        self.across.pieces * self.down.pieces
    }

    /// Computes a tile. Neighbouring tiles read the same packed panels, which stay in the cache.
    pub(super) fn run(&self, task: usize) {
        let panels = self.across.piece(task / self.down.pieces);
        let broadcast = self.down.piece(task % self.down.pieces);
        let &Tiles { plan, packed, out, finish, .. } = self;
        dispatch(plan.isa, Tile { plan, packed, panels, broadcast, out, finish });
    }
}

/// One tile of the output.
struct Tile<'a> {
    plan: &'a Plan<'a>,
    packed: &'a PackedWords<'a>,
    panels: Range<usize>,
    broadcast: Range<usize>,
    out: &'a SharedRows<'a>,
    finish: OnFinished<'a>,
}

impl Kernel for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // Few rows are computed panel by panel: each panel is read once from wherever it is, and
        // the next one is prefetched meanwhile. Otherwise a block of rows stays in L1, where it is
        // finished, and the panels stay in L2.
        let few = self.plan.broadcast.1 <= FEW_ROWS;
        let width = if few { self.plan.panel } else { self.panels.len().max(1) };
        for lane in self.panels.clone().step_by(width) {
            self.rows::<S>(lane..(lane + width).min(self.panels.end), few);
        }
        if few && self.packed.depths.end == self.plan.depth {
            self.finish(self.broadcast.clone());
        }
    }
}

/// Rows of the broadcast operand with which tiles are computed panel by panel: reading panels from
/// beyond L2 then takes about as long as the arithmetic.
const FEW_ROWS: usize = 256;

impl Tile<'_> {
    /// Computes all rows for the panels of `lanes`.
    #[inline(always)]
    fn rows<S: Simd>(&self, lanes: Range<usize>, few: bool) {
        let (plan, words) = (self.plan, self.packed.words);
        for start in (0..words).step_by(plan.block) {
            let end = words.min(start + plan.block);
            let last = self.packed.depths.end == plan.depth && end == words;
            let mut ahead = match (few, end < words) {
                (false, _) => std::ptr::null(),
                (true, true) => self.panel(lanes.start, end),
                (true, false) => self.panel(lanes.end, 0),
            };
            let mut first = self.broadcast.start;
            while first < self.broadcast.end {
                let rows = first..first + plan.height(self.broadcast.end - first);
                for lane in lanes.clone().step_by(plan.panel) {
                    self.block_at::<S>(start..end, rows.clone(), lane, ahead);
                }
                if few {
                    ahead = ahead.wrapping_add((end - start) * LINE);
                } else if last {
                    self.finish(rows.clone());
                }
                first = rows.end;
            }
        }
    }

    /// Calls `finish` with some rows of the broadcast operand.
    #[inline(always)]
    fn finish(&self, broadcast: Range<usize>) {
        let lanes = self.panels.clone();
        let (rows, columns) = if self.plan.swap { (lanes, broadcast) } else { (broadcast, lanes) };
        (self.finish)(rows, columns);
    }

    /// The address of word `start` of the panel of row `lane`, which may be beyond the last.
    #[inline(always)]
    fn panel(&self, lane: usize, start: usize) -> *const f32 {
        self.packed.panels.as_ptr().wrapping_add(self.place(lane, start))
    }

    /// The index in the packed panels of word `word` of the panel of row `lane`.
    #[inline(always)]
    fn place(&self, lane: usize, word: usize) -> usize {
        let PackedWords { panel_words, panel_start, .. } = *self.packed;
        lane * panel_words + (panel_start + word) * self.plan.panel
    }

    /// Computes the block of some words, of rows of the broadcast operand and of the panel of row
    /// `lane`.
    #[inline(always)]
    fn block_at<S: Simd>(
        &self,
        words: Range<usize>,
        rows: Range<usize>,
        lane: usize,
        ahead: *const f32,
    ) {
        let (plan, packed) = (self.plan, self.packed);
        let columns = plan.panel.min(self.panels.end - lane);
        let (left, row_stride, word_stride) = plan.broadcast_block(packed, rows.start, words.start);
        let end = self.place(lane, words.end);
        assert!(end <= packed.panels.len(), "word {end} of {} in panels", packed.panels.len());
        let block = Block {
            left,
            row_stride,
            word_stride,
            right: self.panel(lane, words.start),
            right_stride: plan.panel,
            out: std::ptr::null_mut(),
            out_stride: self.out.columns,
            words: words.len(),
            columns,
            accumulate: plan.accumulate || packed.depths.start + words.start > 0,
            ahead,
        };
        // SAFETY: tiles of different tasks are disjoint parts of `out`, the operands were checked
        // against the shape, and packed ones have whole panels.
        unsafe { self.block::<S>(block, rows.start, lane, rows.len()) };
    }

    /// Computes a block of the output: that of row `first` of the broadcast operand and row `lane`
    /// of the panels.
    ///
    /// # Safety
    /// As for [`Block::of_height`], and the block is inside `out`.
    #[inline(always)]
    unsafe fn block<S: Simd>(&self, block: Block, first: usize, lane: usize, height: usize) {
        // SAFETY: the caller promises what `sum` and `transposed` need, with the block inside
        // `out`.
        unsafe {
            if !self.plan.swap {
                let out = self.out.data.add(first * self.out.columns + lane);
                let ahead = !block.ahead.is_null() && block.columns > S::LANES;
                let block = Block { out, ..block };
                return if ahead {
                    self.sum::<S, true>(block, height);
                } else {
                    self.sum::<S, false>(block, height);
                };
            }
            self.transposed::<S>(block, first, lane, height);
        }
    }

    /// [`Tile::block`] where the panels are along the rows of `out`.
    ///
    /// # Safety
    /// As for [`Tile::block`].
    #[inline(always)]
    unsafe fn transposed<S: Simd>(&self, block: Block, first: usize, lane: usize, height: usize) {
        let (columns, accumulate) = (block.columns, block.accumulate);
        let mut transposed = [0.0; 12 * 32];
        let (out, out_stride) = (transposed.as_mut_ptr(), 2 * S::LANES);
        // SAFETY: the block goes to `transposed`, which has room for the most rows and columns; the
        // caller promises that its transpose is inside `out`.
        unsafe {
            self.sum::<S, false>(Block { out, out_stride, accumulate: false, ..block }, height);
            for (row, numbers) in transposed.chunks(out_stride).take(height).enumerate() {
                for (column, &number) in numbers[..columns].iter().enumerate() {
                    let place = (lane + column) * self.out.columns + first + row;
                    let out = self.out.data.add(place);
                    *out = if accumulate { *out + number } else { number };
                }
            }
        }
    }

    /// Computes a block by the multiply-add of the format, with a prefetch where it is `AHEAD`.
    ///
    /// # Safety
    /// As for [`Block::of_height`].
    #[inline(always)]
    unsafe fn sum<S: Simd, const AHEAD: bool>(&self, block: Block, height: usize) {
        let pairs = S::BF16_PAIRS && self.plan.format == Format::Bf16Pairs;
        // SAFETY: the caller promises what `of_height` needs.
        unsafe {
            match (pairs, AHEAD) {
                (true, true) => block.of_height_ahead::<S, MultiplyPairs>(height),
                (true, false) => block.of_height::<S, MultiplyPairs>(height),
                (false, true) => block.of_height_ahead::<S, Multiply>(height),
                (false, false) => block.of_height::<S, Multiply>(height),
            }
        }
    }
}

/// A range cut into pieces of about equal length, each but the last a multiple of a unit.
struct Cut {
    total: usize,
    length: usize,
    pieces: usize,
}

impl Cut {
    fn new(total: usize, longest: usize, unit: usize) -> Cut {
        let pieces = total.div_ceil(longest.next_multiple_of(unit));
        // At least one unit, where the range is empty.
        let length = total.div_ceil(pieces.max(1)).next_multiple_of(unit).max(unit);
        Cut { total, length, pieces: total.div_ceil(length) }
    }

    fn piece(&self, index: usize) -> Range<usize> {
        index * self.length..((index + 1) * self.length).min(self.total)
    }
}
