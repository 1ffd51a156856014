use crate::reference::matrix::{Matrix, MatrixMut};
use crate::settings::contrast::ContrastScoresOf;

type Scores<'a> = ContrastScoresOf<Matrix<'a>, MatrixMut<'a>>;

/// `losses[r] += weight * (logsumexp(logits of row r) - logit of its target)`, and the gradients.
pub(crate) fn contrast(
    slope: f32,
    weight: f32,
    mut scores: Vec<Scores<'_>>,
    mut losses: MatrixMut<'_>,
) {
    let (slope, weight) = (f64::from(slope), f64::from(weight));
    for row in 0..losses.rows {
        let target = scores[0].own.start + row;
        let logits: Vec<Vec<f64>> = scores
            .iter()
            .enumerate()
            .map(|(index, scores)| logits(scores, row, (index == 0).then_some(target)))
            .collect();
        let highest = logits.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().flatten().map(|logit| (logit - highest).exp()).sum();
        losses.add(row, 0, weight * (sum.ln() + highest - logits[0][target]));
        for (index, (scores, logits)) in scores.iter_mut().zip(&logits).enumerate() {
            let mut along = 0.0;
            for (column, logit) in logits.iter().enumerate() {
                let expected = f64::from(u8::from(index == 0 && column == target));
                let d_score = weight * slope * ((logit - highest).exp() / sum - expected);
                let factors = scores.row_factors.at(row, 0) * scores.column_factors.at(0, column);
                let product = d_score * scores.products.at(row, column) * factors;
                along += product;
                scores.column_sums.add(0, column, product);
                let larger = scores.larger.map_or(0.0, |larger| larger.at(row, column));
                scores.products.put(row, column, larger + d_score * factors);
            }
            scores.row_sums.put(row, 0, along);
        }
    }
}

/// The logits of a row; those of columns that are left out are minus infinity.
fn logits(scores: &Scores<'_>, row: usize, target: Option<usize>) -> Vec<f64> {
    let columns = scores.products.columns;
    let own: Vec<usize> = scores.own.of(row, columns).collect();
    let logit = |column: usize| {
        let guided = scores.guide.is_some_and(|guide| {
            Some(column) != target && guide.scores.at(row, column) > guide.limits.at(row, 0)
        });
        let factor = if own.contains(&column) {
            scores.own.factor(row, column)
        } else {
            Some(scores.own.others)
        };
        match factor {
            Some(factor) if !guided => {
                let factors = scores.row_factors.at(row, 0) * scores.column_factors.at(0, column);
                f64::from(factor) * scores.products.at(row, column) * factors
            }
            _ => f64::NEG_INFINITY,
        }
    };
    (0..columns).map(logit).collect()
}
