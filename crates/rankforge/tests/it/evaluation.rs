use crate::support::{
    Heard, Scorer, TableEncoder, by_angle, message, scorer, strings, table, text,
};
use rankforge::data::{Beir, Value};
use rankforge::encoder::Silent;
use rankforge::evaluation::{
    Candidates, CrossEncoderCorrelationEvaluator, CrossEncoderRerankingEvaluator, Evaluator,
    FirstStage, Moment, PairScorer, RerankingSample, SequentialEvaluator, pearson,
    reranking_samples, samples_from_first_stage, spearman,
};
use rankforge::{Error, Metrics};
use std::path::Path;

/// The golden values have six decimals.
const GOLDEN: f64 = 1e-5;

#[track_caller]
fn assert_figures(metrics: &Metrics, expected: &[(&str, f64)]) {
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

/// Pairs ("0", ""), ("1", "") and so on, which [`by_number`] scores.
fn numbered(count: usize) -> Vec<(String, String)> {
    (0..count).map(|index| (index.to_string(), String::new())).collect()
}

fn by_number(scores: [f32; 5]) -> Scorer<impl Fn(&str, &str) -> f32 + Sync> {
    scorer(move |text, _| scores[text.parse::<usize>().unwrap()])
}

fn correlation(name: &str) -> CrossEncoderCorrelationEvaluator {
    CrossEncoderCorrelationEvaluator::new(numbered(5), GOLD.to_vec(), name).unwrap()
}

fn outside(
    evaluator: &impl Evaluator<dyn PairScorer>,
    model: &(dyn PairScorer + 'static),
) -> Metrics {
    evaluator.evaluate(model, Moment::OUTSIDE, &Silent).unwrap()
}

#[test]
fn correlations_have_the_golden_values() {
    let metrics = outside(&correlation(""), &by_number(PREDICTED));
    assert_figures(&metrics, &[("pearson", 0.990888), ("spearman", 0.974679)]);
    let metrics = outside(&correlation("sts_dev"), &by_number(PREDICTED));
    assert_figures(&metrics, &[("sts_dev_pearson", 0.990888), ("sts_dev_spearman", 0.974679)]);
    let evaluator: &dyn Evaluator<dyn PairScorer> = &correlation("sts_dev");
    assert_eq!(evaluator.primary_metric(), "sts_dev_spearman");
    assert_eq!(evaluator.class_name(), "CrossEncoderCorrelationEvaluator");
    assert_eq!(evaluator.name(), "sts_dev");
    assert_eq!(evaluator.config(), serde_json::json!({}));
}

#[test]
fn correlations_are_one_for_a_line_and_unaffected_by_its_slope() {
    let x = [3.0, -1.0, 4.0, 1.5];
    let line = x.map(|x| 7.0 - 2.0 * x);
    assert!((pearson(&x, &x) - 1.0).abs() < 1e-15);
    assert!((pearson(&x, &line) + 1.0).abs() < 1e-15);
    assert_eq!(spearman(&x, &line), -1.0);
    assert_eq!(spearman(&x, &x.map(f64::exp)), 1.0);
}

#[test]
fn constant_predictions_are_not_a_number_and_said_so() {
    // A mean of thirds does not round to a third.
    let heard = Heard::default();
    let constant = [1.0 / 3.0; 5];
    let evaluator: &dyn Evaluator<dyn PairScorer> = &correlation("");
    let metrics = evaluator.evaluate(&by_number(constant), Moment::OUTSIDE, &heard).unwrap();
    assert!(metrics.get("pearson").unwrap().is_nan() && metrics.get("spearman").unwrap().is_nan());
    assert!(heard.warnings()[0].contains("all 5 predictions are 0.33"), "{:?}", heard.warnings());
    assert_eq!(heard.messages()[1], "Correlation:\tPearson: nan\tSpearman: nan");
    let broken = [0.1, f32::NAN, 0.3, 0.4, 0.5];
    let text = message(evaluator.evaluate(&by_number(broken), Moment::OUTSIDE, &heard));
    assert!(text.contains("pair 1") && text.contains("NaN"), "{text}");
}

#[test]
fn correlation_needs_pairs_with_finite_scores() {
    let new = |pairs: usize, scores: &[f64]| {
        message(CrossEncoderCorrelationEvaluator::new(numbered(pairs), scores.to_vec(), ""))
    };
    assert!(new(2, &[0.5]).contains("2 pairs and 1 scores"));
    assert!(new(1, &[0.5]).contains("at least two pairs"));
    assert!(new(2, &[0.5, f64::NAN]).contains("row 1"));
}

#[test]
fn the_correlation_file_gets_its_header_once() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("eval");
    let evaluator: &dyn Evaluator<dyn PairScorer> = &correlation("dev");
    let heard = Heard::default();
    for (epoch, steps) in [(-1.0, -1), (0.5, 20), (1.0, -1)] {
        let moment = Moment { output_path: Some(&output), epoch, steps };
        evaluator.evaluate(&by_number(GOLD.map(|gold| gold as f32)), moment, &heard).unwrap();
    }
    let file = output.join("CrossEncoderCorrelationEvaluator_dev_results.csv");
    let lines = read_lines(&file);
    assert_eq!(lines[0], "epoch,steps,Pearson_Correlation,Spearman_Correlation");
    let starts: Vec<&str> = lines[1..].iter().map(|line| &line[..line.len().min(7)]).collect();
    assert!(starts[0].starts_with("-1,-1,"), "{lines:?}");
    assert!(starts[1].starts_with("0.5,20,") && starts[2].starts_with("1.0,-1,"), "{lines:?}");
    assert!(lines[1..].iter().all(|line| line.ends_with(",1.0")), "{lines:?}");
    assert_eq!(lines.len(), 4);
    let first_lines: Vec<String> = heard.messages().into_iter().step_by(2).collect();
    assert_eq!(
        first_lines,
        [
            "CrossEncoderCorrelationEvaluator: Evaluating the model on dev dataset:",
            "CrossEncoderCorrelationEvaluator: Evaluating the model on dev dataset in epoch 0.5 after 20 steps:",
            "CrossEncoderCorrelationEvaluator: Evaluating the model on dev dataset after epoch 1.0:",
        ]
    );
    // Nothing but the file itself stays in the folder, and it is as open as any other.
    assert_eq!(std::fs::read_dir(&output).unwrap().count(), 1);
    let plain = output.join("plain");
    std::fs::write(&plain, "").unwrap();
    let permissions = |path: &Path| std::fs::metadata(path).unwrap().permissions();
    assert_eq!(permissions(&file), permissions(&plain));
}

fn read_lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<String> = text.split_terminator("\r\n").map(str::to_owned).collect();
    assert_eq!(lines.join("\r\n") + "\r\n", text);
    lines
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let evaluator: &dyn Evaluator<dyn PairScorer> = &correlation("dev");
    let moment = Moment { output_path: Some(&blocked), epoch: -1.0, steps: -1 };
    let error = evaluator.evaluate(&by_number(PREDICTED), moment, &Silent).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.starts_with(&blocked)), "{error}");
}

