//! The training loop: gradients, accumulation, learning, logging, evaluation, checkpoints, stops.

use crate::testing::{
    FullDisk, Remembering, arguments, bits, device, labelled_pairs, loss, names, pairs, tiny_bert,
    trainer,
};
use rankforge::encoder::kernels::Arena;
use rankforge::encoder::{
    Batch, CrossEncoder, DualEncoder, LoadOptions, Mode, Model, Outputs, Reporter, Silent, Tokens,
    Trainable, Workspace,
};
use rankforge::evaluation::{Evaluator, Moment};
use rankforge::losses::{Draw, Examples, Labels, Loss, LossOutput, Plan, dual_encoder};
use rankforge::training::{
    Callback, Chunking, Dataset, Flow, LogRecord, PreparedBatch, Preparer, Sampler, StepReport,
    Trainer, TrainerState, loss_and_gradients, loss_without_gradients,
};
use rankforge::{Error, Metrics};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn prepared(model: &CrossEncoder, loss: &dyn Loss, rows: &rankforge::data::Rows) -> PreparedBatch {
    let dataset = Dataset::new(rows, "test data").unwrap();
    let tokenizer = model.tokenizer().clone();
    let preparer = Preparer::new(dataset, loss, tokenizer, None, 7).unwrap();
    let all: Vec<usize> = (0..rows.len()).collect();
    preparer.prepare(&all, 3).unwrap()
}

fn gradients_of(
    model: &Model,
    loss: &dyn Loss,
    batch: &PreparedBatch,
    chunking: Chunking,
) -> (LossOutput, Vec<f32>) {
    let mut gradients = Arena::zeros(&device(), model.parameters().layout().clone());
    let mut workspace = Workspace::new(model.device());
    let output =
        loss_and_gradients(model, loss, batch, &chunking, 1.0, &mut workspace, &mut gradients);
    (output, gradients.flat().to_vec())
}

/// Largest difference over largest number; both passes sum the same products in other orders, over
/// at most a few hundred tokens, so a relative error of some hundred roundings is their own.
fn assert_same_gradients(found: &[f32], expected: &[f32], what: &str) {
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest > 0.0, "{what}: no gradient at all");
    assert!(difference <= 300.0 * f32::EPSILON * largest, "{what}: {difference} of {largest}");
}

#[test]
fn gradient_caching_gives_the_numbers_of_the_whole_batch_for_every_loss() {
    let model = tiny_bert(0.0, 2);
    let losses = [
        (loss("BinaryCrossEntropyLoss", json!({})), labelled_pairs(9)),
        (loss("MultipleNegativesRankingLoss", json!({"num_negatives": 3})), pairs(6)),
        (loss("CachedMultipleNegativesRankingLoss", json!({"num_negatives": null})), pairs(4)),
    ];
    for (loss, rows) in losses {
        let batch = prepared(&model, &*loss, &rows);
        let (whole, expected) = gradients_of(model.model(), &*loss, &batch, Chunking::default());
        let longest = batch.tokens.iter().map(|tokens| tokens.ids.len()).max().unwrap();
        let chunkings = [(Some(1), None), (Some(4), None), (Some(64), None)];
        let budgets = [(None, Some(1)), (None, Some(2 * longest)), (Some(3), Some(60))];
        for (mini_batch_size, max_tokens) in chunkings.into_iter().chain(budgets) {
            let chunking = Chunking { mini_batch_size, max_tokens };
            let what = format!("{} with {chunking:?}", loss.name());
            let (output, found) = gradients_of(model.model(), &*loss, &batch, chunking);
            let tolerance = 100.0 * f64::from(f32::EPSILON) * whole.value.abs();
            assert!((output.value - whole.value).abs() <= tolerance, "{what}");
            assert_same_gradients(&found, &expected, &what);
            let mut workspace = Workspace::new(&device());
            let without =
                loss_without_gradients(model.model(), &*loss, &batch, &chunking, &mut workspace);
            assert!((without.value - whole.value).abs() <= tolerance, "{what}, evaluated");
        }
    }
}

