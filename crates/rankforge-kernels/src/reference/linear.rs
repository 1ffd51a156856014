use crate::precision::Precision;
use crate::reference::activation::value_and_slope;
use crate::reference::dropout::factor;
use crate::reference::matrix::{Matrix, MatrixMut};
use crate::reference::memory::Memory;
use crate::reference::rounding::operands;
use crate::settings::linear::{EpilogueOf, InputGradientOf, StoreOf, WeightGradientOf, WeightOf};
use std::ops::Range;

/// A weight whose elements were rounded to a precision before.
#[derive(Clone)]
pub(crate) struct RoundedWeight {
    rows: usize,
    columns: usize,
    elements: Memory,
}

impl RoundedWeight {
    pub(crate) fn of(weight: Matrix<'_>, precision: Precision) -> RoundedWeight {
        let (rows, columns) = (weight.rows, weight.columns);
        let mut elements = Memory::zeros(rows * columns);
        for (index, value) in operands(precision, weight).into_iter().enumerate() {
            elements.all_mut().store(index, value as f32);
        }
        RoundedWeight { rows, columns, elements }
    }

    /// Bytes of memory of the elements.
    pub(crate) fn size_in_bytes(&self) -> usize {
        self.elements.len() * size_of::<f32>()
    }
}

/// Some rows of a [`RoundedWeight`].
pub(crate) struct RoundedRows<'a> {
    pub(crate) weight: &'a RoundedWeight,
    pub(crate) rows: Range<usize>,
}

/// `out = dropout(activation((out +) Σₖ x[t, k] weight[n, k] + bias[n])) + residual[t, n]`, where
/// both operands of the product are rounded to the precision; the sum with the bias is kept in
/// `pre_activation`. The index of dropout is `t N + n`.
pub(crate) fn linear(
    x: Matrix<'_>,
    weight: WeightOf<Matrix<'_>, RoundedRows<'_>>,
    precision: Precision,
    epilogue: EpilogueOf<Matrix<'_>, MatrixMut<'_>>,
    mut out: MatrixMut<'_>,
) {
    let weight = match weight {
        WeightOf::Matrix(weight) => operands(precision, weight),
        WeightOf::Packed(RoundedRows { weight, rows }) => {
            let RoundedWeight { rows: all, columns, ref elements } = *weight;
            let weight = operands(precision, Matrix::new(all, columns, elements.all()));
            weight[rows.start * columns..rows.end * columns].to_vec()
        }
    };
    let (depth, x) = (x.columns, operands(precision, x));
    let EpilogueOf { accumulate, bias, mut pre_activation, activation, dropout, residual } =
        epilogue;
    for (index, (row, column)) in (0..).zip(out.places()) {
        let products = (0..depth).map(|k| x[row * depth + k] * weight[column * depth + k]);
        let before = if accumulate { out.at(row, column) } else { 0.0 };
        let bias = bias.map_or(0.0, |bias| bias.at(0, column));
        let mut value = before + products.sum::<f64>() + bias;
        if let Some(target) = &mut pre_activation {
            target.put(row, column, value);
        }
        if let Some(function) = activation {
            (value, _) = value_and_slope(function, value);
        }
        if let Some(dropout) = dropout {
            value *= factor(dropout, index);
        }
        out.put(row, column, value + residual.map_or(0.0, |residual| residual.at(row, column)));
    }
}

/// `d_x[t, k] (+)= Σₙ d_out[t, n] weight[n, k]`, perhaps times the slopes of an activation;
/// `d_weight[n, k] += Σₜ d_out[t, n] x[t, k]` and `d_bias[n] += Σₜ d_out[t, n]`. The operands of
/// both products are rounded to the precision, the sum of the bias is not.
pub(crate) fn linear_backward(
    d_out: Matrix<'_>,
    precision: Precision,
    input: Option<InputGradientOf<Matrix<'_>, MatrixMut<'_>>>,
    weight: Option<WeightGradientOf<Matrix<'_>, MatrixMut<'_>>>,
) {
    let (tokens, outputs) = (d_out.rows, d_out.columns);
    let rounded = operands(precision, d_out);
    if let Some(InputGradientOf { weight, store, mut d_x }) = input {
        let (inputs, weight) = (d_x.columns, operands(precision, weight));
        for (token, k) in d_x.places() {
            let products =
                (0..outputs).map(|n| rounded[token * outputs + n] * weight[n * inputs + k]);
            let sum = products.sum::<f64>();
            match store {
                StoreOf::Write => d_x.put(token, k, sum),
                StoreOf::Add => d_x.add(token, k, sum),
                StoreOf::Slopes(function, before) => {
                    // Written before it is multiplied: the bits of the two steps.
                    d_x.put(token, k, sum);
                    let (_, slope) = value_and_slope(function, before.at(token, k));
                    d_x.put(token, k, d_x.at(token, k) * slope);
                }
            }
        }
    }
    if let Some(WeightGradientOf { x, mut d_weight, d_bias }) = weight {
        let (inputs, x) = (x.columns, operands(precision, x));
        for (n, k) in d_weight.places() {
            let products = (0..tokens).map(|t| rounded[t * outputs + n] * x[t * inputs + k]);
            d_weight.add(n, k, products.sum());
        }
        if let Some(mut d_bias) = d_bias {
            for n in 0..outputs {
                d_bias.add(0, n, (0..tokens).map(|token| d_out.at(token, n)).sum());
            }
        }
    }
}
