//! The search by bytes with AVX2: products by `vpmaddubsw`, or by `vpdpbusd` with AVX-VNNI.

use crate::cpu::top_k::bytes::{GROUP, STRETCH};
use crate::cpu::top_k::exact::SUMS;
use crate::cpu::top_k::products::tile::{Hits, LINE, LINES, QUERIES, ROWS, RowError, Tile};
use crate::isa::{Isa, Supported};
use std::arch::x86_64::*;

/// Proof that the machine has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

/// Proof that the machine has AVX-VNNI, AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AvxVnni(());

impl Avx2 {
    /// The proof, where `isa` has them.
    pub(super) fn of(isa: Supported) -> Option<Avx2> {
        (isa.isa() != Isa::Scalar).then_some(Avx2(()))
    }
}

impl AvxVnni {
    /// The proof, where `isa` has them.
    pub(super) fn of(isa: Supported) -> Option<AvxVnni> {
        (isa.isa() == Isa::Avx2Vnni).then_some(AvxVnni(()))
    }
}

impl From<AvxVnni> for Avx2 {
    fn from(_: AvxVnni) -> Avx2 {
        Avx2(())
    }
}

const LANES: usize = 8;

/// Vectors of a line.
const VECTORS: usize = 2;

/// Sums of the products of the queries of a line with the rows of a tile: as many as the registers
/// hold beside a line and a group of a row.
type Sums = [[__m256i; VECTORS]; ROWS];

/// `ByteProducts::compare` with sums of 16 bits.
#[inline(always)]
pub(super) fn compare_narrow(_: Avx2, tile: Tile<'_>, hits: &mut Hits) -> bool {
    #[target_feature(enable = "avx2,fma")]
    fn compare(tile: Tile<'_>, hits: &mut Hits) -> bool {
        let (error, mut any) = (tile.largest_error(), false);
        for line in 0..tile.queries.div_ceil(LINE) {
            any |= mark(&tile, error, line, &narrow_sums(&tile, line), hits);
        }
        any
    }
    // SAFETY: an `Avx2` exists only where the machine has what the function needs.
    unsafe { compare(tile, hits) }
}

/// `ByteProducts::compare` with sums of 32 bits.
#[inline(always)]
pub(super) fn compare_wide(_: AvxVnni, tile: Tile<'_>, hits: &mut Hits) -> bool {
    #[target_feature(enable = "avx2,fma,avxvnni")]
    fn compare(tile: Tile<'_>, hits: &mut Hits) -> bool {
        let (error, mut any) = (tile.largest_error(), false);
        for line in 0..tile.queries.div_ceil(LINE) {
            any |= mark(&tile, error, line, &wide_sums(&tile, line), hits);
        }
        any
    }
    // SAFETY: an `AvxVnni` exists only where the machine has what the function needs.
    unsafe { compare(tile, hits) }
}

/// The products of a line of queries with the rows, summed in 16 bits along each stretch.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn narrow_sums(tile: &Tile<'_>, line: usize) -> Sums {
    let (groups, ones) = (tile.groups(), _mm256_set1_epi16(1));
    let mut at = line;
    let mut sums = [[_mm256_setzero_si256(); VECTORS]; ROWS];
    for first in (0..groups).step_by(STRETCH) {
        let mut narrow = [load(tile, at); ROWS];
        for group in first..groups.min(first + STRETCH) {
            at += LINES;
            let queries = load(tile, at);
            for (row, sums) in narrow.iter_mut().enumerate() {
                // SAFETY: there are `ROWS` rows of `groups` groups.
                let four = unsafe { broadcast(tile.bytes, row * groups + group) };
                for (sum, &queries) in sums.iter_mut().zip(&queries) {
                    *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(four, queries));
                }
            }
        }
        at += LINES;
        for (sums, narrow) in sums.iter_mut().zip(&narrow) {
            for (sum, &narrow) in sums.iter_mut().zip(narrow) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(narrow, ones));
            }
        }
    }
    sums
}

