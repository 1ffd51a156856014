//! The vectors of AVX2 and AVX-512.

use crate::cpu::simd::vector::{Kernel, Simd};
use std::arch::x86_64::*;
use std::mem::transmute;

/// Runs a kernel with AVX2.
///
/// # Safety
/// The machine must have AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

/// Runs a kernel with AVX-512.
///
/// # Safety
/// The machine must have AVX-512 F, BW, DQ and VL, AVX2, FMA and F16C.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512<false>>()
}

/// Runs a kernel with AVX-512 and its products of bfloat16 pairs and of bytes.
///
/// # Safety
/// The machine must have what [`run_avx512`] needs, and AVX-512 BF16 and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn run_avx512_bf16<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512<true>>()
}

/// Eight lanes.
#[derive(Clone, Copy)]
pub(super) struct Avx2;

/// Sixteen lanes, with or without products of bfloat16 pairs.
#[derive(Clone, Copy)]
pub(super) struct Avx512<const BF16: bool>;

/// An intrinsic call.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: the types are named by the `run_` functions alone, whose callers promise the
        // instruction set; memory operands are slices whose length was asserted or masked.
        unsafe { $call }
    };
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    type V = __m256;
    type U = __m256i;

    #[inline(always)]
    fn prefetch(address: *const f32) {
        intrinsic!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
    }

    #[inline(always)]
    fn splat(value: f32) -> __m256 {
        intrinsic!(_mm256_set1_ps(value))
    }

    #[inline(always)]
    fn load(source: &[f32]) -> __m256 {
        assert!(source.len() >= 8);
        intrinsic!(_mm256_loadu_ps(source.as_ptr()))
    }

    #[inline(always)]
    fn store(value: __m256, target: &mut [f32]) {
        assert!(target.len() >= 8);
        intrinsic!(_mm256_storeu_ps(target.as_mut_ptr(), value))
    }

    #[inline(always)]
    fn add(a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_div_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        intrinsic!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_max_ps(a, b))
    }

    #[inline(always)]
    fn min(a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_min_ps(a, b))
    }

    #[inline(always)]
    fn sqrt(a: __m256) -> __m256 {
        intrinsic!(_mm256_sqrt_ps(a))
    }

    #[inline(always)]
    fn round(a: __m256) -> __m256 {
        intrinsic!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn scale(a: __m256, n: __m256) -> __m256 {
        intrinsic!({
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
        })
    }

    #[inline(always)]
    fn abs(a: __m256) -> __m256 {
        intrinsic!(_mm256_andnot_ps(_mm256_set1_ps(-0.0), a))
    }

    #[inline(always)]
    fn copy_sign(a: __m256, sign: __m256) -> __m256 {
        intrinsic!({
            let mask = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(mask, a), _mm256_and_ps(mask, sign))
        })
    }

    #[inline(always)]
    fn select_less(a: __m256, b: __m256, if_true: __m256, if_false: __m256) -> __m256 {
        intrinsic!(_mm256_blendv_ps(if_false, if_true, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)))
    }

    #[inline(always)]
    fn reduce_sum(a: __m256) -> f32 {
        intrinsic!({
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        })
    }

    #[inline(always)]
    fn reduce_max(a: __m256) -> f32 {
        intrinsic!({
            let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        })
    }

    #[inline(always)]
    fn counters(start: u32) -> __m256i {
        intrinsic!({
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_add_epi32(_mm256_set1_epi32(start as i32), lanes)
        })
    }

    #[inline(always)]
    fn splat_u32(value: u32) -> __m256i {
        intrinsic!(_mm256_set1_epi32(value as i32))
    }

    #[inline(always)]
    fn add_u32(a: __m256i, b: __m256i) -> __m256i {
        intrinsic!(_mm256_add_epi32(a, b))
    }

    #[inline(always)]
    fn mul_u32(a: __m256i, b: __m256i) -> __m256i {
        intrinsic!(_mm256_mullo_epi32(a, b))
    }

    #[inline(always)]
    fn xor_u32(a: __m256i, b: __m256i) -> __m256i {
        intrinsic!(_mm256_xor_si256(a, b))
    }

    #[inline(always)]
    fn shift_right_u32<const BITS: u32>(a: __m256i) -> __m256i {
        intrinsic!(_mm256_srl_epi32(a, _mm_cvtsi32_si128(BITS as i32)))
    }

    #[inline(always)]
    fn keep_up_to(bits: __m256i, bound: u32, value: __m256) -> __m256 {
        intrinsic!({
            let smaller = _mm256_min_epu32(bits, _mm256_set1_epi32(bound.cast_signed()));
            let kept = _mm256_cmpeq_epi32(smaller, bits);
            _mm256_and_ps(_mm256_castsi256_ps(kept), value)
        })
    }

    #[inline(always)]
    fn round_bf16(a: __m256) -> __m256 {
        intrinsic!({
            let bits = _mm256_castps_si256(a);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            let kept = _mm256_and_si256(up, _mm256_set1_epi32(-0x1_0000));
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a);
            _mm256_blendv_ps(_mm256_castsi256_ps(kept), a, nan)
        })
    }

    #[inline(always)]
    fn round_f16(a: __m256) -> __m256 {
        intrinsic!(_mm256_cvtph_ps(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a)))
    }

    #[inline(always)]
    fn load_partial(source: &[f32], fill: f32) -> __m256 {
        /// Lane masks: those of the first `n` lanes begin at `8 - n`.
        const MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
        let masks = &MASKS[8 - source.len().min(8)..];
        assert!(masks.len() >= 8);
        intrinsic!({
            let mask = _mm256_loadu_si256(masks.as_ptr().cast());
            let lanes = _mm256_maskload_ps(source.as_ptr(), mask);
            _mm256_blendv_ps(_mm256_set1_ps(fill), lanes, _mm256_castsi256_ps(mask))
        })
    }

    #[inline(always)]
    fn store_partial(value: __m256, target: &mut [f32]) {
        // In parts of 4, 2 and 1: a masked store is microcode on several machines.
        let length = target.len();
        if length >= 8 {
            return Self::store(value, target);
        }
        let (mut part, mut place) =
            (intrinsic!(_mm256_castps256_ps128(value)), target.as_mut_ptr());
        if length & 4 != 0 {
            intrinsic!(_mm_storeu_ps(place, part));
            part = intrinsic!(_mm256_extractf128_ps::<1>(value));
            place = place.wrapping_add(4);
        }
        if length & 2 != 0 {
            intrinsic!(_mm_storel_pd(place.cast(), _mm_castps_pd(part)));
            part = intrinsic!(_mm_movehl_ps(part, part));
            place = place.wrapping_add(2);
        }
        if length & 1 != 0 {
            intrinsic!(_mm_store_ss(place, part));
        }
    }

    #[inline(always)]
    fn transpose<'a>(row: impl Fn(usize) -> &'a [f32], target: &mut [f32], stride: usize) {
        let mut rows = [Self::splat(0.0); 8];
        for (index, vector) in rows.iter_mut().enumerate() {
            *vector = Self::load(row(index));
        }
        // Number c of 128-bit lane l of `quads[4 g + c]` is column 4 l + c of rows 4 g to 4 g + 3.
        let mut quads = rows;
        for group in [0, 4] {
            intrinsic!({
                let low = _mm256_unpacklo_ps(rows[group], rows[group + 1]);
                let high = _mm256_unpackhi_ps(rows[group], rows[group + 1]);
                let other_low = _mm256_unpacklo_ps(rows[group + 2], rows[group + 3]);
                let other_high = _mm256_unpackhi_ps(rows[group + 2], rows[group + 3]);
                quads[group] = _mm256_shuffle_ps::<0x44>(low, other_low);
                quads[group + 1] = _mm256_shuffle_ps::<0xee>(low, other_low);
                quads[group + 2] = _mm256_shuffle_ps::<0x44>(high, other_high);
                quads[group + 3] = _mm256_shuffle_ps::<0xee>(high, other_high);
            })
        }
        for c in 0..4 {
            let (first, second) = intrinsic!((
                _mm256_permute2f128_ps::<0x20>(quads[c], quads[4 + c]),
                _mm256_permute2f128_ps::<0x31>(quads[c], quads[4 + c]),
            ));
            Self::store(first, &mut target[c * stride..]);
            Self::store(second, &mut target[(4 + c) * stride..]);
        }
    }
}

