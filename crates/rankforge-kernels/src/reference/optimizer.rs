use crate::reference::matrix::{Matrix, MatrixMut};
use crate::settings::optimizer::AdamW;

/// With `g = gradient · gradient_scale` and `t` the step: `m ← β₁ m + (1 - β₁) g`,
/// `v ← β₂ v + (1 - β₂) g²`, `θ ← θ (1 - lr wd) - lr (m / (1 - β₁ᵗ)) / (sqrt(v / (1 - β₂ᵗ)) + ε)`,
/// and the gradient becomes 0. The moments are 0 before step 1, and are read there as at any step.
pub(crate) fn adamw(
    config: &AdamW,
    mut gradients: MatrixMut<'_>,
    mut parameters: MatrixMut<'_>,
    mut first_moment: MatrixMut<'_>,
    mut second_moment: MatrixMut<'_>,
) {
    let AdamW { learning_rate, beta1, beta2, epsilon, weight_decay, step, gradient_scale } =
        *config;
    let correction = |beta: f64| 1.0 - beta.powf(step as f64);
    for (row, column) in parameters.places() {
        let gradient = gradients.at(row, column) * f64::from(gradient_scale);
        let first = beta1 * first_moment.at(row, column) + (1.0 - beta1) * gradient;
        let before = second_moment.at(row, column);
        let second = beta2 * before + (1.0 - beta2) * gradient * gradient;
        let root = (second / correction(beta2)).sqrt();
        let change = learning_rate * (first / correction(beta1)) / (root + epsilon);
        let kept = parameters.at(row, column) * (1.0 - learning_rate * weight_decay);
        gradients.put(row, column, 0.0);
        first_moment.put(row, column, first);
        second_moment.put(row, column, second);
        parameters.put(row, column, kept - change);
    }
}

/// `Σ x²`, in the order of the elements.
pub(crate) fn sum_of_squares(x: Matrix<'_>) -> f64 {
    x.places().map(|(row, column)| x.at(row, column).powi(2)).sum()
}
