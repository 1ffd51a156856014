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
