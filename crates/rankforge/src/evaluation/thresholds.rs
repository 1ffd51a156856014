//! The best threshold between the scores of positive and of negative pairs.

/// A threshold and what it achieves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct BestAccuracy {
    pub(super) accuracy: f64,
    pub(super) threshold: f32,
}

/// A threshold and what it achieves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct BestF1 {
    pub(super) f1: f64,
    pub(super) precision: f64,
    pub(super) recall: f64,
    pub(super) threshold: f32,
}

/// Scores and labels, from the most similar pair to the least similar one.
pub(super) struct Sorted {
    rows: Vec<(f32, bool)>,
    higher_is_similar: bool,
}

impl Sorted {
    /// Sorts the scores; a lower score is more similar where scores are distances.
    pub(super) fn new(scores: &[f32], labels: &[bool], higher_is_similar: bool) -> Sorted {
        assert_eq!(scores.len(), labels.len(), "{} scores, {} labels", scores.len(), labels.len());
        let mut rows: Vec<(f32, bool)> =
            scores.iter().copied().zip(labels.iter().copied()).collect();
        let order = |a: &(f32, bool), b: &(f32, bool)| a.0.total_cmp(&b.0);
        match higher_is_similar {
            true => rows.sort_by(|a, b| order(b, a)),
            false => rows.sort_by(order),
        }
        Sorted { rows, higher_is_similar }
    }

    /// The numbers of pairs and of positive ones up to the end of each group of equal scores, and
    /// the threshold that divides these from the others.
    fn groups(&self) -> impl Iterator<Item = (usize, usize, f32)> {
        let (mut seen, mut positive) = (0, 0);
        self.rows.chunk_by(|a, b| a.0 == b.0).map(move |group| {
            seen += group.len();
            positive += group.iter().filter(|(_, label)| *label).count();
            (seen, positive, self.threshold(group[0].0, self.rows.get(seen).map(|row| row.0)))
        })
    }

    /// Half-way to the next score; the score itself where there is none, or where half-way is
    /// rounded to the next one.
    fn threshold(&self, score: f32, next: Option<f32>) -> f32 {
        match next {
            Some(next) => {
                let middle = (score + next) / 2.0;
                if middle == next { score } else { middle }
            }
            None => score,
        }
    }

    /// The threshold with the largest share of pairs on the right side; of several, the one with
    /// the fewest similar pairs.
    pub(super) fn best_accuracy(&self) -> BestAccuracy {
        let Some((first, _)) = self.rows.first() else { return BestAccuracy::default() };
        let total = self.rows.len();
        let negatives = self.rows.iter().filter(|(_, label)| !label).count();
        // Beyond the first score, all pairs are dissimilar.
        let beyond = if self.higher_is_similar { first.next_up() } else { first.next_down() };
        let mut best =
            BestAccuracy { accuracy: negatives as f64 / total as f64, threshold: beyond };
        for (seen, positive, threshold) in self.groups() {
            let right = positive + negatives - (seen - positive);
            let accuracy = right as f64 / total as f64;
            if accuracy > best.accuracy {
                best = BestAccuracy { accuracy, threshold };
            }
        }
        best
    }

    /// The threshold with the largest F1; of several, the one with the fewest similar pairs.
    pub(super) fn best_f1(&self) -> BestF1 {
        let total = self.rows.iter().filter(|(_, label)| *label).count();
        let mut best = BestF1::default();
        for (seen, positive, threshold) in self.groups().filter(|(_, positive, _)| *positive > 0) {
            let precision = positive as f64 / seen as f64;
            let recall = positive as f64 / total as f64;
            let f1 = 2.0 * precision * recall / (precision + recall);
            if f1 > best.f1 {
                best = BestF1 { f1, precision, recall, threshold };
            }
        }
        best
    }

    /// Average precision: the sum over groups of equal scores of the gain in recall times the
    /// precision at their end; 0 without a positive pair.
    pub(super) fn average_precision(&self) -> f64 {
        let total = self.rows.iter().filter(|(_, label)| *label).count().max(1) as f64;
        let (mut sum, mut before) = (0.0, 0);
        for (seen, positive, _) in self.groups() {
            sum += (positive - before) as f64 / total * (positive as f64 / seen as f64);
            before = positive;
        }
        sum
    }

