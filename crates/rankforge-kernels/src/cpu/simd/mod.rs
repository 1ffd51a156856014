//! One vector trait, an implementation for each instruction set, one dispatcher.
//!
//! A kernel is a struct of its arguments with `impl Kernel`; its `run` is written once over
//! [`Simd`] and compiled for each instruction set by [`dispatch`]. Everything that `run` calls must
//! be `#[inline(always)]`: otherwise it is compiled without the instruction set, and vectors pass
//! through memory. Closures that are arguments of such functions are inlined; those handed to the
//! standard library (`map`, `from_fn`) are not, so they must not take or return vectors.

mod scalar;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use vector::{Kernel, Simd, load_up_to, prefetch_elements, store_up_to};

use crate::cpu::simd::scalar::Scalar;
use crate::isa::{Isa, Supported};

/// Runs `kernel` compiled for the instruction set.
#[inline]
pub(crate) fn dispatch<K: Kernel>(isa: Supported, kernel: K) -> K::Output {
    match isa.isa() {
        Isa::Scalar => kernel.run::<Scalar>(),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Supported` holds these only where the machine has AVX2, FMA and F16C.
        Isa::Avx2 | Isa::Avx2Vnni => unsafe { x86::run_avx2(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Supported` holds AVX-512 only where the machine has F, BW, DQ and VL.
        Isa::Avx512 | Isa::Avx512Vnni => unsafe { x86::run_avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Supported` holds this one only where the machine has AVX-512 with BF16 and VNNI.
        Isa::Avx512Bf16 => unsafe { x86::run_avx512_bf16(kernel) },
        #[cfg(not(target_arch = "x86_64"))]
        isa => unreachable!("{isa} is not supported on this architecture"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Supported;

    struct RoundAll(bool, Vec<f32>);

    impl Kernel for RoundAll {
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
        // Some instruction sets flush subnormal numbers to zero.
        all.retain(|x| x.is_nan() || *x == 0.0 || x.abs() >= f32::MIN_POSITIVE);
        let negative: Vec<f32> = all.iter().map(|x| -x).collect();
        all.extend(negative);
        all
    }

    #[test]
    fn values_are_rounded_to_nearest_even_on_all_instruction_sets() {
        let numbers = awkward();
        let largest_bf16 = f64::from(f32::from_bits(0x7f7f_0000));
        for isa in Supported::all() {
            for (half, bits, least, largest) in
                [(true, 11, -24, 65_504.0), (false, 8, -133, largest_bf16)]
            {
                let rounded = dispatch(isa, RoundAll(half, numbers.clone()));
                for (&x, &got) in numbers.iter().zip(&rounded) {
                    let expected = nearest(x, bits, least, largest);
                    let same = got.to_bits() == expected.to_bits() || x.is_nan() && got.is_nan();
                    assert!(same, "{x:e} became {got:e}, not {expected:e}, {bits} bits on {isa:?}");
                }
            }
        }
    }
}