/// The products of a line of queries with the rows, summed in 32 bits.
#[inline]
#[target_feature(enable = "avx2,fma,avxvnni")]
fn wide_sums(tile: &Tile<'_>, line: usize) -> Sums {
    let groups = tile.groups();
    let mut sums = [load(tile, line); ROWS];
    for group in 0..groups {
        let queries = load(tile, line + (group + 1) * LINES);
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there are `ROWS` rows of `groups` groups.
            let four = unsafe { broadcast(tile.bytes, row * groups + group) };
            for (sum, &queries) in sums.iter_mut().zip(&queries) {
                *sum = _mm256_dpbusd_avx_epi32(*sum, four, queries);
            }
        }
    }
    sums
}

/// A line of the panel.
#[inline]
#[target_feature(enable = "avx2")]
fn load(tile: &Tile<'_>, line: usize) -> [__m256i; VECTORS] {
    let line: *const __m256i = (&raw const tile.panel[line]).cast();
    // SAFETY: a line has 64 bytes and is aligned to them.
    unsafe { [_mm256_load_si256(line), _mm256_load_si256(line.add(1))] }
}

/// A group of a row in every place of a vector.
///
/// # Safety
/// There must be more groups than `group`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn broadcast(bytes: &[u8], group: usize) -> __m256i {
    // SAFETY: the caller's promise.
    let four = unsafe { bytes.as_ptr().add(group * GROUP).cast::<i32>().read_unaligned() };
    _mm256_set1_epi32(four)
}

/// Compares the sums of a line of queries with the thresholds.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn mark(tile: &Tile<'_>, error: RowError, line: usize, sums: &Sums, hits: &mut Hits) -> bool {
    let (lost, length) = (_mm256_set1_ps(error.lost), _mm256_set1_ps(error.length));
    let mut any = false;
    for vector in 0..VECTORS {
        let at = (line * VECTORS + vector) * LANES;
        assert!(at + LANES <= QUERIES, "a line of the panel");
        // SAFETY: 8 of the `QUERIES` elements of each array, aligned as the struct is.
        let (score, query_length, query_lost) = unsafe {
            (
                _mm256_load_ps(tile.thresholds.score.as_ptr().add(at)),
                _mm256_load_ps(tile.thresholds.length.as_ptr().add(at)),
                _mm256_load_ps(tile.thresholds.lost.as_ptr().add(at)),
            )
        };
        let needed = _mm256_fnmadd_ps(lost, query_length, score);
        let needed = _mm256_fnmadd_ps(length, query_lost, needed);
        let mut reached = [_mm256_setzero_ps(); ROWS];
        let mut some = _mm256_setzero_ps();
        for ((reached, sums), row) in reached.iter_mut().zip(sums).zip(tile.rows) {
            let inverse = _mm256_set1_ps(row.inverse_scale);
            let needed = _mm256_fmadd_ps(inverse, needed, _mm256_set1_ps(row.base));
            *reached = _mm256_cmp_ps::<_CMP_GE_OQ>(_mm256_cvtepi32_ps(sums[vector]), needed);
            some = _mm256_or_ps(some, *reached);
        }
        // Mostly there is none, and one test tells.
        if _mm256_movemask_ps(some) == 0 {
            continue;
        }
        any = true;
        for (number, (&reached, sums)) in reached.iter().zip(sums).enumerate() {
            hits.masks[number] |= (_mm256_movemask_ps(reached) as u64) << at;
            let place = hits.sums[number][at..].first_chunk_mut::<LANES>();
            let place = place.expect("a line of the panel").as_mut_ptr().cast();
            // SAFETY: 8 elements.
            unsafe { _mm256_storeu_si256(place, sums[vector]) };
        }
    }
    any
}

/// `ByteProducts::count_at_least`.
pub(super) fn count_at_least(_: Avx2, numbers: &[f32], value: f32) -> usize {
    #[target_feature(enable = "avx2")]
    fn count(numbers: &[[f32; LANES]], value: f32) -> usize {
        let value = _mm256_set1_ps(value);
        // A comparison gives -1 in the lanes where it holds.
        let mut counts = _mm256_setzero_si256();
        for vector in numbers {
            // SAFETY: 8 elements.
            let vector = unsafe { _mm256_loadu_ps(vector.as_ptr()) };
            let reached = _mm256_cmp_ps::<_CMP_GE_OQ>(vector, value);
            counts = _mm256_sub_epi32(counts, _mm256_castps_si256(reached));
        }
        let mut lanes = [0u32; LANES];
        // SAFETY: 8 elements.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), counts) };
        lanes.iter().sum::<u32>() as usize
    }
    // SAFETY: an `Avx2` exists only where the machine has what the function needs.
    unsafe { count(numbers.as_chunks().0, value) }
}

