//! Adafactor. Blocks depend on the shape alone; sums of blocks are added in their order, in f64.

use crate::cpu::machine::Cpu;
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::optimizer::{SUM_BLOCK, Sums, all_zero, tree_sum};
use crate::cpu::parallel::{INLINE_ELEMENTS, SplitRows, for_blocks};
use crate::cpu::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
use crate::settings::update_rule::{ADAFACTOR_EPSILON, OptimizerStep};

const EPSILON: f32 = ADAFACTOR_EPSILON as f32;

/// Rows of a block at most: few, as a column's squares in it are summed in f32.
const BLOCK_ROWS: usize = 128;

pub(crate) fn factored(
    cpu: &Cpu,
    step: &OptimizerStep,
    gradients: MatrixMut<'_>,
    parameters: MatrixMut<'_>,
    (row_means, column_means): (MatrixMut<'_>, MatrixMut<'_>),
) {
    let (rows, columns) = (parameters.rows, parameters.columns);
    if rows * columns == 0 {
        return;
    }
    let parallel = rows * columns >= INLINE_ELEMENTS;
    let block = (SUM_BLOCK / columns).clamp(1, BLOCK_ROWS);
    let (decay, scale) = (step.adafactor_decay(), step.gradient_scale);
    let (row_means, column_means) = (row_means.data, column_means.data);
    let read = Matrix { rows, columns, data: &*gradients.data };

    let mut sums = vec![0.0; rows.div_ceil(block) * columns];
    let means = MatrixMut { rows, columns: 1, data: &mut *row_means };
    let operands = (read, means, Blocks { block, width: columns, data: &mut sums });
    for_blocks(cpu, parallel, rows, block, operands, |_, (gradients, means, sums)| {
        let (means, sums) = (means.data, &mut sums.data[..columns]);
        dispatch(cpu.isa(), Means { gradients, scale, decay: decay as f32, means, sums });
    });
    for (column, mean) in column_means.iter_mut().enumerate() {
        let sum: f64 = sums.iter().skip(column).step_by(columns).map(|&sum| f64::from(sum)).sum();
        *mean = (decay * f64::from(*mean) + (1.0 - decay) * sum / rows as f64) as f32;
    }

    let mean: f64 = row_means.iter().map(|&mean| f64::from(mean)).sum::<f64>() / rows as f64;
    let inverse_root = |value: f64| (1.0 / value.sqrt()) as f32;
    let of_rows: Vec<f32> =
        row_means.iter().map(|&value| inverse_root(f64::from(value) / mean)).collect();
    let of_columns: Vec<f32> =
        column_means.iter().map(|&value| inverse_root(f64::from(value))).collect();
    let (of_rows, of_columns) = (Matrix::new(rows, 1, &of_rows), of_columns.as_slice());

    let mut squares = vec![0.0; rows.div_ceil(block)];
    let operands = (read, of_rows, Sums { block, sums: &mut squares });
    for_blocks(
        cpu,
        parallel,
        rows,
        block,
        operands,
        |_, (gradients, of_rows, Sums { sums, .. })| {
            sums[0] = dispatch(cpu.isa(), Squares { gradients, scale, of_rows, of_columns });
        },
    );
    let rates = Rates::of(step, tree_sum(&squares), rows * columns);
    let operands = (gradients, parameters, of_rows);
    for_blocks(cpu, parallel, rows, block, operands, |_, (gradients, parameters, of_rows)| {
        dispatch(cpu.isa(), Apply { rates, gradients, parameters, of_rows, of_columns });
    });
}

pub(crate) fn full(
    cpu: &Cpu,
    step: &OptimizerStep,
    gradients: MatrixMut<'_>,
    parameters: MatrixMut<'_>,
    moment: MatrixMut<'_>,
) {
    let length = parameters.data.len();
    let parallel = length >= INLINE_ELEMENTS;
    let mut squares = vec![0.0; length.div_ceil(SUM_BLOCK)];
    let (moment, gradients) = (moment.data, gradients.data);
    let state = MatrixMut { rows: length, columns: 1, data: &mut *moment };
    let read = Matrix { rows: length, columns: 1, data: &*gradients };
    let sums = Sums { block: SUM_BLOCK, sums: &mut squares };
    for_blocks(cpu, parallel, length, SUM_BLOCK, (read, state, sums), |_, block| {
        let (gradients, state, Sums { sums, .. }) = block;
        let (gradients, moment) = (gradients.data, state.data);
        sums[0] = dispatch(cpu.isa(), Moment { step: *step, gradients, moment });
    });
    let rates = Rates::of(step, tree_sum(&squares), length);
    let gradients = MatrixMut { rows: length, columns: 1, data: gradients };
    let moment = Matrix { rows: length, columns: 1, data: &*moment };
    let operands = (gradients, parameters.flat(), moment);
    for_blocks(cpu, parallel, length, SUM_BLOCK, operands, |_, (gradients, parameters, moment)| {
        let (gradients, parameters, moment) = (gradients.data, parameters.data, moment.data);
        dispatch(cpu.isa(), ApplyFull { rates, gradients, parameters, moment });
    });
}

/// `width` numbers for each block of `block` rows.
struct Blocks<'a> {
    block: usize,
    width: usize,
    data: &'a mut [f32],
}

impl SplitRows for Blocks<'_> {
    fn split_rows(self, rows: usize) -> (Self, Self) {
        let Blocks { block, width, data } = self;
        let (first, second) = data.split_at_mut(rows.div_ceil(block) * width);
        (Blocks { block, width, data: first }, Blocks { block, width, data: second })
    }
}

