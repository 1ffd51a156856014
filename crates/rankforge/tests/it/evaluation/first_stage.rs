//! Retrieval by a dual encoder, and reranking of what it retrieves.

use super::{assert_metrics, documents};
use crate::support::{TableEncoder, by_angle, message, scorer};
use rankforge::Error;
use rankforge::base::silent;
use rankforge::data::Beir;
use rankforge::evaluation::{FirstStage, FirstStageOptions, samples_from_first_stage};

/// A collection of vectors on the unit circle, so that similarity follows from the angle.
fn collection() -> (Beir, TableEncoder) {
    let angles = [("q1", 0.0), ("q2", 90.0), ("a", 10.0), ("b", 40.0), ("c", 80.0), ("d", 120.0)];
    let encoder = by_angle(&angles);
    let mut beir = Beir::default();
    for document in ["a", "b", "c", "d"] {
        beir.corpus.insert(format!("id-{document}"), document.to_owned());
    }
    for query in ["q1", "q2"] {
        beir.queries.insert(format!("id-{query}"), query.to_owned());
    }
    let judged = |ids: &[(&str, f64)]| {
        ids.iter().map(|(id, grade)| (format!("id-{id}"), *grade)).collect::<Vec<_>>()
    };
    beir.relevant.insert("id-q1".to_owned(), judged(&[("b", 2.0)]));
    beir.relevant.insert("id-q2".to_owned(), judged(&[("d", 1.0), ("a", 1.0), ("b", 1.0)]));
    (beir, encoder)
}

fn first_stage(depth: usize, at_k: usize) -> Result<FirstStage, Error> {
    let (beir, encoder) = collection();
    let options = FirstStageOptions { depth, at_k, ..FirstStageOptions::default() };
    samples_from_first_stage(&beir, &encoder, &options)
}

#[test]
fn the_first_stage_returns_samples_and_metrics_over_all_relevant_documents() {
    let found = first_stage(3, 2).unwrap();
    assert_eq!(
        found.samples,
        [
            documents("q1", &["b"], &["a", "b", "c"]),
            documents("q2", &["d", "a", "b"], &["c", "d", "b"]),
        ]
    );
    let second = 1.0 / 3f64.log2();
    let expected = [
        ("ndcg@2", (second + second / (1.0 + second)) / 2.0),
        ("mrr@2", 0.5),
        ("map@3", (0.5 + (0.5 + 2.0 / 3.0) / 3.0) / 2.0),
        ("recall@3", (1.0 + 2.0 / 3.0) / 2.0),
        ("accuracy@1", 0.0),
    ];
    assert_metrics(&found.metrics, &expected);
    // A perfect reranker cannot recover documents that the first stage missed.
    let model = scorer(|query, text| match (query, text) {
        ("q1", "b") | ("q2", "b" | "d") => 1.0,
        _ => 0.0,
    });
    let expected = [
        ("ndcg@2", 1.0),
        ("mrr@2", 1.0),
        ("map@3", (1.0 + 2.0 / 3.0) / 2.0),
        ("recall@3", (1.0 + 2.0 / 3.0) / 2.0),
        ("accuracy@1", 1.0),
    ];
    assert_metrics(&found.rerank(&model, 32, &silent()).unwrap(), &expected);
    // Equal scores keep the order of the first stage.
    assert_eq!(found.rerank(&scorer(|_, _| 0.25), 32, &silent()).unwrap(), found.metrics);
}

#[test]
fn the_first_stage_accepts_a_small_corpus_and_refuses_invalid_inputs() {
    let found = first_stage(50, 10).unwrap();
    assert_eq!(found.metrics.get("recall@50"), Some(1.0));
    assert_eq!(found.rerank(&scorer(|_, _| 0.0), 32, &silent()).unwrap(), found.metrics);
    assert!(message(first_stage(0, 10)).contains("depth"));
    assert!(message(first_stage(3, 0)).contains("at_k"));
    let options = FirstStageOptions { depth: 3, ..FirstStageOptions::default() };
    let (_, encoder) = collection();
    let empty = samples_from_first_stage(&Beir::default(), &encoder, &options);
    assert!(message(empty).contains("0 and 0"));
    let (mut beir, encoder) = collection();
    beir.relevant.get_mut("id-q1").unwrap()[0].0 = "id-x".to_owned();
    let unknown = samples_from_first_stage(&beir, &encoder, &options);
    assert!(message(unknown).contains("id-x"));
}
