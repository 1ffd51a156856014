//! One vector trait, three instruction sets, one dispatcher.
//!
//! A kernel is a struct of its arguments with `impl Kernel`; its `run` is written once over
//! [`Simd`] and compiled for each instruction set by [`dispatch`]. Everything `run` calls must be
//! `#[inline(always)]`, or it is compiled without the instruction set and its vectors go through
//! memory. Closures can be, where they are arguments; those handed to the standard library (`map`,
//! `from_fn`) are called from code that is not, so they must not take or give vectors.

use crate::Isa;

/// A kernel: arguments as fields, body in `run`. Implement `run` with `#[inline(always)]`.
pub(crate) trait Kernel {
    type Output;

    fn run<S: Simd>(self) -> Self::Output;
}

/// Runs `kernel` compiled for `isa`, which the caller got from a `Device`, so the machine has it.
#[inline]
pub(crate) fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa {
        Isa::Scalar => kernel.run::<Scalar>(),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Device` with this instruction set exists only where `Isa::available` has it.
        Isa::Avx2 => unsafe { x86::run_avx2(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { x86::run_avx512(kernel) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("{isa} is not available on this machine"),
    }
}

/// A vector of `LANES` numbers; all methods are `#[inline(always)]`.
///
/// The instruction set behind a type must be there; only [`dispatch`] picks one.
pub(crate) trait Simd: Copy {
    const LANES: usize;
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
    /// `2^n` for integral `n` in `-126..=127`.
    fn exp2_integer(n: Self::V) -> Self::V;
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
    /// The nearest `f32` of numbers below `2^31`.
    fn to_f32(a: Self::U) -> Self::V;

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
    fn exp2_integer(n: Self::V) -> Self::V {
        map(n, |n| f32::from_bits(((n as i32 + 127) as u32) << 23))
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
    fn to_f32(a: Self::U) -> Self::V {
        a.map(|lane| lane as i32 as f32)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86;