/// The golden scores: q1 a .9 b .5 c .7 d .1, q2 a .2 b .2 c .3 d .1, q3 a .5 b .4.
fn golden_scorer() -> Scorer<impl Fn(&str, &str) -> f32 + Sync> {
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
    let figures = [("map", 0.333333), ("mrr@10", 0.333333), ("ndcg@10", 0.532732)];
    assert_figures(&reranking(samples, 10, true), &figures);
}

#[test]
fn reranking_documents_has_the_golden_values() {
    for (at_k, always, figures, base) in [
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
            .zip(figures.into_iter().chain(base))
            .collect();
        assert_figures(&reranking(golden_documents(), at_k, always), &expected);
    }
}

/// Values of scikit-learn's `ndcg_score` and `average_precision_score` on ties, worked out by hand.
#[test]
fn ties_follow_the_rules_of_each_figure() {
    let tied = |samples| {
        let evaluator = CrossEncoderRerankingEvaluator::new(samples, "").unwrap();
        outside(&evaluator, &scorer(|_, _| 0.5))
    };
    // One relevant text of four equals: expected gain, precision 1/4, and MRR puts the first text last.
    let gain = (1..=4).map(|rank| 1.0 / (1.0 + f64::from(rank)).log2()).sum::<f64>() / 4.0;
    let metrics = tied(vec![negatives("q", &["a"], &["b", "c", "d"])]);
    assert_figures(&metrics, &[("map", 0.25), ("mrr@10", 0.25), ("ndcg@10", gain)]);
    let metrics = tied(vec![documents("q", &["d"], &["a", "b", "c", "d"])]);
    assert!((metrics.get("mrr@10").unwrap() - 0.25).abs() < GOLDEN, "positives go to the front");
}

