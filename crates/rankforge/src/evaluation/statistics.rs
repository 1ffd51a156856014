/// Pearson's correlation `cov(x, y) / (std(x) std(y))`; NaN when either is constant.
///
/// # Panics
/// When the lengths differ.
pub fn pearson(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len(), "correlation of {} and {} values", x.len(), y.len());
    // Rounding the mean must not turn a constant into noise that correlates with something.
    if is_constant(x) || is_constant(y) {
        return f64::NAN;
    }
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x - mean_x, y - mean_y);
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0)
}

/// Spearman's correlation: [`pearson`] of the ranks; equal values have their average rank.
///
/// # Panics
/// When the lengths differ.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    pearson(&average_ranks(x), &average_ranks(y))
}

/// Whether all values are equal.
pub(super) fn is_constant(values: &[f64]) -> bool {
    values.iter().all(|value| *value == values[0])
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Ranks from 1 in ascending order.
fn average_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for group in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let end = start + group.len();
        let rank = (start + 1 + end) as f64 / 2.0;
        group.iter().for_each(|index| ranks[*index] = rank);
        start = end;
    }
    ranks
}
