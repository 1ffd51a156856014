use crate::cpu::machine::Cpu;
use crate::cpu::simd::{Kernel, Simd, dispatch};
use crate::isa::Isa;
use crate::settings::arithmetic::Arithmetic;
use std::hint::black_box;
use std::time::Instant;

/// The rate of `arithmetic` on all threads together, in operations per second.
pub(crate) fn peak(cpu: &Cpu, arithmetic: Arithmetic) -> Option<f64> {
    let isa = cpu.isa().isa();
    let has = match arithmetic {
        Arithmetic::Float32 => true,
        Arithmetic::BFloat16 => isa == Isa::Avx512Bf16,
        Arithmetic::Int8 => [Isa::Avx2Vnni, Isa::Avx512Vnni, Isa::Avx512Bf16].contains(&isa),
    };
    if !has {
        return None;
    }
    #[expect(clippy::disallowed_methods, reason = "a rate is measured")]
    let round = |steps: u64| -> f64 {
        let begun = Instant::now();
        let operations: Vec<u64> =
            cpu.workers().broadcast(|| dispatch(cpu.isa(), Steps { arithmetic, steps }));
        operations.iter().sum::<u64>() as f64 / begun.elapsed().as_secs_f64()
    };
    // In the first rounds threads wake and the clock frequency rises.
    Some((0..ROUNDS).map(|_| round(STEPS)).fold(0.0, f64::max))
}

const ROUNDS: usize = 40;

/// Multiply-adds of each sum in a round: about 20 ms.
const STEPS: u64 = 2_000_000;

/// `steps` rounds of multiply-adds over as many sums as the registers hold beside the factors.
struct Steps {
    arithmetic: Arithmetic,
    steps: u64,
}

impl Kernel for Steps {
    /// Operations done.
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd>(self) -> u64 {
        let vectors = match self.arithmetic {
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Int8 if S::LANES == 16 => {
                // SAFETY: `peak` runs this arithmetic only on three instruction sets. Those of them
                // with 16 lanes, `Isa::Avx512Vnni` and `Isa::Avx512Bf16`, have VNNI.
                unsafe { bytes(self.steps) }
            }
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Int8 => {
                // SAFETY: as above; the other one is `Isa::Avx2Vnni`, which has AVX-VNNI.
                unsafe { half_as_many_bytes(self.steps) }
            }
            #[cfg(not(target_arch = "x86_64"))]
            Arithmetic::Int8 => unreachable!("no instruction set here multiplies bytes"),
            Arithmetic::BFloat16 => chains::<S, 24>(self.steps, S::mul_add_pairs),
            Arithmetic::Float32 if S::LANES == 16 => chains::<S, 24>(self.steps, S::mul_add),
            Arithmetic::Float32 => chains::<S, 12>(self.steps, S::mul_add),
        };
        let products = match self.arithmetic {
            Arithmetic::Float32 => 1,
            Arithmetic::BFloat16 => 2,
            Arithmetic::Int8 => 4,
        };
        2 * products * vectors * S::LANES as u64
    }
}

/// Runs `steps` rounds of multiply-adds over `N` sums; the number of vectors.
#[inline(always)]
fn chains<S: Simd, const N: usize>(
    steps: u64,
    multiply_add: impl Fn(S::V, S::V, S::V) -> S::V,
) -> u64 {
    let (a, b) = (S::splat(black_box(1.0)), S::splat(black_box(1e-9)));
    let mut sums = [S::splat(0.0); N];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = multiply_add(a, b, *sum);
        }
    }
    let mut lanes = [0.0; 16];
    for sum in sums {
        S::store(sum, &mut lanes);
        black_box(&lanes);
    }
    steps * N as u64
}

/// [`chains`] of products of bytes, four to a sum.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn bytes(steps: u64) -> u64 {
    use std::arch::x86_64::{_mm512_dpbusd_epi32, _mm512_reduce_add_epi32, _mm512_set1_epi32};
    const SUMS: usize = 24;
    let (a, b) = (_mm512_set1_epi32(black_box(0x0101_0101)), _mm512_set1_epi32(black_box(0)));
    let mut sums = [_mm512_set1_epi32(0); SUMS];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, a, b);
        }
    }
    for sum in sums {
        black_box(_mm512_reduce_add_epi32(sum));
    }
    steps * SUMS as u64
}

/// [`bytes`] with AVX-VNNI.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,avxvnni")]
fn half_as_many_bytes(steps: u64) -> u64 {
    use std::arch::x86_64::{_mm256_dpbusd_avx_epi32, _mm256_set1_epi32};
    const SUMS: usize = 12;
    let (a, b) = (_mm256_set1_epi32(black_box(0x0101_0101)), _mm256_set1_epi32(black_box(0)));
    let mut sums = [_mm256_set1_epi32(0); SUMS];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = _mm256_dpbusd_avx_epi32(*sum, a, b);
        }
    }
    black_box(sums);
    steps * SUMS as u64
}
