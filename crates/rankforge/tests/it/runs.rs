//! Which run a checkpoint belongs to, and which checkpoint is the best: used output directories,
//! changed recipes, moved folders, deleted checkpoints.

use crate::support::{Recorder, message};
use crate::testing::{RUN_FILES, bits, eval_set, labeled_pairs, loss, names, tiny_bert, trainer};
use rankforge::encoder::{CrossEncoder, TextModel};
use rankforge::evaluation::{EvaluationContext, Evaluator};
use rankforge::training::{
    Callback, Flow, Prompts, ResumeFrom, StepReport, TrainOutput, Trainer, TrainerState,
};
use rankforge::{Error, Metrics};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An evaluator whose metric is a function of the step.
struct Curve(fn(i64) -> f64);

impl<M> Evaluator<M> for Curve {
    fn class_name(&self) -> &'static str {
        "CurveEvaluator"
    }

    fn name(&self) -> &str {
        "dev"
    }

    fn primary_metric(&self, _: &Metrics) -> String {
        "dev_score".to_owned()
    }

    fn metric_names(&self, _: &M) -> Vec<String> {
        vec!["dev_score".to_owned(), "dev_nothing".to_owned()]
    }

    fn config(&self) -> Value {
        json!({})
    }

    fn evaluate(&self, _model: &M, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let mut metrics = Metrics::new();
        metrics.insert("dev_score", self.0(context.steps));
        metrics.insert("dev_nothing", f64::NAN);
        Ok(metrics)
    }
}

/// Best at step 4: 0.9. Then, in this order, at steps 8, 2 and 6.
fn best_at_4(step: i64) -> f64 {
    match step {
        2 => 0.5,
        4 => 0.9,
        6 => 0.25,
        _ => 0.75,
    }
}

/// Calls a function after each step.
struct AfterStep<F>(F);

impl<F: FnMut(u64) + Send> Callback for AfterStep<F> {
    fn on_step_end(&mut self, state: &TrainerState, _step: &StepReport) -> Flow {
        (self.0)(state.global_step);
        Flow::Continue
    }
}

/// A trainer of `steps` steps with a checkpoint every two.
fn saving(folder: &Path, steps: u64) -> Trainer<CrossEncoder> {
    let options = json!({"max_steps": steps, "save_strategy": "steps", "save_steps": 2});
    trainer(folder, options)
}

/// A trainer of 8 steps that takes the parameters of the best one, which is step 4.
fn choosing(folder: &Path) -> Trainer<CrossEncoder> {
    let options = json!({
        "max_steps": 8, "save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps",
        "eval_steps": 2, "load_best_model_at_end": true, "metric_for_best_model": "dev_score",
    });
    let mut trainer = trainer(folder, options);
    trainer.evaluators.push(Box::new(Curve(best_at_4)));
    trainer
}

/// Requests a stop after a step.
fn stop_after(trainer: &mut Trainer<CrossEncoder>, step: u64) {
    let stop = trainer.stop.clone();
    trainer.callbacks.push(Box::new(AfterStep(move |done| {
        if done == step {
            stop.request();
        }
    })));
}

fn recorded(trainer: &mut Trainer<CrossEncoder>) -> Arc<Recorder> {
    let recorder = Arc::new(Recorder::default());
    trainer.reporter = recorder.clone();
    recorder
}

fn parameters_of(checkpoint: &Path) -> Vec<u32> {
    let mut model = tiny_bert(0.1, 99);
    model.load_parameters(checkpoint).unwrap();
    bits(model.model())
}

