//! Packing of the operands of a matrix product into words, rounded where the precision asks for it.

use crate::product::Operand;
use crate::simd::{Kernel, Simd, load_up_to, store_up_to};
use crate::{Isa, Precision};
use std::ops::Range;

/// What a packed word holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A number as it is.
    Exact,
    /// A number rounded to bfloat16, as `f32`.
    RoundedBf16,
    /// A number rounded to half precision, as `f32`.
    RoundedF16,
    /// Two neighbours along the depth, each rounded to bfloat16.
    Bf16Pairs,
}

impl Format {
    /// What products of a precision are made of on an instruction set.
    pub(crate) fn of(isa: Isa, precision: Precision) -> Format {
        match precision {
            Precision::Float32 => Format::Exact,
            Precision::BFloat16 if isa == Isa::Avx512Bf16 => Format::Bf16Pairs,
            Precision::BFloat16 => Format::RoundedBf16,
            Precision::Float16 => Format::RoundedF16,
        }
    }

    /// Numbers along the depth in a word.
    pub(crate) fn per_word(self) -> usize {
        if self == Format::Bf16Pairs { 2 } else { 1 }
    }
}

/// Writes `rows` of an operand whose depth is contiguous as rows of `stride` words.
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

/// Writes rows of an operand as panels: `width` neighbours for each word, zeros beyond the last row.
pub(crate) struct PackPanels<'a> {
    pub(crate) operand: &'a Operand<'a>,
    pub(crate) format: Format,
    pub(crate) rows: Range<usize>,
    pub(crate) width: usize,
    pub(crate) depths: &'a Range<usize>,
    /// Panels of `words x width`.
    pub(crate) packed: &'a mut [f32],
}

impl Kernel for PackPanels<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        if self.operand.depth_stride == 1 {
            let words = self.depths.len().div_ceil(self.format.per_word());
            let firsts = self.rows.clone().step_by(self.width);
            for (first, packed) in firsts.zip(self.packed.chunks_exact_mut(self.width * words)) {
                let used = self.width.min(self.rows.end - first);
                let PackPanels { operand, format, width, depths, .. } = self;
                Turn { operand, format, first, used, width, depths, packed }.run::<S>();
            }
            return;
        }
        match self.format {
            Format::Exact => self.copy::<S, ToExact>(),
            Format::RoundedBf16 => self.copy::<S, ToBf16>(),
            Format::RoundedF16 => self.copy::<S, ToF16>(),
            Format::Bf16Pairs if S::BF16_PAIRS => self.copy::<S, ToPairs>(),
            Format::Bf16Pairs => unreachable!("the format is of the instruction set"),
        }
    }
}

/// Makes words of numbers at one depth and the next.
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

/// Depths between the row that is packed and the one that is asked for: parts of rows lie pages apart, where the processor
/// does not look ahead by itself.
const AHEAD: usize = 16;

impl PackPanels<'_> {
    /// Neighbouring rows are neighbours in memory: read along them, for all panels at once.
    #[inline(always)]
    fn copy<S: Simd, W: ToWords>(self) {
        let (Range { start, end }, width) = (self.depths.clone(), self.width);
        let words = (end - start).div_ceil(W::PER_WORD);
        let at = |depth: usize| {
            let row = depth * self.operand.depth_stride;
            &self.operand.data[row + self.rows.start..row + self.rows.end]
        };
        for (word, depth) in (start..end).step_by(W::PER_WORD).enumerate() {
            let row = at(depth);
            let next = if W::PER_WORD == 2 && depth + 1 < end { at(depth + 1) } else { &[] };
            for coming in depth + AHEAD..(depth + AHEAD + W::PER_WORD).min(end) {
                for line in (0..row.len()).step_by(16) {
                    S::prefetch(at(coming)[line..].as_ptr());
                }
            }
            for (panel, first) in (0..row.len()).step_by(width).enumerate() {
                let target = &mut self.packed[(panel * words + word) * width..][..width];
                for (group, target) in (first..).step_by(S::LANES).zip(target.chunks_mut(S::LANES))
                {
                    let part = |row: &'_ [f32]| {
                        let start = group.min(row.len());
                        start..(group + target.len()).min(row.len())
                    };
                    store_up_to::<S>(W::words::<S>(&row[part(row)], &next[part(next)]), target);
                }
            }
        }
    }
}

/// Packs one panel of an operand whose depth is contiguous.
struct Turn<'a> {
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
const TURNED: usize = 64;

impl Turn<'_> {
    /// Blocks of `LANES x LANES` words are turned in registers.
    #[inline(always)]
    fn run<S: Simd>(self) {
        let (width, per_word) = (self.width, self.format.per_word());
        let words = self.depths.len().div_ceil(per_word);
        let mut rows = [[0.0; TURNED]; 16];
        // Along the rows first: the processor follows `LANES` streams better than `width`.
        for group in (0..width).step_by(S::LANES) {
            for start in (0..words).step_by(TURNED) {
                let count = (words - start).min(TURNED);
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

/// The words of numbers that follow each other along the depth.
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

/// Numbers of a vector that are rounded as `format` says, where a word is one number.
#[inline(always)]
pub(crate) fn rounded<S: Simd>(format: Format, numbers: S::V) -> S::V {
    match format {
        Format::Exact => numbers,
        Format::RoundedBf16 => S::round_bf16(numbers),
        Format::RoundedF16 => S::round_f16(numbers),
        Format::Bf16Pairs => unreachable!("a pair is of two vectors"),
    }
}
