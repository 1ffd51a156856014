//! Metrics of one query's ranking with binary relevance.

/// Metrics of one query.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct RankingMetrics {
    /// Average precision.
    pub(super) map: f64,
    /// Inverse rank of the first relevant document.
    pub(super) mrr: f64,
    /// Normalised discounted cumulative gain.
    pub(super) ndcg: f64,
}

/// `1 / log2(1 + rank)`, rank from 1.
fn discount(rank: usize) -> f64 {
    1.0 / (1.0 + rank as f64).log2()
}

/// Gain of a ranking whose first `relevant` documents are the relevant ones, up to rank `k`.
fn ideal_gain(relevant: usize, k: usize) -> f64 {
    (1..=relevant.min(k)).map(discount).sum()
}

/// Indices by descending score. Among equal scores the earlier index comes first, or the later one
/// with `later_first`.
pub(super) fn order(scores: &[f32], later_first: bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    if later_first {
        order.reverse();
    }
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order
}

/// Metrics of scored documents: MRR and NDCG up to rank `k`, average precision over all documents.
/// The ideal ranking of NDCG is the best order of these documents.
///
/// Ties follow sentence-transformers and scikit-learn: MRR ranks the later document first, NDCG
/// gives each document the average gain of its group, and average precision counts the group as one
/// step.
pub(super) fn metrics(relevant: &[bool], scores: &[f32], k: usize) -> RankingMetrics {
    assert_eq!(relevant.len(), scores.len(), "{} flags, {} scores", relevant.len(), scores.len());
    let total = relevant.iter().filter(|flag| **flag).count();
    if total == 0 {
        return RankingMetrics::default();
    }
    let order = order(scores, true);
    let mrr = order
        .iter()
        .take(k)
        .position(|index| relevant[*index])
        .map_or(0.0, |place| 1.0 / (place + 1) as f64);
    let (mut gain, mut precision) = (0.0, 0.0);
    let (mut seen, mut hits) = (0, 0);
    for group in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let group_hits = group.iter().filter(|index| relevant[**index]).count();
        let share = group_hits as f64 / group.len() as f64;
        let last = (seen + group.len()).min(k);
        gain += share * (seen + 1..=last).map(discount).sum::<f64>();
        seen += group.len();
        hits += group_hits;
        precision += group_hits as f64 / total as f64 * (hits as f64 / seen as f64);
    }
    RankingMetrics { map: precision, mrr, ndcg: gain / ideal_gain(total, k) }
}

/// Metrics of the first documents of a ranking: MRR and NDCG up to rank `k`, average precision over
/// all of them. The ideal ranking has all `total` relevant documents of the collection.
pub(super) fn retrieval_metrics(relevant: &[bool], total: usize, k: usize) -> RankingMetrics {
    if total == 0 {
        return RankingMetrics::default();
    }
    let hits =
        || relevant.iter().enumerate().filter(|(_, flag)| **flag).map(|(place, _)| place + 1);
    let mrr = hits().next().filter(|rank| *rank <= k).map_or(0.0, |rank| 1.0 / rank as f64);
    let gain: f64 = hits().filter(|rank| *rank <= k).map(discount).sum();
    let precision: f64 =
        hits().enumerate().map(|(before, rank)| (before + 1) as f64 / rank as f64).sum();
    let most = total.min(relevant.len()).max(1);
    RankingMetrics { map: precision / most as f64, mrr, ndcg: gain / ideal_gain(total, k) }
}
