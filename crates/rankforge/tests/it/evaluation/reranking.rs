//! Average precision, MRR and NDCG of rankings.

use super::{
    GOLDEN, assert_metrics, documents, golden_documents, golden_scorer, negatives, outside,
    read_lines, recording_context,
};
use crate::support::{Recorder, list, message, scorer, table, text};
use rankforge::Metrics;
use rankforge::data::Value;
use rankforge::encoder::Score;
use rankforge::evaluation::{
    CrossEncoderRerankingEvaluator, EvaluationContext, Evaluator, RerankingSample,
    reranking_samples,
};
use std::sync::Arc;

fn reranking(samples: Vec<RerankingSample>, at_k: usize, always: bool) -> Metrics {
    let mut evaluator = CrossEncoderRerankingEvaluator::new(samples, "").unwrap();
    evaluator.at_k = at_k;
    evaluator.always_rerank_positives = always;
    let model = golden_scorer();
    let metrics = outside(&evaluator, &model);
    assert_eq!(model.calls.lock().unwrap().len(), 1, "one call scores all pairs");
    metrics
}

#[test]
fn reranking_negatives_has_the_golden_values() {
    let samples =
        vec![negatives("q1", &["b"], &["a", "c", "d"]), negatives("q2", &["a"], &["b", "c", "d"])];
    let values = [("map", 0.333333), ("mrr@10", 0.333333), ("ndcg@10", 0.532732)];
    assert_metrics(&reranking(samples, 10, true), &values);
}

#[test]
fn reranking_documents_has_the_golden_values() {
    for (at_k, always, values, base) in [
        (10, true, [0.583333, 0.555556, 0.703594], [0.305556, 0.277778, 0.400524]),
        (1, true, [0.583333, 0.333333, 0.333333], [0.305556, 0.0, 0.0]),
        (10, false, [0.222222, 0.277778, 0.355155], [0.305556, 0.277778, 0.400524]),
        (1, false, [0.222222, 0.0, 0.0], [0.305556, 0.0, 0.0]),
    ] {
        let keys = ["map".to_owned(), format!("mrr@{at_k}"), format!("ndcg@{at_k}")];
        let base_keys = keys.clone().map(|key| format!("base_{key}"));
        let expected: Vec<(&str, f64)> = keys
            .iter()
            .chain(&base_keys)
            .map(String::as_str)
            .zip(values.into_iter().chain(base))
            .collect();
        assert_metrics(&reranking(golden_documents(), at_k, always), &expected);
    }
}

/// The expected values are those of scikit-learn's `ndcg_score` and `average_precision_score` on
/// ties, worked out by hand.
#[test]
fn ties_follow_the_rules_of_each_metric() {
    let tied = |samples| {
        let evaluator = CrossEncoderRerankingEvaluator::new(samples, "").unwrap();
        outside(&evaluator, &scorer(|_, _| 0.5))
    };
    // One of four texts with equal scores is relevant. NDCG averages its gain over all ranks, its
    // precision is 1/4, and MRR ranks the first text last.
    let gain = (1..=4).map(|rank| 1.0 / (1.0 + f64::from(rank)).log2()).sum::<f64>() / 4.0;
    let metrics = tied(vec![negatives("q", &["a"], &["b", "c", "d"])]);
    assert_metrics(&metrics, &[("map", 0.25), ("mrr@10", 0.25), ("ndcg@10", gain)]);
    let metrics = tied(vec![documents("q", &["d"], &["a", "b", "c", "d"])]);
    assert!(
        (metrics.get("mrr@10").unwrap() - 0.25).abs() < GOLDEN,
        "positives are not moved to the front"
    );
}

#[test]
fn the_cutoff_may_be_inside_a_group_of_ties() {
    let mut evaluator =
        CrossEncoderRerankingEvaluator::new(vec![negatives("q", &["a", "b"], &["c"])], "").unwrap();
    evaluator.at_k = 1;
    // Two of three texts with equal scores are relevant, and only rank 1 counts.
    let metrics = outside(&evaluator, &scorer(|_, _| 1.0));
    assert_metrics(&metrics, &[("map", 2.0 / 3.0), ("mrr@1", 0.0), ("ndcg@1", 2.0 / 3.0)]);
}

#[test]
fn reranking_counts_queries_without_relevant_texts_as_zero() {
    let samples = vec![documents("q1", &["d"], &["a", "b"]), documents("q1", &["a"], &["a", "b"])];
    let metrics = reranking(samples, 10, false);
    let half = [("map", 0.5), ("mrr@10", 0.5), ("ndcg@10", 0.5)];
    let base = [("base_map", 0.5), ("base_mrr@10", 0.5), ("base_ndcg@10", 0.5)];
    assert_metrics(&metrics, &[half, base].concat());
    // A sample without pairs to score, and one with a single text, are not errors.
    let mut evaluator =
        CrossEncoderRerankingEvaluator::new(vec![documents("q1", &["d"], &["a"])], "").unwrap();
    evaluator.always_rerank_positives = false;
    let model = golden_scorer();
    assert_eq!(outside(&evaluator, &model).get("map"), Some(0.0));
    assert!(model.calls.lock().unwrap().is_empty());
    assert_eq!(reranking(vec![negatives("q1", &["a"], &[])], 10, true).get("ndcg@10"), Some(1.0));
}

