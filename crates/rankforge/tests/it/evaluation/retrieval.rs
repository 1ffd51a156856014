//! Retrieval by embeddings, from one collection and from several, and at several dimensions.

use super::golden::{argument, check, encoder, map};
use super::{outside_with, recording_context};
use crate::support::{Recorder, TableEncoder, by_angle, message};
use indexmap::IndexMap;
use rankforge::data::Beir;
use rankforge::encoder::kernels::ops::Similarity;
use rankforge::encoder::{EncodeOptions, Side};
use rankforge::evaluation::{
    EvaluationContext, Evaluator, InformationRetrievalEvaluator, NanoBEIREvaluator, RetrievalAtK,
    TruncatedEvaluator,
};
use std::collections::HashSet;
use std::sync::Arc;

fn retrieval(name: &str) -> InformationRetrievalEvaluator {
    let found = argument("retrieval", "collection");
    let relevant: IndexMap<String, HashSet<String>> =
        serde_json::from_value(found["relevant"].clone()).unwrap();
    let (queries, corpus) = (map(&found["queries"]), map(&found["corpus"]));
    InformationRetrievalEvaluator::new(queries, corpus, &relevant, name).unwrap()
}

#[test]
fn retrieval_has_the_golden_values() {
    check("retrieval", &retrieval(""));
    let mut evaluator = retrieval("nq");
    evaluator.settings.write_predictions = true;
    check("retrieval with predictions", &evaluator);
    let mut evaluator = retrieval("nq");
    evaluator.settings.score_functions = Similarity::ALL.to_vec();
    evaluator.settings.main_score_function = Some(Similarity::Dot);
    evaluator.settings.truncate_dim = Some(3);
    check("retrieval truncated", &evaluator);
    evaluator.settings.truncate_dim = None;
    evaluator.settings.main_score_function = None;
    evaluator.settings.at_k = RetrievalAtK {
        mrr_at_k: vec![3, 10],
        ndcg_at_k: vec![3, 10],
        accuracy_at_k: vec![1, 4],
        precision_recall_at_k: vec![2, 5],
        map_at_k: vec![4, 100],
    };
    // Documents of equal scores are in different chunks.
    for corpus_chunk_size in [7, 1, 50_000] {
        evaluator.settings.corpus_chunk_size = corpus_chunk_size;
        check("retrieval of all functions", &evaluator);
    }
}

#[test]
fn retrieval_ranks_equal_scores_by_id_and_uses_the_prompts() {
    let encoder = by_angle(&[("q", 0.0), ("x", 10.0), ("y", -10.0)]);
    let corpus = [("b", "x"), ("a", "y"), ("c", "x")];
    let corpus = corpus.map(|(id, text)| (id.to_owned(), text.to_owned()));
    let queries = IndexMap::from([("1".to_owned(), "q".to_owned())]);
    let relevant = IndexMap::from([("1".to_owned(), HashSet::from(["b".to_owned()]))]);
    let corpus = IndexMap::from(corpus);
    let mut evaluator =
        InformationRetrievalEvaluator::new(queries.clone(), corpus.clone(), &relevant, "").unwrap();
    evaluator.settings.query_prompt = Some("query: ".to_owned());
    evaluator.settings.corpus_prompt_name = Some("passage".to_owned());
    evaluator.settings.batch_size = 16;
    let metrics = outside_with(&evaluator, &encoder);
    assert_eq!(metrics.get("cosine_mrr@10"), Some(0.5));
    let calls = encoder.calls.lock().unwrap();
    let seen: Vec<_> = calls
        .iter()
        .map(|(side, texts, options)| {
            let EncodeOptions { prompt, prompt_name, batch_size, .. } = options.clone();
            (*side, *texts, prompt, prompt_name, batch_size)
        })
        .collect();
    let expected = [
        (Side::Query, 1, Some("query: ".to_owned()), None, 16),
        (Side::Document, 3, None, Some("passage".to_owned()), 16),
    ];
    assert_eq!(seen, expected);
    let config = Evaluator::<TableEncoder>::config(&evaluator);
    let expected = serde_json::json!({"query_prompt": "query: ", "corpus_prompt_name": "passage"});
    assert_eq!(config, expected);

    let new = |queries, corpus, relevant| {
        message(InformationRetrievalEvaluator::new(queries, corpus, &relevant, ""))
    };
    let none = new(queries.clone(), IndexMap::new(), relevant.clone());
    assert!(none.contains("at least one document"), "{none}");
    let none = new(queries, corpus, IndexMap::new());
    assert!(none.contains("got none of 1"), "{none}");
    drop(calls);
    evaluator.settings.main_score_function = Some(Similarity::Dot);
    let context = EvaluationContext::default();
    let error = message(evaluator.evaluate(&encoder, &context));
    assert_eq!(error, "main_score_function: expected one of the score functions (cosine), got dot");
    evaluator.settings.at_k.map_at_k = vec![0];
    assert!(message(evaluator.evaluate(&encoder, &context)).starts_with("map_at_k: expected"));
}