impl<const BF16: bool> Simd for Avx512<BF16> {
    const LANES: usize = 16;
    const BF16_PAIRS: bool = BF16;
    type V = __m512;
    type U = __m512i;

    #[inline(always)]
    fn prefetch(address: *const f32) {
        intrinsic!(_mm_prefetch::<_MM_HINT_T0>(address.cast()))
    }

    #[inline(always)]
    fn splat(value: f32) -> __m512 {
        intrinsic!(_mm512_set1_ps(value))
    }

    #[inline(always)]
    fn load(source: &[f32]) -> __m512 {
        assert!(source.len() >= 16);
        intrinsic!(_mm512_loadu_ps(source.as_ptr()))
    }

    #[inline(always)]
    fn store(value: __m512, target: &mut [f32]) {
        assert!(target.len() >= 16);
        intrinsic!(_mm512_storeu_ps(target.as_mut_ptr(), value))
    }

    #[inline(always)]
    fn add(a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        intrinsic!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn min(a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn sqrt(a: __m512) -> __m512 {
        intrinsic!(_mm512_sqrt_ps(a))
    }

    #[inline(always)]
    fn round(a: __m512) -> __m512 {
        intrinsic!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn scale(a: __m512, n: __m512) -> __m512 {
        intrinsic!(_mm512_scalef_ps(a, n))
    }

    #[inline(always)]
    fn reciprocal(a: __m512) -> __m512 {
        // 14 bits, then one Newton step.
        intrinsic!({
            let guess = _mm512_rcp14_ps(a);
            let error = _mm512_fnmadd_ps(a, guess, _mm512_set1_ps(1.0));
            _mm512_fmadd_ps(guess, error, guess)
        })
    }

    #[inline(always)]
    fn abs(a: __m512) -> __m512 {
        intrinsic!(_mm512_abs_ps(a))
    }

    #[inline(always)]
    fn copy_sign(a: __m512, sign: __m512) -> __m512 {
        intrinsic!({
            let mask = _mm512_set1_ps(-0.0);
            _mm512_or_ps(_mm512_andnot_ps(mask, a), _mm512_and_ps(mask, sign))
        })
    }

    #[inline(always)]
    fn select_less(a: __m512, b: __m512, if_true: __m512, if_false: __m512) -> __m512 {
        intrinsic!({
            let mask = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
            _mm512_mask_blend_ps(mask, if_false, if_true)
        })
    }

    #[inline(always)]
    fn reduce_sum(a: __m512) -> f32 {
        intrinsic!({
            let low = _mm512_castps512_ps256(a);
            let high = _mm512_extractf32x8_ps::<1>(a);
            Avx2::reduce_sum(_mm256_add_ps(low, high))
        })
    }

    #[inline(always)]
    fn reduce_max(a: __m512) -> f32 {
        intrinsic!({
            let low = _mm512_castps512_ps256(a);
            let high = _mm512_extractf32x8_ps::<1>(a);
            Avx2::reduce_max(_mm256_max_ps(low, high))
        })
    }

    #[inline(always)]
    fn counters(start: u32) -> __m512i {
        intrinsic!({
            let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            _mm512_add_epi32(_mm512_set1_epi32(start as i32), lanes)
        })
    }

    #[inline(always)]
    fn splat_u32(value: u32) -> __m512i {
        intrinsic!(_mm512_set1_epi32(value as i32))
    }

    #[inline(always)]
    fn add_u32(a: __m512i, b: __m512i) -> __m512i {
        intrinsic!(_mm512_add_epi32(a, b))
    }

    #[inline(always)]
    fn mul_u32(a: __m512i, b: __m512i) -> __m512i {
        intrinsic!(_mm512_mullo_epi32(a, b))
    }

    #[inline(always)]
    fn xor_u32(a: __m512i, b: __m512i) -> __m512i {
        intrinsic!(_mm512_xor_si512(a, b))
    }

    #[inline(always)]
    fn shift_right_u32<const BITS: u32>(a: __m512i) -> __m512i {
        intrinsic!(_mm512_srl_epi32(a, _mm_cvtsi32_si128(BITS as i32)))
    }

    #[inline(always)]
    fn keep_up_to(bits: __m512i, bound: u32, value: __m512) -> __m512 {
        intrinsic!({
            let bound = _mm512_set1_epi32(bound.cast_signed());
            _mm512_maskz_mov_ps(_mm512_cmple_epu32_mask(bits, bound), value)
        })
    }

    #[inline(always)]
    fn round_bf16(a: __m512) -> __m512 {
        intrinsic!({
            let bits = _mm512_castps_si512(a);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            let kept = _mm512_and_si512(up, _mm512_set1_epi32(-0x1_0000));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a);
            _mm512_mask_blend_ps(nan, _mm512_castsi512_ps(kept), a)
        })
    }

    #[inline(always)]
    fn round_f16(a: __m512) -> __m512 {
        intrinsic!(_mm512_cvtph_ps(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a)))
    }

    #[inline(always)]
    fn pairs(first: __m512, second: __m512) -> __m512 {
        assert!(BF16);
        intrinsic!({
            // Interleaves the halves of the vector.
            let halves: __m512i = transmute(_mm512_cvtne2ps_pbh(second, first));
            let low = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let high = _mm512_add_epi32(low, _mm512_set1_epi32(16));
            let order = _mm512_or_si512(low, _mm512_slli_epi32::<16>(high));
            _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, halves))
        })
    }

    #[inline(always)]
    fn neighbour_pairs(low: __m512, high: __m512) -> __m512 {
        assert!(BF16);
        intrinsic!(transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(high, low)))
    }

    #[inline(always)]
    fn mul_add_pairs(a: __m512, b: __m512, sum: __m512) -> __m512 {
        assert!(BF16);
        intrinsic!({
            let (a, b) = (transmute::<__m512, __m512bh>(a), transmute::<__m512, __m512bh>(b));
            _mm512_dpbf16_ps(sum, a, b)
        })
    }

    #[inline(always)]
    fn load_partial(source: &[f32], fill: f32) -> __m512 {
        let mask = ((1u32 << source.len().min(16)) - 1) as u16;
        intrinsic!(_mm512_mask_loadu_ps(_mm512_set1_ps(fill), mask, source.as_ptr()))
    }

    #[inline(always)]
    fn store_partial(value: __m512, target: &mut [f32]) {
        let mask = ((1u32 << target.len().min(16)) - 1) as u16;
        intrinsic!(_mm512_mask_storeu_ps(target.as_mut_ptr(), mask, value))
    }

    #[inline(always)]
    fn transpose<'a>(row: impl Fn(usize) -> &'a [f32], target: &mut [f32], stride: usize) {
        let mut rows = [Self::splat(0.0); 16];
        for (index, vector) in rows.iter_mut().enumerate() {
            *vector = Self::load(row(index));
        }
        // Number c of 128-bit lane l of `quads[4 g + c]` is column 4 l + c of rows 4 g to 4 g + 3.
        let mut quads = rows;
        for group in [0, 4, 8, 12] {
            intrinsic!({
                let low = _mm512_unpacklo_ps(rows[group], rows[group + 1]);
                let high = _mm512_unpackhi_ps(rows[group], rows[group + 1]);
                let other_low = _mm512_unpacklo_ps(rows[group + 2], rows[group + 3]);
                let other_high = _mm512_unpackhi_ps(rows[group + 2], rows[group + 3]);
                quads[group] = _mm512_shuffle_ps::<0x44>(low, other_low);
                quads[group + 1] = _mm512_shuffle_ps::<0xee>(low, other_low);
                quads[group + 2] = _mm512_shuffle_ps::<0x44>(high, other_high);
                quads[group + 3] = _mm512_shuffle_ps::<0xee>(high, other_high);
            })
        }
        for c in 0..4 {
            let columns = intrinsic!({
                let even = _mm512_shuffle_f32x4::<0x88>(quads[c], quads[4 + c]);
                let odd = _mm512_shuffle_f32x4::<0xdd>(quads[c], quads[4 + c]);
                let other_even = _mm512_shuffle_f32x4::<0x88>(quads[8 + c], quads[12 + c]);
                let other_odd = _mm512_shuffle_f32x4::<0xdd>(quads[8 + c], quads[12 + c]);
                [
                    _mm512_shuffle_f32x4::<0x88>(even, other_even),
                    _mm512_shuffle_f32x4::<0x88>(odd, other_odd),
                    _mm512_shuffle_f32x4::<0xdd>(even, other_even),
                    _mm512_shuffle_f32x4::<0xdd>(odd, other_odd),
                ]
            });
            for (lane, column) in columns.into_iter().enumerate() {
                Self::store(column, &mut target[(4 * lane + c) * stride..]);
            }
        }
    }
}
