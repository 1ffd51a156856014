//! The divergence of a layer from the last one.

use rankforge_encoder::Outputs;

/// The softmax of each row divided by a temperature, and its logarithm.
pub(super) fn softmax(outputs: &Outputs, temperature: f64) -> Vec<(f64, f64)> {
    let mut pairs = Vec::with_capacity(outputs.values.len());
    for row in outputs.values.chunks(outputs.columns.max(1)) {
        let logit = |x: &f32| f64::from(*x) / temperature;
        let highest = row.iter().map(logit).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (logit(x) - highest).exp()).sum();
        let normaliser = highest + sum.ln();
        pairs.extend(row.iter().map(|x| ((logit(x) - normaliser).exp(), logit(x) - normaliser)));
    }
    pairs
}

/// The mean over rows of `KL(teacher ‖ softmax(outputs / t))`; adds the gradient of `weight * t`
/// times it.
pub(super) fn add_divergence(
    teacher: &[(f64, f64)],
    outputs: &Outputs,
    temperature: f64,
    weight: f64,
    d_outputs: &mut Outputs,
) -> f64 {
    let rows = outputs.rows.max(1) as f64;
    let student = softmax(outputs, temperature);
    let pairs = teacher.iter().zip(&student);
    let mut sum = 0.0;
    for (((p, log_p), (q, log_q)), d) in pairs.zip(&mut d_outputs.values) {
        // A probability that underflowed adds nothing.
        sum += if *p > 0.0 { p * (log_p - log_q) } else { 0.0 };
        // The temperature cancels with that of the softmax.
        *d += (weight * (q - p) / rows) as f32;
    }
    sum / rows
}
