//! Classes of pairs, and NanoBEIR reranked.

use super::{GOLDEN, assert_metrics, numbered, outside};
use crate::support::{message, scorer, table, text};
use crate::testing::{pairs, tiny_bert, tiny_classifier};
use indexmap::IndexMap;
use rankforge::data::{Beir, Value};
use rankforge::encoder::{CrossEncoder, Outputs, Score};
use rankforge::evaluation::{
    Candidates, CrossEncoderClassificationEvaluator, CrossEncoderNanoBEIREvaluator,
    EvaluationContext, Evaluator, nano_beir_samples,
};

fn evaluator(labels: &[usize], name: &str) -> CrossEncoderClassificationEvaluator {
    let pairs = numbered(labels.len());
    CrossEncoderClassificationEvaluator::new(pairs, labels.to_vec(), name).unwrap()
}

fn outputs(columns: usize, values: &[f32]) -> Outputs {
    Outputs { rows: values.len() / columns, columns, values: values.to_vec() }
}

#[test]
fn metrics_of_classes_are_those_of_sentence_transformers() {
    let scores = outputs(1, &[0.1, 0.4, 0.35, 0.8, 0.8]);
    let metrics = evaluator(&[1, 0, 1, 0, 0], "").measure(&scores).unwrap();
    assert_metrics(
        &metrics,
        &[
            ("accuracy", 0.6),
            ("accuracy_threshold", f64::from(0.8f32.next_up())),
            ("f1", 0.571429),
            ("f1_threshold", 0.1),
            ("precision", 0.4),
            ("recall", 1.0),
            ("average_precision", 0.325),
        ],
    );
    let logits = [[1., 0., 0.], [0., 2., 1.], [0., 1., 3.], [5., 1., 1.], [0., 3., 1.]]
        .as_flattened()
        .to_vec();
    let metrics = evaluator(&[0, 1, 2, 1, 1], "").measure(&outputs(3, &logits)).unwrap();
    let expected = [("f1_macro", 0.822222), ("f1_micro", 0.8), ("f1_weighted", 0.813333)];
    assert_metrics(&metrics, &expected);
    // A class that no pair has counts when it is chosen: the F1 of 0, 1 and 2 are 1, 0 and 0.
    let metrics = evaluator(&[0, 1], "").measure(&outputs(3, &[1., 0., 0., 0., 1., 2.])).unwrap();
    assert!((metrics.get("f1_macro").unwrap() - 1.0 / 3.0).abs() < GOLDEN);
    // One that is never chosen and that no pair has does not; of equal scores the first is chosen.
    let metrics = evaluator(&[0, 0], "").measure(&outputs(3, &[1., 1., 1., 2., 0., 2.])).unwrap();
    assert_eq!(metrics.get("f1_macro"), Some(1.0));
}

#[test]
fn labels_and_scores_that_do_not_fit_are_refused() {
    let refused = |labels: &[usize], columns, values: &[f32]| {
        message(evaluator(labels, "").measure(&outputs(columns, values)))
    };
    let name = "CrossEncoderClassificationEvaluator";
    assert_eq!(
        refused(&[1, 2], 1, &[0.1, 0.2]),
        format!("{name}, row 2: expected a class from 0 to 1, got 2")
    );
    assert_eq!(
        refused(&[3], 3, &[0.1, 0.2, 0.3]),
        format!("{name}, row 1: expected a class from 0 to 2, got 3")
    );
    assert_eq!(
        refused(&[0, 1], 2, &[0.0, 1.0, f32::NAN, 1.0]),
        "expected finite scores, got NaN for pair 2 of 2"
    );
    let rows =
        |label| table(vec![("a", vec![text("x")]), ("b", vec![text("y")]), ("c", vec![label])]);
    let from = |label| {
        CrossEncoderClassificationEvaluator::from_rows(&rows(label), ["a", "b", "c"], "").map(drop)
    };
    assert!(from(Value::Integer(3)).is_ok());
    let text = message(from(Value::Float(0.5)));
    assert!(
        text.contains("column `c`: expected a class: a whole number from 0, got 0.5"),
        "{text}"
    );
    assert!(
        message(CrossEncoderClassificationEvaluator::new(vec![], vec![], "").map(drop))
            .contains("at least one pair")
    );
}

