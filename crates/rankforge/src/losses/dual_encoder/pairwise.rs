//! Losses that are functions of similarities between embeddings of one row.

use crate::losses::loss::{LossBatch, LossOutput};
use rankforge_encoder::Outputs;
use rankforge_kernels::ops::SMALLEST_NORM;

/// Rows of the outputs that one thread computes at a time.
const TOGETHER: usize = 64;

/// A function of two embeddings `u` and `v`, computed in f64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum PairFunction {
    /// `u v / (‖u‖ ‖v‖)`. The gradient of a zero embedding is zero.
    Cosine,
    /// `u v`.
    Dot,
    /// `-‖u - v + shift‖`, with the gradient 0 where that is 0.
    Euclidean { shift: f64 },
    /// `-sum |u - v + shift|`.
    Manhattan { shift: f64 },
    /// `|a + b|`, where `a + ib` is the product of `u` and the conjugate of `v`, both of unit
    /// length, as complex vectors: the real parts are the first half of the elements, the imaginary
    /// parts are the second half. An odd number of elements gets a zero at the end.
    ///
    /// # Paper
    /// Li and Li 2023, AnglE-optimized Text Embeddings, arXiv:2309.12871.
    Angle,
}

/// Which embedding of a pair.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    First,
    Second,
}

impl PairFunction {
    /// The value for `u` and `v`.
    pub(super) fn of(self, u: &[f32], v: &[f32]) -> f64 {
        match self {
            PairFunction::Cosine => dot(u, v) / (norm(u) * norm(v)),
            PairFunction::Dot => dot(u, v),
            PairFunction::Euclidean { shift } => {
                -differences(u, v, shift).map(|d| d * d).sum::<f64>().sqrt()
            }
            PairFunction::Manhattan { shift } => {
                -differences(u, v, shift).map(f64::abs).sum::<f64>()
            }
            PairFunction::Angle => signed_angle(u, v).abs() / (norm(u) * norm(v)),
        }
    }

    /// The value for `u` and `v`. Adds `factor` times its gradient with respect to `u` to
    /// `gradient`.
    pub(super) fn with_gradient(
        self,
        u: &[f32],
        v: &[f32],
        factor: f64,
        gradient: &mut [f64],
    ) -> f64 {
        let value = self.of(u, v);
        self.add_gradient((u, v, Side::First), value, factor, gradient);
        value
    }

    /// Adds `factor` times the gradient with respect to `own`, which is the `side` of the pair, to
    /// `gradient`. `value` is that of the pair.
    fn add_gradient(
        self,
        (own, other, side): (&[f32], &[f32], Side),
        value: f64,
        factor: f64,
        gradient: &mut [f64],
    ) {
        let signed = |shift: f64| if side == Side::First { shift } else { -shift };
        match self {
            PairFunction::Cosine => {
                let length = norm(other);
                let elements = other.iter().map(|x| f64::from(*x) / length);
                add_through_norm(own, elements, value, factor, gradient);
            }
            PairFunction::Dot => {
                let elements = gradient.iter_mut().zip(other);
                elements.for_each(|(sum, x)| *sum += factor * f64::from(*x));
            }
            PairFunction::Euclidean { shift } => {
                if value != 0.0 {
                    let elements = gradient.iter_mut().zip(differences(own, other, signed(shift)));
                    elements.for_each(|(sum, d)| *sum += factor * d / value);
                }
            }
            PairFunction::Manhattan { shift } => {
                let elements = gradient.iter_mut().zip(differences(own, other, signed(shift)));
                elements.for_each(|(sum, d)| *sum -= factor * sign(d));
            }
            PairFunction::Angle => {
                let (first, second) = if side == Side::First { (own, other) } else { (other, own) };
                let scale = sign(signed_angle(first, second)) / norm(other);
                let turned = |k: usize| f64::from(other[k]) + turn(other, k, side);
                let elements = (0..other.len()).map(|k| scale * turned(k));
                add_through_norm(own, elements, value, factor, gradient);
            }
        }
    }
}