fn nano() -> NanoBEIREvaluator {
    let sets = argument("nano", "nano");
    let sets = ["msmarco", "NQ"].map(|name| {
        let set = &sets[name];
        let mut beir = Beir::default();
        (beir.queries, beir.corpus) = (map(&set["queries"]), map(&set["corpus"]));
        for (query, documents) in set["relevant"].as_object().unwrap() {
            let ids = documents.as_array().unwrap().iter().map(|id| id.as_str().unwrap());
            beir.relevant.insert(query.clone(), ids.map(|id| (id.to_owned(), 1.0)).collect());
        }
        (name.to_owned(), beir)
    });
    NanoBEIREvaluator::new(sets.to_vec()).unwrap()
}

#[test]
fn nano_beir_has_the_golden_values() {
    check("nano", &nano());
    let mut evaluator = nano();
    evaluator.settings.truncate_dim = Some(4);
    evaluator.settings.score_functions = Similarity::ALL.to_vec();
    check("nano truncated", &evaluator);
    let unknown = NanoBEIREvaluator::new(vec![("msmacro".to_owned(), Beir::default())]);
    assert!(message(unknown).contains("got msmacro"));
    assert!(message(NanoBEIREvaluator::new(Vec::new())).contains("at least one collection"));
}

#[test]
fn several_dimensions_embed_once_and_are_those_of_single_evaluators() {
    let evaluator = TruncatedEvaluator::new(retrieval("nq"), vec![3, 8]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let context =
        EvaluationContext { output_path: Some(folder.path()), ..EvaluationContext::default() };
    let encoder = encoder();
    let metrics = evaluator.evaluate(&encoder, &context).unwrap();
    let embedded: usize = encoder.calls.lock().unwrap().iter().map(|(_, texts, _)| texts).sum();
    assert_eq!(embedded, 14 + 40, "a text was embedded more than once");
    let mut names = Evaluator::<TableEncoder>::metric_names(&evaluator, &encoder);
    let mut expected: Vec<String> = Vec::new();
    for dimension in [3, 8] {
        let mut single = retrieval(&format!("nq_{dimension}"));
        single.settings.truncate_dim = Some(dimension);
        let alone = outside_with(&single, &encoder);
        for (key, value) in &alone.0 {
            assert_eq!(metrics.get(key), Some(*value), "{key}");
            expected.push(key.clone());
        }
        let file = format!("Information-Retrieval_evaluation_nq_{dimension}_results.csv");
        assert!(folder.path().join(file).is_file());
    }
    assert_eq!(metrics.0.keys().cloned().collect::<Vec<_>>(), expected);
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
    let primary = Evaluator::<TableEncoder>::primary_metric(&evaluator, &metrics);
    assert_eq!(primary, "nq_3_cosine_ndcg@10");
    let wide = TruncatedEvaluator::new(retrieval("nq"), vec![9]).unwrap();
    let error = message(wide.evaluate(&encoder, &EvaluationContext::default()));
    assert_eq!(error, "truncate_dim: expected at most 8, as the model's embeddings have, got 9");
    assert!(message(TruncatedEvaluator::new(nano(), vec![])).contains("at least one dimension"));
    assert!(message(TruncatedEvaluator::new(nano(), vec![4, 4])).contains("got 4 twice"));
}

#[test]
fn a_file_with_other_columns_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::default());
    let context =
        EvaluationContext { output_path: Some(folder.path()), ..recording_context(&recorder) };
    let mut evaluator = retrieval("");
    evaluator.evaluate(&encoder(), &context).unwrap();
    assert!(recorder.warnings().is_empty());
    evaluator.settings.score_functions = vec![Similarity::Dot];
    evaluator.evaluate(&encoder(), &context).unwrap();
    assert!(recorder.warnings()[0].contains("dot-Accuracy@1"), "{:?}", recorder.warnings());
}
