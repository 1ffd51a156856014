use crate::cpu::block_sums::{BLOCK_ROWS, BlockSums, add_to};
use crate::cpu::machine::Cpu;
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::{INLINE_ELEMENTS, for_blocks, for_row_blocks};
use crate::cpu::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
use crate::settings::norm::{LayerNormBackward, LayerNormOf, SMALLEST_NORM};

pub(crate) fn layer_norm(
    cpu: &Cpu,
    norm: LayerNormOf<Matrix<'_>>,
    x: Matrix<'_>,
    out: MatrixMut<'_>,
    statistics: MatrixMut<'_>,
) {
    let (rows, columns) = (x.rows, x.columns);
    if columns == 0 {
        return;
    }
    let LayerNormOf { weight, bias, epsilon } = norm;
    let (weight, bias) = (weight.data, bias.map(|bias| bias.data));
    let operands = (x, out, statistics);
    for_row_blocks(cpu, rows, columns, operands, |_, (x, out, statistics)| {
        let (x, out, statistics) = (x.data, out.data, statistics.data);
        dispatch(cpu.isa(), LayerNorm { x, weight, bias, epsilon, out, statistics });
    });
}

pub(crate) fn layer_norm_backward(
    cpu: &Cpu,
    inputs: LayerNormBackward<Matrix<'_>>,
    accumulate: bool,
    d_x: MatrixMut<'_>,
    d_weight: Option<MatrixMut<'_>>,
    d_bias: Option<MatrixMut<'_>>,
) {
    let LayerNormBackward { d_out, x, weight, statistics } = inputs;
    let (rows, columns) = (x.rows, x.columns);
    if columns == 0 {
        return;
    }
    let mut scratch = cpu.scratch(rows.div_ceil(BLOCK_ROWS) * 2 * columns);
    let sums = BlockSums::new(rows, 2 * columns, &mut scratch);
    let parallel = rows * columns >= INLINE_ELEMENTS;
    let operands = (d_out, x, statistics, d_x, sums);
    for_blocks(cpu, parallel, rows, BLOCK_ROWS, operands, |_, block| {
        let (d_out, x, statistics, d_x, sums) = block;
        let (d_weight, d_bias) = sums.into_sums().split_at_mut(columns);
        let backward = BackwardBlock {
            d_out: d_out.data,
            x: x.data,
            weight: weight.data,
            statistics: statistics.data,
            accumulate,
            d_x: d_x.data,
            d_weight,
            d_bias,
        };
        dispatch(cpu.isa(), backward);
    });
    let mut targets = [d_weight, d_bias].map(|target| target.map(|target| target.data));
    for sums in scratch.chunks_exact(2 * columns) {
        for (sums, target) in sums.chunks_exact(columns).zip(&mut targets) {
            if let Some(target) = target {
                add_to(sums, target);
            }
        }
    }
}

pub(crate) fn normalize(cpu: &Cpu, x: Matrix<'_>, out: MatrixMut<'_>, norms: MatrixMut<'_>) {
    let (rows, columns) = (x.rows, x.columns);
    for_row_blocks(cpu, rows, columns, (x, out, norms), |_, (x, out, norms)| {
        let (x, out, norms) = (x.data, out.data, norms.data);
        dispatch(cpu.isa(), Normalize { columns, x, out, norms });
    });
}

pub(crate) fn normalize_backward(
    cpu: &Cpu,
    d_out: Matrix<'_>,
    out: Matrix<'_>,
    norms: Matrix<'_>,
    d_x: MatrixMut<'_>,
) {
    let (rows, columns) = (out.rows, out.columns);
    let operands = (d_out, out, norms, d_x);
    for_row_blocks(cpu, rows, columns, operands, |_, (d_out, out, norms, d_x)| {
        let (d_out, out, norms, d_x) = (d_out.data, out.data, norms.data, d_x.data);
        dispatch(cpu.isa(), NormalizeBackward { columns, d_out, out, norms, d_x });
    });
}

struct LayerNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    epsilon: f32,
    out: &'a mut [f32],
    statistics: &'a mut [f32],
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let columns = self.weight.len();
        let count = columns as f32;
        let rows = self.x.chunks_exact(columns).zip(self.out.chunks_exact_mut(columns));
        for ((x, out), statistics) in rows.zip(self.statistics.chunks_exact_mut(2)) {
            let mean = sum::<S>(x) / count;
            let variance = sum_of_squared_differences::<S>(x, mean) / count;
            let reciprocal = 1.0 / (variance + self.epsilon).sqrt();
            statistics.copy_from_slice(&[mean, reciprocal]);
            let (mean, reciprocal) = (S::splat(mean), S::splat(reciprocal));
            for start in (0..columns).step_by(S::LANES) {
                let centred = S::sub(load_up_to::<S>(&x[start..]), mean);
                let scaled =
                    S::mul(S::mul(centred, reciprocal), load_up_to::<S>(&self.weight[start..]));
                let shifted = match self.bias {
                    Some(bias) => S::add(scaled, load_up_to::<S>(&bias[start..])),
                    None => scaled,
                };
                store_up_to::<S>(shifted, &mut out[start..]);
            }
        }
    }
}

/// The gradients of a block of rows.
struct BackwardBlock<'a> {
    d_out: &'a [f32],
    x: &'a [f32],
    weight: &'a [f32],
    statistics: &'a [f32],
    accumulate: bool,
    d_x: &'a mut [f32],
    /// Sums over this block of rows; overwritten, and so is `d_bias`.
    d_weight: &'a mut [f32],
    d_bias: &'a mut [f32],
}

