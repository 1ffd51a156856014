//! Metrics of one query's ranking: with binary relevance, as sentence-transformers computes them,
//! and with graded relevance, as BEIR does.

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
pub(super) fn discount(rank: usize) -> f64 {
    1.0 / (1.0 + rank as f64).log2()
}

/// Gain of a ranking of documents with these grades, up to rank `k`: `sum of grade / log2(1 +
/// rank)`.
fn gain(grades: &[f64], k: usize) -> f64 {
    let ranked = grades.iter().take(k).enumerate().filter(|(_, grade)| **grade > 0.0);
    ranked.map(|(place, grade)| grade * discount(place + 1)).sum()
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
/// Ties follow sentence-transformers and scikit-learn: MRR ranks documents as [`order`] does, NDCG
/// gives each document the average gain of its group, and average precision counts the group as one
/// step.
pub(super) fn metrics(
    relevant: &[bool],
    scores: &[f32],
    k: usize,
    later_first: bool,
) -> RankingMetrics {
    assert_eq!(relevant.len(), scores.len(), "{} flags, {} scores", relevant.len(), scores.len());
    let total = relevant.iter().filter(|flag| **flag).count();
    if total == 0 {
        return RankingMetrics::default();
    }
    let order = order(scores, later_first);
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
    let ideal: f64 = (1..=total.min(k)).map(discount).sum();
    RankingMetrics { map: precision, mrr, ndcg: gain / ideal }
}

/// Metrics of the first documents of a ranking, as trec_eval computes `ndcg_cut`, `recip_rank` and
/// `map_cut`: NDCG and MRR up to rank `k`, average precision over all of `grades`.
///
/// `grades` are those of the documents in the order of the ranking, 0 where a document is not
/// judged; `judged` are those of all relevant documents of the query, best first, whether they were
/// found or not. The gain of a document is its grade; MRR and average precision count every grade
/// above 0 as relevant.
pub(super) fn retrieval_metrics(grades: &[f64], judged: &[f64], k: usize) -> RankingMetrics {
    if judged.is_empty() {
        return RankingMetrics::default();
    }
    let is_hit = |(_, grade): &(usize, &f64)| **grade > 0.0;
    let hits = || grades.iter().enumerate().filter(is_hit).map(|(place, _)| place + 1);
    let mrr = hits().next().filter(|rank| *rank <= k).map_or(0.0, |rank| 1.0 / rank as f64);
    let precision: f64 =
        hits().enumerate().map(|(before, rank)| (before + 1) as f64 / rank as f64).sum();
    RankingMetrics {
        map: precision / judged.len() as f64,
        mrr,
        ndcg: gain(grades, k) / gain(judged, k),
    }
}

/// The means of the metrics of queries.
pub(super) fn mean(metrics: &[RankingMetrics]) -> RankingMetrics {
    let mean = |metric: fn(&RankingMetrics) -> f64| {
        metrics.iter().map(metric).sum::<f64>() / metrics.len() as f64
    };
    RankingMetrics { map: mean(|f| f.map), mrr: mean(|f| f.mrr), ndcg: mean(|f| f.ndcg) }
}
