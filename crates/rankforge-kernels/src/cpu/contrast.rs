use crate::cpu::block_sums::add_to;
use crate::cpu::machine::Cpu;
use crate::cpu::math::exp;
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::{INLINE_ELEMENTS, SplitRows, for_blocks};
use crate::cpu::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
use crate::settings::contrast::{ContrastScoresOf, OwnColumns};

type Scores<'a> = ContrastScoresOf<Matrix<'a>, MatrixMut<'a>>;

/// Rows whose sums over columns are added up on their own, so that the bits do not depend on the
/// number of threads.
const BLOCK_ROWS: usize = 16;

pub(crate) fn contrast(
    cpu: &Cpu,
    slope: f32,
    weight: f32,
    mut scores: Vec<Scores<'_>>,
    losses: MatrixMut<'_>,
) {
    let rows = losses.rows;
    let columns: usize = scores.iter().map(|scores| scores.products.columns).sum();
    let blocks = rows.div_ceil(BLOCK_ROWS);
    let mut sums = cpu.scratch(blocks * columns);
    let mut rest = &mut *sums;
    let (mut shared, mut targets, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for scores in &mut scores {
        let width = scores.products.columns;
        let (own, others) = rest.split_at_mut(blocks * width);
        rest = others;
        shared.push(Shared { column_factors: scores.column_factors.data, own: scores.own });
        targets.push(&mut *scores.column_sums.data);
        let MatrixMut { rows, columns, data } = &mut scores.products;
        let row_sums = MatrixMut { data: &mut *scores.row_sums.data, ..scores.row_sums };
        parts.push((
            (MatrixMut { rows: *rows, columns: *columns, data }, scores.larger),
            scores.row_factors,
            scores.guide.map(|guide| (guide.scores, guide.limits)),
            row_sums,
            ColumnSums(MatrixMut::new(blocks, width, own)),
        ));
    }
    let parallel = rows * columns >= INLINE_ELEMENTS;
    for_blocks(cpu, parallel, rows, BLOCK_ROWS, (parts, losses), |first_row, (parts, losses)| {
        let mut logits = cpu.scratch(columns);
        let (shared, logits, losses) = (&*shared, &mut *logits, losses.data);
        let block = Block { slope, weight, first_row, shared, parts, logits, losses };
        dispatch(cpu.isa(), block);
    });
    let mut rest = &*sums;
    for target in targets {
        let (own, others) = rest.split_at(blocks * target.len());
        rest = others;
        own.chunks_exact(target.len().max(1)).for_each(|sums| add_to(sums, target));
    }
}

/// What all rows of a matrix of scores share.
struct Shared<'a> {
    column_factors: &'a [f32],
    own: OwnColumns,
}

/// One row of sums over columns for each block of [`BLOCK_ROWS`] rows.
struct ColumnSums<'a>(MatrixMut<'a>);

impl SplitRows for ColumnSums<'_> {
    fn split_rows(self, rows: usize) -> (Self, Self) {
        let (first, second) = self.0.split_rows(rows.div_ceil(BLOCK_ROWS));
        (ColumnSums(first), ColumnSums(second))
    }
}

/// Products with the gradients of larger nestings, factors of rows, scores and limits of a guide,
/// sums over rows and columns.
type Part<'a> = (
    (MatrixMut<'a>, Option<Matrix<'a>>),
    Matrix<'a>,
    Option<(Matrix<'a>, Matrix<'a>)>,
    MatrixMut<'a>,
    ColumnSums<'a>,
);

struct Block<'a> {
    slope: f32,
    weight: f32,
    first_row: usize,
    shared: &'a [Shared<'a>],
    parts: Vec<Part<'a>>,
    /// One row of all parts.
    logits: &'a mut [f32],
    losses: &'a mut [f32],
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self) {
        for (.., sums) in &mut self.parts {
            sums.0.data.fill(0.0);
        }
        for row in 0..self.losses.len() {
            let target = self.shared[0].own.start + self.first_row + row;
            let (mut highest, mut start) = (S::splat(f32::NEG_INFINITY), 0);
            for (index, (part, shared)) in self.parts.iter().zip(self.shared).enumerate() {
                let logits = &mut self.logits[start..][..part.0.0.columns];
                let target = (index == 0).then_some(target);
                logits_of_row::<S>(part, shared, row, self.first_row, target, logits);
                highest = S::max(maximum::<S>(logits), highest);
                start += logits.len();
            }
            let highest = S::reduce_max(highest);
            let logit = self.logits[target];
            let sum = f64::from(exponentials::<S>(self.logits, highest));
            let loss = sum.ln() + f64::from(highest) - f64::from(logit);
            self.losses[row] += (f64::from(self.weight) * loss) as f32;
            // The target's share is its probability less 1.
            self.logits[target] = (f64::from(self.logits[target]) - sum) as f32;
            let factor = (f64::from(self.weight) * f64::from(self.slope) / sum) as f32;
            let mut start = 0;
            for (part, shared) in self.parts.iter_mut().zip(self.shared) {
                let powers = &self.logits[start..][..part.0.0.columns];
                gradients_of_row::<S>(part, shared, row, factor, powers);
                start += powers.len();
            }
        }
    }
}

