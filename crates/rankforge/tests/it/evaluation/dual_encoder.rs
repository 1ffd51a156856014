//! Evaluators of dual encoders: metrics, keys and files as sentence-transformers gives them for the
//! same embeddings.

use super::golden::{argument, check, encoder, map, texts};
use super::{negatives, recording_context};
use crate::support::{Recorder, TableEncoder, by_angle, message, strings, table};
use rankforge::data::Value as Cell;
use rankforge::encoder::kernels::ops::Similarity;
use rankforge::encoder::{Embed, EncodeOptions, Side};
use rankforge::evaluation::{
    BinaryClassificationEvaluator, CachedEmbeddings, Candidates, EmbeddingSimilarityEvaluator,
    EvaluationContext, Evaluator, MSEEvaluator, ParaphraseMiningEvaluator, RerankingEvaluator,
    RerankingSample, TranslationEvaluator, TripletEvaluator,
};
use serde_json::Value;
use std::sync::Arc;

#[test]
fn similarity_has_the_golden_values() {
    let side = |name| texts("similarity None", name);
    let gold: Vec<f64> = serde_json::from_value(argument("similarity None", "gold")).unwrap();
    let new = |name: &str| {
        let (left, right) = (side("left"), side("right"));
        EmbeddingSimilarityEvaluator::new(left, right, gold.clone(), name).unwrap()
    };
    for precision in ["None", "float32", "int8", "uint8", "binary", "ubinary"] {
        let mut evaluator = new("sts");
        evaluator.similarity_fn_names = Similarity::ALL.to_vec();
        evaluator.precision = (precision != "None").then(|| precision.parse().unwrap());
        check(&format!("similarity {precision}"), &evaluator);
    }
    let mut evaluator = new("");
    evaluator.main_similarity = Some(Similarity::Dot);
    evaluator.truncate_dim = Some(3);
    check("similarity truncated", &evaluator);

    let short = |gold: &[f64]| {
        let texts = strings(&["a", "b"]);
        message(EmbeddingSimilarityEvaluator::new(texts.clone(), texts, gold.to_vec(), ""))
    };
    assert!(short(&[0.5]).ends_with("got 2, 2 and 1"));
    assert!(short(&[0.5, f64::NAN]).contains("row 2"));
}

#[test]
fn constant_gold_scores_give_a_warning() {
    let recorder = Arc::new(Recorder::default());
    let (left, right) = (strings(&["a", "b"]), strings(&["b", "c"]));
    let evaluator = EmbeddingSimilarityEvaluator::new(left, right, vec![0.5; 2], "").unwrap();
    let encoder = by_angle(&[("a", 0.0), ("b", 30.0), ("c", 90.0)]);
    let metrics = evaluator.evaluate(&encoder, &recording_context(&recorder)).unwrap();
    assert!(metrics.get("spearman_cosine").unwrap().is_nan());
    assert!(recorder.warnings()[0].contains("all 2 gold scores are 0.5"));
}

#[test]
fn binary_classification_has_the_golden_values() {
    let side = |name| texts("binary", name);
    let labels: Vec<u8> = serde_json::from_value(argument("binary", "labels")).unwrap();
    let labels: Vec<bool> = labels.into_iter().map(|label| label == 1).collect();
    let new = |name: &str| {
        let (left, right) = (side("left"), side("right"));
        BinaryClassificationEvaluator::new(left, right, labels.clone(), name).unwrap()
    };
    let mut evaluator = new("qqp");
    evaluator.similarity_fn_names = Similarity::ALL.to_vec();
    check("binary", &evaluator);
    let mut evaluator = new("");
    evaluator.truncate_dim = Some(4);
    check("binary of the model", &evaluator);
}

#[test]
fn labels_of_binary_classification_are_zero_or_one() {
    let numbers = |values: &[f64]| values.iter().map(|value| Cell::Float(*value)).collect();
    let text = |text: &str| vec![Cell::Text(text.to_owned()); 2];
    let rows = table(vec![("a", text("x")), ("b", text("y")), ("l", numbers(&[1.0, 0.5]))]);
    let error = message(BinaryClassificationEvaluator::from_rows(&rows, ["a", "b", "l"], ""));
    assert_eq!(error, "BinaryClassificationEvaluator, row 2, column `l`: expected 0 or 1, got 0.5");
}

