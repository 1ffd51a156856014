//! Similarities in `f64`.

use crate::cpu::machine::Cpu;
use crate::cpu::matrix::Matrix;
use crate::cpu::parallel::{INLINE_ELEMENTS, SharedRows, for_each};
use crate::cpu::simd::{Kernel, Simd, dispatch};
use crate::cpu::top_k::bytes::OFFSET;
use crate::isa::Supported;
use crate::settings::norm::LEAST_NORM;
use crate::settings::similarity::Similarity;

pub(crate) fn pairwise_similarity(
    cpu: &Cpu,
    similarity: Similarity,
    a: Matrix<'_>,
    b: Matrix<'_>,
) -> Vec<f32> {
    let columns = a.columns;
    let isa = cpu.isa();
    let difference = |a: f32, b: f32| f64::from(a) - f64::from(b);
    by_rows(cpu, a, |row| {
        let (a, b) = (&a.data[row * columns..][..columns], &b.data[row * columns..][..columns]);
        let score = match similarity {
            Similarity::Dot => dot(isa, a, b),
            Similarity::Cosine => dot(isa, a, b) / (norm(isa, a) * norm(isa, b)),
            Similarity::Euclidean => -sum(a, b, |a, b| difference(a, b) * difference(a, b)).sqrt(),
            Similarity::Manhattan => -sum(a, b, |a, b| difference(a, b).abs()),
        };
        score as f32
    })
}

/// `f` of each row index of `x`, on all threads.
pub(super) fn by_rows(
    cpu: &Cpu,
    x: Matrix<'_>,
    f: impl Fn(usize) -> f32 + Sync + Send,
) -> Vec<f32> {
    const BLOCK: usize = 256;
    let mut values = vec![0.0; x.rows];
    let shared = SharedRows::of_slice(&mut values, 1, x.rows);
    for_each(cpu, x.data.len() >= INLINE_ELEMENTS, x.rows.div_ceil(BLOCK), |block| {
        let rows = block * BLOCK..((block + 1) * BLOCK).min(x.rows);
        // SAFETY: blocks are disjoint, and each is one task.
        let values = unsafe { shared.part(0, rows.clone()) };
        for (value, row) in values.iter_mut().zip(rows) {
            *value = f(row);
        }
    });
    values
}

/// Norm in `f64`, at least [`LEAST_NORM`].
pub(super) fn norm(isa: Supported, x: &[f32]) -> f64 {
    let length = dot(isa, x, x).sqrt();
    // `max` would hide NaN.
    if length < LEAST_NORM { LEAST_NORM } else { length }
}

/// Sum of products in `f64`; the same bits on every instruction set, as the products are exact.
pub(super) fn dot(isa: Supported, a: &[f32], b: &[f32]) -> f64 {
    dispatch(isa, Dot { a, b })
}

/// Sum of products of `a` with bytes, each plus [`OFFSET`], in `f64`.
pub(super) fn dot_bytes(isa: Supported, a: &[f32], bytes: &[u8]) -> f64 {
    dispatch(isa, DotBytes { a, bytes })
}

struct DotBytes<'a> {
    a: &'a [f32],
    bytes: &'a [u8],
}

impl Kernel for DotBytes<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let signed = |byte: u8| f64::from(i32::from(byte) - i32::from(OFFSET));
        sum(self.a, self.bytes, |a: f32, byte| f64::from(a) * signed(byte))
    }
}

struct Dot<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Kernel for Dot<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        sum(self.a, self.b, |a: f32, b: f32| f64::from(a) * f64::from(b))
    }
}

/// Interleaved sums: enough to hide the latency of additions.
pub(super) const SUMS: usize = 32;

/// Sum of `f` over pairs in `f64`, in interleaved sums that vectorise.
#[inline(always)]
fn sum<A: Copy, B: Copy>(a: &[A], b: &[B], f: impl Fn(A, B) -> f64) -> f64 {
    let mut sums = [0.0; SUMS];
    let (whole_a, rest_a) = a.as_chunks::<SUMS>();
    let (whole_b, rest_b) = b.as_chunks::<SUMS>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        for lane in 0..SUMS {
            sums[lane] += f(a[lane], b[lane]);
        }
    }
    for ((sum, &a), &b) in sums.iter_mut().zip(rest_a).zip(rest_b) {
        *sum += f(a, b);
    }
    total(sums)
}

/// The sum of the interleaved sums, by halves.
#[inline(always)]
pub(super) fn total(mut sums: [f64; SUMS]) -> f64 {
    let mut half = SUMS / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}