#[test]
fn a_second_run_moves_the_checkpoints_of_the_first_and_resumes_from_its_own() {
    let folder = tempfile::tempdir().unwrap();
    saving(folder.path(), 8).train().unwrap();
    std::fs::write(folder.path().join("checkpoint-6/mine.txt"), "mine").unwrap();
    std::fs::write(folder.path().join("checkpoint-12"), "a file in the way").unwrap();
    std::fs::create_dir(folder.path().join("final")).unwrap();
    let second = || {
        let mut trainer = saving(folder.path(), 7);
        trainer.arguments.learning_rate = 2e-3;
        trainer
    };
    let mut interrupted = second();
    stop_after(&mut interrupted, 3);
    let recorder = recorded(&mut interrupted);
    let error = interrupted.train().unwrap_err();
    assert!(matches!(error, Error::Interrupted { step: 3, .. }), "{error}");
    let earlier = folder.path().join("earlier-run-1");
    assert!(recorder.warned(&format!("moved them to {}; `final` is of", earlier.display())));
    let moved = [
        "checkpoint-12",
        "checkpoint-2",
        "checkpoint-4",
        "checkpoint-6",
        "checkpoint-8",
        "log.jsonl",
        "report.html",
        "report.json",
        "run.json",
        "trainer_state.json",
        "training.svg",
    ];
    assert_eq!(names(&earlier), moved);
    assert_eq!(std::fs::read(earlier.join("checkpoint-6/mine.txt")).unwrap(), b"mine");

    let mut resumed = second();
    resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Newest(true));
    let recorder = recorded(&mut resumed);
    resumed.train().unwrap();
    assert_eq!(recorder.warnings(), [""; 0], "its own checkpoints stay");
    let whole = tempfile::tempdir().unwrap();
    let mut expected = second();
    expected.arguments.output_dir = whole.path().to_owned();
    expected.train().unwrap();
    assert!(bits(resumed.model.model()) == bits(expected.model.model()));
}

#[test]
fn resuming_from_an_earlier_checkpoint_moves_the_later_ones() {
    let folder = tempfile::tempdir().unwrap();
    saving(folder.path(), 8).train().unwrap();
    let mut again = saving(folder.path(), 8);
    // Another spelling of the same path.
    let checkpoint = folder.path().join("eval/../checkpoint-4");
    std::fs::create_dir(folder.path().join("eval")).unwrap();
    again.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
    let recorder = recorded(&mut again);
    again.train().unwrap();
    assert!(recorder.warned("held checkpoints of later steps than 4, from which it resumes"));
    assert_eq!(names(&folder.path().join("earlier-run-1")), ["checkpoint-6", "checkpoint-8"]);
    // A run of another folder goes on here: no checkpoint here is its own.
    let other = tempfile::tempdir().unwrap();
    saving(other.path(), 4).train().unwrap();
    let mut elsewhere = saving(folder.path(), 8);
    elsewhere.arguments.resume_from_checkpoint =
        Some(ResumeFrom::Path(other.path().join("checkpoint-4")));
    elsewhere.train().unwrap();
    let moved = names(&folder.path().join("earlier-run-2"));
    let found: Vec<&String> = moved.iter().filter(|name| name.contains("checkpoint")).collect();
    assert_eq!(found, ["checkpoint-2", "checkpoint-4", "checkpoint-6", "checkpoint-8"]);
    assert!(moved.contains(&"eval".to_owned()), "{moved:?}");
}