#[test]
fn the_cut_falls_inside_a_group_of_ties() {
    let mut evaluator =
        CrossEncoderRerankingEvaluator::new(vec![negatives("q", &["a", "b"], &["c"])], "").unwrap();
    evaluator.at_k = 1;
    // Two of three equals are relevant, one place counts.
    let metrics = outside(&evaluator, &scorer(|_, _| 1.0));
    assert_figures(&metrics, &[("map", 2.0 / 3.0), ("mrr@1", 0.0), ("ndcg@1", 2.0 / 3.0)]);
}

#[test]
fn reranking_counts_queries_without_relevant_texts_as_zero() {
    let samples = vec![documents("q1", &["d"], &["a", "b"]), documents("q1", &["a"], &["a", "b"])];
    let metrics = reranking(samples, 10, false);
    let half = [("map", 0.5), ("mrr@10", 0.5), ("ndcg@10", 0.5)];
    let base = [("base_map", 0.5), ("base_mrr@10", 0.5), ("base_ndcg@10", 0.5)];
    assert_figures(&metrics, &[half, base].concat());
    // Nothing to score at all, and a single text to rank, are no errors.
    let mut evaluator =
        CrossEncoderRerankingEvaluator::new(vec![documents("q1", &["d"], &["a"])], "").unwrap();
    evaluator.always_rerank_positives = false;
    let model = golden_scorer();
    assert_eq!(outside(&evaluator, &model).get("map"), Some(0.0));
    assert!(model.calls.lock().unwrap().is_empty());
    assert_eq!(reranking(vec![negatives("q1", &["a"], &[])], 10, true).get("ndcg@10"), Some(1.0));
}

#[test]
fn reranking_logs_counts_and_both_columns_and_writes_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let evaluator = CrossEncoderRerankingEvaluator::new(golden_documents(), "nq").unwrap();
    let evaluator: &dyn Evaluator<dyn PairScorer> = &evaluator;
    let heard = Heard::default();
    let moment = Moment { output_path: Some(folder.path()), epoch: 2.0, steps: 7 };
    let metrics = evaluator.evaluate(&golden_scorer(), moment, &heard).unwrap();
    assert_eq!(
        heard.messages(),
        [
            "CrossEncoderRerankingEvaluator: Evaluating the model on the nq dataset in epoch 2.0 after 7 steps:",
            "Queries: 3\tPositives: Min 1.0, Mean 1.3, Max 2.0\tNegatives: Min 1.0, Mean 1.7, Max 2.0",
            "         Base  -> Reranked",
            "MAP:     30.56 -> 58.33",
            "MRR@10:  27.78 -> 55.56",
            "NDCG@10: 40.05 -> 70.36",
        ]
    );
    assert_eq!(evaluator.primary_metric(), "nq_ndcg@10");
    assert_eq!(
        evaluator.config(),
        serde_json::json!({ "at_k": 10, "always_rerank_positives": true })
    );
    let lines =
        read_lines(&folder.path().join("CrossEncoderRerankingEvaluator_nq_results_@10.csv"));
    assert_eq!(lines[0], "epoch,steps,MAP,MRR@10,NDCG@10");
    let cells: Vec<f64> = lines[1].split(',').map(|cell| cell.parse().unwrap()).collect();
    let figures = ["nq_map", "nq_mrr@10", "nq_ndcg@10"].map(|key| metrics.get(key).unwrap());
    assert_eq!(cells, [vec![2.0, 7.0], figures.to_vec()].concat(), "digits survive the file");
}

#[test]
fn reranking_without_documents_logs_one_column() {
    let samples = vec![negatives("q1", &["b"], &["a"])];
    let evaluator = CrossEncoderRerankingEvaluator::new(samples, "").unwrap();
    let evaluator: &dyn Evaluator<dyn PairScorer> = &evaluator;
    let heard = Heard::default();
    evaluator.evaluate(&golden_scorer(), Moment::OUTSIDE, &heard).unwrap();
    assert_eq!(heard.messages()[2..], ["MAP:     50.00", "MRR@10:  50.00", "NDCG@10: 63.09"]);
    assert_eq!(evaluator.config(), serde_json::json!({ "at_k": 10 }));
    assert!(message(CrossEncoderRerankingEvaluator::new(Vec::new(), "")).contains("one sample"));
}

fn list(texts: &[&str]) -> Value {
    Value::List(texts.iter().copied().map(text).collect())
}

