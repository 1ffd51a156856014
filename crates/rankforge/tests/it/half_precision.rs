//! Training in bf16 and fp16: agreement with fp32, and skipped steps.

use crate::batches::{WHOLE, assert_same_gradients, chunks_of, gradients_of, prepared};
use crate::broken::broken;
use crate::support::Recorder;
use crate::testing::{
    bits, labeled_pairs, logged_values, loss, pairs, tiny_bert, tiny_bert_on, trainer,
};
use rankforge::encoder::kernels::ParameterId;
use rankforge::encoder::{CrossEncoder, TextModel};
use rankforge::evaluation::{EvaluationContext, Evaluator};
use rankforge::training::{
    Callback, Checkpoint, Flow, LossScaler, ResumeFrom, StepReport, Trainer, TrainerState,
};
use rankforge::{Error, Metrics, Precision};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};

const HALVES: [(&str, Precision); 2] =
    [("bf16", Precision::BFloat16), ("fp16", Precision::Float16)];

/// A loss scale, 2^40, at which the gradients of the tiny BERT overflow in fp16. Their largest
/// element is about 1, so they do not overflow after [`HALVINGS`] halvings.
const HUGE: f32 = 1_099_511_627_776.0;
const HALVINGS: u64 = 40;

fn with_scale(folder: &Path, mut options: Value, scale: f32) -> Trainer<CrossEncoder> {
    options["fp16"] = json!(true);
    let mut trainer = trainer(folder, options);
    trainer.loss_scaler.scale = scale;
    trainer
}

/// A callback that records the report of every step.
struct Steps(Arc<Mutex<Vec<StepReport>>>);

impl Callback for Steps {
    fn on_step_end(&mut self, _state: &TrainerState, step: &StepReport) -> Flow {
        self.0.lock().unwrap().push(*step);
        Flow::Continue
    }
}

fn steps_of(trainer: &mut Trainer<CrossEncoder>) -> Arc<Mutex<Vec<StepReport>>> {
    let steps = Arc::new(Mutex::new(Vec::new()));
    trainer.callbacks.push(Box::new(Steps(steps.clone())));
    steps
}

#[test]
fn ten_steps_have_the_losses_of_fp32_up_to_rounding() {
    let losses = |options: Value| -> Vec<f64> {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options;
        options["max_steps"] = json!(10);
        let mut trainer = trainer(folder.path(), options);
        let steps = steps_of(&mut trainer);
        trainer.train().unwrap();
        steps.lock().unwrap().iter().map(|step| step.loss).collect()
    };
    let full = losses(json!({}));
    for (name, precision) in HALVES {
        let half = losses(json!({name: true}));
        assert_eq!(half.len(), 10);
        // A score is of order 1 and follows from a chain of about ten products with two rounded
        // operands each. The loss changes at most as much as the score.
        let bound = 20.0 * precision.unit_roundoff();
        let largest = full.iter().zip(&half).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(largest <= bound, "{name}: {largest} above {bound}");
        assert!(largest > precision.unit_roundoff() / 100.0, "{name} has no effect: {largest}");
    }
}

#[test]
fn chunks_give_the_gradients_of_the_whole_batch_in_half_precision() {
    let loss = loss("CachedMultipleNegativesRankingLoss", json!({"num_negatives": 2}));
    for (name, precision) in HALVES {
        let mut model = tiny_bert(0.0, 2);
        let batch = prepared(&model, &loss, &pairs(6), &[]);
        let (_, full) = gradients_of(model.model(), &*loss, &batch, WHOLE);
        model.model_mut().set_precision(precision);
        let (whole, expected) = gradients_of(model.model(), &*loss, &batch, WHOLE);
        for size in [1, 5, 16] {
            let (output, found) = gradients_of(model.model(), &*loss, &batch, chunks_of(size));
            // Rows of a product do not depend on other rows, so all rounded operands are equal.
            // Only the order of the sums over tokens differs, as in fp32.
            assert_eq!(output.value, whole.value, "{name}");
            assert_same_gradients(&found, &expected, name);
        }
        assert!(full != expected, "{name} has no effect");
    }
}

/// An evaluator that records the precision of the model.
struct PrecisionOf(Arc<Mutex<Vec<Precision>>>);

impl Evaluator<CrossEncoder> for PrecisionOf {
    fn class_name(&self) -> &'static str {
        "PrecisionEvaluator"
    }

    fn name(&self) -> &str {
        ""
    }

    fn primary_metric(&self, _: &Metrics) -> String {
        "score".to_owned()
    }

    fn metric_names(&self, _: &CrossEncoder) -> Vec<String> {
        vec!["score".to_owned()]
    }

    fn config(&self) -> Value {
        json!({})
    }

    fn evaluate(
        &self,
        model: &CrossEncoder,
        _context: &EvaluationContext<'_>,
    ) -> Result<Metrics, Error> {
        self.0.lock().unwrap().push(model.model().precision());
        let mut metrics = Metrics::new();
        metrics.insert("score", 1.0);
        Ok(metrics)
    }
}

