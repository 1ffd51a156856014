//! Retrieval by a dual encoder, and reranking of what it retrieves.

use super::{assert_metrics, documents};
use crate::support::{TableEncoder, by_angle, message, scorer};
use rankforge::Error;
use rankforge::base::silent;
use rankforge::data::{Beir, load_beir};
use rankforge::evaluation::{FirstStage, FirstStageOptions, samples_from_first_stage};
use serde_json::{Value, json};

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
    // The grade 2 of the only relevant document of q1 is in the gain and in the ideal gain.
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
}

/// A BEIR folder with a corpus of ids, and an encoder that ranks it as `rankings` say.
fn folder(golden: &Value) -> (tempfile::TempDir, TableEncoder) {
    let folder = tempfile::tempdir().unwrap();
    let documents = golden["documents"].as_array().unwrap();
    let line = |id: &Value| json!({ "_id": id, "text": id }).to_string() + "\n";
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("corpus.jsonl", documents.iter().map(line).collect());
    let rankings = golden["rankings"].as_object().unwrap();
    let queries = rankings.keys().map(|query| line(&json!(query)));
    write("queries.jsonl", queries.collect());
    let mut lines = "query-id\tcorpus-id\tscore\n".to_owned();
    for (query, judged) in golden["judged"].as_object().unwrap() {
        for (document, grade) in judged.as_object().unwrap() {
            lines.push_str(&format!("{query}\t{document}\t{grade}\n"));
        }
    }
    std::fs::create_dir(folder.path().join("qrels")).unwrap();
    write("qrels/test.tsv", lines);
    let place = |id: &Value| documents.iter().position(|document| document == id).unwrap();
    let axis = |id: &Value| {
        let mut vector = vec![0.0; documents.len()];
        vector[place(id)] = 1.0;
        (id.as_str().unwrap().to_owned(), vector)
    };
    let towards = |(query, ranking): (&String, &Value)| {
        let mut vector = vec![0.0; documents.len()];
        for (rank, id) in ranking.as_array().unwrap().iter().enumerate() {
            vector[place(id)] = 1.0 / (rank + 1) as f32;
        }
        (query.clone(), vector)
    };
    let vectors = documents.iter().map(axis).chain(rankings.iter().map(towards));
    (folder, TableEncoder::new(vectors))
}

#[test]
fn the_metrics_of_a_beir_folder_are_those_of_trec_eval() {
    let golden: Value =
        serde_json::from_str(include_str!("../../fixtures/beir_metrics.json")).unwrap();
    let (folder, encoder) = folder(&golden);
    let number = |key: &str| golden[key].as_u64().unwrap() as usize;
    let options = FirstStageOptions {
        depth: number("depth"),
        at_k: number("at_k"),
        ..FirstStageOptions::default()
    };
    let beir = load_beir(folder.path(), None).unwrap();
    assert_eq!((beir.unknown.documents, beir.unknown.document_judgements), (1, 2));
    let found = samples_from_first_stage(&beir, &encoder, &options).unwrap();
    let metrics = golden["metrics"].as_object().unwrap();
    let expected: Vec<(&str, f64)> =
        metrics.iter().map(|(key, value)| (key.as_str(), value.as_f64().unwrap())).collect();
    assert_metrics(&found.metrics, &expected);
    // Of each query alone, too: errors of queries could cancel in the mean.
    for query in beir.queries.keys() {
        let mut alone = beir.clone();
        alone.queries.retain(|other, _| other == query);
        let found = samples_from_first_stage(&alone, &encoder, &options).unwrap();
        let (got, expected) = (found.metrics.get("ndcg@3").unwrap(), &golden["ndcg"][query]);
        assert!((got - expected.as_f64().unwrap()).abs() < 1e-9, "{query}: {got} {expected}");
    }
}

#[test]
fn a_query_does_not_find_the_document_with_its_own_id() {
    let (mut beir, encoder) = collection();
    // q1 is in the corpus under its own id, and nearer to itself than anything else is.
    beir.corpus.insert("id-q1".to_owned(), "q1".to_owned());
    let options = FirstStageOptions { depth: 2, at_k: 2, ..FirstStageOptions::default() };
    beir.relevant.insert("id-q1".to_owned(), vec![("id-a".to_owned(), 1.0)]);
    let found = samples_from_first_stage(&beir, &encoder, &options).unwrap();
    let expected =
        [documents("q1", &["a"], &["a", "b"]), documents("q2", &["d", "a", "b"], &["c", "d"])];
    assert_eq!(found.samples, expected);
    beir.queries.retain(|id, _| id == "id-q1");
    let found = samples_from_first_stage(&beir, &encoder, &options).unwrap();
    assert_eq!(found.metrics.get("mrr@2"), Some(1.0));
    assert_eq!(found.samples[0].candidates, expected[0].candidates, "a full depth is left");
    // Another query does find it.
    beir.queries = [("id-q3".to_owned(), "q1".to_owned())].into();
    let found = samples_from_first_stage(&beir, &encoder, &options).unwrap();
    assert_eq!(found.samples, [documents("q1", &[], &["q1", "a"])]);
}

#[test]
fn a_judged_document_that_the_corpus_lacks_counts_as_missed() {
    let (mut beir, encoder) = collection();
    beir.relevant.insert("id-q1".to_owned(), vec![("id-a".into(), 1.0), ("gone".into(), 1.0)]);
    beir.relevant.insert("id-q2".to_owned(), vec![("gone".into(), 1.0)]);
    let options = FirstStageOptions { depth: 3, at_k: 2, ..FirstStageOptions::default() };
    let found = samples_from_first_stage(&beir, &encoder, &options).unwrap();
    let expected = [
        ("ndcg@2", 0.5 / (1.0 + 1.0 / 3f64.log2())),
        ("mrr@2", 0.5),
        ("map@3", 0.25),
        ("recall@3", 0.25),
        ("accuracy@1", 0.5),
    ];
    assert_metrics(&found.metrics, &expected);
    assert_eq!(found.samples[0].positive, ["a"]);
    assert!(found.samples[1].positive.is_empty());
}
