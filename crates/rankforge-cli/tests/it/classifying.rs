//! Rerankers with several labels, and evaluators of rerankers on classes and on NanoBEIR.

use crate::annotating::trained_reranker;
use crate::support::{PAIRS, TestDir};
use serde_json::{Value, json};

/// `nli.jsonl`: pairs and one of three classes; `best.toml`: a recipe for them without a loss.
fn setup() -> TestDir {
    let dir = TestDir::new();
    dir.encoder();
    let rows = PAIRS.iter().enumerate().map(|(index, (query, answer))| {
        json!({ "premise": query, "hypothesis": answer, "label": index % 3 })
    });
    dir.json_lines("nli.jsonl", rows);
    let evaluator = |name: &str, limit: usize| {
        format!(
            "[[evaluators]]\ntype = \"CrossEncoderClassificationEvaluator\"\n\
             path = \"nli.jsonl\"\nname = \"{name}\"\nlimit = {limit}\n"
        )
    };
    let recipe = "[model]\npath = \"bert\"\nnum_labels = 3\n[dataset]\npath = \"nli.jsonl\"\n\
                  [arguments]\noutput_dir = \"run\"\nmax_steps = 40\nlearning_rate = 1e-2\n\
                  eval_strategy = \"steps\"\neval_steps = 10\nsave_steps = 10\n\
                  load_best_model_at_end = true\n";
    let best = "metric_for_best_model = \"eval_large_f1_macro\"\n";
    dir.write(
        "best.toml",
        &[recipe, best, &evaluator("large", 99), &evaluator("small", 4)].concat(),
    );
    dir
}

#[test]
fn a_classifier_is_trained_and_chosen_by_the_metric_of_one_of_several_sets() {
    let dir = setup();
    let run = dir.json(&["train", "best.toml", "--json", "--quiet"]);
    let state: Value =
        serde_json::from_str(&dir.read("run/checkpoint-40/trainer_state.json")).unwrap();
    let evaluations: Vec<f64> = state["log_history"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|record| record["eval_large_f1_macro"].as_f64())
        .collect();
    assert_eq!(evaluations.len(), 4);
    let best = evaluations.iter().copied().fold(f64::MIN, f64::max);
    assert_eq!(state["best_metric"], best, "{run}");
    assert!(best > evaluations[0], "{evaluations:?}");

    let evaluate = ["evaluate", "classification", "--model", "run/final", "--json"];
    let data = ["--dataset", "nli.jsonl", "--columns", "premise,hypothesis,label"];
    let metrics = dir.json(&[&evaluate[..], &data].concat());
    assert!((metrics["f1_macro"].as_f64().unwrap() - best).abs() < 1e-6, "{metrics}");

    let predict = ["predict", "--model", "run/final", "--input", "nli.jsonl", "--output"];
    dir.succeed(&[&predict[..], &["soft.jsonl", "--apply-softmax"]].concat());
    for row in dir.read("soft.jsonl").lines() {
        let row: Value = serde_json::from_str(row).unwrap();
        let scores = row["scores"].as_array().unwrap();
        let sum: f64 = scores.iter().map(|score| score.as_f64().unwrap()).sum();
        assert!(scores.len() == 3 && (sum - 1.0).abs() < 1e-5, "{row}");
    }
    let wrong = ["--set", "loss.name=MSELoss", "--set", "arguments.output_dir=other"];
    let error = dir.fail(1, &[&["train", "best.toml"][..], &wrong].concat());
    assert!(error.contains("expected 1 output label, as MSELoss reads one score"), "{error}");
}

#[test]
fn a_reranker_is_evaluated_on_nano_beir() {
    let dir = TestDir::new();
    trained_reranker(&dir);
    let pairs = || PAIRS.iter().enumerate();
    std::fs::create_dir_all(dir.path("nano/NanoNQ")).unwrap();
    for part in ["corpus", "queries", "qrels", "bm25"] {
        std::fs::create_dir_all(dir.path(&format!("nano/{part}"))).unwrap();
    }
    let text = |id: String, text: &str| json!({ "_id": id, "text": text });
    let corpus = pairs().map(|(id, (_, answer))| text(format!("d{id}"), answer));
    dir.json_lines("nano/corpus/NanoNQ.jsonl", corpus);
    let queries = pairs().map(|(id, (query, _))| text(format!("q{id}"), query));
    dir.json_lines("nano/queries/NanoNQ.jsonl", queries);
    let judged = |id| json!({ "query-id": format!("q{id}"), "corpus-id": format!("d{id}") });
    dir.json_lines("nano/qrels/NanoNQ.jsonl", pairs().map(|(id, _)| judged(id)));
    let ranked = |id: usize| {
        let ids: Vec<String> =
            [3, 0, 5].iter().map(|step| format!("d{}", (id + step) % PAIRS.len())).collect();
        json!({ "query-id": format!("q{id}"), "corpus-ids": ids })
    };
    dir.json_lines("nano/bm25/NanoNQ.jsonl", pairs().map(|(id, _)| ranked(id)));

    let evaluate = ["evaluate", "nanobeir", "--model", "teacher", "--dataset", "nano"];
    let metrics = dir.json(&[&evaluate[..], &["--json", "--output", "out"]].concat());
    assert_eq!(metrics["NanoBEIR_R100_mean_base_mrr@10"], 0.5);
    assert_eq!(metrics["NanoNQ_R100_ndcg@10"], metrics["NanoBEIR_R100_mean_ndcg@10"]);
    let csv = dir.read("out/NanoBEIR_evaluation_mean_results.csv");
    assert!(csv.starts_with("epoch,steps,MAP,MRR@10,NDCG@10"), "{csv}");
    let one = dir.json(&[&evaluate[..], &["--json", "--rerank-k", "1", "--at-k", "1"]].concat());
    assert_eq!(one["NanoBEIR_R1_mean_base_ndcg@1"], 0.0);
    let shown = dir.succeed(&evaluate).stdout;
    assert!(shown.contains("first stage") && shown.contains("Binary gain"), "{shown}");
    let error = dir.fail(2, &[&evaluate[..], &["--query-prompt", "x"]].concat());
    assert!(error.contains("--query-prompt is for dual encoders"), "{error}");
    std::fs::remove_dir_all(dir.path("nano/bm25")).unwrap();
    assert!(dir.fail(1, &evaluate).contains("bm25"));
}