#[test]
fn chunks_respect_both_limits_and_keep_the_order() {
    let lengths = [5, 5, 5, 30, 2, 2, 2];
    let sequences: Vec<Tokens> = lengths
        .iter()
        .map(|&length| Tokens { ids: vec![0; length], ..Tokens::default() })
        .collect();
    let split =
        |mini_batch_size, max_tokens| Chunking { mini_batch_size, max_tokens }.split(&sequences);
    assert_eq!(split(None, None), vec![0..7; 1]);
    assert_eq!(split(Some(3), None), [0..3, 3..6, 6..7]);
    assert_eq!(split(None, Some(10)), [0..2, 2..3, 3..4, 4..7], "a longer one goes alone");
    assert_eq!(split(Some(2), Some(10)), [0..2, 2..3, 3..4, 4..6, 6..7]);
    assert_eq!(Chunking::default().split(&[]), vec![0..0; 1]);
}

#[test]
fn both_passes_of_gradient_caching_draw_the_same_dropout() {
    let model = tiny_bert(0.3, 2);
    let loss = loss("MultipleNegativesRankingLoss", json!({"num_negatives": 2}));
    let batch = prepared(&model, &*loss, &pairs(5));
    let chunking = Chunking { mini_batch_size: Some(4), max_tokens: None };
    let (output, found) = gradients_of(model.model(), &*loss, &batch, chunking);
    // The same without caching: every chunk keeps its own activations.
    let chunks = chunking.split(&batch.tokens);
    assert!(chunks.len() > 2);
    let model = model.model();
    let mode = |part| Mode::Training { seed: 7, step: 3, part: part as u64 };
    let ragged = |chunk: &std::ops::Range<usize>| {
        Batch::new(&batch.tokens[chunk.clone()], &model.architecture().encoder)
    };
    let mut workspaces: Vec<Workspace> = chunks.iter().map(|_| Workspace::new(&device())).collect();
    let mut outputs = Outputs { columns: 1, ..Outputs::default() };
    for (part, chunk) in chunks.iter().enumerate() {
        let more = model.forward(&ragged(chunk), mode(part), true, &mut workspaces[part]);
        outputs.rows += more.rows;
        outputs.values.extend(more.values);
    }
    let expected = loss.compute(&outputs, batch.plan_rows, &batch.labels);
    let mut gradients = Arena::zeros(&device(), model.parameters().layout().clone());
    for (part, chunk) in chunks.iter().enumerate() {
        let values = expected.d_outputs.values[chunk.clone()].to_vec();
        let d_outputs = Outputs { rows: chunk.len(), columns: 1, values };
        let workspace = &mut workspaces[part];
        model.backward(&d_outputs, &ragged(chunk), mode(part), workspace, &mut gradients);
    }
    assert_eq!(output.value.to_bits(), expected.value.to_bits());
    assert!(found == gradients.flat().to_vec(), "the replayed masks differ");
    let (inference, _) =
        (loss_without_gradients(model, &*loss, &batch, &chunking, &mut workspaces[0]), ());
    assert_ne!(inference.value, output.value, "dropout is on in training only");
}

#[test]
fn two_accumulated_batches_of_four_are_one_of_eight() {
    let folder = tempfile::tempdir().unwrap();
    let run = |batch_size: usize, accumulation: usize| {
        // A large epsilon makes the step proportional to the gradient, so that rounding stays small.
        let options = json!({
            "per_device_train_batch_size": batch_size, "gradient_accumulation_steps": accumulation,
            "max_steps": 6, "adam_epsilon": 1.0, "learning_rate": 0.5, "max_grad_norm": 0.0,
            "logging_strategy": "steps", "logging_steps": 1,
        });
        let mut trainer = Trainer::new(
            tiny_bert(0.0, 1),
            arguments(folder.path(), options),
            labelled_pairs(24),
            loss("BinaryCrossEntropyLoss", json!({})),
            &Silent,
        );
        trainer.train().unwrap();
        let losses: Vec<f64> =
            figures(&trainer.state, "loss").into_iter().map(|(_, l)| l).collect();
        (losses, trainer.model.model().parameters().flat().to_vec())
    };
    let (losses, parameters) = run(8, 1);
    let (accumulated_losses, accumulated) = run(4, 2);
    assert_eq!(losses.len(), 6);
    for (left, right) in losses.iter().zip(&accumulated_losses) {
        assert!((left - right).abs() <= 1000.0 * f64::from(f32::EPSILON), "{left} {right}");
    }
    // Six steps of at most 0.5 · gradient, gradients of order 1 with some hundred roundings each.
    assert_same_gradients(&accumulated, &parameters, "parameters");
}

