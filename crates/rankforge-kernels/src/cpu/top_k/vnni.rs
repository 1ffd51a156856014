//! The AVX-512 parts of the search by bytes: products with `vpdpbusd`, comparison of the sums with
//! thresholds, selection in lists of bounds, and the dot product in `f64`.

use crate::cpu::top_k::exact::{SUMS, total};
use crate::isa::{Isa, Supported};
use std::arch::x86_64::*;

/// Proof that the machine has AVX-512 F, BW, DQ, VL and VNNI, and FMA, which the functions here
/// need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vnni(());

impl Vnni {
    /// The proof, where `isa` has them.
    pub(super) fn of(isa: Supported) -> Option<Vnni> {
        (isa.isa() == Isa::Avx512Bf16).then_some(Vnni(()))
    }
}

/// Queries of a panel: the columns of a tile.
pub(super) const QUERIES: usize = 64;

/// Rows of the corpus in a tile.
pub(super) const ROWS: usize = 6;

/// Bytes of a row that one instruction takes in.
pub(super) const GROUP: usize = 4;

const LANES: usize = 16;
const VECTORS: usize = QUERIES / LANES;

/// A group of bytes of 16 queries, each plus 128: 64 bytes, aligned to a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [[u8; GROUP]; LANES]);

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
    /// The sum of products with a query of zeros, minus room for rounding; infinite for a row that
    /// is never taken.
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
    /// The sums of products; unspecified in a vector of 16 without any bit.
    pub(super) sums: [[i32; QUERIES]; ROWS],
}