    /// Matthews' correlation of the labels with which scores are at least as similar as
    /// `threshold`; 0 when either is constant.
    pub(super) fn matthews(&self, threshold: f32) -> f64 {
        let mut counts = [[0.0f64; 2]; 2];
        for (score, label) in &self.rows {
            let similar =
                if self.higher_is_similar { *score >= threshold } else { *score <= threshold };
            counts[usize::from(*label)][usize::from(similar)] += 1.0;
        }
        let [[tn, fp], [r#fn, tp]] = counts;
        let product = (tp + fp) * (tp + r#fn) * (tn + fp) * (tn + r#fn);
        if product == 0.0 { 0.0 } else { (tp * tn - fp * r#fn) / product.sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores, labels, best accuracy and best F1.
    type Case = (&'static [f32], &'static [u8], (f64, f32), (f64, f64, f64, f32));

    #[test]
    fn thresholds_are_those_of_the_reference() {
        let third = 2.0 / 3.0;
        let cases: [Case; 8] = [
            (&[0.9, 0.8, 0.7, 0.6], &[1, 1, 0, 0], (1.0, 0.75), (1.0, 1.0, 1.0, 0.75)),
            (&[0.9, 0.8, 0.7, 0.6], &[1, 0, 1, 0], (0.75, 0.85), (0.8, third, 1.0, 0.65)),
            (&[0.5, 0.5, 0.5], &[1, 0, 1], (third, 0.5), (0.8, third, 1.0, 0.5)),
            (&[0.9, 0.1], &[0, 0], (1.0, 0.9f32.next_up()), (0.0, 0.0, 0.0, 0.0)),
            (&[0.9, 0.1], &[1, 1], (1.0, 0.1), (1.0, 1.0, 1.0, 0.1)),
            (&[0.2, 0.9], &[1, 0], (0.5, 0.9f32.next_up()), (third, 0.5, 1.0, 0.2)),
            (&[0.1, 0.4, 0.35, 0.8, 0.8], &[0, 1, 0, 1, 1], (1.0, 0.375), (1.0, 1.0, 1.0, 0.375)),
            (
                &[0.1, 0.4, 0.35, 0.8, 0.8],
                &[1, 0, 1, 0, 0],
                (0.6, 0.8f32.next_up()),
                (4.0 / 7.0, 0.4, 1.0, 0.1),
            ),
        ];
        for (scores, labels, (accuracy, at), (f1, precision, recall, threshold)) in cases {
            let labels: Vec<bool> = labels.iter().map(|label| *label == 1).collect();
            let sorted = Sorted::new(scores, &labels, true);
            let (best, f) = (sorted.best_accuracy(), sorted.best_f1());
            let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
            assert!(near(best.accuracy, accuracy), "{scores:?} {labels:?}: {best:?}");
            assert!((best.threshold - at).abs() < 1e-7, "{scores:?} {labels:?}: {best:?}");
            let all = near(f.f1, f1) && near(f.precision, precision) && near(f.recall, recall);
            assert!(all && (f.threshold - threshold).abs() < 1e-7, "{scores:?} {labels:?}: {f:?}");
            // Distances are scores from the other side.
            let distances: Vec<f32> = scores.iter().map(|score| -score).collect();
            let mirrored = Sorted::new(&distances, &labels, false);
            assert_eq!(mirrored.best_accuracy().accuracy, best.accuracy);
            assert_eq!(mirrored.best_accuracy().threshold, -best.threshold);
            assert_eq!(mirrored.best_f1().f1, f.f1);
            assert_eq!(mirrored.average_precision(), sorted.average_precision());
            assert_eq!(mirrored.matthews(-f.threshold), sorted.matthews(f.threshold));
        }
    }

    #[test]
    fn a_threshold_never_includes_the_next_group() {
        // Half-way between neighbouring floats is rounded to one of them.
        let (low, high) = (1.0f32, 1.0f32.next_up());
        let sorted = Sorted::new(&[low, high], &[false, true], true);
        assert_eq!(sorted.best_accuracy(), BestAccuracy { accuracy: 1.0, threshold: high });
    }
}