#[test]
fn the_last_group_of_an_epoch_averages_over_what_it_has() {
    // 20 rows, batches of 4, groups of 4: a second step over the fifth batch alone.
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "gradient_accumulation_steps": 4, "max_steps": 2, "learning_rate": 0.0,
        "logging_strategy": "steps", "logging_steps": 1,
    });
    let mut trainer = Trainer::new(
        tiny_bert(0.0, 1),
        arguments(folder.path(), options),
        labelled_pairs(20),
        loss("BinaryCrossEntropyLoss", json!({})),
        &Silent,
    );
    trainer.train().unwrap();
    let rows = labelled_pairs(20);
    let batch = prepared(&trainer.model, &*trainer.loss, &rows);
    let mut workspace = Workspace::new(&device());
    let model = trainer.model.model();
    let whole =
        loss_without_gradients(model, &*trainer.loss, &batch, &Chunking::default(), &mut workspace);
    let logged = figures(&trainer.state, "loss");
    let mean = (4.0 * logged[0].1 + logged[1].1) / 5.0;
    assert!((mean - whole.value).abs() < 1e-6, "{mean} {}", whole.value);
    assert_eq!(trainer.state.epoch, 1.0);
}

/// Steps and values of the log records that have a figure.
fn figures(state: &TrainerState, name: &str) -> Vec<(u64, f64)> {
    let found = |record: &LogRecord| {
        Some((record["step"].as_u64().unwrap(), record.get(name)?.as_f64().unwrap()))
    };
    state.log_history.iter().filter_map(found).collect()
}

#[test]
fn a_toy_set_is_learned_by_heart() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 150, "learning_rate": 3e-3, "warmup_ratio": 0.1, "weight_decay": 0.01,
        "per_device_train_batch_size": 8, "logging_strategy": "steps", "logging_steps": 10,
    });
    let mut trainer = trainer(folder.path(), options, &Silent);
    let output = trainer.train().unwrap();
    let losses = figures(&trainer.state, "loss");
    let (first, last) = (losses[0].1, losses.last().unwrap().1);
    assert!(last < 0.15 && last < first / 4.0, "from {first} to {last}");
    assert!(output.training_loss < first && output.training_loss > last);
    let rows = labelled_pairs(30);
    let queries = rows.texts("query").unwrap();
    let answers = rows.texts("answer").unwrap();
    let pairs: Vec<(&str, &str)> = queries.into_iter().zip(answers).collect();
    let scores = trainer.model.predict(&pairs, &Default::default(), &Silent).unwrap();
    let labels = rows.numbers("label").unwrap();
    let right =
        scores.values.iter().zip(&labels).filter(|(s, l)| (**s > 0.5) == (**l > 0.5)).count();
    assert_eq!(right, 30);
}

#[test]
fn cached_ranking_losses_train_and_the_draws_change_with_the_step() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 60, "learning_rate": 3e-3, "logging_strategy": "steps", "logging_steps": 10,
        "batch_sampler": "no_duplicates", "max_tokens_per_chunk": 64,
    });
    let mut trainer = Trainer::new(
        tiny_bert(0.0, 1),
        arguments(folder.path(), options),
        pairs(16),
        loss(
            "CachedMultipleNegativesRankingLoss",
            json!({"mini_batch_size": 5, "num_negatives": 2}),
        ),
        &Silent,
    );
    trainer.train().unwrap();
    let losses = figures(&trainer.state, "loss");
    assert!(losses.last().unwrap().1 < 0.7 * losses[0].1, "{losses:?}");
}

