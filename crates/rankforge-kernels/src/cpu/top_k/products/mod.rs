//! Products of bytes: for each instruction set a kernel that multiplies queries with rows of bytes
//! and compares the sums with thresholds, and what else the search by bytes needs of vectors.

mod avx2;
mod vnni;

use crate::cpu::top_k::products::avx2::{Avx2, AvxVnni};
use crate::cpu::top_k::products::vnni::Vnni;
use crate::isa::{Isa, Supported};
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// The instructions that multiply bytes, and proof that the machine has them.
#[derive(Clone, Copy, Debug)]
pub(super) enum ByteProducts {
    /// `vpmaddubsw`, whose sums have 16 bits.
    Avx2(Avx2),
    /// `vpdpbusd` on 32 bytes.
    AvxVnni(AvxVnni),
    /// `vpdpbusd` on 64 bytes.
    Vnni(Vnni),
}

/// Queries of a panel: the columns of a tile.
pub(super) const QUERIES: usize = 64;

/// Rows of the corpus in a tile.
pub(super) const ROWS: usize = 6;

/// Bytes of a row that one instruction takes in.
pub(super) const GROUP: usize = 4;

/// Added to a byte of a row, as the instructions multiply unsigned bytes with signed ones.
pub(super) const OFFSET: u8 = 128;

/// Groups of bytes whose products are summed in 16 bits.
///
/// With more, fewer instructions widen the sums, and [`ENERGY`] leaves fewer bits to each byte.
pub(super) const STRETCH: usize = 8;

/// Where sums have 16 bits, the most that the sum of the squares may be in each half of a stretch:
/// of the elements 0, 1, 4, 5, 8, 9 and so on, and of the others. Then no sum of products of a
/// query and a row is larger (Cauchy-Schwarz).
pub(super) const ENERGY: i32 = i16::MAX as i32;

/// Where sums have 16 bits, the most that two neighbouring bytes may be together. `vpmaddubsw` adds
/// their products with bytes of up to 255, and saturates.
pub(super) const PAIR: i32 = 128;

/// Queries of a line.
const LANES: usize = 16;

/// Lines of a group of a panel.
const LINES: usize = QUERIES / LANES;

/// Four bytes of each of 16 queries: a group of their elements, or the sums that a stretch of
/// groups begins with, which remove what [`OFFSET`] adds.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line([[u8; GROUP]; LANES]);

/// The terms of the comparison for each query of a panel, in units of its scale.
#[derive(Clone)]
#[repr(C, align(64))]
pub(super) struct Thresholds {
    /// The score to reach.
    pub(super) score: [f32; QUERIES],
    /// Norm of the query: 1.
    pub(super) length: [f32; QUERIES],
    /// Norm of the rounding error.
    pub(super) lost: [f32; QUERIES],
}

/// The terms of the comparison for a row of the corpus.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// Minus room for rounding; infinite for a row that is never taken.
    pub(super) base: f32,
    /// One over the scale.
    pub(super) inverse_scale: f32,
    /// Norm of the rounding error.
    pub(super) lost: f32,
    /// Norm of the rounded row.
    pub(super) length: f32,
}

/// The sums of a tile that reach their thresholds.
pub(super) struct Hits {
    /// For each row, a bit for each query.
    pub(super) masks: [u64; ROWS],
    /// The sums of products; unspecified where no bit is set.
    pub(super) sums: [[i32; QUERIES]; ROWS],
}

/// A panel of queries and `ROWS` rows.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    /// The queries, packed by [`ByteProducts::pack`].
    pub(super) panel: &'a [Line],
    pub(super) thresholds: &'a Thresholds,
    /// The rows, each byte plus [`OFFSET`].
    pub(super) bytes: &'a [u8],
    pub(super) rows: &'a [Row; ROWS],
}

/// The largest error terms of the rows of a tile, so that one threshold serves all of them.
#[derive(Clone, Copy)]
struct RowError {
    lost: f32,
    length: f32,
}

impl Tile<'_> {
    /// Groups of bytes of a row.
    #[inline(always)]
    fn groups(&self) -> usize {
        self.bytes.len() / (ROWS * GROUP)
    }

    #[inline(always)]
    fn largest_error(&self) -> RowError {
        // One instruction each; `f32::max` takes three, as it looks for NaN.
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let mut error = RowError { lost: 0.0, length: 0.0 };
        for row in self.rows {
            error.lost = larger(row.lost, error.lost);
            error.length = larger(row.length, error.length);
        }
        error
    }
}

impl ByteProducts {
    /// The fastest that `isa` has.
    pub(super) fn of(isa: Supported) -> Option<ByteProducts> {
        match isa.isa() {
            Isa::Scalar => None,
            Isa::Avx2 | Isa::Avx512 => Avx2::of(isa).map(ByteProducts::Avx2),
            Isa::Avx2Vnni => AvxVnni::of(isa).map(ByteProducts::AvxVnni),
            Isa::Avx512Bf16 => Vnni::of(isa).map(ByteProducts::Vnni),
        }
    }