#[test]
fn another_loss_model_or_other_data_are_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = saving(folder.path(), 4);
    first.eval_sets.push(eval_set(&first, labeled_pairs(8)));
    first.train().unwrap();
    let checkpoint = folder.path().join("checkpoint-2");
    let other = tempfile::tempdir().unwrap();
    let resumed = |change: &dyn Fn(&mut Trainer<CrossEncoder>)| {
        let mut trainer = saving(other.path(), 4);
        trainer.eval_sets.push(eval_set(&trainer, labeled_pairs(8)));
        trainer.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint.clone()));
        change(&mut trainer);
        let recorder = recorded(&mut trainer);
        (trainer.train(), recorder)
    };
    let refused = |field: &str, change: &dyn Fn(&mut Trainer<CrossEncoder>)| {
        let message = message(resumed(change).0);
        assert!(message.starts_with(&format!("{field}: expected ")), "{message}");
        assert!(message.contains("start a new run instead"), "{message}");
    };
    refused("loss.pos_weight", &|trainer| {
        trainer.train_sets[0].loss = loss("BinaryCrossEntropyLoss", json!({"pos_weight": 2.0}));
    });
    let other_loss = || loss("MultipleNegativesRankingLoss", json!({}));
    refused("loss", &|trainer| trainer.train_sets[0].loss = other_loss());
    refused("model", &|trainer| trainer.model = tiny_bert(0.1, 2));
    refused("model", &|trainer| {
        trainer.model.parts_mut().tokenizer.set_max_length(Some(23));
    });
    // As many rows, but in another order.
    let others = |trainer: &mut Trainer<CrossEncoder>| {
        let rows = labeled_pairs(30);
        let order: Vec<usize> = (0..30).rev().collect();
        trainer.train_sets[0].rows = Arc::new(rows.select(&order));
    };
    refused("training data", &others);
    refused("training data", &|trainer| {
        trainer.train_sets[0].prompts = Some(Prompts::All("the".to_owned()));
    });
    refused("training data", &|trainer| {
        let columns = ["answer", "query"].map(str::to_owned);
        trainer.train_sets[0].columns = Some(columns.to_vec());
    });
    // Without the promise of the same bits, other data may follow.
    let (result, recorder) = resumed(&|trainer| {
        others(trainer);
        trainer.arguments.ignore_data_skip = true;
    });
    result.unwrap();
    assert!(recorder.warned("the texts and labels of the training data are others"));
    // Evaluation data do not change what is trained.
    let (result, recorder) = resumed(&|trainer| {
        trainer.eval_sets[0].rows = Arc::new(labeled_pairs(9));
    });
    result.unwrap();
    assert!(recorder.warned("evaluation losses before and after are not comparable"));
    // The parameters of the checkpoint are the run's own too.
    let (result, recorder) = resumed(&|trainer| {
        trainer.model = CrossEncoder::open(&checkpoint).unwrap();
        trainer.model.parts_mut().tokenizer.set_max_length(Some(24));
    });
    result.unwrap();
    assert!(!recorder.warned("run of"), "{:?}", recorder.warnings());
}

#[test]
fn a_checkpoint_without_a_definition_is_resumed_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    saving(folder.path(), 4).train().unwrap();
    std::fs::remove_file(folder.path().join("checkpoint-4/run.json")).unwrap();
    let mut resumed = saving(folder.path(), 6);
    resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Newest(true));
    let recorder = recorded(&mut resumed);
    resumed.train().unwrap();
    assert!(recorder.warned("lacks run.json"));
}

#[cfg(unix)]
#[test]
fn an_output_directory_is_of_one_run_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let output_dir = folder.path().to_owned();
    let mut outer = saving(folder.path(), 1);
    let second = AfterStep(move |_| {
        let message = message(saving(&output_dir, 1).train());
        assert!(message.contains("no other process writes to"), "{message}");
    });
    outer.callbacks.push(Box::new(second));
    outer.train().unwrap();
}

#[test]
fn a_run_removes_what_a_killed_one_left() {
    let folder = tempfile::tempdir().unwrap();
    for name in [".incomplete-x", ".rankforge-saving-x"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join(".owner"), "").unwrap();
    }
    trainer(folder.path(), json!({"max_steps": 1})).train().unwrap();
    assert_eq!(names(folder.path()), RUN_FILES);
}

