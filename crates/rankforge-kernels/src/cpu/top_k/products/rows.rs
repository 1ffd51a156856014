//! One query and many rows: each row is read in its order, as fast as memory gives it.

use crate::cpu::top_k::bytes::{GROUP, OFFSET, Row};
use crate::cpu::top_k::products::avx2::{Avx2, AvxVnni};
use crate::cpu::top_k::products::vnni::Vnni;
use std::arch::x86_64::*;

/// Bytes of a part of a query, as long as the longest vector.
const PART: usize = 64;

/// Rows whose sums are computed together.
const FOUR: usize = 4;

/// Bytes ahead of the rows in use that are fetched.
const AHEAD: usize = 4096;

/// A query in bytes, for products with rows.
pub(crate) struct RowQuery {
    /// Zeros beyond the end.
    parts: Vec<[u8; PART]>,
    /// Bytes of a row.
    width: usize,
    /// What [`OFFSET`] adds to each sum.
    added: i32,
    /// Norm of the query, in units of its scale.
    length: f32,
    /// Norm of its rounding error.
    lost: f32,
}

/// Rows that a query is compared with.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// Each byte plus [`OFFSET`].
    pub(crate) bytes: &'a [u8],
    pub(crate) terms: &'a [Row],
    /// The score to reach, in units of the query's scale.
    pub(crate) score: f32,
}

/// A row whose score may reach the threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowHit {
    /// Its place among the rows compared.
    pub(crate) row: usize,
    /// Sum of the products of its bytes with the query's.
    pub(crate) sum: i32,
}

impl RowQuery {
    /// A query of whole groups of bytes, its norm and that of its rounding error.
    pub(crate) fn new(bytes: &[u8], (length, lost): (f32, f32)) -> RowQuery {
        let mut parts = vec![[0; PART]; bytes.len().div_ceil(PART)];
        parts.as_flattened_mut()[..bytes.len()].copy_from_slice(bytes);
        let sum: i32 = bytes.iter().map(|&byte| i32::from(byte as i8)).sum();
        let added = i32::from(OFFSET) * sum;
        RowQuery { parts, width: bytes.len(), added, length, lost }
    }

    #[track_caller]
    fn check(&self, rows: Rows<'_>) {
        let Rows { bytes, terms, .. } = rows;
        assert!(self.width.is_multiple_of(GROUP) && self.parts.len() * PART >= self.width);
        assert!(bytes.len() == terms.len() * self.width, "bytes of {} rows", terms.len());
    }

    /// Adds those of up to four rows that may reach the threshold to `hits`; `sums` are theirs,
    /// with what [`OFFSET`] adds.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn mark(&self, first: usize, four: Rows<'_>, sums: __m128i, hits: &mut Vec<RowHit>) {
        let Rows { terms, score, .. } = four;
        let row = |number: usize| {
            let row: &Row = terms.get(number).unwrap_or(&Row::ABSENT);
            // SAFETY: a `Row` is four `f32`.
            unsafe { _mm_loadu_ps((&raw const *row).cast()) }
        };
        let (mut base, mut inverse, mut lost, mut length) = (row(0), row(1), row(2), row(3));
        _MM_TRANSPOSE4_PS(&mut base, &mut inverse, &mut lost, &mut length);
        let sums = _mm_sub_epi32(sums, _mm_set1_epi32(self.added));
        let needed = _mm_fnmadd_ps(lost, _mm_set1_ps(self.length), _mm_set1_ps(score));
        let needed = _mm_fnmadd_ps(length, _mm_set1_ps(self.lost), needed);
        let needed = _mm_fmadd_ps(inverse, needed, base);
        let mut mask = _mm_movemask_ps(_mm_cmpge_ps(_mm_cvtepi32_ps(sums), needed));
        if mask == 0 {
            return;
        }
        let mut numbers = [0; FOUR];
        // SAFETY: four `i32`.
        unsafe { _mm_storeu_si128(numbers.as_mut_ptr().cast(), sums) };
        while mask != 0 {
            let number = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            hits.push(RowHit { row: first + number, sum: numbers[number] });
        }
    }
}

impl<'a> Rows<'a> {
    /// The rows four by four, and the rest.
    #[inline]
    fn by_four(self, width: usize) -> impl Iterator<Item = Rows<'a>> {
        let four = self.bytes.chunks(FOUR * width).zip(self.terms.chunks(FOUR));
        four.map(move |(bytes, terms)| Rows { bytes, terms, ..self })
    }

    /// The places where four rows begin; beyond the last row, the last again.
    #[inline]
    fn starts(self, width: usize) -> [*const u8; FOUR] {
        let last = self.terms.len() - 1;
        let start = |row: usize| self.bytes[row.min(last) * width..][..width].as_ptr();
        [start(0), start(1), start(2), start(3)]
    }
}