#[test]
fn log_records_have_the_loss_of_their_window_the_rate_of_their_step_and_the_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "num_train_epochs": 2, "max_steps": -1, "warmup_steps": 4, "max_grad_norm": 0.01,
        "logging_strategy": "steps", "logging_steps": 3, "logging_first_step": true,
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut trainer = trainer(folder.path(), options, &Silent);
    trainer.callbacks.push(Box::new(Watcher { losses: seen.clone(), ..Watcher::default() }));
    let output = trainer.train().unwrap();
    // 30 rows in batches of 4 are 8 steps an epoch.
    assert_eq!((output.global_step, trainer.state.max_steps), (16, 16));
    let losses = figures(&trainer.state, "loss");
    let steps: Vec<u64> = losses.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [1, 3, 6, 9, 12, 15]);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 16);
    let window = (seen[1] + seen[2]) / 2.0;
    assert!((losses[1].1 - window).abs() < 1e-12, "steps 2 and 3");
    let mean = seen.iter().sum::<f64>() / 16.0;
    assert!((output.training_loss - mean).abs() < 1e-12);
    let rates = figures(&trainer.state, "learning_rate");
    assert_eq!(rates[0].1, 0.0, "the first step of a warm-up");
    assert_eq!(rates[1].1, 1e-3 * 2.0 / 4.0);
    assert_eq!(rates[2].1, 1e-3 * (16.0 - 5.0) / 12.0);
    assert!(figures(&trainer.state, "grad_norm").iter().all(|(_, norm)| *norm > 0.01), "unclipped");
    assert_eq!(trainer.state.log_history[1]["epoch"], json!(0.375));
    let last = trainer.state.log_history.last().unwrap();
    for key in ["train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss"]
    {
        assert!(last[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {last:?}");
    }
    assert_eq!(last["epoch"], json!(2.0));
    assert_eq!(names(folder.path()), ["trainer_state.json", "training.svg"]);
}

/// Notes the loss of every step, and can stop the run.
#[derive(Default)]
struct Watcher {
    losses: Arc<Mutex<Vec<f64>>>,
    stop_after: Option<u64>,
}

impl Callback for Watcher {
    fn on_step_end(&mut self, state: &TrainerState, step: &StepReport) -> Flow {
        self.losses.lock().unwrap().push(step.loss);
        if self.stop_after == Some(state.global_step) { Flow::Stop } else { Flow::Continue }
    }
}

#[test]
fn a_callback_can_end_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({}), &Silent);
    trainer.callbacks.push(Box::new(Watcher { stop_after: Some(5), ..Watcher::default() }));
    assert_eq!(trainer.train().unwrap().global_step, 5);
}

/// Gives prescribed figures, one for each evaluation.
struct Prescribed {
    values: Vec<f64>,
    calls: AtomicUsize,
}

impl<M> Evaluator<M> for Prescribed {
    fn class_name(&self) -> &'static str {
        "PrescribedEvaluator"
    }

    fn name(&self) -> &str {
        "dev"
    }

    fn primary_metric(&self) -> String {
        "dev_score".to_owned()
    }

    fn config(&self) -> Value {
        json!({"at_k": 10})
    }

    fn evaluate(
        &self,
        _model: &M,
        moment: Moment<'_>,
        _reporter: &dyn Reporter,
    ) -> Result<Metrics, Error> {
        assert!(moment.output_path.is_some_and(|path| path.ends_with("eval") && path.is_dir()));
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut metrics = Metrics::new();
        metrics.insert("dev_score", self.values[call % self.values.len()]);
        metrics.insert("dev_step", moment.steps as f64);
        Ok(metrics)
    }
}

fn prescribed(values: &[f64]) -> Box<dyn Evaluator<CrossEncoder>> {
    Box::new(Prescribed { values: values.to_vec(), calls: AtomicUsize::new(0) })
}

fn evaluated(options: Value) -> TrainerState {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), options, &Silent);
    trainer.evaluators.push(prescribed(&[0.5]));
    trainer.eval_dataset = Some(labelled_pairs(11));
    trainer.train().unwrap();
    trainer.state
}

#[test]
fn evaluation_follows_its_strategy() {
    let steps = |options| -> Vec<u64> {
        let state = evaluated(options);
        let found = figures(&state, "eval_dev_score");
        assert_eq!(found.len(), figures(&state, "eval_loss").len());
        found.into_iter().map(|(step, _)| step).collect()
    };
    assert_eq!(steps(json!({"max_steps": 10})), [0_u64; 0]);
    let every_4 = json!({"max_steps": 10, "eval_strategy": "steps", "eval_steps": 4});
    assert_eq!(steps(every_4), [4, 8, 10], "and after the last step");
    let share = json!({"max_steps": 10, "eval_strategy": "steps", "eval_steps": 0.5});
    assert_eq!(steps(share), [5, 10]);
    let with_logging = json!({"max_steps": 6, "eval_strategy": "steps", "logging_steps": 3});
    assert_eq!(steps(with_logging), [3, 6]);
    let delayed = json!({
        "max_steps": 8, "eval_strategy": "steps", "eval_steps": 2, "eval_delay": 5,
        "eval_on_start": true,
    });
    assert_eq!(steps(delayed), [0, 6, 8]);
    let by_epoch = json!({"num_train_epochs": 3, "max_steps": -1, "eval_strategy": "epoch"});
    assert_eq!(steps(by_epoch), [8, 16, 24]);
}

