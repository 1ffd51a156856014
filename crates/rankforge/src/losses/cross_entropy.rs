/// `logsumexp(logits) - logits[target]`. Replaces `logits` by its gradient,
/// `softmax(logits) - onehot(target)`.
pub(super) fn cross_entropy_in_place(logits: &mut [f64], target: usize) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let at_target = logits[target];
    let mut sum = 0.0;
    for logit in logits.iter_mut() {
        *logit = (*logit - largest).exp();
        sum += *logit;
    }
    for power in logits.iter_mut() {
        *power /= sum;
    }
    logits[target] -= 1.0;
    sum.ln() + largest - at_target
}

/// `logsumexp(scale * scores) - scale * scores[target]`, computed in f64. Replaces `scores` by the
/// gradient of `share` times this value; `share` is the weight of the row in a mean.
pub(super) fn cross_entropy(scores: &mut [f32], scale: f64, target: usize, share: f64) -> f64 {
    let logit = |score: f32| scale * f64::from(score);
    let largest = scores.iter().copied().map(logit).fold(f64::NEG_INFINITY, f64::max);
    let at_target = logit(scores[target]);
    let sum: f64 = scores.iter().map(|&score| (logit(score) - largest).exp()).sum();
    for (index, score) in scores.iter_mut().enumerate() {
        let probability = (logit(*score) - largest).exp() / sum;
        let expected = if index == target { 1.0 } else { 0.0 };
        *score = ((probability - expected) * scale * share) as f32;
    }
    sum.ln() + largest - at_target
}