/// `ByteProducts::compare_rows` with AVX-512.
#[inline(always)]
pub(super) fn vnni(_: Vnni, query: &RowQuery, rows: Rows<'_>, hits: &mut Vec<RowHit>) {
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn compare(query: &RowQuery, rows: Rows<'_>, hits: &mut Vec<RowHit>) {
        query.check(rows);
        let width = query.width;
        let (whole, rest) = (width / PART, width % PART / GROUP);

        for (number, four) in rows.by_four(width).enumerate() {
            let starts = four.starts(width);
            let mut sums = [_mm512_setzero_si512(); FOUR];
            for (place, part) in query.parts[..whole].iter().enumerate() {
                // SAFETY: a part has 64 bytes.
                let part = unsafe { _mm512_loadu_si512(part.as_ptr().cast()) };
                for (sum, start) in sums.iter_mut().zip(starts) {
                    // SAFETY: a row has at least `whole` parts; prefetching accesses nothing.
                    let bytes = unsafe {
                        let place = start.add(place * PART);
                        _mm_prefetch::<_MM_HINT_T0>(place.wrapping_add(AHEAD).cast());
                        _mm512_loadu_si512(place.cast())
                    };
                    *sum = _mm512_dpbusd_epi32(*sum, bytes, part);
                }
            }
            if rest > 0 {
                let mask = (1 << rest) - 1;
                // SAFETY: a part has 64 bytes.
                let part = unsafe { _mm512_loadu_si512(query.parts[whole].as_ptr().cast()) };
                for (sum, start) in sums.iter_mut().zip(starts) {
                    // SAFETY: the mask covers the `rest` groups after the `whole` parts of a row.
                    let bytes =
                        unsafe { _mm512_maskz_loadu_epi32(mask, start.add(whole * PART).cast()) };
                    *sum = _mm512_dpbusd_epi32(*sum, bytes, part);
                }
            }
            let halves = sums.map(|sum| {
                let high = _mm512_extracti64x4_epi64::<1>(sum);
                _mm256_add_epi32(_mm512_castsi512_si256(sum), high)
            });
            query.mark(number * FOUR, four, totals(halves), hits);
        }
    }
    // SAFETY: a `Vnni` exists only where the machine has what the function needs.
    unsafe { compare(query, rows, hits) }
}

/// The sum of each vector.
#[inline]
#[target_feature(enable = "avx2")]
fn totals([a, b, c, d]: [__m256i; FOUR]) -> __m128i {
    let all = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all))
}

/// Bytes of a vector with AVX2.
const HALF: usize = PART / 2;

/// A function that compares rows with a query by vectors of 32 bytes; `$multiply` adds the
/// products of a vector of a row and one of the query to a vector of sums.
macro_rules! compare_by_halves {
    ($features:literal, $multiply:ident) => {
        #[target_feature(enable = $features)]
        fn compare(query: &RowQuery, rows: Rows<'_>, hits: &mut Vec<RowHit>) {
            query.check(rows);
            let width = query.width;
            let (whole, rest) = (width / HALF, width % HALF / GROUP);
            let halves = query.parts.as_flattened().as_chunks::<HALF>().0;

            for (number, four) in rows.by_four(width).enumerate() {
                let starts = four.starts(width);
                let mut sums = [_mm256_setzero_si256(); FOUR];
                for (place, half) in halves[..whole].iter().enumerate() {
                    // SAFETY: a half has 32 bytes.
                    let half = unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
                    for (sum, start) in sums.iter_mut().zip(starts) {
                        // SAFETY: a row has at least `whole` halves; prefetching accesses nothing.
                        let bytes = unsafe {
                            let place = start.add(place * HALF);
                            _mm_prefetch::<_MM_HINT_T0>(place.wrapping_add(AHEAD).cast());
                            _mm256_loadu_si256(place.cast())
                        };
                        *sum = $multiply(*sum, bytes, half);
                    }
                }
                if rest > 0 {
                    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                    let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(rest as i32), lanes);
                    // SAFETY: a half has 32 bytes.
                    let half = unsafe { _mm256_loadu_si256(halves[whole].as_ptr().cast()) };
                    for (sum, start) in sums.iter_mut().zip(starts) {
                        let rest = start.wrapping_add(whole * HALF).cast();
                        // SAFETY: the mask covers the `rest` groups after the `whole` halves.
                        let bytes = unsafe { _mm256_maskload_epi32(rest, mask) };
                        *sum = $multiply(*sum, bytes, half);
                    }
                }
                query.mark(number * FOUR, four, totals(sums), hits);
            }
        }
    };
}

/// `ByteProducts::compare_rows` with AVX-VNNI.
#[inline(always)]
pub(super) fn avx_vnni(_: AvxVnni, query: &RowQuery, rows: Rows<'_>, hits: &mut Vec<RowHit>) {
    compare_by_halves!("avx2,fma,avxvnni", _mm256_dpbusd_avx_epi32);
    // SAFETY: an `AvxVnni` exists only where the machine has what the function needs.
    unsafe { compare(query, rows, hits) }
}

/// `ByteProducts::compare_rows` with AVX2. As the query keeps `bytes::PAIR`, sums of two products
/// fit 16 bits, whatever the row.
#[inline(always)]
pub(super) fn avx2(_: Avx2, query: &RowQuery, rows: Rows<'_>, hits: &mut Vec<RowHit>) {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn multiply(sum: __m256i, bytes: __m256i, half: __m256i) -> __m256i {
        let pairs = _mm256_maddubs_epi16(bytes, half);
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
    compare_by_halves!("avx2,fma", multiply);
    // SAFETY: an `Avx2` exists only where the machine has what the function needs.
    unsafe { compare(query, rows, hits) }
}
