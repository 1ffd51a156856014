use nalgebra::{DMatrix, SymmetricEigen};

/// Rows in the coordinates of their principal components.
pub(super) struct Components {
    /// Row-major, `N x dimension`.
    pub(super) rows: Vec<f64>,
    /// The share of the variance that the components explain.
    pub(super) explained: f64,
}

/// The coordinates of centred rows along the `dimension` eigenvectors of their covariance with the
/// largest eigenvalues. In each column the coordinate of the largest magnitude is positive.
///
/// # Shapes
/// `rows`: `N x width`, row-major, with `N > 1` and `dimension <= width`.
pub(super) fn principal_components(rows: &[f32], width: usize, dimension: usize) -> Components {
    let count = rows.len() / width;
    let mut mean = vec![0.0; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    mean.iter_mut().for_each(|sum| *sum /= count as f64);
    let centred: Vec<f64> = rows
        .chunks_exact(width)
        .flat_map(|row| row.iter().zip(&mean).map(|(x, mean)| f64::from(*x) - mean))
        .collect();

    let mut covariance = vec![0.0; width * width];
    for row in centred.chunks_exact(width) {
        for (line, &x) in covariance.chunks_exact_mut(width).zip(row) {
            line.iter_mut().zip(row).for_each(|(sum, y)| *sum += x * y);
        }
    }
    let covariance = DMatrix::from_row_slice(width, width, &covariance) / (count - 1) as f64;
    let eigen = SymmetricEigen::new(covariance);
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let variance = |index: &usize| eigen.eigenvalues[*index].max(0.0);
    let total: f64 = order.iter().map(variance).sum();
    let kept = &order[..dimension];

    let vectors: Vec<Vec<f64>> = kept
        .iter()
        .map(|&index| eigen.eigenvectors.column(index).iter().copied().collect())
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut scores: Vec<f64> = centred
        .chunks_exact(width)
        .flat_map(|row| vectors.iter().map(move |vector| dot(row, vector)))
        .collect();
    for column in 0..dimension {
        let values = scores.iter().skip(column).step_by(dimension);
        let largest = values.copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
        if largest < 0.0 {
            scores.iter_mut().skip(column).step_by(dimension).for_each(|score| *score = -*score);
        }
    }
    let explained = kept.iter().map(variance).sum::<f64>() / total;
    Components { rows: scores, explained }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_those_along_the_directions_of_most_variance() {
        // Points on the line (2, 1) with a small part across it.
        let rows: Vec<f32> = [(-3.0, 0.1), (-1.0, -0.1), (1.0, -0.1), (4.0, 0.1), (-1.0, 0.0)]
            .into_iter()
            .flat_map(|(along, across): (f32, f32)| {
                let norm = 5f32.sqrt();
                [(2.0 * along - across) / norm + 7.0, (along + 2.0 * across) / norm - 3.0]
            })
            .collect();
        let found = principal_components(&rows, 2, 1);
        for (score, expected) in found.rows.iter().zip([-3.0, -1.0, 1.0, 4.0, -1.0]) {
            assert!((score - expected).abs() < 0.02, "{:?}", found.rows);
        }
        assert!(found.explained > 0.99 && found.explained < 1.0, "{}", found.explained);
        let both = principal_components(&rows, 2, 2);
        assert!((both.explained - 1.0).abs() < 1e-12);
    }
}
