//! A tile of a product: the blocks it is made of, and how the output is cut into tiles.

use crate::cpu::matmul::block::{Block, Multiply, MultiplyPairs};
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
        let across = Cut::new(plan.panels, tile_columns(), plan.panel);
        let down = Cut::new(plan.broadcast.1, TILE_ROWS, plan.most);
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
        let (plan, words) = (self.plan, self.packed.words);
        for start in (0..words).step_by(plan.block) {
            let count = plan.block.min(words - start);
            let accumulate = plan.accumulate || self.packed.depths.start + start > 0;
            let last = self.packed.depths.end == plan.depth && start + count == words;
            for first in self.broadcast.clone().step_by(plan.most) {
                let height = plan.most.min(self.broadcast.end - first);
                let (left, row_stride, word_stride) =
                    plan.broadcast_block(self.packed, first, start);
                for lane in self.panels.clone().step_by(plan.panel) {
                    let columns = plan.panel.min(self.panels.end - lane);
                    let place = lane * self.packed.panel_words
                        + (self.packed.panel_start + start) * plan.panel;
                    let right = &self.packed.panels[place..];
                    let block = Block {
                        left,
                        row_stride,
                        word_stride,
                        right: right.as_ptr(),
                        right_stride: plan.panel,
                        out: std::ptr::null_mut(),
                        out_stride: self.out.columns,
                        words: count,
                        columns,
                        accumulate,
                    };
                    // SAFETY: tiles of different tasks are disjoint parts of `out`, the operands
                    // were checked against the shape, and packed ones have whole panels.
                    unsafe { self.block::<S>(block, first, lane, height) };
                }
                if last {
                    let (lanes, broadcast) = (self.panels.clone(), first..first + height);
                    let (rows, columns) =
                        if plan.swap { (lanes, broadcast) } else { (broadcast, lanes) };
                    (self.finish)(rows, columns);
                }
            }
        }
    }
}

impl Tile<'_> {
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
                self.sum::<S>(Block { out, ..block }, height);
                return;
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
            self.sum::<S>(Block { out, out_stride, accumulate: false, ..block }, height);
            for (row, numbers) in transposed.chunks(out_stride).take(height).enumerate() {
                for (column, &number) in numbers[..columns].iter().enumerate() {
                    let place = (lane + column) * self.out.columns + first + row;
                    let out = self.out.data.add(place);
                    *out = if accumulate { *out + number } else { number };
                }
            }
        }
    }

    /// Computes a block by the multiply-add of the format.
    ///
    /// # Safety
    /// As for [`Block::of_height`].
    #[inline(always)]
    unsafe fn sum<S: Simd>(&self, block: Block, height: usize) {
        // SAFETY: the caller promises what `of_height` needs.
        unsafe {
            if S::BF16_PAIRS && self.plan.format == Format::Bf16Pairs {
                block.of_height::<S, MultiplyPairs>(height);
            } else {
                block.of_height::<S, Multiply>(height);
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