#[test]
fn reranking_logs_counts_and_metrics_and_writes_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = CrossEncoderRerankingEvaluator::new(golden_documents(), "nq").unwrap();
    let evaluator: &dyn Evaluator<dyn Score> = &evaluator;
    let recorder = Arc::new(Recorder::default());
    let output_path = Some(folder.path());
    let context =
        EvaluationContext { output_path, epoch: 2.0, steps: 7, ..recording_context(&recorder) };
    let metrics = evaluator.evaluate(&golden_scorer(), &context).unwrap();
    assert_eq!(
        recorder.messages(),
        [
            "CrossEncoderRerankingEvaluator: Evaluating the model on the nq dataset in epoch 2.0 \
             after 7 steps:",
            "Queries: 3\tPositives: Min 1.0, Mean 1.3, Max 2.0\tNegatives: Min 1.0, Mean 1.7, \
             Max 2.0",
            "Binary gain; up to 3 documents of the first stage, and the positives it missed.",
            "Of equal scores, MRR ranks the later document first; MAP and NDCG take the mean of \
             the group.",
            "         Base  -> Reranked",
            "MAP:     30.56 -> 58.33",
            "MRR@10:  27.78 -> 55.56",
            "NDCG@10: 40.05 -> 70.36",
        ]
    );
    assert_eq!(evaluator.primary_metric(&Metrics::new()), "nq_ndcg@10");
    assert_eq!(
        evaluator.config(),
        serde_json::json!({ "at_k": 10, "always_rerank_positives": true })
    );
    let lines =
        read_lines(&folder.path().join("CrossEncoderRerankingEvaluator_nq_results_@10.csv"));
    assert_eq!(lines[0], "epoch,steps,MAP,MRR@10,NDCG@10");
    let cells: Vec<f64> = lines[1].split(',').map(|cell| cell.parse().unwrap()).collect();
    let values = ["nq_map", "nq_mrr@10", "nq_ndcg@10"].map(|key| metrics.get(key).unwrap());
    assert_eq!(cells, [vec![2.0, 7.0], values.to_vec()].concat(), "the file loses digits");
}

#[test]
fn reranking_of_negatives_logs_no_base_metrics() {
    let samples = vec![negatives("q1", &["b"], &["a"])];
    let evaluator = CrossEncoderRerankingEvaluator::new(samples, "").unwrap();
    let evaluator: &dyn Evaluator<dyn Score> = &evaluator;
    let recorder = Arc::new(Recorder::default());
    evaluator.evaluate(&golden_scorer(), &recording_context(&recorder)).unwrap();
    assert!(recorder.messages()[2].contains("without a first stage"));
    assert_eq!(recorder.messages()[4..], ["MAP:     50.00", "MRR@10:  50.00", "NDCG@10: 63.09"]);
    assert_eq!(evaluator.config(), serde_json::json!({ "at_k": 10 }));
    assert!(message(CrossEncoderRerankingEvaluator::new(Vec::new(), "")).contains("one sample"));
}

#[test]
fn samples_are_read_from_rows() {
    let rows = table(vec![
        ("query", vec![text("q1"), text("q2")]),
        ("positive", vec![text("a"), list(&["a", "b"])]),
        ("negative", vec![list(&["c", "d"]), Value::Null]),
        ("documents", vec![Value::Null, list(&["d", "a"])]),
    ]);
    assert_eq!(
        reranking_samples(&rows).unwrap(),
        [negatives("q1", &["a"], &["c", "d"]), documents("q2", &["a", "b"], &["d", "a"])]
    );
    let text_of = |columns| message(reranking_samples(&table(columns)));
    let got = text_of(vec![("positive", vec![text("a")]), ("negative", vec![list(&["c"])])]);
    assert!(got.contains("a column `query`") && got.contains("`positive` and"), "{got}");
    let got = text_of(vec![("query", vec![text("q")]), ("negative", vec![list(&["c"])])]);
    assert!(got.contains("a column `positive`"), "{got}");
    let (query, positive) = (("query", vec![text("q")]), ("positive", vec![text("a")]));
    let got = text_of(vec![query.clone(), positive.clone()]);
    assert!(got.contains("exactly one") && got.contains("neither"), "{got}");
    let both = [("negative", vec![list(&["c"])]), ("documents", vec![list(&["c"])])];
    let got = text_of([vec![query.clone(), positive.clone()], both.to_vec()].concat());
    assert!(got.contains("exactly one") && got.contains("both"), "{got}");
    let wrong = vec![query, positive, ("negative", vec![Value::List(vec![Value::Integer(3)])])];
    let got = text_of(wrong);
    let expected = "reranking samples, row 1, column `negative`: expected a text or a list of \
                    texts, got a list";
    assert!(got.starts_with(expected), "{got}");
}
