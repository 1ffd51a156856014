use crate::cpu::machine::Cpu;
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::{SplitRows, for_blocks, for_row_blocks};
use crate::cpu::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
use crate::settings::optimizer::AdamW;

pub(crate) fn adamw(
    cpu: &Cpu,
    config: &AdamW,
    gradients: MatrixMut<'_>,
    parameters: MatrixMut<'_>,
    first_moment: MatrixMut<'_>,
    second_moment: MatrixMut<'_>,
) {
    let (factors, length) = (Factors::of(config), parameters.data.len());
    let operands = (gradients.flat(), parameters.flat(), first_moment.flat(), second_moment.flat());
    for_row_blocks(cpu, length, 1, operands, |_, block| {
        let (gradients, parameters, first_moment, second_moment) = block;
        let update = Update {
            factors,
            gradients: gradients.data,
            parameters: parameters.data,
            first_moment: first_moment.data,
            second_moment: second_moment.data,
        };
        dispatch(cpu.isa(), update);
    });
}

/// Elements summed in one task.
pub(super) const SUM_BLOCK: usize = 1 << 14;

pub(crate) fn sum_of_squares(cpu: &Cpu, x: Matrix<'_>) -> f64 {
    let mut sums = vec![0.0; x.data.len().div_ceil(SUM_BLOCK)];
    let operands = (x.flat(), Sums { block: SUM_BLOCK, sums: &mut sums });
    for_blocks(cpu, true, x.data.len(), SUM_BLOCK, operands, |_, (x, Sums { sums, .. })| {
        sums[0] = dispatch(cpu.isa(), SumOfSquares(x.data));
    });
    tree_sum(&sums)
}

/// One sum for each block of rows.
pub(super) struct Sums<'a> {
    pub(super) block: usize,
    pub(super) sums: &'a mut [f64],
}

impl SplitRows for Sums<'_> {
    fn split_rows(self, rows: usize) -> (Self, Self) {
        let Sums { block, sums } = self;
        let (first, second) = sums.split_at_mut(rows.div_ceil(block));
        (Sums { block, sums: first }, Sums { block, sums: second })
    }
}

/// The sum of `sums`, in a tree whose shape depends on their number only.
pub(super) fn tree_sum(sums: &[f64]) -> f64 {
    match sums {
        [] => 0.0,
        [sum] => *sum,
        _ => {
            let (left, right) = sums.split_at(sums.len() / 2);
            tree_sum(left) + tree_sum(right)
        }
    }
}

/// The factors of a step, computed in f64.
#[derive(Clone, Copy)]
struct Factors {
    first_step: bool,
    gradient_scale: f32,
    keep: f32,
    new_first: f32,
    beta2: f32,
    new_second: f32,
    step_size: f32,
    /// `1 / sqrt(1 - β₂ᵗ)`.
    second_correction: f32,
    epsilon: f32,
}

impl Factors {
    fn of(config: &AdamW) -> Factors {
        let step = config.step as f64;
        Factors {
            first_step: config.step == 1,
            gradient_scale: config.gradient_scale,
            keep: (1.0 - config.learning_rate * config.weight_decay) as f32,
            new_first: (1.0 - config.beta1) as f32,
            beta2: config.beta2 as f32,
            new_second: (1.0 - config.beta2) as f32,
            step_size: (config.learning_rate / (1.0 - config.beta1.powf(step))) as f32,
            second_correction: (1.0 / (1.0 - config.beta2.powf(step)).sqrt()) as f32,
            epsilon: config.epsilon as f32,
        }
    }
}

struct Update<'a> {
    factors: Factors,
    gradients: &'a mut [f32],
    parameters: &'a mut [f32],
    first_moment: &'a mut [f32],
    second_moment: &'a mut [f32],
}

/// Elements that are skipped together where a step cannot change them: part of an embedding.
pub(super) const STRETCH: usize = 128;

impl Kernel for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        if self.factors.first_step { self.steps::<S, true>() } else { self.steps::<S, false>() }
    }
}

impl Update<'_> {
    #[inline(always)]
    fn steps<S: Simd, const FIRST: bool>(self) {
        let f = self.factors;
        // Where gradients and moments are zero, as of embeddings that no text has had, a step
        // changes nothing: 0 is added to 0, and 0 / (0 + ε) subtracted.
        let skips = f.keep == 1.0 && f.epsilon > 0.0;
        let state =
            self.first_moment.chunks_mut(STRETCH).zip(self.second_moment.chunks_mut(STRETCH));
        let values = self.gradients.chunks_mut(STRETCH).zip(self.parameters.chunks_mut(STRETCH));
        for ((gradient, parameter), (first, second)) in values.zip(state) {
            let skips = skips && all_zero::<S>(gradient);
            // Before the first step the moments are zero by contract; not even touched here, the
            // pages of embeddings that are never met take no memory.
            if skips && (FIRST || all_zero::<S>(first) && all_zero::<S>(second)) {
                continue;
            }
            f.update::<S, FIRST>(gradient, parameter, first, second);
        }
    }
}

#[inline(always)]
pub(super) fn all_zero<S: Simd>(numbers: &[f32]) -> bool {
    let mut sum = S::splat(0.0);
    for numbers in numbers.chunks(S::LANES) {
        sum = S::add(sum, S::abs(load_up_to::<S>(numbers)));
    }
    S::reduce_sum(sum) == 0.0
}

impl Factors {
    #[inline(always)]
    fn update<S: Simd, const FIRST: bool>(
        self,
        gradients: &mut [f32],
        parameters: &mut [f32],
        first_moment: &mut [f32],
        second_moment: &mut [f32],
    ) {
        let splat = S::splat;
        let state = first_moment.chunks_mut(S::LANES).zip(second_moment.chunks_mut(S::LANES));
        let values = gradients.chunks_mut(S::LANES).zip(parameters.chunks_mut(S::LANES));
        for ((gradient, parameter), (first, second)) in values.zip(state) {
            let g = S::mul(load_up_to::<S>(gradient), splat(self.gradient_scale));
            let m = if FIRST { splat(0.0) } else { load_up_to::<S>(first) };
            let m = S::mul_add(S::sub(g, m), splat(self.new_first), m);
            let v = if FIRST { splat(0.0) } else { load_up_to::<S>(second) };
            let v = S::mul(v, splat(self.beta2));
            let v = S::mul_add(S::mul(g, g), splat(self.new_second), v);
            let root = S::mul(S::sqrt(v), splat(self.second_correction));
            let change =
                S::div(S::mul(m, splat(self.step_size)), S::add(root, splat(self.epsilon)));
            let kept = S::mul(load_up_to::<S>(parameter), splat(self.keep));
            store_up_to::<S>(splat(0.0), gradient);
            store_up_to::<S>(m, first);
            store_up_to::<S>(v, second);
            store_up_to::<S>(S::sub(kept, change), parameter);
        }
    }
}

struct SumOfSquares<'a>(&'a [f32]);

impl Kernel for SumOfSquares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        // The same 16 chains on every instruction set; squares of f32 are exact in f64.
        let mut sums = [0.0f64; 16];
        let (chunks, rest) = self.0.as_chunks::<16>();
        for chunk in chunks {
            for (sum, &x) in sums.iter_mut().zip(chunk) {
                *sum += f64::from(x) * f64::from(x);
            }
        }
        for (sum, &x) in sums.iter_mut().zip(rest) {
            *sum += f64::from(x) * f64::from(x);
        }
        for half in [8, 4, 2, 1] {
            for index in 0..half {
                sums[index] += sums[index + half];
            }
        }
        sums[0]
    }
}
