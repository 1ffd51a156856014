//! Packing of the operands of a matrix product into words, rounded where the precision requires it.

use crate::cpu::matmul::format::Format;
use crate::cpu::matmul::operand::Operand;
use crate::cpu::parallel::SharedRows;
use crate::cpu::simd::{Kernel, Simd, load_up_to, prefetch_elements, store_up_to};
use std::ops::Range;

/// Packs `rows` of an operand whose depth is contiguous as rows of `stride` words.
pub(crate) struct PackRows<'a> {
    pub(crate) operand: &'a Operand<'a>,
    pub(crate) format: Format,
    pub(crate) rows: Range<usize>,
    pub(crate) depths: &'a Range<usize>,
    pub(crate) stride: usize,
    pub(crate) packed: &'a mut [f32],
}

impl Kernel for PackRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let words = self.depths.len().div_ceil(self.format.per_word());
        for (row, packed) in self.rows.zip(self.packed.chunks_mut(self.stride)) {
            to_words::<S>(self.format, self.operand.row(row, self.depths), &mut packed[..words]);
        }
    }
}

/// Most rows that [`PackPanels`] takes with [`SideOutputs`].
pub(crate) const MOST_ROWS: usize = 192;

/// Packs rows of an operand as panels: for each word, that of `width` neighbouring rows, with zeros
/// beyond the last row.
pub(crate) struct PackPanels<'a> {
    pub(crate) operand: &'a Operand<'a>,
    pub(crate) format: Format,
    pub(crate) rows: Range<usize>,
    pub(crate) width: usize,
    pub(crate) depths: &'a Range<usize>,
    /// Panels of `words x width`.
    pub(crate) packed: &'a mut [f32],
    /// Only for operands whose neighbouring rows are neighbours in memory.
    pub(crate) side: SideOutputs<'a>,
}

/// Further uses of the elements at a depth while they are in L1.
#[derive(Default)]
pub(crate) struct SideOutputs<'a> {
    /// Receives the elements as words along the operand's rows, one row for each depth.
    pub(crate) along: Option<&'a SharedRows<'a>>,
    /// Receives the sum of each row, added.
    pub(crate) sums: Option<&'a mut [f32]>,
}

impl Kernel for PackPanels<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        if self.operand.row_stride != 1 {
            let words = self.depths.len().div_ceil(self.format.per_word());
            let firsts = self.rows.clone().step_by(self.width);
            for (first, packed) in firsts.zip(self.packed.chunks_exact_mut(self.width * words)) {
                let used = self.width.min(self.rows.end - first);
                let PackPanels { operand, format, width, depths, .. } = self;
                TransposePanel { operand, format, first, used, width, depths, packed }.run::<S>();
            }
            return;
        }
        match self.format {
            Format::Exact => self.copy_panels::<S, ToExact>(),
            Format::RoundedBf16 => self.copy_panels::<S, ToBf16>(),
            Format::RoundedF16 => self.copy_panels::<S, ToF16>(),
            Format::Bf16Pairs if S::BF16_PAIRS => self.copy_panels::<S, ToPairs>(),
            Format::Bf16Pairs => {
                unreachable!("pairs are packed only for instruction sets that multiply them")
            }
        }
    }
}

/// How the elements at one depth, or at it and the next, become words.
trait ToWords {
    const PER_WORD: usize = 1;

    fn words<S: Simd>(numbers: &[f32], next: &[f32]) -> S::V;
}

struct ToExact;
struct ToBf16;
struct ToF16;
struct ToPairs;

impl ToWords for ToExact {
    #[inline(always)]
    fn words<S: Simd>(numbers: &[f32], _: &[f32]) -> S::V {
        load_up_to::<S>(numbers)
    }
}

impl ToWords for ToBf16 {
    #[inline(always)]
    fn words<S: Simd>(numbers: &[f32], _: &[f32]) -> S::V {
        S::round_bf16(load_up_to::<S>(numbers))
    }
}

impl ToWords for ToF16 {
    #[inline(always)]
    fn words<S: Simd>(numbers: &[f32], _: &[f32]) -> S::V {
        S::round_f16(load_up_to::<S>(numbers))
    }
}

impl ToWords for ToPairs {
    const PER_WORD: usize = 2;

    #[inline(always)]
    fn words<S: Simd>(numbers: &[f32], next: &[f32]) -> S::V {
        S::pairs(load_up_to::<S>(numbers), load_up_to::<S>(next))
    }
}

/// Depths between the row that is packed and the one that is prefetched: rows are pages apart,
/// where the hardware does not prefetch. More would not fit L1 where rows share its sets.
const AHEAD: usize = 6;