impl Kernel for BackwardBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let columns = self.weight.len();
        self.d_weight.fill(0.0);
        self.d_bias.fill(0.0);
        let inputs = self.d_out.chunks_exact(columns).zip(self.x.chunks_exact(columns));
        let outputs = self.d_x.chunks_exact_mut(columns).zip(self.statistics.chunks_exact(2));
        for ((d_out, x), (d_x, statistics)) in inputs.zip(outputs) {
            let (mean, reciprocal) = (S::splat(statistics[0]), S::splat(statistics[1]));
            let mut sum = S::splat(0.0);
            let mut product = S::splat(0.0);
            for start in (0..columns).step_by(S::LANES) {
                let d_out = load_up_to::<S>(&d_out[start..]);
                let normal = S::mul(S::sub(load_up_to::<S>(&x[start..]), mean), reciprocal);
                let d_normal = S::mul(d_out, load_up_to::<S>(&self.weight[start..]));
                sum = S::add(sum, d_normal);
                product = S::mul_add(d_normal, normal, product);
                let d_weight = &mut self.d_weight[start..];
                store_up_to::<S>(S::mul_add(d_out, normal, load_up_to::<S>(d_weight)), d_weight);
                let d_bias = &mut self.d_bias[start..];
                store_up_to::<S>(S::add(d_out, load_up_to::<S>(d_bias)), d_bias);
            }
            let count = columns as f32;
            let sum = S::splat(S::reduce_sum(sum) / count);
            let product = S::splat(S::reduce_sum(product) / count);
            for start in (0..columns).step_by(S::LANES) {
                let normal = S::mul(S::sub(load_up_to::<S>(&x[start..]), mean), reciprocal);
                let weight = load_up_to::<S>(&self.weight[start..]);
                let d_normal = S::mul(load_up_to::<S>(&d_out[start..]), weight);
                let centred = S::sub(S::sub(d_normal, sum), S::mul(normal, product));
                let value = S::mul(centred, reciprocal);
                let d_x = &mut d_x[start..];
                let before = if self.accumulate { load_up_to::<S>(d_x) } else { S::splat(0.0) };
                store_up_to::<S>(S::add(before, value), d_x);
            }
        }
    }
}

struct Normalize<'a> {
    columns: usize,
    x: &'a [f32],
    out: &'a mut [f32],
    norms: &'a mut [f32],
}

impl Kernel for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let columns = self.columns;
        for (row, norm) in self.norms.iter_mut().enumerate() {
            let x = &self.x[row * columns..(row + 1) * columns];
            let out = &mut self.out[row * columns..(row + 1) * columns];
            *norm = sum_of_squared_differences::<S>(x, 0.0).sqrt();
            let divisor = S::splat(clamped(*norm));
            for (x, out) in x.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
                store_up_to::<S>(S::div(load_up_to::<S>(x), divisor), out);
            }
        }
    }
}

struct NormalizeBackward<'a> {
    columns: usize,
    d_out: &'a [f32],
    out: &'a [f32],
    norms: &'a [f32],
    d_x: &'a mut [f32],
}

impl Kernel for NormalizeBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let columns = self.columns;
        for (row, &norm) in self.norms.iter().enumerate() {
            let place = row * columns..(row + 1) * columns;
            let (d_out, out) = (&self.d_out[place.clone()], &self.out[place.clone()]);
            let d_x = &mut self.d_x[place];
            if norm <= SMALLEST_NORM {
                d_x.fill(0.0);
                continue;
            }
            let (along, divisor) = (S::splat(dot::<S>(d_out, out)), S::splat(norm));
            let inputs = d_out.chunks(S::LANES).zip(out.chunks(S::LANES));
            for ((d_out, out), d_x) in inputs.zip(d_x.chunks_mut(S::LANES)) {
                let parallel = S::mul(load_up_to::<S>(out), along);
                let across = S::sub(load_up_to::<S>(d_out), parallel);
                store_up_to::<S>(S::div(across, divisor), d_x);
            }
        }
    }
}

/// The norm to divide by; NaN stays NaN.
fn clamped(norm: f32) -> f32 {
    if norm < SMALLEST_NORM { SMALLEST_NORM } else { norm }
}

#[inline(always)]
fn sum<S: Simd>(x: &[f32]) -> f32 {
    let mut sums = [S::splat(0.0); 2];
    for pair in x.chunks(2 * S::LANES) {
        for (chunk, sum) in pair.chunks(S::LANES).zip(&mut sums) {
            *sum = S::add(*sum, load_up_to::<S>(chunk));
        }
    }
    S::reduce_sum(S::add(sums[0], sums[1]))
}

#[inline(always)]
fn sum_of_squared_differences<S: Simd>(x: &[f32], from: f32) -> f32 {
    let from_lanes = S::splat(from);
    let mut sums = [S::splat(0.0); 2];
    for pair in x.chunks(2 * S::LANES) {
        for (chunk, sum) in pair.chunks(S::LANES).zip(&mut sums) {
            // The padding of the last vector must be `from`, so that it does not count.
            let numbers =
                if chunk.len() == S::LANES { S::load(chunk) } else { S::load_partial(chunk, from) };
            let difference = S::sub(numbers, from_lanes);
            *sum = S::mul_add(difference, difference, *sum);
        }
    }
    S::reduce_sum(S::add(sums[0], sums[1]))
}

#[inline(always)]
fn dot<S: Simd>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [S::splat(0.0); 2];
    for (a, b) in a.chunks(2 * S::LANES).zip(b.chunks(2 * S::LANES)) {
        for ((a, b), sum) in a.chunks(S::LANES).zip(b.chunks(S::LANES)).zip(&mut sums) {
            *sum = S::mul_add(load_up_to::<S>(a), load_up_to::<S>(b), *sum);
        }
    }
    S::reduce_sum(S::add(sums[0], sums[1]))
}