#[test]
fn an_evaluation_has_the_loss_of_its_rows_and_the_speed() {
    let state = evaluated(json!({
        "max_steps": 2, "eval_strategy": "steps", "eval_steps": 2, "learning_rate": 0,
        "per_device_eval_batch_size": 4,
    }));
    let record = state.log_history.iter().find(|record| record.contains_key("eval_loss")).unwrap();
    for key in ["eval_runtime", "eval_samples_per_second", "eval_steps_per_second"] {
        assert!(record[key].as_f64().is_some_and(|value| value > 0.0), "{key}");
    }
    assert_eq!(record["eval_dev_step"], json!(2.0));
    // The model did not change, so the loss is that of all rows at once.
    let model = tiny_bert(0.1, 1);
    let loss = loss("BinaryCrossEntropyLoss", json!({}));
    let batch = prepared(&model, &*loss, &labelled_pairs(11));
    let mut workspace = Workspace::new(&device());
    let whole =
        loss_without_gradients(model.model(), &*loss, &batch, &Chunking::default(), &mut workspace);
    let found = record["eval_loss"].as_f64().unwrap();
    assert!((found - whole.value).abs() < 1e-6, "{found} {}", whole.value);
}

#[test]
fn evaluation_without_anything_to_evaluate_on_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({"eval_strategy": "epoch"}), &Silent);
    let message = trainer.train().unwrap_err().to_string();
    assert!(message.contains("eval_strategy"), "{message}");
}

#[test]
fn a_missing_best_metric_names_those_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "best",
        "metric_for_best_model": "dev_ndcg",
    });
    let mut trainer = trainer(folder.path(), options, &Silent);
    trainer.evaluators.push(prescribed(&[0.5]));
    let message = trainer.train().unwrap_err().to_string();
    assert!(message.contains("eval_dev_score") && message.contains("eval_dev_ndcg"), "{message}");
}

#[test]
fn old_checkpoints_go_but_not_the_best_and_not_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 10, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps",
        "save_steps": 2, "save_total_limit": 2, "load_best_model_at_end": true,
        "metric_for_best_model": "dev_score",
    });
    let mut trainer = trainer(folder.path(), options, &Silent);
    trainer.evaluators.push(prescribed(&[0.1, 0.9, 0.3, 0.9, 0.2]));
    trainer.train().unwrap();
    let kept = names(folder.path());
    assert_eq!(
        kept,
        ["checkpoint-10", "checkpoint-4", "eval", "trainer_state.json", "training.svg"]
    );
    assert_eq!(trainer.state.best_global_step, Some(4), "an equal figure is no better one");
    assert_eq!(trainer.state.best_metric, Some(0.9));
    // The model is the best one again, not the last.
    let mut best = tiny_bert(0.1, 99);
    best.load_parameters(&folder.path().join("checkpoint-4")).unwrap();
    assert_eq!(bits(trainer.model.model()), bits(best.model()));
    best.load_parameters(&folder.path().join("checkpoint-10")).unwrap();
    assert_ne!(bits(trainer.model.model()), bits(best.model()));
}

#[test]
fn saving_the_best_only_writes_a_checkpoint_for_each_new_best() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 8, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "best",
        "metric_for_best_model": "dev_score", "greater_is_better": false,
    });
    let mut trainer = trainer(folder.path(), options, &Silent);
    trainer.evaluators.push(prescribed(&[0.5, 0.7, 0.3, 0.4]));
    trainer.train().unwrap();
    let kept = names(folder.path());
    assert_eq!(kept[..2], ["checkpoint-2", "checkpoint-6"]);
    assert_eq!(kept[2], "eval");
}

