//! Golden values of sentence-transformers for evaluators of embeddings.

use crate::support::TableEncoder;
use indexmap::IndexMap;
use rankforge::evaluation::{EvaluationContext, Evaluator};
use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;
use std::sync::LazyLock;

pub(super) static GOLDEN: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../fixtures/evaluators.json")).unwrap());

pub(super) fn encoder() -> TableEncoder {
    let vectors = GOLDEN["vectors"].as_object().unwrap();
    let numbers = |vector: &Value| {
        vector.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
    };
    TableEncoder::new(vectors.iter().map(|(text, vector)| (text.clone(), numbers(vector))))
}

pub(super) fn argument(case: &str, name: &str) -> Value {
    GOLDEN["cases"][case]["arguments"][name].clone()
}

pub(super) fn texts(case: &str, name: &str) -> Vec<String> {
    serde_json::from_value(argument(case, name)).unwrap()
}

/// Compares numbers of f32 accuracy.
#[track_caller]
fn assert_near(got: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    // Bits have many equal cosines, whose ranks rounding decides in the reference.
    let tolerance = if what.contains("binary") && what.contains("spearman") { 1e-3 } else { 2e-6 };
    let near = (got - expected).abs() <= tolerance * expected.abs().max(1.0);
    assert!(near, "{what}: {got}, not {expected}");
}

/// Checks metrics, their order, the primary metric, the listed names and the files of an evaluator.
#[track_caller]
pub(super) fn check(case: &str, evaluator: &dyn Evaluator<TableEncoder>) {
    let golden = &GOLDEN["cases"][case];
    let folder = tempfile::tempdir().unwrap();
    let context =
        EvaluationContext { output_path: Some(folder.path()), ..EvaluationContext::default() };
    let encoder = encoder();
    let metrics = evaluator.evaluate(&encoder, &context).unwrap();
    let expected = golden["metrics"].as_array().unwrap();
    let keys: Vec<&str> = expected.iter().map(|pair| pair[0].as_str().unwrap()).collect();
    assert_eq!(metrics.0.keys().collect::<Vec<_>>(), keys, "{case}");
    for (pair, (key, value)) in expected.iter().zip(&metrics.0) {
        assert_near(*value, &pair[1], &format!("{case}: {key}"));
    }
    assert_eq!(evaluator.primary_metric(&metrics), golden["primary"], "{case}");
    let names: HashSet<String> = evaluator.metric_names(&encoder).into_iter().collect();
    assert_eq!(names, metrics.0.keys().cloned().collect(), "{case}");
    check_files(case, &golden["files"], folder.path());
}

#[track_caller]
fn check_files(case: &str, files: &Value, folder: &Path) {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut found: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    let files = files.as_object().unwrap();
    assert_eq!(found, files.keys().cloned().collect::<Vec<_>>(), "{case}");
    for (name, golden) in files {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let mut lines = text.lines();
        let first = lines.next().unwrap();
        if name.ends_with(".jsonl") {
            check_prediction(&serde_json::from_str(first).unwrap(), golden);
            continue;
        }
        let header: Vec<&str> = first.split(',').collect();
        assert_eq!(Value::from(header.clone()), golden["header"], "{case}: {name}");
        let row: Vec<f64> =
            lines.next().unwrap().split(',').map(|cell| cell.parse().unwrap()).collect();
        let expected = golden["row"].as_array().unwrap();
        assert_eq!(row.len(), expected.len(), "{case}: {name}");
        for ((cell, expected), column) in row.iter().zip(expected).zip(header) {
            assert_near(*cell, expected, &format!("{case}: {column}"));
        }
    }
}

fn check_prediction(got: &Value, golden: &Value) {
    assert_eq!((&got["query_id"], &got["query"]), (&golden["query_id"], &golden["query"]));
    let (got, golden) = (got["results"].as_array().unwrap(), golden["results"].as_array().unwrap());
    assert_eq!(got.len(), golden.len());
    for (got, golden) in got.iter().zip(golden) {
        assert_eq!(got["corpus_id"], golden["corpus_id"]);
        assert_near(got["score"].as_f64().unwrap(), &golden["score"], "score");
    }
}

pub(super) fn map(value: &Value) -> IndexMap<String, String> {
    serde_json::from_value(value.clone()).unwrap()
}