/// Depths whose sum is added to the total at once: the rounding error grows with this number and
/// with the number of such sums.
const SUMMED: usize = 64;

/// Words that are written to a panel together, so that whole cache lines are written.
const TOGETHER: usize = 4;

impl<'a> PackPanels<'a> {
    /// [`PackPanels::copy`] with the width as a constant.
    #[inline(always)]
    fn copy_panels<S: Simd, W: ToWords>(self) {
        match self.width {
            12 if S::LANES == 16 => self.copy::<S, W, 12>(),
            32 if S::LANES == 16 => self.copy::<S, W, 32>(),
            6 if S::LANES == 8 => self.copy::<S, W, 6>(),
            16 if S::LANES == 8 => self.copy::<S, W, 16>(),
            width => unreachable!("panels of {width}"),
        }
    }

    /// Packs all panels at once, reading along neighbouring rows, which are neighbours in memory.
    #[inline(always)]
    fn copy<S: Simd, W: ToWords, const WIDTH: usize>(mut self) {
        let Range { start, end } = *self.depths;
        let words = (end - start).div_ceil(W::PER_WORD);
        let mut block = [0.0; MOST_ROWS];
        for first in (0..words).step_by(TOGETHER) {
            let count = TOGETHER.min(words - first);
            let mut rows = [[&[][..]; 2]; TOGETHER];
            for (word, pair) in (first..first + count).zip(&mut rows) {
                let depth = start + word * W::PER_WORD;
                let next =
                    if W::PER_WORD == 2 && depth + 1 < end { self.at(depth + 1) } else { &[] };
                *pair = [self.at(depth), next];
                for coming in depth + AHEAD..(depth + AHEAD + W::PER_WORD).min(end) {
                    let row = self.at(coming);
                    prefetch_elements::<S>(row.as_ptr(), row.len());
                }
            }
            let rows = &rows[..count];
            self.write::<S, W, WIDTH>(first, words, rows);
            for (word, &pair) in (first..).zip(rows) {
                self.side.along::<S>(self.format, word * W::PER_WORD, self.rows.start, pair);
            }
            self.side.sum::<S>(&mut block, rows);
            if (first + TOGETHER).is_multiple_of(SUMMED / W::PER_WORD) || first + count == words {
                self.side.end_block::<S>(&mut block);
            }
        }
    }

    /// The elements at a depth.
    #[inline(always)]
    fn at(&self, depth: usize) -> &'a [f32] {
        let row = depth * self.operand.depth_stride;
        &self.operand.data[row + self.rows.start..row + self.rows.end]
    }

    /// Writes the words of some `rows`, from word `first` of `words` on, to every panel.
    #[inline(always)]
    fn write<S: Simd, W: ToWords, const WIDTH: usize>(
        &mut self,
        first: usize,
        words: usize,
        rows: &[[&[f32]; 2]],
    ) {
        let length = rows[0][0].len();
        // Not whole are the last panel where rows are missing, and all where a last depth has no
        // pair.
        let paired = W::PER_WORD == 1 || !rows[rows.len() - 1][1].is_empty();
        let whole = if paired { length / WIDTH } else { 0 };
        for panel in 0..length.div_ceil(WIDTH) {
            let target = &mut self.packed[(panel * words + first) * WIDTH..];
            for (target, [row, next]) in target.chunks_exact_mut(WIDTH).zip(rows) {
                for group in (0..WIDTH).step_by(S::LANES) {
                    let start = panel * WIDTH + group;
                    let target = &mut target[group..(group + S::LANES).min(WIDTH)];
                    let words = if panel < whole {
                        let part = start..start + target.len();
                        let next = if W::PER_WORD == 2 { &next[part.clone()] } else { next };
                        W::words::<S>(&row[part], next)
                    } else {
                        W::words::<S>(part(row, start, target), part(next, start, target))
                    };
                    store_up_to::<S>(words, target);
                }
            }
        }
    }
}

/// The elements of a row from `start` on, at most as many as `target` has.
#[inline(always)]
fn part<'a>(row: &'a [f32], start: usize, target: &[f32]) -> &'a [f32] {
    &row[start.min(row.len())..(start + target.len()).min(row.len())]
}