/// The logits of a row; those of columns that are left out are minus infinity.
#[inline(always)]
fn logits_of_row<S: Simd>(
    part: &Part<'_>,
    shared: &Shared<'_>,
    row: usize,
    first_row: usize,
    target: Option<usize>,
    logits: &mut [f32],
) {
    let ((products, _), row_factors, guide, ..) = part;
    let columns = products.columns;
    let products = &products.data[row * columns..][..columns];
    let (own, factors) = (&shared.own, shared.column_factors);
    let row_factor = row_factors.data[row];
    let factor = S::splat(row_factor * own.others);
    match guide {
        None => {
            for start in (0..columns).step_by(S::LANES) {
                let product = load_up_to::<S>(&products[start..]);
                let score = S::mul(product, load_up_to::<S>(&factors[start..]));
                store_up_to::<S>(S::mul(score, factor), &mut logits[start..]);
            }
        }
        Some((scores, limits)) => {
            let (limit, left_out) = (S::splat(limits.data[row]), S::splat(f32::NEG_INFINITY));
            for start in (0..columns).step_by(S::LANES) {
                let product = load_up_to::<S>(&products[start..]);
                let score = S::mul(product, load_up_to::<S>(&factors[start..]));
                let logit = S::mul(score, factor);
                let guide = load_up_to::<S>(&scores.row(row)[start..]);
                let logit = S::select_less(limit, guide, left_out, logit);
                store_up_to::<S>(logit, &mut logits[start..]);
            }
        }
    }
    for column in own.of(first_row + row, columns) {
        let guided = guide.is_some_and(|(scores, limits)| {
            Some(column) != target && scores.row(row)[column] > limits.data[row]
        });
        logits[column] = match own.factor(first_row + row, column) {
            Some(factor) if !guided => products[column] * factors[column] * (row_factor * factor),
            _ => f32::NEG_INFINITY,
        };
    }
}

/// Lanes with the greatest elements that are not NaN.
#[inline(always)]
fn maximum<S: Simd>(row: &[f32]) -> S::V {
    // `max` returns its second operand when the first is NaN.
    let mut highest = S::splat(f32::NEG_INFINITY);
    let mut chunks = row.chunks_exact(S::LANES);
    for chunk in &mut chunks {
        highest = S::max(S::load(chunk), highest);
    }
    let tail = S::load_partial(chunks.remainder(), f32::NEG_INFINITY);
    S::max(tail, highest)
}

/// Replaces `x` by `e^(x - highest)` and returns the sum.
#[inline(always)]
fn exponentials<S: Simd>(row: &mut [f32], highest: f32) -> f32 {
    let highest = S::splat(highest);
    let mut sum = S::splat(0.0);
    let mut chunks = row.chunks_exact_mut(S::LANES);
    for chunk in &mut chunks {
        let power = exp::<S>(S::sub(S::load(chunk), highest));
        sum = S::add(sum, power);
        S::store(power, chunk);
    }
    let tail = chunks.into_remainder();
    let power = exp::<S>(S::sub(S::load_partial(tail, f32::NEG_INFINITY), highest));
    S::store_partial(power, tail);
    S::reduce_sum(S::add(sum, power))
}

/// Replaces the products of a row by their gradients: `factor * powers` is that of the scores.
/// Those of larger nestings are added.
#[inline(always)]
fn gradients_of_row<S: Simd>(
    part: &mut Part<'_>,
    shared: &Shared<'_>,
    row: usize,
    factor: f32,
    powers: &[f32],
) {
    let ((products, larger), row_factors, _, row_sums, column_sums) = part;
    let columns = products.columns;
    let larger = larger.map(|larger| larger.row(row));
    let products = &mut products.data[row * columns..][..columns];
    let (sums, factors) = (&mut *column_sums.0.data, shared.column_factors);
    let (factor, row_factor) = (S::splat(factor), S::splat(row_factors.data[row]));
    let mut along = S::splat(0.0);
    for start in (0..columns).step_by(S::LANES) {
        let column_factor = load_up_to::<S>(&factors[start..]);
        let product = load_up_to::<S>(&products[start..]);
        let d_score = S::mul(load_up_to::<S>(&powers[start..]), factor);
        let d_product = S::mul(d_score, S::mul(row_factor, column_factor));
        let term = S::mul(d_product, product);
        along = S::add(along, term);
        let sums = &mut sums[start..];
        store_up_to::<S>(S::add(load_up_to::<S>(sums), term), sums);
        let d_product = match larger {
            Some(larger) => S::add(load_up_to::<S>(&larger[start..]), d_product),
            None => d_product,
        };
        store_up_to::<S>(d_product, &mut products[start..]);
    }
    row_sums.data[row] = S::reduce_sum(along);
}