#[test]
fn the_model_has_its_own_precision_again_after_the_run() {
    for (name, precision) in HALVES {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({
            name: true, "max_steps": 2, "eval_strategy": "steps", "eval_steps": 2,
        });
        let mut trainer = trainer(folder.path(), options);
        let seen = Arc::new(Mutex::new(Vec::new()));
        trainer.evaluators.push(Box::new(PrecisionOf(seen.clone())));
        trainer.train().unwrap();
        assert_eq!(*seen.lock().unwrap(), [precision]);
        assert_eq!(trainer.model.model().precision(), Precision::Float32);
        trainer.train_sets[0].loss = broken(1..usize::MAX, false);
        trainer.arguments.max_steps = 40;
        trainer.train().unwrap_err();
        assert_eq!(trainer.model.model().precision(), Precision::Float32, "after an error");
    }
}

#[test]
fn half_precision_gives_the_same_bits_for_any_number_of_threads() {
    for (name, _) in HALVES {
        let run = |threads| {
            let folder = tempfile::tempdir().unwrap();
            let options = json!({name: true, "max_steps": 3});
            let mut trainer = trainer(folder.path(), options);
            trainer.model = tiny_bert_on(threads, 0.1, 1);
            trainer.train().unwrap();
            bits(trainer.model.model())
        };
        assert_eq!(run(1), run(3), "{name}");
    }
}

#[test]
fn a_skipped_step_changes_the_loss_scale_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 3, "save_strategy": "steps", "save_steps": 3, "warmup_steps": 2,
        "logging_strategy": "steps", "logging_steps": 3,
    });
    let recorder = Arc::new(Recorder::default());
    let mut trainer = with_scale(folder.path(), options, HUGE);
    trainer.reporter = recorder.clone();
    let before = bits(trainer.model.model());
    let steps = steps_of(&mut trainer);
    let output = trainer.train().unwrap();
    assert_eq!(output.global_step, 3, "skipped steps count as steps of the run");
    assert!(bits(trainer.model.model()) == before, "parameters changed");
    assert!(steps.lock().unwrap().iter().all(|step| step.skipped && step.loss.is_finite()));

    let checkpoint = folder.path().join("checkpoint-3");
    let moments = std::fs::read(checkpoint.join("optimizer.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&moments).unwrap();
    assert!(tensors.tensors().iter().all(|(_, tensor)| tensor.data().iter().all(|b| *b == 0)));
    let json = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(checkpoint.join(name)).unwrap()).unwrap()
    };
    assert_eq!(json("scaler.json")["scale"], json!(HUGE / 8.0));
    assert_eq!(json("scheduler.json")["last_epoch"], 0);
    assert_eq!(json("sampler.json")["skipped_steps"], 3);

    let record = &output.state.log_history[0];
    assert_eq!((&record["skipped_steps"], &record["loss_scale"]), (&json!(3), &json!(HUGE / 8.0)));
    assert!(record["loss"].as_f64().is_some() && !record.contains_key("grad_norm"), "{record:?}");
    let messages = recorder.messages();
    let skipped: Vec<_> = messages.iter().filter(|text| text.contains("is skipped")).collect();
    assert_eq!(skipped.len(), 3, "{messages:?}");
    assert!(skipped[0].starts_with("step 1 is skipped: its gradient norm is "), "{messages:?}");
    assert!(recorder.warned("3 of 3 steps were skipped"));
}

#[test]
fn schedule_and_adamw_do_not_count_skipped_steps() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": HALVINGS + 4, "warmup_steps": 4, "logging_strategy": "steps",
        "logging_steps": 1, "max_grad_norm": 0.0,
    });
    let mut trainer = with_scale(folder.path(), options, HUGE);
    let steps = steps_of(&mut trainer);
    let state = trainer.train().unwrap().state;
    let steps = steps.lock().unwrap();
    let skipped = steps.iter().take_while(|step| step.skipped).count();
    assert!((5..=HALVINGS as usize).contains(&skipped), "{skipped}");
    // Near the limit, some batches overflow and others do not, so later steps may be skipped too.
    let updates: Vec<&StepReport> = steps.iter().filter(|step| !step.skipped).collect();
    assert!(updates.iter().all(|step| step.grad_norm.is_finite()));
    let rates: Vec<f64> = updates.iter().take(4).map(|step| step.learning_rate).collect();
    assert_eq!(
        rates,
        [0.0, 0.25e-3, 0.5e-3, 0.75e-3],
        "the warm-up begins after the skipped steps"
    );
    let logged = logged_values(&state, "skipped_steps").last().unwrap().1;
    assert_eq!(logged as usize, steps.len() - updates.len());
    // The reported norm does not contain the loss scale: it is that of the same step in fp32.
    let mut plain = self::trainer(folder.path(), json!({"max_steps": skipped + 1}));
    plain.arguments.learning_rate = 0.0;
    let expected = steps_of(&mut plain);
    plain.train().unwrap();
    let expected = expected.lock().unwrap()[skipped].grad_norm;
    assert!((updates[0].grad_norm / expected - 1.0).abs() < 0.05, "{updates:?} {expected}");
}

