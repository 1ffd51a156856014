//! The search by bytes with AVX-512: products by `vpdpbusd`.

use crate::cpu::top_k::bytes::GROUP;
use crate::cpu::top_k::exact::SUMS;
use crate::cpu::top_k::products::tile::{Hits, LINES, QUERIES, ROWS, RowError, Tile};
use crate::isa::{Isa, Supported};
use std::arch::x86_64::*;

/// Proof that the machine has AVX-512 F, BW, DQ, VL and VNNI, and FMA, which the functions here
/// need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vnni(());

impl Vnni {
    /// The proof, where `isa` has them.
    pub(super) fn of(isa: Supported) -> Option<Vnni> {
        matches!(isa.isa(), Isa::Avx512Vnni | Isa::Avx512Bf16).then_some(Vnni(()))
    }
}

const LANES: usize = 16;
const VECTORS: usize = LINES;

/// Sums of the products of the queries of a panel with the rows of a tile.
type Sums = [[__m512i; VECTORS]; ROWS];

/// `ByteProducts::compare`.
#[inline(always)]
pub(super) fn compare(_: Vnni, tile: Tile<'_>, hits: &mut Hits) -> bool {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn compare(tile: Tile<'_>, hits: &mut Hits) -> bool {
        mark(&tile, &sums(&tile), hits)
    }
    // SAFETY: a `Vnni` exists only where the machine has what the function needs.
    unsafe { compare(tile, hits) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn sums(tile: &Tile<'_>) -> Sums {
    let groups = tile.groups();
    let mut sums = [load(tile, 0); ROWS];
    for group in 0..groups {
        let queries = load(tile, group + 1);
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there are `ROWS` rows of `groups` groups.
            let four = unsafe {
                let place = (row * groups + group) * GROUP;
                tile.bytes.as_ptr().add(place).cast::<i32>().read_unaligned()
            };
            let four = _mm512_set1_epi32(four);
            for (sum, &queries) in sums.iter_mut().zip(&queries) {
                *sum = _mm512_dpbusd_epi32(*sum, four, queries);
            }
        }
    }
    sums
}

/// The lines of a group of the panel, or of the initial sums.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(tile: &Tile<'_>, group: usize) -> [__m512i; VECTORS] {
    let lines = &tile.panel[group * LINES..][..LINES];
    let lines = lines.as_ptr().cast::<__m512i>();
    // SAFETY: a line has 64 bytes and is aligned to them.
    unsafe {
        [
            _mm512_load_si512(lines),
            _mm512_load_si512(lines.add(1)),
            _mm512_load_si512(lines.add(2)),
            _mm512_load_si512(lines.add(3)),
        ]
    }
}

/// Compares the sums with the thresholds.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn mark(tile: &Tile<'_>, sums: &Sums, hits: &mut Hits) -> bool {
    let RowError { lost, length } = tile.largest_error();
    let (lost, length) = (_mm512_set1_ps(lost), _mm512_set1_ps(length));
    let mut any = 0;
    for (vector, at) in (0..QUERIES).step_by(LANES).enumerate() {
        // SAFETY: 16 of the `QUERIES` elements of each array, aligned as the struct is.
        let (score, query_length, query_lost) = unsafe {
            (
                _mm512_load_ps(tile.thresholds.score.as_ptr().add(at)),
                _mm512_load_ps(tile.thresholds.length.as_ptr().add(at)),
                _mm512_load_ps(tile.thresholds.lost.as_ptr().add(at)),
            )
        };
        let needed = _mm512_fnmadd_ps(lost, query_length, score);
        let needed = _mm512_fnmadd_ps(length, query_lost, needed);
        for (number, row) in tile.rows.iter().enumerate() {
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

/// `ByteProducts::count_at_least`.
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

/// `ByteProducts::keep_at_least` of all places.
pub(super) fn keep_at_least(
    _: Vnni,
    value: f32,
    numbers: &mut [f32],
    others: &mut [f32],
    index: &mut [u32],
) -> usize {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn keep(value: f32, numbers: &mut [f32], others: &mut [f32], index: &mut [u32]) -> usize {
        let bound = _mm512_set1_ps(value);
        let mut kept = 0;
        for at in (0..numbers.len()).step_by(LANES) {
            // SAFETY: the slices have the same length, a multiple of 16, and a vector is written at
            // or before the place it was read from.
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
    // SAFETY: a `Vnni` exists only where the machine has what the function needs.
    unsafe { keep(value, numbers, others, index) }
}

/// The sums of `exact::dot` for whole chunks.
pub(super) fn dot_sums(_: Vnni, a: &[[f32; SUMS]], b: &[[f32; SUMS]]) -> [f64; SUMS] {
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
    // SAFETY: a `Vnni` exists only where the machine has what the function needs.
    unsafe { sums(a, b) }
}
