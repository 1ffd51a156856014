//! Evaluators on prescribed scores, and the first stage of retrieval.

mod cascade;
mod classification;
mod correlation;
mod details;
mod dual_encoder;
mod first_stage;
mod golden;
mod reranking;
mod retrieval;

use crate::support::{Recorder, Scorer, message, scorer, strings, table, text};
use rankforge::Metrics;
use rankforge::data::Value;
use rankforge::encoder::{Embed, PredictOptions, Score};
use rankforge::evaluation::{
    CachedScores, Candidates, CrossEncoderCorrelationEvaluator, CrossEncoderRerankingEvaluator,
    EvaluationContext, Evaluator, RerankingSample, SequentialEvaluator,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Tolerance for golden values, which have six decimals.
const GOLDEN: f64 = 1e-5;

#[track_caller]
fn assert_metrics(metrics: &Metrics, expected: &[(&str, f64)]) {
    let keys: Vec<&str> = metrics.0.keys().map(String::as_str).collect();
    let expected_keys: Vec<&str> = expected.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, expected_keys);
    for (key, value) in expected {
        let got = metrics.get(key).unwrap();
        assert!((got - value).abs() < GOLDEN, "{key} is {got}, not {value}");
    }
}

const PREDICTED: [f32; 5] = [0.1, 0.4, 0.35, 0.8, 0.8];
const GOLD: [f64; 5] = [0.0, 0.5, 0.4, 0.9, 1.0];

/// Pairs ("0", ""), ("1", "") and so on.
fn numbered(count: usize) -> Vec<(String, String)> {
    (0..count).map(|index| (index.to_string(), String::new())).collect()
}

fn correlation(name: &str) -> CrossEncoderCorrelationEvaluator {
    CrossEncoderCorrelationEvaluator::new(numbered(5), GOLD.to_vec(), name).unwrap()
}

/// The metrics of an evaluation outside training.
fn outside(evaluator: &impl Evaluator<dyn Score>, model: &(dyn Score + 'static)) -> Metrics {
    evaluator.evaluate(model, &EvaluationContext::default()).unwrap()
}

/// The metrics of an evaluation outside training by embeddings.
fn outside_with<E: Embed>(evaluator: &impl Evaluator<E>, encoder: &E) -> Metrics {
    evaluator.evaluate(encoder, &EvaluationContext::default()).unwrap()
}

/// The context of an evaluation outside training whose messages are recorded.
fn recording_context(recorder: &Arc<Recorder>) -> EvaluationContext<'static> {
    EvaluationContext { reporter: recorder.clone(), ..EvaluationContext::default() }
}

fn read_lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<String> = text.split_terminator("\r\n").map(str::to_owned).collect();
    assert_eq!(lines.join("\r\n") + "\r\n", text);
    lines
}

/// The golden scores: q1 a .9 b .5 c .7 d .1, q2 a .2 b .2 c .3 d .1, q3 a .5 b .4.
fn golden_scorer() -> Scorer<impl Fn(&str, &str) -> f32 + Send + Sync> {
    scorer(|query, text| {
        let scores: &[f32] = match query {
            "q1" => &[0.9, 0.5, 0.7, 0.1],
            "q2" => &[0.2, 0.2, 0.3, 0.1],
            _ => &[0.5, 0.4],
        };
        scores[text.bytes().next().unwrap() as usize - b'a' as usize]
    })
}

fn negatives(query: &str, positive: &[&str], negative: &[&str]) -> RerankingSample {
    let candidates = Candidates::Negative(strings(negative));
    RerankingSample { query: query.to_owned(), positive: strings(positive), candidates }
}

fn documents(query: &str, positive: &[&str], documents: &[&str]) -> RerankingSample {
    let candidates = Candidates::Documents(strings(documents));
    RerankingSample { query: query.to_owned(), positive: strings(positive), candidates }
}

