use crate::cpu::simd::vector::Simd;

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

/// Eight portable lanes; the compiler may use the target's baseline vectors.
#[derive(Clone, Copy)]
pub(super) struct Scalar;

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
        // Two roundings: without the instruction, a fused one is a slow library call.
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