#[test]
fn checkpoints_have_every_file_and_none_is_left_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({"num_train_epochs": 1, "max_steps": -1, "save_strategy": "epoch"});
    let mut trainer = trainer(folder.path(), options, &Silent);
    trainer.train().unwrap();
    assert_eq!(names(folder.path()), ["checkpoint-8", "trainer_state.json", "training.svg"]);
    let checkpoint = folder.path().join("checkpoint-8");
    let files = names(&checkpoint);
    for file in [
        "README.md",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "optimizer.safetensors",
        "rng_state.json",
        "sampler.json",
        "scheduler.json",
        "tokenizer.json",
        "trainer_state.json",
        "training_args.json",
    ] {
        assert!(files.iter().any(|name| name == file), "{file} is not in {files:?}");
    }
    let text = std::fs::read_to_string(checkpoint.join("trainer_state.json")).unwrap();
    assert!(text.starts_with("{\n  \"best_global_step\": null,\n"), "{text}");
    let state: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    let keys: Vec<&String> = state.keys().collect();
    assert!(keys.is_sorted() && keys.len() == 20, "{keys:?}");
}

#[test]
fn a_full_disk_is_an_error_and_earlier_checkpoints_stay() {
    let folder = tempfile::tempdir().unwrap();
    let model = FullDisk { inner: tiny_bert(0.1, 1), failing: 3, saved: AtomicUsize::new(0) };
    let options = json!({"save_strategy": "steps", "save_steps": 2, "save_total_limit": 1});
    let mut trainer = Trainer::new(
        model,
        arguments(folder.path(), options),
        labelled_pairs(30),
        loss("BinaryCrossEntropyLoss", json!({})),
        &Silent,
    );
    let error = trainer.train().unwrap_err();
    assert!(matches!(error, Error::Encoder(_)), "{error}");
    assert_eq!(names(folder.path()), ["checkpoint-4", "training.svg"]);
    assert!(folder.path().join("checkpoint-4/optimizer.safetensors").is_file());
}

#[test]
fn an_output_dir_that_cannot_be_made_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let options = json!({"max_steps": 1, "save_strategy": "steps"});
    let mut trainer = trainer(&file.join("run"), options, &Silent);
    let error = trainer.train().unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

/// A loss that is not a number from its `failing`-th batch on, or has no gradient.
struct Broken {
    inner: Box<dyn Loss>,
    failing: usize,
    computed: AtomicUsize,
    without_gradient: bool,
}

impl Loss for Broken {
    fn name(&self) -> &'static str {
        "BrokenLoss"
    }

    fn config(&self) -> Value {
        json!({})
    }

    fn citation(&self) -> &'static str {
        ""
    }

    fn check_model(&self, output_columns: usize) -> Result<(), Error> {
        self.inner.check_model(output_columns)
    }

    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error> {
        self.inner.plan(examples, draw)
    }

    fn compute(&self, outputs: &Outputs, rows: usize, labels: &Labels) -> LossOutput {
        let mut output = self.inner.compute(outputs, rows, labels);
        if self.computed.fetch_add(1, Ordering::Relaxed) + 1 >= self.failing {
            output.value = f64::NAN;
        }
        if self.without_gradient {
            output.d_outputs.values.fill(0.0);
        }
        output
    }
}

fn broken(failing: usize, without_gradient: bool) -> Box<dyn Loss> {
    let inner = loss("BinaryCrossEntropyLoss", json!({}));
    Box::new(Broken { inner, failing, computed: AtomicUsize::new(0), without_gradient })
}

#[test]
fn a_loss_that_is_not_a_number_stops_the_run_and_names_step_rows_and_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({"save_strategy": "steps", "save_steps": 3});
    let mut trainer = trainer(folder.path(), options, &Silent);
    trainer.loss = broken(5, false);
    let error = trainer.train().unwrap_err();
    assert!(matches!(error, Error::NotFinite(_)), "{error}");
    let message = error.to_string();
    assert!(message.contains("loss is NaN in step 5"), "{message}");
    assert!(message.contains("checkpoint-3"), "{message}");
    let rows = message.split("training rows ").nth(1).unwrap().split(';').next().unwrap();
    assert_eq!(rows.split(", ").count(), 4, "{message}");
}

