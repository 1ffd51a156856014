//! Products of bytes: for each instruction set a kernel that multiplies queries with rows of bytes
//! and compares the sums with thresholds, and what else the search by bytes needs of vectors.

mod avx2;
mod rows;
mod tile;
mod vnni;

pub(super) use rows::{RowHit, RowQuery, Rows};
pub(super) use tile::{Hits, Line, QUERIES, ROWS, Thresholds, Tile};

use crate::cpu::top_k::bytes::{GROUP, OFFSET, STRETCH};
use crate::cpu::top_k::exact::{SUMS, total};
use crate::cpu::top_k::products::avx2::{Avx2, AvxVnni};
use crate::cpu::top_k::products::tile::{LINE, LINES};
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

impl ByteProducts {
    /// The fastest that `isa` has.
    pub(super) fn of(isa: Supported) -> Option<ByteProducts> {
        match isa.isa() {
            Isa::Scalar => None,
            Isa::Avx2 | Isa::Avx512 => Avx2::of(isa).map(ByteProducts::Avx2),
            Isa::Avx2Vnni => AvxVnni::of(isa).map(ByteProducts::AvxVnni),
            Isa::Avx512Vnni | Isa::Avx512Bf16 => Vnni::of(isa).map(ByteProducts::Vnni),
        }
    }

    /// Whether `bytes::ENERGY` and `bytes::PAIR` bound the bytes of rows and queries.
    pub(super) fn has_narrow_sums(self) -> bool {
        matches!(self, ByteProducts::Avx2(_))
    }

    /// An empty panel for queries of `width` bytes, whole groups.
    pub(super) fn panel(self, width: usize) -> Vec<Line> {
        vec![Line([[0; GROUP]; LINE]); self.lines(width / GROUP)]
    }

    /// Writes a query to its lane of a panel.
    pub(super) fn pack(self, bytes: &[u8], lane: usize, panel: &mut [Line]) {
        let groups = bytes.as_chunks::<GROUP>().0;
        let mut lines = panel.iter_mut().skip(lane / LINE).step_by(LINES);
        let mut put = |four| {
            let line = lines.next().expect("a line for each group and each stretch");
            line.0[lane % LINE] = four;
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
        assert!(tile.queries <= QUERIES, "{} queries of a panel", tile.queries);
        hits.masks = [0; ROWS];
        match self {
            ByteProducts::Avx2(has) => avx2::compare_narrow(has, tile, hits),
            ByteProducts::AvxVnni(has) => avx2::compare_wide(has, tile, hits),
            ByteProducts::Vnni(has) => vnni::compare(has, tile, hits),
        }
    }

    /// Multiplies a query with rows and adds those whose sums reach the threshold to `hits`, by the
    /// comparison of [`ByteProducts::compare`].
    #[inline(always)]
    pub(super) fn compare_rows(self, query: &RowQuery, rows: Rows<'_>, hits: &mut Vec<RowHit>) {
        match self {
            ByteProducts::Avx2(has) => rows::avx2(has, query, rows, hits),
            ByteProducts::AvxVnni(has) => rows::avx_vnni(has, query, rows, hits),
            ByteProducts::Vnni(has) => rows::vnni(has, query, rows, hits),
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
        assert!(length <= room && length.is_multiple_of(LINE), "{length} of {room} places");
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
        let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<SUMS>(), b.as_chunks::<SUMS>());
        let mut sums = match self {
            ByteProducts::Avx2(has) => avx2::dot_sums(has, a, b),
            ByteProducts::AvxVnni(has) => avx2::dot_sums(has.into(), a, b),
            ByteProducts::Vnni(has) => vnni::dot_sums(has, a, b),
        };
        for ((sum, &a), &b) in sums.iter_mut().zip(rest_a).zip(rest_b) {
            *sum += f64::from(a) * f64::from(b);
        }
        total(sums)
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
#[inline]
pub(super) fn prefetch<T>(elements: &[T]) {
    for line in elements.chunks(64 / size_of::<T>()) {
        // SAFETY: a prefetch does not access memory.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

#[cfg(test)]
mod tests;