impl SideOutputs<'_> {
    /// Packs `rows`, the elements at `depth` and the next depth, which are those of the operand's
    /// rows from `first` on.
    #[inline(always)]
    fn along<S: Simd>(&self, format: Format, depth: usize, first: usize, rows: [&[f32]; 2]) {
        let Some(target) = self.along else { return };
        let first = first / format.per_word();
        for (depth, row) in (depth..).zip(rows) {
            if !row.is_empty() {
                let words = first..first + row.len().div_ceil(format.per_word());
                // SAFETY: tasks pack different rows of the operand, which are different columns of
                // the target.
                to_words::<S>(format, row, unsafe { target.part(depth, words) });
            }
        }
    }

    /// Adds `rows` to the sums of a block of depths.
    #[inline(always)]
    fn sum<S: Simd>(&self, block: &mut [f32; MOST_ROWS], rows: &[[&[f32]; 2]]) {
        if self.sums.is_none() {
            return;
        }
        let length = rows[0][0].len();
        for (start, block) in (0..length).step_by(S::LANES).zip(block.chunks_mut(S::LANES)) {
            let mut sum = S::load(block);
            for row in rows.as_flattened() {
                if start < row.len() {
                    sum = S::add(sum, load_up_to::<S>(&row[start..]));
                }
            }
            S::store(sum, block);
        }
    }

    /// Adds the sums of a block to the total, and clears them.
    #[inline(always)]
    fn end_block<S: Simd>(&mut self, block: &mut [f32; MOST_ROWS]) {
        let Some(sums) = &mut self.sums else { return };
        for (sum, block) in sums.chunks_mut(S::LANES).zip(block.chunks_mut(S::LANES)) {
            store_up_to::<S>(S::add(load_up_to::<S>(sum), S::load(block)), sum);
            block.fill(0.0);
        }
    }
}

/// Packs one panel of an operand whose depth is contiguous, by transposition.
struct TransposePanel<'a> {
    operand: &'a Operand<'a>,
    format: Format,
    /// First row of the panel.
    first: usize,
    /// Rows of the panel that exist.
    used: usize,
    width: usize,
    depths: &'a Range<usize>,
    packed: &'a mut [f32],
}

/// Words of a row that are converted before they are transposed.
const CONVERTED: usize = 64;

impl TransposePanel<'_> {
    /// Transposes blocks of `LANES x LANES` words in registers.
    #[inline(always)]
    fn run<S: Simd>(self) {
        let (width, per_word) = (self.width, self.format.per_word());
        let words = self.depths.len().div_ceil(per_word);
        let mut rows = [[0.0; CONVERTED]; 16];
        // `LANES` rows at a time: the hardware prefetches that number of streams better than
        // `width`.
        for group in (0..width).step_by(S::LANES) {
            for start in (0..words).step_by(CONVERTED) {
                let count = (words - start).min(CONVERTED);
                let depth = self.depths.start + start * per_word;
                let depths = depth..(depth + count * per_word).min(self.depths.end);
                for (row, target) in (group..).zip(&mut rows[..S::LANES]) {
                    if row < self.used {
                        let source = self.operand.row(self.first + row, &depths);
                        to_words::<S>(self.format, source, &mut target[..count]);
                    } else {
                        target[..count].fill(0.0);
                    }
                }
                let whole = count / S::LANES * S::LANES;
                for word in (0..whole).step_by(S::LANES) {
                    S::transpose(
                        #[inline(always)]
                        |lane| &rows[lane][word..],
                        &mut self.packed[(start + word) * width + group..],
                        width,
                    );
                }
                for word in whole..count {
                    let target = &mut self.packed[(start + word) * width + group..][..S::LANES];
                    for (target, row) in target.iter_mut().zip(&rows) {
                        *target = row[word];
                    }
                }
            }
        }
    }
}

/// Packs elements that are neighbours along the depth.
#[inline(always)]
fn to_words<S: Simd>(format: Format, numbers: &[f32], words: &mut [f32]) {
    match format {
        Format::Exact => words.copy_from_slice(numbers),
        Format::RoundedBf16 | Format::RoundedF16 => {
            for (numbers, words) in numbers.chunks(S::LANES).zip(words.chunks_mut(S::LANES)) {
                store_up_to::<S>(rounded::<S>(format, load_up_to::<S>(numbers)), words);
            }
        }
        Format::Bf16Pairs => {
            for (numbers, words) in numbers.chunks(2 * S::LANES).zip(words.chunks_mut(S::LANES)) {
                let (low, high) = numbers.split_at(numbers.len().min(S::LANES));
                let pairs = S::neighbour_pairs(load_up_to::<S>(low), load_up_to::<S>(high));
                store_up_to::<S>(pairs, words);
            }
        }
    }
}

/// Rounds a vector as `format` says, where a word is one element.
#[inline(always)]
pub(crate) fn rounded<S: Simd>(format: Format, numbers: S::V) -> S::V {
    match format {
        Format::Exact => numbers,
        Format::RoundedBf16 => S::round_bf16(numbers),
        Format::RoundedF16 => S::round_f16(numbers),
        Format::Bf16Pairs => unreachable!("a pair takes two vectors"),
    }
}