#[test]
fn models_of_either_number_of_labels_are_measured() {
    let rows = pairs(6).into_columns();
    let texts = |column: usize| {
        rows[column].1.iter().map(|value| value.as_text().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let texts: Vec<(String, String)> = texts(0).into_iter().zip(texts(1)).collect();
    let labels = vec![0, 1, 0, 1, 1, 0];
    let built = CrossEncoderClassificationEvaluator::new(texts, labels, "nli").unwrap();
    let built: &dyn Evaluator<CrossEncoder> = &built;
    for (model, primary, header) in [
        (tiny_bert(0.0, 3), "nli_average_precision", "epoch,steps,Accuracy,Accuracy_Threshold,F1,"),
        (tiny_classifier(3, 3), "nli_f1_macro", "epoch,steps,Macro_F1,Micro_F1,Weighted_F1"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output_path = Some(folder.path());
        let context = EvaluationContext { output_path, ..EvaluationContext::default() };
        let metrics = built.evaluate(&model, &context).unwrap();
        assert_eq!(built.primary_metric(&metrics), primary);
        assert_eq!(built.metric_names(&model), metrics.0.keys().cloned().collect::<Vec<_>>());
        let file = folder.path().join("CrossEncoderClassificationEvaluator_nli_results.csv");
        assert!(std::fs::read_to_string(file).unwrap().starts_with(header));
    }
}

/// A collection with two queries, of which the ranking finds one relevant document.
fn collection() -> (Beir, IndexMap<String, Vec<String>>) {
    let texts = |texts: &[&str]| {
        texts.iter().map(|text| ((*text).to_owned(), format!("text {text}"))).collect()
    };
    let relevant = [("q1", vec!["a"]), ("q2", vec!["b", "d"])].map(|(query, documents)| {
        (query.to_owned(), documents.into_iter().map(|id| (id.to_owned(), 1.0)).collect())
    });
    let beir = Beir {
        corpus: texts(&["a", "b", "c", "d"]),
        queries: texts(&["q1", "q2"]),
        relevant: relevant.into_iter().collect(),
        ..Beir::default()
    };
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let ranking =
        [("q1".to_owned(), ids(&["c", "a", "b"])), ("q2".to_owned(), ids(&["c", "x", "b", "a"]))];
    (beir, ranking.into_iter().collect())
}

#[test]
fn nano_beir_reranks_what_bm25_ranks_first() {
    let (beir, ranking) = collection();
    let samples = nano_beir_samples(&beir, &ranking, 3);
    let documents = |index: usize| match &samples[index].candidates {
        Candidates::Documents(documents) => documents.clone(),
        Candidates::Negative(_) => panic!("there is a ranking"),
    };
    assert_eq!(documents(0), ["text c", "text a", "text b"]);
    assert_eq!(documents(1), ["text c", "text b"]);
    assert_eq!(samples[1].positive, ["text b", "text d"]);

    let both = [("nq", 3), ("MSMARCO", 3)].map(|(name, _)| (name.to_owned(), samples.clone()));
    let evaluator = CrossEncoderNanoBEIREvaluator::new(both.to_vec(), 3).unwrap();
    // All other scores are equal.
    let model = scorer(|_, text| if text == "text a" { 1.0 } else { 0.0 });
    let metrics = outside(&evaluator, &model);
    let keys: Vec<&str> = metrics.0.keys().map(String::as_str).collect();
    let of = |name: &str| {
        ["map", "mrr@10", "ndcg@10", "base_map", "base_mrr@10", "base_ndcg@10"]
            .map(|key| format!("{name}_{key}"))
    };
    let names = ["NanoNQ_R3", "NanoMSMARCO_R3", "NanoBEIR_R3_mean"];
    assert_eq!(keys, names.map(of).concat());
    assert_eq!(metrics.get("NanoBEIR_R3_mean_map"), metrics.get("NanoNQ_R3_map"));
    // The first stage has `a` and `b` second; `d`, which it missed, comes last.
    assert_eq!(metrics.get("NanoBEIR_R3_mean_base_mrr@10"), Some(0.5));
    let evaluator: &dyn Evaluator<dyn Score> = &evaluator;
    assert_eq!(evaluator.primary_metric(&metrics), "NanoBEIR_R3_mean_ndcg@10");
    assert_eq!(evaluator.metric_names(&model), keys);
    let unknown = CrossEncoderNanoBEIREvaluator::new(vec![("nc".to_owned(), samples)], 3);
    assert!(message(unknown.map(drop)).contains("climatefever"));
}
