/// A kernel: arguments as fields, body in `run`. Implement `run` with `#[inline(always)]`.
pub(crate) trait Kernel {
    type Output;

    fn run<S: Simd>(self) -> Self::Output;
}

/// A vector of `LANES` elements; all methods are `#[inline(always)]`.
///
/// The machine must have the type's instruction set: only [`dispatch`](super::dispatch) picks a
/// type.
pub(crate) trait Simd: Copy {
    const LANES: usize;
    /// Whether the instruction set multiplies pairs of bfloat16.
    const BF16_PAIRS: bool = false;
    type V: Copy;
    /// As many 32-bit integers, for random bits that are the same on every instruction set.
    type U: Copy;

    fn splat(value: f32) -> Self::V;
    /// The first `LANES` elements of `source`, which must be that long (asserted).
    fn load(source: &[f32]) -> Self::V;
    /// Writes to the first `LANES` elements of `target`, which must be that long (asserted).
    fn store(value: Self::V, target: &mut [f32]);
    fn add(a: Self::V, b: Self::V) -> Self::V;
    fn sub(a: Self::V, b: Self::V) -> Self::V;
    fn mul(a: Self::V, b: Self::V) -> Self::V;
    fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the instruction set can.
    fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn max(a: Self::V, b: Self::V) -> Self::V;
    fn min(a: Self::V, b: Self::V) -> Self::V;
    fn sqrt(a: Self::V) -> Self::V;
    /// To the nearest integer, ties to even.
    fn round(a: Self::V) -> Self::V;
    /// `a * 2^n` for integral `n` in `-126..=127`.
    fn scale(a: Self::V, n: Self::V) -> Self::V;
    /// `1 / a` within 2 ulp, for normal numbers whose inverse is one.
    #[inline(always)]
    fn reciprocal(a: Self::V) -> Self::V {
        Self::div(Self::splat(1.0), a)
    }
    fn abs(a: Self::V) -> Self::V;
    /// `|a|` with the sign of `sign`.
    fn copy_sign(a: Self::V, sign: Self::V) -> Self::V;
    /// `if_true` where `a < b`, else `if_false`.
    fn select_less(a: Self::V, b: Self::V, if_true: Self::V, if_false: Self::V) -> Self::V;
    /// Sum of the lanes, by halves, always in the same order.
    fn reduce_sum(a: Self::V) -> f32;
    fn reduce_max(a: Self::V) -> f32;
    /// `start, start + 1, ...`, wrapping.
    fn counters(start: u32) -> Self::U;
    fn splat_u32(value: u32) -> Self::U;
    fn add_u32(a: Self::U, b: Self::U) -> Self::U;
    /// The low half of the product.
    fn mul_u32(a: Self::U, b: Self::U) -> Self::U;
    fn xor_u32(a: Self::U, b: Self::U) -> Self::U;
    fn shift_right_u32<const BITS: u32>(a: Self::U) -> Self::U;
    /// `value` where `bits` is at most `bound`, else 0.
    fn keep_up_to(bits: Self::U, bound: u32, value: Self::V) -> Self::V;
    /// To the nearest bfloat16, ties to even, as `f32`.
    fn round_bf16(a: Self::V) -> Self::V;
    /// To the nearest half-precision number, ties to even, as `f32`; infinity from 65,520 on.
    fn round_f16(a: Self::V) -> Self::V;

    /// Prefetches the cache line at `address`, which may be any address.
    #[inline(always)]
    fn prefetch(address: *const f32) {
        let _ = address;
    }

    /// Words that hold `first` and `second` rounded to bfloat16, `first` in the lower half.
    ///
    /// # Panics
    /// Without [`Simd::BF16_PAIRS`]; the next two as well.
    #[inline(always)]
    fn pairs(first: Self::V, second: Self::V) -> Self::V {
        let _ = (first, second);
        unreachable!("pairs are packed only for instruction sets that multiply them");
    }

    /// [`Simd::pairs`] of the even and the odd elements of the `2 LANES` in `low` and `high`.
    #[inline(always)]
    fn neighbour_pairs(low: Self::V, high: Self::V) -> Self::V {
        let _ = (low, high);
        unreachable!("pairs are packed only for instruction sets that multiply them");
    }

    /// `sum` plus both products of each pair of bfloat16.
    #[inline(always)]
    fn mul_add_pairs(a: Self::V, b: Self::V, sum: Self::V) -> Self::V {
        let _ = (a, b, sum);
        unreachable!("pairs are packed only for instruction sets that multiply them");
    }

    /// Writes the first `LANES` elements of `row(0)`, `row(1)`, ... as columns: element `j` of row
    /// `i` goes to `target[j * stride + i]`.
    #[inline(always)]
    fn transpose<'a>(row: impl Fn(usize) -> &'a [f32], target: &mut [f32], stride: usize) {
        for lane in 0..Self::LANES {
            for (column, &value) in row(lane)[..Self::LANES].iter().enumerate() {
                target[column * stride + lane] = value;
            }
        }
    }

    /// Up to `LANES` elements of `source`; the other lanes are `fill`.
    #[inline(always)]
    fn load_partial(source: &[f32], fill: f32) -> Self::V {
        let mut lanes = [fill; 16];
        let length = source.len().min(Self::LANES);
        lanes[..length].copy_from_slice(&source[..length]);
        Self::load(&lanes)
    }

    /// Writes the first `target.len()` lanes, at most `LANES`.
    #[inline(always)]
    fn store_partial(value: Self::V, target: &mut [f32]) {
        let mut lanes = [0.0; 16];
        Self::store(value, &mut lanes);
        let length = target.len().min(Self::LANES);
        target[..length].copy_from_slice(&lanes[..length]);
    }
}

/// `LANES` elements, or those that are left at the end of a row, padded with zeros.
#[inline(always)]
pub(crate) fn load_up_to<S: Simd>(source: &[f32]) -> S::V {
    if source.len() >= S::LANES { S::load(source) } else { S::load_partial(source, 0.0) }
}

/// Writes `LANES` elements, or as many as are left at the end of a row.
#[inline(always)]
pub(crate) fn store_up_to<S: Simd>(value: S::V, target: &mut [f32]) {
    if target.len() >= S::LANES {
        S::store(value, target);
    } else {
        S::store_partial(value, target);
    }
}

/// [`Simd::prefetch`] of the lines of `count` elements.
#[inline(always)]
pub(crate) fn prefetch_elements<S: Simd>(first: *const f32, count: usize) {
    for line in (0..count).step_by(16) {
        S::prefetch(first.wrapping_add(line));
    }
}