#[test]
fn a_step_whose_loss_overflows_is_skipped_and_excluded_from_means() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 4, "gradient_accumulation_steps": 2, "logging_strategy": "steps",
        "logging_steps": 2,
    });
    let mut trainer = with_scale(folder.path(), options, 1024.0);
    // The loss is NaN in the second batch of the second step.
    trainer.train_sets[0].loss = broken(4..5, false);
    let steps = steps_of(&mut trainer);
    let output = trainer.train().unwrap();
    let steps = steps.lock().unwrap();
    let skipped: Vec<bool> = steps.iter().map(|step| step.skipped).collect();
    assert_eq!(skipped, [false, true, false, false]);
    assert!(steps[1].loss.is_nan());
    let losses = logged_values(&output.state, "loss");
    assert_eq!(losses[0], (2, steps[0].loss), "the mean of the first window");
    let mean = (steps[0].loss + steps[2].loss + steps[3].loss) / 3.0;
    assert!((output.training_loss - mean).abs() < 1e-12);
    assert_eq!(logged_values(&output.state, "loss_scale")[1].1, 512.0);
}

#[test]
fn gradients_are_checked_in_the_first_step_that_is_not_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::default());
    let options = json!({"max_steps": 3});
    let mut trainer = with_scale(folder.path(), options, 1024.0);
    trainer.reporter = recorder.clone();
    // The first two steps are skipped. They add nothing to the gradients, so checking them would
    // fail.
    trainer.train_sets[0].loss = broken(1..3, true);
    trainer.train().unwrap();
    assert!(recorder.warned("all gradients are exactly zero in the first step"));
}

#[test]
fn an_overflow_at_every_loss_scale_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({"max_steps": 100, "save_strategy": "steps", "save_steps": 20});
    let mut trainer = with_scale(folder.path(), options, 65536.0);
    trainer.model.model_mut().parameters_mut().flat_mut().fill(f32::NAN);
    let error = trainer.train().unwrap_err();
    assert!(matches!(error, Error::NotFinite(_)), "{error}");
    let message = error.to_string();
    // After 30 halvings, the scale of 2^16 is below 1e-4.
    assert!(message.contains("the loss is NaN in step 30"), "{message}");
    assert!(message.contains("every loss scale") && message.contains("checkpoint-20"), "{message}");
}

#[test]
fn weights_beyond_the_range_of_fp16_end_an_fp16_run_only() {
    let run = |options: Value| {
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = trainer(folder.path(), options);
        let parameters = trainer.model.model_mut().parameters_mut();
        let mut entries = parameters.layout().entries().iter();
        let index =
            entries.position(|entry| entry.name.contains("attention_output.weight")).unwrap();
        let values = parameters.view(ParameterId(index)).to_vec();
        // The layer norm that follows removes this factor.
        let values: Vec<f32> = values.into_iter().map(|value| value * 1e7).collect();
        parameters.view_mut(ParameterId(index)).write(&values);
        trainer.train()
    };
    assert!(run(json!({"max_steps": 2})).is_ok());
    assert!(run(json!({"max_steps": 2, "bf16": true})).is_ok());
    let message = run(json!({"max_steps": 40, "fp16": true})).unwrap_err().to_string();
    assert!(message.contains("every loss scale"), "{message}");
}

#[test]
fn an_fp16_checkpoint_needs_a_loss_scale_and_one_of_fp32_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let save = json!({"max_steps": 2, "save_strategy": "steps", "save_steps": 1});
    trainer(folder.path(), save.clone()).train().unwrap();
    let scaler = |step| folder.path().join(format!("checkpoint-{step}/scaler.json"));
    assert!(!scaler(1).exists() && !scaler(2).exists());

    // Resuming an fp32 run in fp16 uses the trainer's loss scale and gives a warning.
    let recorder = Arc::new(Recorder::default());
    let mut resumed = with_scale(folder.path(), save.clone(), 256.0);
    resumed.reporter = recorder.clone();
    let checkpoint = folder.path().join("checkpoint-1");
    resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
    resumed.train().unwrap();
    assert!(recorder.warned("fp16 = true differs from false"));
    let found = Checkpoint::newest(folder.path()).unwrap().loss_scaler.unwrap();
    assert_eq!(found, LossScaler { scale: 256.0, growth_tracker: 1, ..LossScaler::default() });

    std::fs::write(scaler(2), "{\"scale\": 0}").unwrap();
    let message = Checkpoint::newest(folder.path()).unwrap_err().to_string();
    assert!(message.contains("scaler.json"), "{message}");
    std::fs::remove_file(scaler(2)).unwrap();
    let message = Checkpoint::newest(folder.path()).unwrap_err().to_string();
    assert!(message.contains("scaler.json is missing"), "{message}");
}

#[test]
fn an_invalid_loss_scale_is_refused_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = with_scale(folder.path(), json!({}), f32::NAN);
    trainer.train_sets[0].rows = Arc::new(labeled_pairs(4));
    let message = trainer.train().unwrap_err().to_string();
    assert!(message.starts_with("loss_scaler.scale"), "{message}");
}