/// Checks that a run ended with the parameters and figures of step 4.
fn assert_best(output: &TrainOutput, trainer: &Trainer<CrossEncoder>, checkpoint: &Path) {
    assert_eq!((output.global_step, output.model_step), (8, 4));
    assert!(bits(trainer.model.model()) == parameters_of(checkpoint));
    assert_eq!(output.evaluation().unwrap()["eval_dev_score"], json!(0.9));
    assert_eq!(output.evaluations.len(), 1);
    assert_eq!(output.evaluations[0].metrics.get("dev_score"), Some(0.9));
    assert!(output.evaluations[0].metrics.get("dev_nothing").unwrap().is_nan());
    let card = trainer.model_card().unwrap();
    assert!(card.contains("| **score** | **0.9000** |"), "{card}");
    assert!(card.contains("value: 0.9\n"), "{card}");
    assert!(card.contains("| **0.5000** | **4** | **0.9000** |"), "{card}");
    assert!(!card.contains("**0.7500**"), "{card}");
}

#[test]
fn the_figures_of_the_best_step_go_with_its_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = choosing(folder.path());
    let output = trainer.train().unwrap();
    assert_best(&output, &trainer, &folder.path().join("checkpoint-4"));
    // Without loading the best, they are those of the last step.
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = choosing(folder.path());
    trainer.arguments.load_best_model_at_end = false;
    let output = trainer.train().unwrap();
    assert_eq!((output.global_step, output.model_step), (8, 8));
    assert_eq!(output.evaluation().unwrap()["eval_dev_score"], json!(0.75));
    assert_eq!(output.evaluations[0].metrics.get("dev_score"), Some(0.75));
}

/// Interrupts a run after step 5, moves its folder, and returns a trainer that resumes there.
fn moved(place: &Path, change: impl FnOnce(&Path)) -> (Trainer<CrossEncoder>, PathBuf) {
    let before = place.join("before");
    let mut trainer = choosing(&before);
    stop_after(&mut trainer, 5);
    trainer.train().unwrap_err();
    let after = place.join("after");
    std::fs::rename(&before, &after).unwrap();
    change(&after);
    let mut resumed = choosing(&after);
    resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Newest(true));
    (resumed, after)
}

#[test]
fn a_moved_run_finds_its_best_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    let (mut trainer, folder) = moved(place.path(), |_| {});
    let recorder = recorded(&mut trainer);
    let output = trainer.train().unwrap();
    assert_eq!(recorder.warnings(), [""; 0]);
    assert_best(&output, &trainer, &folder.join("checkpoint-4"));
    assert_eq!(output.state.best_model_checkpoint, Some(folder.join("checkpoint-4")));
}

#[test]
fn a_missing_best_checkpoint_is_told_before_the_first_step_and_replaced_by_the_next_best() {
    let place = tempfile::tempdir().unwrap();
    let delete = |folder: &Path| std::fs::remove_dir_all(folder.join("checkpoint-4")).unwrap();
    let (mut trainer, folder) = moved(place.path(), delete);
    let recorder = recorded(&mut trainer);
    let told = recorder.clone();
    trainer.callbacks.push(Box::new(AfterStep(move |_| assert!(told.warned("is missing")))));
    let output = trainer.train().unwrap();
    assert!(recorder.warned("the best of those that are left is of step 2 (0.5)"));
    assert_eq!(output.state.best_global_step, Some(8), "0.75 is better than 0.5");
    assert!(bits(trainer.model.model()) == parameters_of(&folder.join("checkpoint-8")));
}

#[test]
fn a_best_checkpoint_that_cannot_be_loaded_does_not_lose_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = choosing(folder.path());
    let best = folder.path().join("checkpoint-4");
    let damage = AfterStep(move |step| {
        if step == 7 {
            std::fs::write(best.join("model.safetensors"), "damaged").unwrap();
        }
    });
    trainer.callbacks.push(Box::new(damage));
    let recorder = recorded(&mut trainer);
    let output = trainer.train().unwrap();
    assert!(recorder.warned("the model keeps the parameters of the last step"));
    assert!(bits(trainer.model.model()) == parameters_of(&folder.path().join("checkpoint-8")));
    assert_eq!(output.model_step, 8);
    assert_eq!(output.evaluations[0].metrics.get("dev_score"), Some(0.75));
}