/// How much of a change is subtracted, and of a parameter kept.
#[derive(Clone, Copy)]
struct Rates {
    /// The learning rate over the root mean square of the changes, where that is above 1, times the
    /// scale of the gradients.
    rate: f32,
    keep: f32,
}

impl Rates {
    fn of(step: &OptimizerStep, squares: f64, count: usize) -> Rates {
        let rms = (squares / count as f64).sqrt();
        let rate = step.learning_rate / rms.max(1.0) * f64::from(step.gradient_scale);
        Rates { rate: rate as f32, keep: (1.0 - step.learning_rate * step.weight_decay) as f32 }
    }
}

/// The new means of rows, and the sums of squares of columns.
struct Means<'a> {
    gradients: Matrix<'a>,
    scale: f32,
    decay: f32,
    means: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Kernel for Means<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let columns = self.gradients.columns;
        for (row, mean) in self.means.iter_mut().enumerate() {
            let mut sum = S::splat(0.0);
            let values = self.gradients.row(row).chunks(S::LANES);
            for (values, sums) in values.zip(self.sums.chunks_mut(S::LANES)) {
                let g = S::mul(load_up_to::<S>(values), S::splat(self.scale));
                let square = S::mul(g, g);
                sum = S::add(sum, square);
                let square = S::add(square, S::splat(EPSILON));
                store_up_to::<S>(S::add(load_up_to::<S>(sums), square), sums);
            }
            let new = S::reduce_sum(sum) / columns as f32 + EPSILON;
            *mean = self.decay * *mean + (1.0 - self.decay) * new;
        }
    }
}

/// The sum of the squared changes.
struct Squares<'a> {
    gradients: Matrix<'a>,
    scale: f32,
    of_rows: Matrix<'a>,
    of_columns: &'a [f32],
}

impl Kernel for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let mut total = 0.0;
        for (row, &of_row) in self.of_rows.data.iter().enumerate() {
            let mut sum = S::splat(0.0);
            let values = self.gradients.row(row).chunks(S::LANES);
            for (values, factors) in values.zip(self.of_columns.chunks(S::LANES)) {
                let factor = S::mul(load_up_to::<S>(factors), S::splat(of_row * self.scale));
                let change = S::mul(load_up_to::<S>(values), factor);
                sum = S::mul_add(change, change, sum);
            }
            total += f64::from(S::reduce_sum(sum));
        }
        total
    }
}

struct Apply<'a> {
    rates: Rates,
    gradients: MatrixMut<'a>,
    parameters: MatrixMut<'a>,
    of_rows: Matrix<'a>,
    of_columns: &'a [f32],
}

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Rates { rate, keep } = self.rates;
        let columns = self.parameters.columns;
        let rows = self.gradients.data.chunks_mut(columns);
        let rows = rows.zip(self.parameters.data.chunks_mut(columns)).zip(self.of_rows.data);
        for ((gradients, parameters), &of_row) in rows {
            // An embedding that no text has had stays as it is.
            if keep == 1.0 && all_zero::<S>(gradients) {
                continue;
            }
            let values = gradients.chunks_mut(S::LANES).zip(parameters.chunks_mut(S::LANES));
            for ((gradient, parameter), factors) in values.zip(self.of_columns.chunks(S::LANES)) {
                let factor = S::mul(load_up_to::<S>(factors), S::splat(of_row));
                let change = S::mul(load_up_to::<S>(gradient), factor);
                let kept = S::mul(load_up_to::<S>(parameter), S::splat(keep));
                store_up_to::<S>(S::sub(kept, S::mul(change, S::splat(rate))), parameter);
                store_up_to::<S>(S::splat(0.0), gradient);
            }
        }
    }
}

/// The new moments of a vector, and the sum of its squared changes.
struct Moment<'a> {
    step: OptimizerStep,
    gradients: &'a [f32],
    moment: &'a mut [f32],
}

impl Kernel for Moment<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        let decay = self.step.adafactor_decay();
        let (old, new) = (S::splat(decay as f32), S::splat((1.0 - decay) as f32));
        let mut total = 0.0;
        let values = self.gradients.chunks(S::LANES).zip(self.moment.chunks_mut(S::LANES));
        for (gradient, moment) in values {
            let g = S::mul(load_up_to::<S>(gradient), S::splat(self.step.gradient_scale));
            let square = S::mul_add(g, g, S::splat(EPSILON));
            let second = S::mul_add(load_up_to::<S>(moment), old, S::mul(square, new));
            store_up_to::<S>(second, moment);
            // Beyond the end of the vector the gradient is 0, and the moment is not.
            total += f64::from(S::reduce_sum(S::div(S::mul(g, g), second)));
        }
        total
    }
}

struct ApplyFull<'a> {
    rates: Rates,
    gradients: &'a mut [f32],
    parameters: &'a mut [f32],
    moment: &'a [f32],
}

impl Kernel for ApplyFull<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Rates { rate, keep } = self.rates;
        let values = self.gradients.chunks_mut(S::LANES).zip(self.parameters.chunks_mut(S::LANES));
        for ((gradient, parameter), moment) in values.zip(self.moment.chunks(S::LANES)) {
            let root = S::sqrt(S::load_partial(moment, 1.0));
            let change = S::div(load_up_to::<S>(gradient), root);
            let kept = S::mul(load_up_to::<S>(parameter), S::splat(keep));
            store_up_to::<S>(S::sub(kept, S::mul(change, S::splat(rate))), parameter);
            store_up_to::<S>(S::splat(0.0), gradient);
        }
    }
}
