//! The page about a run.

use crate::support::Recorder;
use crate::testing::{names, trainer};
use rankforge::encoder::CrossEncoder;
use rankforge::evaluation::{Candidates, CrossEncoderRerankingEvaluator, RerankingSample};
use rankforge::training::{Callback, Flow, ResumeFrom, StepReport, Trainer, TrainerState};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// Queries with three documents each; the first stage has the relevant one last, or missed it.
fn samples() -> Vec<RerankingSample> {
    let sample = |query: usize| {
        let text = |word: &str| format!("<b>{word}</b> & river {query} is red");
        let positive = text("house");
        let mut documents = vec![text("stone"), text("bird"), positive.clone()];
        documents.truncate(if query == 0 { 2 } else { 3 });
        RerankingSample {
            query: format!("<script>alert({query})</script> house"),
            positive: vec![positive],
            candidates: Candidates::Documents(documents),
        }
    };
    (0..4).map(sample).collect()
}

/// A trainer of 8 steps that logs, evaluates and saves every two.
fn evaluated(folder: &Path) -> Trainer<CrossEncoder> {
    let options = json!({
        "max_steps": 8, "logging_strategy": "steps", "logging_steps": 2,
        "eval_strategy": "steps", "eval_steps": 2,
        "save_strategy": "steps", "save_steps": 2, "run_name": "a <run>", "eval_on_start": true,
    });
    let mut trainer = trainer(folder, options);
    let evaluator = CrossEncoderRerankingEvaluator::new(samples(), "dev").unwrap();
    trainer.evaluators = vec![Box::new(evaluator)];
    trainer.origin.recipe = Some("[model]\npath = \"<m>\"\n".to_owned());
    trainer
}

fn page(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("report.html")).unwrap()
}

fn data(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap()
}

#[test]
fn the_page_has_curves_metrics_scores_queries_and_the_recipe_and_needs_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    evaluated(folder.path()).train().unwrap();
    let page = page(folder.path());
    for part in [
        "<title>a &lt;run&gt;</title>",
        "<figcaption>Loss</figcaption>",
        "<figcaption>Learning rate</figcaption>",
        "<figcaption>Gradient norm, before clipping</figcaption>",
        "<figcaption>dev_ndcg@10</figcaption>",
        "<figcaption>dev, step 0</figcaption>",
        "<figcaption>dev, step 8</figcaption>",
        "first stage",
        "Against first stage.",
        "<b>&lt;script&gt;alert(",
        "relevant, grade 1",
        "&lt;b&gt;house&lt;&#x2f;b&gt; &amp; river",
        "[model]\npath = &quot;&lt;m&gt;&quot;",
        "<td>training</td>",
        "CrossEncoder",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    for part in ["<script", "<link", "src=", "href=", "@import", "NaN"] {
        assert!(!page.contains(part), "{part} is in {page}");
    }
    let without_namespaces = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!without_namespaces.contains("://"), "{page}");
    let changes = &data(folder.path())["latest"]["details"][0]["changes"];
    let counts = ["gained", "lost", "unchanged"].map(|what| changes[what].as_u64().unwrap());
    assert_eq!(counts.iter().sum::<u64>(), 4);
    let missed = changes["most_gained"]
        .as_array()
        .unwrap()
        .iter()
        .find(|query| query["text"].as_str().unwrap().contains("alert(0)"));
    let missed = missed.expect("the first stage missed the positive of query 0, so it gained");
    let relevant = missed["passages"].as_array().unwrap().iter().find(|p| p["grade"] == 1.0);
    assert_eq!(relevant.unwrap()["rank_before"], Value::Null);
}

/// Ends a run after a step, as if a signal had come.
struct StopAfter(u64, rankforge::base::Stop);

impl Callback for StopAfter {
    fn on_step_end(&mut self, state: &TrainerState, _step: &StepReport) -> Flow {
        if state.global_step == self.0 {
            self.1.request();
        }
        Flow::Continue
    }
}

#[test]
fn the_page_of_a_resumed_run_is_that_of_the_whole_run() {
    let whole = tempfile::tempdir().unwrap();
    evaluated(whole.path()).train().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut interrupted = evaluated(folder.path());
    interrupted.callbacks.push(Box::new(StopAfter(5, interrupted.stop.clone())));
    interrupted.train().unwrap_err();
    assert!(page(folder.path()).contains("The run has done 5 of 8 steps."));
    let mut resumed = evaluated(folder.path());
    resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Newest(true));
    resumed.train().unwrap();
    assert_eq!(data(folder.path()), data(whole.path()));
    let figures = |page: &str| -> Vec<String> {
        let figures = page.split("<figcaption>").skip(1);
        let own = figures.filter(|figure| !figure.contains("minutes"));
        own.map(|figure| figure.split("</figure>").next().unwrap().to_owned()).collect()
    };
    assert_eq!(figures(&page(folder.path())), figures(&page(whole.path())));
}

#[test]
fn a_run_without_evaluators_shows_the_scores_of_a_sample_of_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = json!({"max_steps": 20, "per_device_train_batch_size": 16});
    trainer(folder.path(), arguments).train().unwrap();
    let sample = &data(folder.path())["sample"];
    assert_eq!(
        sample["of"],
        "5 rows of the training data; texts with a label above 0.5 count as relevant"
    );
    assert_ne!(sample["before"], sample["after"]);
    let page = page(folder.path());
    assert!(page.contains("<figcaption>Scores after training</figcaption>"), "{page}");
    assert!(page.contains("There is no curve of losses"), "{page}");
}

#[test]
fn a_run_on_few_rows_spends_no_time_on_a_sample() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = json!({"max_steps": 3, "per_device_train_batch_size": 16});
    trainer(folder.path(), arguments).train().unwrap();
    assert_eq!(data(folder.path())["sample"], json!(null));
    assert!(!page(folder.path()).contains("Scores after training"));
}

#[test]
fn the_page_can_be_switched_off_and_a_page_that_cannot_be_written_ends_no_run() {
    let folder = tempfile::tempdir().unwrap();
    trainer(folder.path(), json!({"max_steps": 1, "write_report": false})).train().unwrap();
    assert!(!names(folder.path()).iter().any(|name| name.starts_with("report")));

    std::fs::create_dir_all(folder.path().join("report.html/mine")).unwrap();
    let mut trainer = trainer(folder.path(), json!({"max_steps": 1}));
    let recorder = Arc::new(Recorder::default());
    trainer.reporter = recorder.clone();
    trainer.train().unwrap();
    assert!(recorder.warned("report.html"), "{:?}", recorder.warnings());
}
