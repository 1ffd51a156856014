//! One vector trait, an implementation for each instruction set, one dispatcher.
//!
//! A kernel is a struct of its arguments with `impl Kernel`; its `run` is written once over
//! [`Simd`] and compiled for each instruction set by [`dispatch`]. Everything `run` calls must be
//! `#[inline(always)]`, or it is compiled without the instruction set and its vectors go through
//! memory. Closures can be, where they are arguments; those handed to the standard library (`map`,
//! `from_fn`) are called from code that is not, so they must not take or give vectors.

use crate::isa::{Isa, Supported};

/// A kernel: arguments as fields, body in `run`. Implement `run` with `#[inline(always)]`.
pub(crate) trait Kernel {
    type Output;

    fn run<S: Simd>(self) -> Self::Output;
}

/// Runs `kernel` compiled for the instruction set.
#[inline]
pub(crate) fn dispatch<K: Kernel>(isa: Supported, kernel: K) -> K::Output {
    match isa.isa() {
        Isa::Scalar => kernel.run::<Scalar>(),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Supported` holds AVX2 only where the machine has AVX2, FMA and F16C.
        Isa::Avx2 => unsafe { x86::run_avx2(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Supported` holds AVX-512 only where the machine has F, BW, DQ and VL.
        Isa::Avx512 => unsafe { x86::run_avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Supported` holds this one only where the machine has AVX-512 with BF16 and VNNI.
        Isa::Avx512Bf16 => unsafe { x86::run_avx512_bf16(kernel) },
        #[cfg(not(target_arch = "x86_64"))]
        isa => unreachable!("{isa} is not supported on this architecture"),
    }
}

/// A vector of `LANES` numbers; all methods are `#[inline(always)]`.
///
/// The instruction set behind a type must be there; only [`dispatch`] picks one.
pub(crate) trait Simd: Copy {
    const LANES: usize;
    /// Whether there are products of bfloat16 pairs.
    const BF16_PAIRS: bool = false;
    type V: Copy;
    /// As many 32-bit counters, for random bits that are the same on every instruction set.
    type U: Copy;

    fn splat(value: f32) -> Self::V;
    /// The first `LANES` numbers of `source`, which must be that long (checked).
    fn load(source: &[f32]) -> Self::V;
    /// Writes to the first `LANES` numbers of `target`, which must be that long.
    fn store(value: Self::V, target: &mut [f32]);
    fn add(a: Self::V, b: Self::V) -> Self::V;
    fn sub(a: Self::V, b: Self::V) -> Self::V;
    fn mul(a: Self::V, b: Self::V) -> Self::V;
    fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the hardware can.
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

    /// Asks for the cache line at `address`, which may be anywhere, to be there when it is needed.
    #[inline(always)]
    fn prefetch(address: *const f32) {
        let _ = address;
    }

    /// Words that hold `first` and `second` rounded to bfloat16, `first` in the lower half.
    ///
    /// # Panics
    /// Without [`Simd::BF16_PAIRS`], as the next two.
    #[inline(always)]
    fn pairs(first: Self::V, second: Self::V) -> Self::V {
        let _ = (first, second);
        unreachable!("pairs are packed only for instruction sets that multiply them");
    }

    /// [`Simd::pairs`] of the even and the odd numbers of the `2 LANES` in `low` and `high`.
    #[inline(always)]
    fn neighbour_pairs(low: Self::V, high: Self::V) -> Self::V {
        let _ = (low, high);
        unreachable!("pairs are packed only for instruction sets that multiply them");
    }

    /// `sum` and both products of each pair of bfloat16.
    #[inline(always)]
    fn mul_add_pairs(a: Self::V, b: Self::V, sum: Self::V) -> Self::V {
        let _ = (a, b, sum);
        unreachable!("pairs are packed only for instruction sets that multiply them");
    }

    /// Writes the first `LANES` numbers of `row(0)`, `row(1)`, ... as columns: number `j` of row
    /// `i` goes to `target[j * stride + i]`.
    #[inline(always)]
    fn transpose<'a>(row: impl Fn(usize) -> &'a [f32], target: &mut [f32], stride: usize) {
        for lane in 0..Self::LANES {
            for (column, &value) in row(lane)[..Self::LANES].iter().enumerate() {
                target[column * stride + lane] = value;
            }
        }
    }

    /// Up to `LANES` numbers of `source`, the other lanes filled with `fill`.
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

/// `LANES` numbers, or what is left of them at the end of a row, padded with zeros.
#[inline(always)]
pub(crate) fn load_up_to<S: Simd>(source: &[f32]) -> S::V {
    if source.len() >= S::LANES { S::load(source) } else { S::load_partial(source, 0.0) }
}

/// Writes `LANES` numbers, or as many as `target` takes at the end of a row.
#[inline(always)]
pub(crate) fn store_up_to<S: Simd>(value: S::V, target: &mut [f32]) {
    if target.len() >= S::LANES {
        S::store(value, target);
    } else {
        S::store_partial(value, target);
    }
}

/// [`Simd::prefetch`] of the lines of `count` numbers.
#[inline(always)]
pub(crate) fn prefetch_numbers<S: Simd>(first: *const f32, count: usize) {
    for line in (0..count).step_by(16) {
        S::prefetch(first.wrapping_add(line));
    }
}

/// [`Simd::round_bf16`] of one number.
#[inline(always)]
fn round_bf16(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let bits = x.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

/// [`Simd::round_f16`] of one number.
#[inline(always)]
fn round_f16(x: f32) -> f32 {
    let magnitude = x.abs();
    let rounded = if magnitude.is_nan() || magnitude >= 65_520.0 {
        magnitude * f32::INFINITY
    } else if magnitude < 6.103_515_6e-5 {
        // Below 2^-14 the unit is 2^-24, which is that of f32 in 0.5..1.
        (magnitude + 0.5) - 0.5
    } else {
        let bits = magnitude.to_bits();
        f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & !0x1fff)
    };
    rounded.copysign(x)
}

/// Portable lanes; LLVM may turn them into the baseline's vectors.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

const SCALAR_LANES: usize = 8;

#[inline(always)]
fn map(a: [f32; SCALAR_LANES], f: impl Fn(f32) -> f32) -> [f32; SCALAR_LANES] {
    let mut out = a;
    for value in &mut out {
        *value = f(*value);
    }
    out
}

#[inline(always)]
fn zip(
    a: [f32; SCALAR_LANES],
    b: [f32; SCALAR_LANES],
    f: impl Fn(f32, f32) -> f32,
) -> [f32; SCALAR_LANES] {
    let mut out = a;
    for (value, other) in out.iter_mut().zip(b) {
        *value = f(*value, other);
    }
    out
}

impl Simd for Scalar {
    const LANES: usize = SCALAR_LANES;
    type V = [f32; SCALAR_LANES];
    type U = [u32; SCALAR_LANES];

    #[inline(always)]
    fn splat(value: f32) -> Self::V {
        [value; SCALAR_LANES]
    }

    #[inline(always)]
    fn load(source: &[f32]) -> Self::V {
        let mut out = [0.0; SCALAR_LANES];
        out.copy_from_slice(&source[..SCALAR_LANES]);
        out
    }

    #[inline(always)]
    fn store(value: Self::V, target: &mut [f32]) {
        target[..SCALAR_LANES].copy_from_slice(&value);
    }

    #[inline(always)]
    fn add(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Two roundings: a fused one is a slow library call without the instruction.
        Self::add(Self::mul(a, b), c)
    }

    #[inline(always)]
    fn max(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn sqrt(a: Self::V) -> Self::V {
        map(a, f32::sqrt)
    }

    #[inline(always)]
    fn round(a: Self::V) -> Self::V {
        map(a, f32::round_ties_even)
    }

    #[inline(always)]
    fn scale(a: Self::V, n: Self::V) -> Self::V {
        zip(a, n, |a, n| a * f32::from_bits(((n as i32 + 127) as u32) << 23))
    }

    #[inline(always)]
    fn abs(a: Self::V) -> Self::V {
        map(a, f32::abs)
    }

    #[inline(always)]
    fn copy_sign(a: Self::V, sign: Self::V) -> Self::V {
        zip(a, sign, f32::copysign)
    }

    #[inline(always)]
    fn select_less(a: Self::V, b: Self::V, if_true: Self::V, if_false: Self::V) -> Self::V {
        let mut out = if_false;
        for lane in 0..SCALAR_LANES {
            if a[lane] < b[lane] {
                out[lane] = if_true[lane];
            }
        }
        out
    }

    #[inline(always)]
    fn reduce_sum(a: Self::V) -> f32 {
        ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
    }

    #[inline(always)]
    fn reduce_max(a: Self::V) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn counters(start: u32) -> Self::U {
        std::array::from_fn(|lane| start.wrapping_add(lane as u32))
    }

    #[inline(always)]
    fn splat_u32(value: u32) -> Self::U {
        [value; SCALAR_LANES]
    }

    #[inline(always)]
    fn add_u32(a: Self::U, b: Self::U) -> Self::U {
        std::array::from_fn(|lane| a[lane].wrapping_add(b[lane]))
    }

    #[inline(always)]
    fn mul_u32(a: Self::U, b: Self::U) -> Self::U {
        std::array::from_fn(|lane| a[lane].wrapping_mul(b[lane]))
    }

    #[inline(always)]
    fn xor_u32(a: Self::U, b: Self::U) -> Self::U {
        std::array::from_fn(|lane| a[lane] ^ b[lane])
    }

    #[inline(always)]
    fn shift_right_u32<const BITS: u32>(a: Self::U) -> Self::U {
        a.map(|lane| lane >> BITS)
    }

    #[inline(always)]
    fn keep_up_to(bits: Self::U, bound: u32, value: Self::V) -> Self::V {
        let mut kept = [0.0; SCALAR_LANES];
        for lane in 0..SCALAR_LANES {
            if bits[lane] <= bound {
                kept[lane] = value[lane];
            }
        }
        kept
    }

    #[inline(always)]
    fn round_bf16(a: Self::V) -> Self::V {
        map(a, round_bf16)
    }

    #[inline(always)]
    fn round_f16(a: Self::V) -> Self::V {
        map(a, round_f16)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests {
    use super::*;

    struct Round(bool, Vec<f32>);

    impl Kernel for Round {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run<S: Simd>(self) -> Vec<f32> {
            let mut out = self.1;
            for chunk in out.chunks_mut(S::LANES) {
                let x = load_up_to::<S>(chunk);
                let y = if self.0 { S::round_f16(x) } else { S::round_bf16(x) };
                store_up_to::<S>(y, chunk);
            }
            out
        }
    }

    /// The nearest of all numbers `± m 2^e` with `bits` significant bits and `e >= least`, ties to
    /// even `m`; infinity from half a unit beyond `largest` on.
    fn nearest(x: f32, bits: i32, least: i32, largest: f64) -> f32 {
        let wide = f64::from(x);
        if x.is_nan() || x == 0.0 || x.is_infinite() {
            return x;
        }
        let exponent = (wide.abs().log2().floor() as i32 - bits + 1).max(least);
        let unit = f64::from(exponent).exp2();
        let rounded = (wide / unit).round_ties_even() * unit;
        if rounded.abs() > largest { f32::INFINITY.copysign(x) } else { rounded as f32 }
    }

    /// Ties, neighbours of ties, both ends of the range, and random bits.
    fn awkward() -> Vec<f32> {
        let mut all = vec![0.0, -0.0, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX];
        all.extend([65_504.0, 65_519.99, 65_520.0, 65_536.0, 5.96e-8, 2.98e-8, 2.99e-8, 6.1e-5]);
        for shift in [12, 13, 15, 16] {
            for mantissa in 0..64u32 {
                for exponent in [0x3f80_0000u32, 0x3380_0000, 0x3880_0000, 0x4700_0000] {
                    let tie = exponent | mantissa << shift;
                    all.extend([tie - 1, tie, tie + 1].map(f32::from_bits));
                }
            }
        }
        let mut state = 1u32;
        for _ in 0..4000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            all.push(f32::from_bits(state));
        }
        // Smaller numbers are flushed by some instruction sets.
        all.retain(|x| x.is_nan() || *x == 0.0 || x.abs() >= f32::MIN_POSITIVE);
        let negative: Vec<f32> = all.iter().map(|x| -x).collect();
        all.extend(negative);
        all
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest_even_on_all_instruction_sets() {
        let numbers = awkward();
        let largest_bf16 = f64::from(f32::from_bits(0x7f7f_0000));
        for isa in Supported::all() {
            for (half, bits, least, largest) in
                [(true, 11, -24, 65_504.0), (false, 8, -133, largest_bf16)]
            {
                let rounded = dispatch(isa, Round(half, numbers.clone()));
                for (&x, &got) in numbers.iter().zip(&rounded) {
                    let expected = nearest(x, bits, least, largest);
                    let same = got.to_bits() == expected.to_bits() || x.is_nan() && got.is_nan();
                    assert!(same, "{x:e} became {got:e}, not {expected:e}, {bits} bits on {isa:?}");
                }
            }
        }
    }
}