    /// Whether [`ENERGY`] and [`PAIR`] bound the bytes of rows and queries.
    pub(super) fn has_narrow_sums(self) -> bool {
        matches!(self, ByteProducts::Avx2(_))
    }

    /// An empty panel for queries of `width` bytes, whole groups.
    pub(super) fn panel(self, width: usize) -> Vec<Line> {
        vec![Line([[0; GROUP]; LANES]); self.lines(width / GROUP)]
    }

    /// Writes a query to its lane of a panel.
    pub(super) fn pack(self, bytes: &[u8], lane: usize, panel: &mut [Line]) {
        let groups = bytes.as_chunks::<GROUP>().0;
        let mut lines = panel.iter_mut().skip(lane / LANES).step_by(LINES);
        let mut put = |four| {
            let line = lines.next().expect("a line for each group and each stretch");
            line.0[lane % LANES] = four;
        };
        for stretch in groups.chunks(self.stretch(groups.len())) {
            let signed = stretch.iter().map(|four| four.map(|byte| i32::from(byte as i8)));
            let first = if self.has_narrow_sums() {
                // A sum of 16 bits for each half of the groups; what is too large for them returns
                // when the products are added.
                let halves = signed.fold([0, 0], |[low, high], [a, b, c, d]| {
                    [low - i32::from(OFFSET) * (a + b), high - i32::from(OFFSET) * (c + d)]
                });
                halves[0] & 0xffff | halves[1] << 16
            } else {
                -i32::from(OFFSET) * signed.flatten().sum::<i32>()
            };
            put(first.to_le_bytes());
            stretch.iter().for_each(|&four| put(four));
        }
    }

    /// Multiplies the panel's queries with the rows and compares the sums with the thresholds;
    /// returns whether any reaches its own.
    ///
    /// A sum is left out only if `scale_q scale_r sum + lost_r + lost_q length_r` is below the
    /// query's threshold: the last two terms bound the error of rounding to bytes (Cauchy-Schwarz).
    #[inline(always)]
    pub(super) fn compare(self, tile: Tile<'_>, hits: &mut Hits) -> bool {
        let groups = tile.groups();
        assert!(tile.panel.len() == self.lines(groups), "a line for each group and each stretch");
        hits.masks = [0; ROWS];
        match self {
            ByteProducts::Avx2(has) => avx2::compare_narrow(has, tile, hits),
            ByteProducts::AvxVnni(has) => avx2::compare_wide(has, tile, hits),
            ByteProducts::Vnni(has) => vnni::compare(has, tile, hits),
        }
    }

    /// How many of `numbers`, whole vectors of 16, are at least `value`.
    pub(super) fn count_at_least(self, numbers: &[f32], value: f32) -> usize {
        match self {
            ByteProducts::Avx2(has) => avx2::count_at_least(has, numbers, value),
            ByteProducts::AvxVnni(has) => avx2::count_at_least(has.into(), numbers, value),
            ByteProducts::Vnni(has) => vnni::count_at_least(has, numbers, value),
        }
    }

    /// Keeps the places among the first `length`, whole vectors of 16, at which `numbers` are at
    /// least `value`, in order; returns how many there are.
    pub(super) fn keep_at_least(
        self,
        value: f32,
        numbers: &mut [f32],
        others: &mut [f32],
        index: &mut [u32],
        length: usize,
    ) -> usize {
        let room = numbers.len().min(others.len()).min(index.len());
        assert!(length <= room && length.is_multiple_of(LANES), "{length} of {room} places");
        let (numbers, others) = (&mut numbers[..length], &mut others[..length]);
        let index = &mut index[..length];
        match self {
            ByteProducts::Avx2(has) => avx2::keep_at_least(has, value, numbers, others, index),
            ByteProducts::AvxVnni(has) => {
                avx2::keep_at_least(has.into(), value, numbers, others, index)
            }
            ByteProducts::Vnni(has) => vnni::keep_at_least(has, value, numbers, others, index),
        }
    }

    /// The dot product in `f64`, with the bits of `exact::dot`: products of `f32` are exact in
    /// `f64`, so a fused multiply-add rounds like an addition.
    pub(super) fn dot(self, a: &[f32], b: &[f32]) -> f64 {
        match self {
            ByteProducts::Avx2(has) => avx2::dot(has, a, b),
            ByteProducts::AvxVnni(has) => avx2::dot(has.into(), a, b),
            ByteProducts::Vnni(has) => vnni::dot(has, a, b),
        }
    }

    /// Lines of a panel.
    #[inline(always)]
    fn lines(self, groups: usize) -> usize {
        (groups + groups.div_ceil(self.stretch(groups))) * LINES
    }

    /// Groups between two lines of initial sums.
    #[inline(always)]
    fn stretch(self, groups: usize) -> usize {
        if self.has_narrow_sums() { STRETCH } else { groups }
    }
}

/// Prefetches some elements of a row.
pub(super) fn prefetch(numbers: &[f32]) {
    for line in numbers.chunks(16) {
        // SAFETY: a prefetch does not access memory.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

#[cfg(test)]
mod tests;