#[test]
fn poisoned_weights_stop_the_run_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({"save_strategy": "steps"}), &Silent);
    trainer.model.model_mut().parameters_mut().flat_mut().fill(f32::NAN);
    let message = trainer.train().unwrap_err().to_string();
    assert!(message.contains("in step 1 "), "{message}");
    assert!(message.contains("no checkpoint has been written yet"), "{message}");
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_loss_without_gradient_is_a_warning_as_parameters_were_reached() {
    let folder = tempfile::tempdir().unwrap();
    let reporter = Remembering::default();
    let mut trainer = trainer(folder.path(), json!({"max_steps": 2}), &reporter);
    trainer.loss = broken(usize::MAX, true);
    trainer.train().unwrap();
    assert!(reporter.warned("all gradients are exactly zero"));
}

#[test]
fn rows_that_do_not_fit_are_errors_that_name_row_and_column() {
    use rankforge::data::{Rows, Value};
    let text = |text: &str| Value::Text(text.to_owned());
    let train = |columns: Vec<(&str, Vec<Value>)>| {
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = trainer(folder.path(), json!({"max_steps": 1}), &Silent);
        let columns = columns.into_iter().map(|(name, values)| (name.to_owned(), values));
        trainer.train_dataset = Rows::new(columns.collect()).unwrap();
        trainer.train().unwrap_err().to_string()
    };
    let two = || vec![text("a"), text("b")];
    let message = train(vec![
        ("query", two()),
        ("answer", vec![text("a"), Value::Null]),
        ("label", vec![Value::Integer(1), Value::Integer(0)]),
    ]);
    assert!(message.contains("row 2") && message.contains("`answer`"), "{message}");
    let message = train(vec![
        ("query", two()),
        ("answer", two()),
        ("label", vec![Value::Float(f64::NAN), Value::Integer(0)]),
    ]);
    assert!(message.contains("row 1") && message.contains("`label`"), "{message}");
    let message = train(vec![("query", two()), ("dataset_name", two())]);
    assert!(message.contains("reserved"), "{message}");
    let message = train(vec![("label", vec![Value::Integer(1)])]);
    assert!(message.contains("text column"), "{message}");
    let message = train(vec![("query", vec![])]);
    assert!(message.contains("at least one row"), "{message}");
}