/// For each set of lanes, their numbers in order, then zeros.
const KEPT: [[u8; LANES]; 1 << LANES] = {
    let mut all = [[0; LANES]; 1 << LANES];
    let mut set = 0;
    while set < all.len() {
        let (mut lane, mut place) = (0, 0);
        while lane < LANES {
            if set >> lane & 1 == 1 {
                all[set][place] = lane as u8;
                place += 1;
            }
            lane += 1;
        }
        set += 1;
    }
    all
};

/// `ByteProducts::keep_at_least` of all places.
pub(super) fn keep_at_least(
    _: Avx2,
    value: f32,
    numbers: &mut [f32],
    others: &mut [f32],
    index: &mut [u32],
) -> usize {
    #[target_feature(enable = "avx2")]
    fn keep(value: f32, numbers: &mut [f32], others: &mut [f32], index: &mut [u32]) -> usize {
        let bound = _mm256_set1_ps(value);
        let mut kept = 0;
        for at in (0..numbers.len()).step_by(LANES) {
            // SAFETY: the slices have the same length, a multiple of 8, and a vector is written at
            // or before the place it was read from.
            unsafe {
                let number = _mm256_loadu_ps(numbers.as_ptr().add(at));
                let other = _mm256_loadu_ps(others.as_ptr().add(at));
                let place = _mm256_loadu_si256(index.as_ptr().add(at).cast());
                let mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(number, bound));
                let lanes = _mm_loadl_epi64(KEPT[mask as usize].as_ptr().cast());
                let lanes = _mm256_cvtepu8_epi32(lanes);
                let number = _mm256_permutevar8x32_ps(number, lanes);
                let other = _mm256_permutevar8x32_ps(other, lanes);
                let place = _mm256_permutevar8x32_epi32(place, lanes);
                _mm256_storeu_ps(numbers.as_mut_ptr().add(kept), number);
                _mm256_storeu_ps(others.as_mut_ptr().add(kept), other);
                _mm256_storeu_si256(index.as_mut_ptr().add(kept).cast(), place);
                kept += mask.count_ones() as usize;
            }
        }
        kept
    }
    // SAFETY: an `Avx2` exists only where the machine has what the function needs.
    unsafe { keep(value, numbers, others, index) }
}

/// The sums of `exact::dot` for whole chunks.
pub(super) fn dot_sums(_: Avx2, a: &[[f32; SUMS]], b: &[[f32; SUMS]]) -> [f64; SUMS] {
    #[target_feature(enable = "avx2,fma")]
    fn sums(a: &[[f32; SUMS]], b: &[[f32; SUMS]]) -> [f64; SUMS] {
        const DOUBLES: usize = 4;
        let mut sums = [_mm256_setzero_pd(); SUMS / DOUBLES];
        for (a, b) in a.iter().zip(b) {
            for (part, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 4 of the 32 elements of each.
                let (a, b) = unsafe {
                    let at = part * DOUBLES;
                    (_mm_loadu_ps(a.as_ptr().add(at)), _mm_loadu_ps(b.as_ptr().add(at)))
                };
                *sum = _mm256_fmadd_pd(_mm256_cvtps_pd(a), _mm256_cvtps_pd(b), *sum);
            }
        }
        let mut numbers = [0.0; SUMS];
        for (part, sum) in numbers.chunks_exact_mut(DOUBLES).zip(sums) {
            // SAFETY: 4 elements.
            unsafe { _mm256_storeu_pd(part.as_mut_ptr(), sum) };
        }
        numbers
    }
    // SAFETY: an `Avx2` exists only where the machine has what the function needs.
    unsafe { sums(a, b) }
}