fn golden_documents() -> Vec<RerankingSample> {
    vec![
        documents("q1", &["b"], &["a", "b", "c"]),
        documents("q2", &["a", "d"], &["b", "c", "a"]),
        documents("q3", &["a"], &["b"]),
    ]
}

#[test]
fn a_sequence_merges_metrics_and_the_last_primary_metric_is_its_score() {
    let reranking = |name: &str| {
        Box::new(CrossEncoderRerankingEvaluator::new(golden_documents(), name).unwrap())
    };
    let letters = scorer(|query, text| match query.parse::<usize>() {
        Ok(index) => PREDICTED[index],
        Err(_) => golden_scorer().score(&[(query, text)], &PredictOptions::default()).unwrap()[0],
    });
    let evaluators: Vec<Box<dyn Evaluator<dyn Score>>> =
        vec![Box::new(correlation("sts")), reranking("nq")];
    let sequence = SequentialEvaluator::new(evaluators).unwrap();
    let recorder = Arc::new(Recorder::default());
    let metrics = sequence.evaluate(&letters, &recording_context(&recorder)).unwrap();
    assert_eq!(metrics.get("sequential_score"), metrics.get("nq_ndcg@10"));
    assert_eq!(metrics.0.len(), 2 + 6 + 1);
    assert_eq!(sequence.primary_metric(&metrics), "sequential_score");
    assert!(recorder.warnings().is_empty());
    let twice: Vec<Box<dyn Evaluator<dyn Score>>> = vec![reranking("nq"), reranking("nq")];
    let sequence = SequentialEvaluator::new(twice).unwrap();
    sequence.evaluate(&letters, &recording_context(&recorder)).unwrap();
    assert!(recorder.warnings()[0].contains("`nq_map`"), "{:?}", recorder.warnings());
    let none: Vec<Box<dyn Evaluator<dyn Score>>> = Vec::new();
    assert!(message(SequentialEvaluator::new(none)).contains("at least one"));
}

#[test]
fn cached_scores_score_each_pair_once() {
    let counted = Arc::new(AtomicUsize::new(0));
    let counter = counted.clone();
    let cached = CachedScores::new(scorer(move |query, text| {
        counter.fetch_add(1, Ordering::Relaxed);
        (query.len() * 10 + text.len()) as f32
    }));
    let score = |pairs: &[(&str, &str)]| cached.score(pairs, &PredictOptions::default()).unwrap();
    assert_eq!(score(&[("q", "ab"), ("q", "abc")]), [12.0, 13.0]);
    assert_eq!(counted.load(Ordering::Relaxed), 2);
    assert_eq!(score(&[("q", "abc"), ("ab", "q"), ("q", "ab")]), [13.0, 21.0, 12.0]);
    assert_eq!(counted.load(Ordering::Relaxed), 3, "only the pair that is not cached is scored");
    assert_eq!(score(&[("ab", "q")]), [21.0]);
    assert_eq!(counted.load(Ordering::Relaxed), 3, "nothing is scored again");
}

#[test]
fn a_correlation_evaluator_reads_the_columns_of_a_table() {
    let rows = table(vec![
        ("first", ["0", "1", "2"].map(text).to_vec()),
        ("second", vec![text(""); 3]),
        ("gold", vec![Value::Integer(0), Value::Float(0.5), Value::Boolean(true)]),
    ]);
    let evaluator =
        CrossEncoderCorrelationEvaluator::from_rows(&rows, ["first", "second", "gold"], "")
            .unwrap();
    let model = scorer(|text, _| text.parse::<f32>().unwrap());
    assert!((outside(&evaluator, &model).get("pearson").unwrap() - 1.0).abs() < 1e-12);
    let wrong = CrossEncoderCorrelationEvaluator::from_rows(&rows, ["first", "gold", "gold"], "");
    assert_eq!(message(wrong), "row 1, column `gold`: expected text, got integer 0");
}