fn dot(u: &[f32], v: &[f32]) -> f64 {
    u.iter().zip(v).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The norm, and a small number for a zero vector.
fn norm(u: &[f32]) -> f64 {
    dot(u, u).sqrt().max(f64::from(SMALLEST_NORM))
}

fn differences(u: &[f32], v: &[f32], shift: f64) -> impl Iterator<Item = f64> {
    u.iter().zip(v).map(move |(a, b)| f64::from(*a) - f64::from(*b) + shift)
}

/// -1, 0 or 1.
fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// The element `k` of a vector that is multiplied by `i` (for [`Side::First`]) or `-i` as a complex
/// vector; `u` times it, summed, is the sine term of [`PairFunction::Angle`].
fn turn(v: &[f32], k: usize, side: Side) -> f64 {
    let half = v.len().div_ceil(2);
    let (from, sign) = if k < half { (k + half, -1.0) } else { (k - half, 1.0) };
    let sign = if side == Side::First { sign } else { -sign };
    v.get(from).map_or(0.0, |x| sign * f64::from(*x))
}

/// `a + b` of [`PairFunction::Angle`], times both norms.
fn signed_angle(u: &[f32], v: &[f32]) -> f64 {
    let sine = u.iter().enumerate().map(|(k, x)| f64::from(*x) * turn(v, k, Side::First));
    dot(u, v) + sine.sum::<f64>()
}

/// Adds `factor` times the gradient of `own w / ‖own‖`, whose value is `value`, for a constant
/// vector `w` of these elements.
fn add_through_norm(
    own: &[f32],
    elements: impl Iterator<Item = f64>,
    value: f64,
    factor: f64,
    gradient: &mut [f64],
) {
    let length = dot(own, own).sqrt();
    if length < f64::from(SMALLEST_NORM) {
        return;
    }
    for ((sum, x), w) in gradient.iter_mut().zip(own).zip(elements) {
        *sum += factor * (w - value * f64::from(*x) / length) / length;
    }
}

/// Computes a loss of similarities within rows. `pairs` lists the two columns of each compared
/// pair. `loss` gets the similarities, those of all rows for the first pair first, and replaces
/// them by the gradient of its value.
///
/// # Shapes
/// `B` rows and `C` columns: outputs `B C x E`, column after column; `B` similarities a pair.
pub(super) fn over_pairs(
    batch: &LossBatch<'_>,
    pairs: &[(usize, usize)],
    function: PairFunction,
    loss: impl FnOnce(&mut [f64]) -> f64,
) -> LossOutput {
    let LossBatch { outputs, rows, device, .. } = *batch;
    let width = outputs.columns;
    let workers = device.workers();
    let mut values = vec![0.0; pairs.len() * rows];
    workers.map_chunks_mut(&mut values, TOGETHER, |piece, values| {
        for (index, value) in (piece * TOGETHER..).zip(values) {
            let ((first, second), row) = (pairs[index / rows], index % rows);
            *value = function.of(outputs.row(first * rows + row), outputs.row(second * rows + row));
        }
    });
    let mut factors = values.clone();
    let value = loss(&mut factors);
    let mut gradient = vec![0.0; outputs.values.len()];
    workers.map_chunks_mut(&mut gradient, TOGETHER * width.max(1), |piece, gradient| {
        let mut sum = vec![0.0; width];
        for (index, gradient) in (piece * TOGETHER..).zip(gradient.chunks_mut(width)) {
            let (column, row) = (index / rows, index % rows);
            sum.fill(0.0);
            for (pair, &(first, second)) in pairs.iter().enumerate() {
                let (other, side) = match column {
                    _ if column == first => (second, Side::First),
                    _ if column == second => (first, Side::Second),
                    _ => continue,
                };
                let (own, other) = (outputs.row(index), outputs.row(other * rows + row));
                let at = pair * rows + row;
                function.add_gradient((own, other, side), values[at], factors[at], &mut sum);
            }
            gradient.iter_mut().zip(&sum).for_each(|(to, from)| *to = *from as f32);
        }
    });
    let d_outputs = Outputs { rows: outputs.rows, columns: width, values: gradient };
    LossOutput::new(value, d_outputs)
}