/// Multiplies the panel's queries with `ROWS` rows of bytes and compares the sums with the
/// thresholds; returns whether any reaches its own.
///
/// A sum is left out only if `scale_q scale_r (sum - 128 sum_r) + lost_r + lost_q length_r` is
/// below the query's threshold: the last two terms bound the error of rounding to bytes
/// (Cauchy-Schwarz).
#[inline(always)]
pub(super) fn tile(
    _: Vnni,
    panel: &[Line],
    thresholds: &Thresholds,
    bytes: &[i8],
    rows: &[Row; ROWS],
    hits: &mut Hits,
) -> bool {
    // SAFETY: a `Vnni` exists only where the machine has what the function needs.
    unsafe { compared_tile(panel, thresholds, bytes, rows, hits) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn compared_tile(
    panel: &[Line],
    thresholds: &Thresholds,
    bytes: &[i8],
    rows: &[Row; ROWS],
    hits: &mut Hits,
) -> bool {
    let groups = panel.len() / VECTORS;
    assert!(panel.len() == groups * VECTORS && bytes.len() == ROWS * groups * GROUP, "a tile");
    let mut sums = [[_mm512_setzero_si512(); VECTORS]; ROWS];
    let (lines, numbers) = (panel.as_ptr(), bytes.as_ptr());
    for group in 0..groups {
        // SAFETY: there are `groups` times `VECTORS` lines, of 64 bytes each.
        let queries: [__m512i; VECTORS] = unsafe {
            let line = lines.add(group * VECTORS).cast::<__m512i>();
            [
                _mm512_load_si512(line),
                _mm512_load_si512(line.add(1)),
                _mm512_load_si512(line.add(2)),
                _mm512_load_si512(line.add(3)),
            ]
        };
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there are `ROWS` rows of `groups` times `GROUP` bytes.
            let number = unsafe {
                numbers.add((row * groups + group) * GROUP).cast::<i32>().read_unaligned()
            };
            let number = _mm512_set1_epi32(number);
            for (sum, &queries) in sums.iter_mut().zip(&queries) {
                *sum = _mm512_dpbusd_epi32(*sum, queries, number);
            }
        }
    }
    // The largest error bound of the rows, so that one comparison value serves all of them.
    let (mut lost, mut length) = (rows[0].lost, rows[0].length);
    for row in &rows[1..] {
        (lost, length) = (lost.max(row.lost), length.max(row.length));
    }
    let (lost, length) = (_mm512_set1_ps(lost), _mm512_set1_ps(length));
    let mut any = 0;
    hits.masks = [0; ROWS];
    for (vector, at) in (0..QUERIES).step_by(LANES).enumerate() {
        // SAFETY: 16 of the `QUERIES` elements of each array, aligned as the struct is.
        let (score, query_length, query_lost) = unsafe {
            (
                _mm512_load_ps(thresholds.score.as_ptr().add(at)),
                _mm512_load_ps(thresholds.length.as_ptr().add(at)),
                _mm512_load_ps(thresholds.lost.as_ptr().add(at)),
            )
        };
        let needed = _mm512_fnmadd_ps(lost, query_length, score);
        let needed = _mm512_fnmadd_ps(length, query_lost, needed);
        for (number, row) in rows.iter().enumerate() {
            let inverse = _mm512_set1_ps(row.inverse_scale);
            let needed = _mm512_fmadd_ps(inverse, needed, _mm512_set1_ps(row.base));
            let sum = sums[number][vector];
            let mask = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(_mm512_cvtepi32_ps(sum), needed);
            if mask != 0 {
                any |= mask;
                hits.masks[number] |= u64::from(mask) << at;
                // SAFETY: 16 of the `QUERIES` elements of the row.
                unsafe { _mm512_storeu_si512(hits.sums[number].as_mut_ptr().add(at).cast(), sum) };
            }
        }
    }
    any != 0
}

/// How many of `numbers`, whole vectors, are at least `value`.
pub(super) fn count_at_least(_: Vnni, numbers: &[f32], value: f32) -> usize {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn count(numbers: &[[f32; LANES]], value: f32) -> usize {
        let value = _mm512_set1_ps(value);
        let mut count = 0;
        for vector in numbers {
            // SAFETY: 16 elements.
            let vector = unsafe { _mm512_loadu_ps(vector.as_ptr()) };
            count += _mm512_cmp_ps_mask::<_CMP_GE_OQ>(vector, value).count_ones() as usize;
        }
        count
    }
    // SAFETY: a `Vnni` exists only where the machine has what the function needs.
    unsafe { count(numbers.as_chunks().0, value) }
}

/// Keeps the places among the first `length`, whole vectors, at which `numbers` are at least
/// `value`, in order; returns how many there are.
pub(super) fn keep_at_least(
    _: Vnni,
    value: f32,
    numbers: &mut [f32],
    others: &mut [f32],
    index: &mut [u32],
    length: usize,
) -> usize {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn keep(
        value: f32,
        numbers: &mut [f32],
        others: &mut [f32],
        index: &mut [u32],
        length: usize,
    ) -> usize {
        let bound = _mm512_set1_ps(value);
        let mut kept = 0;
        for at in (0..length).step_by(LANES) {
            // SAFETY: `length` is a multiple of 16 within all three slices, and a vector is written
            // at or before the place it was read from.
            unsafe {
                let number = _mm512_loadu_ps(numbers.as_ptr().add(at));
                let other = _mm512_loadu_ps(others.as_ptr().add(at));
                let place = _mm512_loadu_epi32(index.as_ptr().add(at).cast());
                let mask = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(number, bound);
                let number = _mm512_maskz_compress_ps(mask, number);
                let other = _mm512_maskz_compress_ps(mask, other);
                let place = _mm512_maskz_compress_epi32(mask, place);
                _mm512_storeu_ps(numbers.as_mut_ptr().add(kept), number);
                _mm512_storeu_ps(others.as_mut_ptr().add(kept), other);
                _mm512_storeu_epi32(index.as_mut_ptr().add(kept).cast(), place);
                kept += mask.count_ones() as usize;
            }
        }
        kept
    }
    let room = numbers.len().min(others.len()).min(index.len());
    assert!(length <= room && length.is_multiple_of(LANES), "{length} of {room} places");
    // SAFETY: a `Vnni` exists only where the machine has what the function needs.
    unsafe { keep(value, numbers, others, index, length) }
}

/// The dot product in `f64`, with the bits of `exact::dot`: products of `f32` are exact in `f64`,
/// so a fused multiply-add rounds like an addition.
pub(super) fn dot(_: Vnni, a: &[f32], b: &[f32]) -> f64 {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
    fn sums(a: &[[f32; SUMS]], b: &[[f32; SUMS]]) -> [f64; SUMS] {
        const DOUBLES: usize = 8;
        let mut sums = [_mm512_setzero_pd(); SUMS / DOUBLES];
        for (a, b) in a.iter().zip(b) {
            for (part, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 8 of the 32 elements of each.
                let (a, b) = unsafe {
                    let at = part * DOUBLES;
                    (_mm256_loadu_ps(a.as_ptr().add(at)), _mm256_loadu_ps(b.as_ptr().add(at)))
                };
                *sum = _mm512_fmadd_pd(_mm512_cvtps_pd(a), _mm512_cvtps_pd(b), *sum);
            }
        }
        let mut numbers = [0.0; SUMS];
        for (part, sum) in numbers.chunks_exact_mut(DOUBLES).zip(sums) {
            // SAFETY: 8 elements.
            unsafe { _mm512_storeu_pd(part.as_mut_ptr(), sum) };
        }
        numbers
    }
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<SUMS>(), b.as_chunks::<SUMS>());
    // SAFETY: a `Vnni` exists only where the machine has what the function needs.
    let mut sums = unsafe { sums(a, b) };
    for ((sum, &a), &b) in sums.iter_mut().zip(rest_a).zip(rest_b) {
        *sum += f64::from(a) * f64::from(b);
    }
    total(sums)
}

/// Prefetches some elements of a row.
pub(super) fn prefetch(numbers: &[f32]) {
    for line in numbers.chunks(16) {
        // SAFETY: a prefetch does not access memory.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}