#[test]
fn samples_come_from_rows() {
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
    assert!(got.contains("'query'"), "{got}");
    let got = text_of(vec![("query", vec![text("q")]), ("negative", vec![list(&["c"])])]);
    assert!(got.contains("'positive'"), "{got}");
    let (query, positive) = (("query", vec![text("q")]), ("positive", vec![text("a")]));
    let got = text_of(vec![query.clone(), positive.clone()]);
    assert!(got.contains("exactly one") && got.contains("neither"), "{got}");
    let both = [("negative", vec![list(&["c"])]), ("documents", vec![list(&["c"])])];
    let got = text_of([vec![query.clone(), positive.clone()], both.to_vec()].concat());
    assert!(got.contains("exactly one") && got.contains("both"), "{got}");
    let wrong = vec![query, positive, ("negative", vec![Value::List(vec![Value::Integer(3)])])];
    let got = text_of(wrong);
    assert!(got.contains("row 0, column 'negative'"), "{got}");
}

#[test]
fn evaluators_in_sequence_are_merged_and_the_last_decides() {
    let reranking = |name: &str| {
        Box::new(CrossEncoderRerankingEvaluator::new(golden_documents(), name).unwrap())
    };
    let letters = scorer(|query, text| match query.parse::<usize>() {
        Ok(index) => PREDICTED[index],
        Err(_) => golden_scorer_score(query, text),
    });
    let evaluators: Vec<Box<dyn Evaluator<dyn PairScorer>>> =
        vec![Box::new(correlation("sts")), reranking("nq")];
    let sequence = SequentialEvaluator::new(evaluators).unwrap();
    assert_eq!(sequence.primary_metric(), "sequential_score");
    let heard = Heard::default();
    let metrics = sequence.evaluate(&letters, Moment::OUTSIDE, &heard).unwrap();
    assert_eq!(metrics.get("sequential_score"), metrics.get("nq_ndcg@10"));
    assert_eq!(metrics.0.len(), 2 + 6 + 1);
    assert!(heard.warnings().is_empty());
    let twice: Vec<Box<dyn Evaluator<dyn PairScorer>>> = vec![reranking("nq"), reranking("nq")];
    let sequence = SequentialEvaluator::new(twice).unwrap();
    sequence.evaluate(&letters, Moment::OUTSIDE, &heard).unwrap();
    assert!(heard.warnings()[0].contains("`nq_map`"), "{:?}", heard.warnings());
    let none: Vec<Box<dyn Evaluator<dyn PairScorer>>> = Vec::new();
    assert!(message(SequentialEvaluator::new(none)).contains("at least one"));
}

fn golden_scorer_score(query: &str, text: &str) -> f32 {
    golden_scorer().score(&[(query, text)], 1, &Silent).unwrap()[0]
}

/// A collection on the unit circle: the nearer the angle, the better.
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
    samples_from_first_stage(&beir, &encoder, depth, at_k, 32, &Silent)
}

#[test]
fn the_first_stage_gives_samples_and_figures_against_all_relevant_documents() {
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
    assert_figures(&found.metrics, &expected);
    // A perfect reranker cannot find what the first stage missed.
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
    assert_figures(&found.rerank(&model, 32, &Silent).unwrap(), &expected);
    // A reranker without an opinion changes nothing.
    assert_eq!(found.rerank(&scorer(|_, _| 0.25), 32, &Silent).unwrap(), found.metrics);
}

#[test]
fn the_first_stage_bears_a_small_corpus_and_refuses_what_makes_no_sense() {
    let found = first_stage(50, 10).unwrap();
    assert_eq!(found.metrics.get("recall@50"), Some(1.0));
    assert_eq!(found.rerank(&scorer(|_, _| 0.0), 32, &Silent).unwrap(), found.metrics);
    assert!(message(first_stage(0, 10)).contains("depth"));
    assert!(message(first_stage(3, 0)).contains("at_k"));
    let (_, encoder) = collection();
    let empty = samples_from_first_stage(&Beir::default(), &encoder, 3, 10, 32, &Silent);
    assert!(message(empty).contains("0 and 0"));
    let (mut beir, encoder) = collection();
    beir.relevant.get_mut("id-q1").unwrap()[0].0 = "id-x".to_owned();
    let unknown = samples_from_first_stage(&beir, &encoder, 3, 10, 32, &Silent);
    assert!(message(unknown).contains("id-x"));
}