#[test]
fn triplets_have_the_golden_values() {
    let new = |name: &str| {
        let side = |name| texts("binary", name);
        let wrong = texts("triplet", "wrong");
        TripletEvaluator::new(side("left"), side("right"), wrong, name).unwrap()
    };
    let mut evaluator = new("nli");
    evaluator.similarity_fn_names = Similarity::ALL.to_vec();
    check("triplet", &evaluator);
    let mut evaluator = new("");
    evaluator.similarity_fn_names = Similarity::ALL.to_vec();
    evaluator.margin = [0.1, 1.0, 0.3, 0.0];
    evaluator.truncate_dim = Some(5);
    check("triplet with margins", &evaluator);
    let mut evaluator = new("");
    evaluator.main_similarity_function = Some(Similarity::Dot);
    check("triplet of dot", &evaluator);
}

#[test]
fn reranking_by_embeddings_has_the_golden_values() {
    let samples = argument("reranking", "samples");
    let sample = |sample: &Value| RerankingSample {
        query: sample["query"].as_str().unwrap().to_owned(),
        positive: serde_json::from_value(sample["positive"].clone()).unwrap(),
        candidates: Candidates::Negative(
            serde_json::from_value(sample["negative"].clone()).unwrap(),
        ),
    };
    let samples: Vec<RerankingSample> = samples.as_array().unwrap().iter().map(sample).collect();
    let mut evaluator = RerankingEvaluator::new(samples, "rr").unwrap();
    evaluator.at_k = 2;
    check("reranking", &evaluator);
    let none = RerankingEvaluator::new(vec![negatives("q", &["a"], &[])], "");
    assert!(message(none).contains("a relevant and another text"));
}

#[test]
fn mse_has_the_golden_values() {
    let (left, right) = (texts("binary", "left"), texts("binary", "right"));
    let new = |name: &str| {
        let sources: Vec<&str> = left.iter().map(String::as_str).collect();
        let options = EncodeOptions::default();
        MSEEvaluator::new(&sources, right.clone(), &encoder(), &options, name).unwrap()
    };
    check("mse", &new("kd"));
    let mut evaluator = new("");
    evaluator.truncate_dim = Some(3);
    check("mse truncated", &evaluator);
    let other = TableEncoder::new(right.iter().map(|text| (text.clone(), vec![1.0])));
    let error = message(new("").evaluate(&other, &EvaluationContext::default()));
    assert!(error.contains("expected a model of 8 dimensions") && error.ends_with("got 1"));
}

#[test]
fn translations_have_the_golden_values() {
    let (left, targets) = (texts("binary", "left"), texts("translation", "targets"));
    check("translation", &TranslationEvaluator::new(left, targets, "en-de").unwrap());
}

#[test]
fn paraphrases_have_the_golden_values() {
    let new = |closure, name: &str| {
        let pairs: Vec<(String, String)> =
            serde_json::from_value(argument("paraphrases", "pairs")).unwrap();
        let sentences = map(&argument("paraphrases", "texts"));
        ParaphraseMiningEvaluator::new(sentences, &pairs, closure, name).unwrap()
    };
    let mut evaluator = new(false, "dup");
    evaluator.top_k = 3;
    check("paraphrases", &evaluator);
    let mut evaluator = new(true, "");
    (evaluator.top_k, evaluator.max_pairs) = (2, 15);
    for query_chunk_size in [3, 5000] {
        evaluator.query_chunk_size = query_chunk_size;
        check("few paraphrases", &evaluator);
    }
    let recorder = Arc::new(Recorder::default());
    evaluator.evaluate(&encoder(), &recording_context(&recorder)).unwrap();
    assert!(recorder.warnings()[0].ends_with("left out: 1"), "{:?}", recorder.warnings());
}

#[test]
fn cached_embeddings_are_truncated_before_they_are_normalised() {
    let encoder = TableEncoder::new([("a", vec![3.0, 4.0, 12.0]), ("b", vec![1.0, 0.0, 0.0])]);
    let cached = CachedEmbeddings::new(&encoder, 3);
    let embed = |truncate_dim, normalize_embeddings| {
        let options =
            EncodeOptions { truncate_dim, normalize_embeddings, ..EncodeOptions::default() };
        cached.embed(Side::Text, &["a", "b", "a"], &options).unwrap()
    };
    assert_eq!(embed(Some(2), true).values, [0.6, 0.8, 1.0, 0.0, 0.6, 0.8]);
    assert_eq!(embed(None, false).row(2), [3.0, 4.0, 12.0]);
    assert_eq!(encoder.calls.lock().unwrap().len(), 1);
}
