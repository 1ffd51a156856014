/// `mean of (positive - negative - margin)^2` over the rows of `margins` and their negatives.
/// Replaces the scores, one block of a score for each row for the positives and for each negative,
/// by their gradients.
pub(super) fn margin_errors_in_place(scores: &mut [f64], margins: &[Vec<f32>]) -> f64 {
    let rows = margins.len();
    let (positives, rest) = scores.split_at_mut(rows);
    let share = 1.0 / rest.len() as f64;
    let mut sum = 0.0;
    for (row, (positive, margins)) in positives.iter_mut().zip(margins).enumerate() {
        let mut slope = 0.0;
        for (margin, negative) in margins.iter().zip(rest[row..].iter_mut().step_by(rows)) {
            let error = *positive - *negative - f64::from(*margin);
            sum += error * error;
            *negative = -2.0 * error * share;
            slope -= *negative;
        }
        *positive = slope;
    }
    sum * share
}