#[test]
fn a_prompt_goes_before_the_first_text_of_every_input() {
    let model = tiny_bert(0.0, 1);
    let loss = loss("BinaryCrossEntropyLoss", json!({}));
    let rows = labelled_pairs(3);
    let dataset = Dataset::new(&rows, "test data").unwrap();
    let prepare = |prompt: Option<&str>| {
        let tokenizer = model.tokenizer().clone();
        let prompt = prompt.map(str::to_owned);
        Preparer::new(dataset, &*loss, tokenizer, prompt, 7)
            .unwrap()
            .prepare(&[0, 1, 2], 0)
            .unwrap()
    };
    let (without, with) = (prepare(None), prepare(Some("the bird ")));
    assert_eq!((without.prompt_tokens, with.prompt_tokens), (0, 3), "with the first special token");
    for (without, with) in without.tokens.iter().zip(&with.tokens) {
        assert_eq!(with.ids.len(), without.ids.len() + 2);
        assert_eq!(with.ids[3..], without.ids[1..]);
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |threads| {
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = trainer(folder.path(), json!({"max_steps": 4}), &Silent);
        trainer.model = crate::testing::tiny_bert_on(threads, 0.1, 1);
        trainer.train().unwrap();
        bits(trainer.model.model())
    };
    assert_eq!(run(1), run(3));
}

/// AdamW with decoupled weight decay, clipping and a learning rate for each number, in f64.
fn reference_step(
    step: i32,
    gradients: &[f32],
    settings: &[(f64, f64)],
    parameters: &mut [f64],
    moments: &mut [(f64, f64)],
    max_grad_norm: f64,
) {
    let norm = gradients.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    let clip = (max_grad_norm / (norm + 1e-6)).min(1.0);
    assert!(clip < 1.0, "nothing is clipped");
    let gradients = gradients.iter().map(|gradient| f64::from(*gradient) * clip);
    for (((gradient, (rate, decay)), parameter), (first, second)) in
        gradients.zip(settings).zip(parameters).zip(moments)
    {
        *first = 0.9 * *first + 0.1 * gradient;
        *second = 0.999 * *second + 0.001 * gradient * gradient;
        let corrected = *second / (1.0 - 0.999_f64.powi(step));
        *parameter *= 1.0 - rate * decay;
        *parameter -= rate * (*first / (1.0 - 0.9_f64.powi(step))) / (corrected.sqrt() + 1.0);
    }
}

#[test]
fn steps_are_those_of_clipped_adamw_with_its_groups_and_schedule() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 4, "learning_rate": 0.5, "weight_decay": 0.1, "max_grad_norm": 0.2,
        "adam_epsilon": 1.0, "warmup_steps": 1, "learning_rate_mapping": {"classifier": 0.25},
        "lr_scheduler_type": "constant_with_warmup",
    });
    let rows = labelled_pairs(30);
    let arguments = arguments(folder.path(), options);
    let sampler = Sampler::new(arguments.batch_sampler, &rows, 4, false, 42);
    let batches = sampler.epoch(0).batches;
    let loss_of = || loss("BinaryCrossEntropyLoss", json!({}));
    let mut trainer = Trainer::new(tiny_bert(0.0, 1), arguments, rows.clone(), loss_of(), &Silent);
    trainer.train().unwrap();

    let mut model = tiny_bert(0.0, 1);
    let loss = loss_of();
    // Learning rate and weight decay of every number, by the names of the checkpoint's tensors.
    let settings: Vec<(f64, f64)> = model
        .model()
        .architecture()
        .parameters
        .iter()
        .flat_map(|spec| {
            spec.parts.iter().flat_map(|part| {
                let plain = part.name.contains("bias") || part.name.contains("LayerNorm");
                let rate = if part.name.contains("classifier") { 0.25 } else { 0.5 };
                let setting = (rate, if plain { 0.0 } else { 0.1 });
                vec![setting; part.rows.len() * spec.columns]
            })
        })
        .collect();
    assert_eq!(settings.len(), model.model().parameters().flat().columns());
    let mut parameters: Vec<f64> =
        model.model().parameters().flat().to_vec().into_iter().map(f64::from).collect();
    let mut moments = vec![(0.0, 0.0); parameters.len()];
    let dataset = Dataset::new(&rows, "test data").unwrap();
    let preparer = Preparer::new(dataset, &*loss, model.tokenizer().clone(), None, 42).unwrap();
    for (step, rows) in (1..=4).zip(&batches) {
        let batch = preparer.prepare(rows, step as u64 - 1).unwrap();
        let (_, gradients) = gradients_of(model.model(), &*loss, &batch, Chunking::default());
        let warmed: Vec<(f64, f64)> = settings
            .iter()
            .map(|(rate, decay)| (if step == 1 { 0.0 } else { *rate }, *decay))
            .collect();
        reference_step(step, &gradients, &warmed, &mut parameters, &mut moments, 0.2);
        let rounded: Vec<f32> = parameters.iter().map(|value| *value as f32).collect();
        model.model_mut().parameters_mut().flat_mut().write(&rounded);
    }
    let found = trainer.model.model().parameters().flat().to_vec();
    let expected = model.model().parameters().flat().to_vec();
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        // Four steps of some ten roundings each; with an epsilon of 1 they do not grow.
        let tolerance = 50.0 * f32::EPSILON * largest;
        assert!((found - expected).abs() <= tolerance, "{found} against {expected}");
    }
    assert!(bits(trainer.model.model()) != bits(tiny_bert(0.0, 1).model()));
}

#[test]
fn a_static_dual_encoder_is_trained_by_the_same_loop() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = tiny_bert(0.0, 1).tokenizer().clone();
    let model = DualEncoder::new_static(tokenizer, 16, &LoadOptions::new(&device()));
    let options = json!({
        "max_steps": 80, "learning_rate": 0.02, "batch_sampler": "no_duplicates",
        "logging_strategy": "steps", "logging_steps": 10, "save_strategy": "steps", "save_steps": 80,
    });
    let loss = Box::new(dual_encoder::MultipleNegativesRankingLoss::default());
    let arguments = arguments(folder.path(), options);
    let mut trainer = Trainer::new(model, arguments, pairs(16), loss, &Silent);
    trainer.train().unwrap();
    let losses = figures(&trainer.state, "loss");
    assert!(losses.last().unwrap().1 < 0.7 * losses[0].1, "{losses:?}");
    let card = std::fs::read_to_string(folder.path().join("checkpoint-80/README.md")).unwrap();
    assert!(card.contains("StaticEmbedding(") && card.contains("SentenceTransformer("), "{card}");
    assert!(card.contains("pipeline_tag: sentence-similarity"), "{card}");
}
