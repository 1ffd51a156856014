//! Training in bf16 and fp16: how near it is to fp32, and steps that are skipped.

use crate::batches::{WHOLE, assert_same_gradients, chunks_of, gradients_of, prepared};
use crate::broken::broken;
use crate::support::Heard;
use crate::testing::{
    bits, figures, labelled_pairs, loss, pairs, tiny_bert, tiny_bert_on, trainer,
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

/// A scale at which the gradients of the tiny BERT overflow fp16, and how often it must be halved
/// until they surely do not: their largest is about 1.
const HUGE: f32 = 1_099_511_627_776.0;
const HALVINGS: u64 = 40;

fn with_scale(folder: &Path, mut options: Value, scale: f32) -> Trainer<CrossEncoder> {
    options["fp16"] = json!(true);
    let mut trainer = trainer(folder, options);
    trainer.loss_scaler.scale = scale;
    trainer
}

/// Keeps what every step reported.
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
fn ten_steps_have_the_losses_of_fp32_within_rounding() {
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
        // A score of order 1 after some ten products in a row, two rounded operands each; the loss
        // changes at most as much as the score.
        let bound = 20.0 * precision.unit_roundoff();
        let largest = full.iter().zip(&half).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(largest <= bound, "{name}: {largest} above {bound}");
        assert!(largest > precision.unit_roundoff() / 100.0, "{name} changed nothing: {largest}");
    }
}

#[test]
fn chunks_have_the_gradients_of_the_whole_batch_in_half_precision_too() {
    let loss = loss("CachedMultipleNegativesRankingLoss", json!({"num_negatives": 2}));
    for (name, precision) in HALVES {
        let mut model = tiny_bert(0.0, 2);
        let batch = prepared(&model, &loss, &pairs(6), &[]);
        let (_, full) = gradients_of(model.model(), &*loss, &batch, WHOLE);
        model.model_mut().set_precision(precision);
        let (whole, expected) = gradients_of(model.model(), &*loss, &batch, WHOLE);
        for size in [1, 5, 16] {
            let (parts, found) = gradients_of(model.model(), &*loss, &batch, chunks_of(size));
            // Rows of a product do not depend on the other rows, so every rounded operand is the
            // same and the sums over tokens differ in their order only, as in fp32.
            assert_eq!(parts.value, whole.value, "{name}");
            assert_same_gradients(&found, &expected, name);
        }
        assert!(full != expected, "{name} rounds nothing");
    }
}

/// Notes the precision of the model that it is given.
struct PrecisionOf(Arc<Mutex<Vec<Precision>>>);

impl Evaluator<CrossEncoder> for PrecisionOf {
    fn class_name(&self) -> &'static str {
        "PrecisionEvaluator"
    }

    fn name(&self) -> &str {
        ""
    }

    fn primary_metric(&self) -> String {
        "score".to_owned()
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
fn the_model_has_the_runs_precision_while_it_runs_and_its_own_afterwards() {
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
fn the_number_of_threads_changes_no_bit_in_half_precision() {
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
    let heard = Arc::new(Heard::default());
    let mut trainer = with_scale(folder.path(), options, HUGE);
    trainer.reporter = heard.clone();
    let before = bits(trainer.model.model());
    let steps = steps_of(&mut trainer);
    let output = trainer.train().unwrap();
    assert_eq!(output.global_step, 3, "skipped steps are steps of the run");
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
    let messages = heard.messages();
    let skipped: Vec<_> = messages.iter().filter(|text| text.contains("is skipped")).collect();
    assert_eq!(skipped.len(), 3, "{messages:?}");
    assert!(skipped[0].starts_with("step 1 is skipped: its gradient norm is "), "{messages:?}");
    assert!(heard.warned("3 of 3 steps were skipped"));
}

#[test]
fn schedule_and_adamw_count_the_steps_that_were_not_skipped() {
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
    // Near the limit one batch overflows and another does not.
    let learned: Vec<&StepReport> = steps.iter().filter(|step| !step.skipped).collect();
    assert!(learned.iter().all(|step| step.grad_norm.is_finite()));
    let rates: Vec<f64> = learned.iter().take(4).map(|step| step.learning_rate).collect();
    assert_eq!(
        rates,
        [0.0, 0.25e-3, 0.5e-3, 0.75e-3],
        "the warm-up begins after the skipped steps"
    );
    let logged = figures(&state, "skipped_steps").last().unwrap().1;
    assert_eq!(logged as usize, steps.len() - learned.len());
    // The same steps in fp32: the norm has the scale divided out.
    let mut plain = self::trainer(folder.path(), json!({"max_steps": skipped + 1}));
    plain.arguments.learning_rate = 0.0;
    let expected = steps_of(&mut plain);
    plain.train().unwrap();
    let expected = expected.lock().unwrap()[skipped].grad_norm;
    assert!((learned[0].grad_norm / expected - 1.0).abs() < 0.05, "{learned:?} {expected}");
}

#[test]
fn a_loss_that_overflows_skips_its_step_and_is_left_out_of_the_means() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 4, "gradient_accumulation_steps": 2, "logging_strategy": "steps",
        "logging_steps": 2,
    });
    let mut trainer = with_scale(folder.path(), options, 1024.0);
    // The second batch of the second step.
    trainer.train_sets[0].loss = broken(4..5, false);
    let steps = steps_of(&mut trainer);
    let output = trainer.train().unwrap();
    let steps = steps.lock().unwrap();
    let skipped: Vec<bool> = steps.iter().map(|step| step.skipped).collect();
    assert_eq!(skipped, [false, true, false, false]);
    assert!(steps[1].loss.is_nan());
    let losses = figures(&output.state, "loss");
    assert_eq!(losses[0], (2, steps[0].loss), "the mean of the first window");
    let mean = (steps[0].loss + steps[2].loss + steps[3].loss) / 3.0;
    assert!((output.training_loss - mean).abs() < 1e-12);
    assert_eq!(figures(&output.state, "loss_scale")[1].1, 512.0);
}

#[test]
fn gradients_are_checked_in_the_first_step_that_is_not_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let heard = Arc::new(Heard::default());
    let options = json!({"max_steps": 3});
    let mut trainer = with_scale(folder.path(), options, 1024.0);
    trainer.reporter = heard.clone();
    // Nothing is added to the gradients of the first two steps, which would fail the check.
    trainer.train_sets[0].loss = broken(1..3, true);
    trainer.train().unwrap();
    assert!(heard.warned("all gradients are exactly zero in the first step"));
}

#[test]
fn what_overflows_at_every_scale_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({"max_steps": 100, "save_strategy": "steps", "save_steps": 20});
    let mut trainer = with_scale(folder.path(), options, 65536.0);
    trainer.model.model_mut().parameters_mut().flat_mut().fill(f32::NAN);
    let error = trainer.train().unwrap_err();
    assert!(matches!(error, Error::NotFinite(_)), "{error}");
    let message = error.to_string();
    // 2^16 is below 1e-4 after 30 halvings.
    assert!(message.contains("the loss is NaN in step 30"), "{message}");
    assert!(message.contains("every loss scale") && message.contains("checkpoint-20"), "{message}");
}

#[test]
fn weights_beyond_fp16_end_its_run_although_fp32_and_bf16_train_on_them() {
    let run = |options: Value| {
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = trainer(folder.path(), options);
        let parameters = trainer.model.model_mut().parameters_mut();
        let entries = parameters.layout().entries().iter();
        let wide = |name: &str| name.contains("attention_output.weight");
        let index = entries.clone().position(|entry| wide(&entry.name)).unwrap();
        let values = parameters.view(ParameterId(index)).to_vec();
        // The norm after it divides this out again.
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
fn an_fp16_checkpoint_needs_its_loss_scale_and_a_run_of_fp32_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let save = json!({"max_steps": 2, "save_strategy": "steps", "save_steps": 1});
    trainer(folder.path(), save.clone()).train().unwrap();
    let scaler = |step| folder.path().join(format!("checkpoint-{step}/scaler.json"));
    assert!(!scaler(1).exists() && !scaler(2).exists());

    // From fp32 to fp16: the trainer's scale, and a warning.
    let heard = Arc::new(Heard::default());
    let mut resumed = with_scale(folder.path(), save.clone(), 256.0);
    resumed.reporter = heard.clone();
    let checkpoint = folder.path().join("checkpoint-1");
    resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
    resumed.train().unwrap();
    assert!(heard.warned("fp16 = true differs from false"));
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
fn an_impossible_loss_scale_is_refused_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = with_scale(folder.path(), json!({}), f32::NAN);
    trainer.train_sets[0].rows = Arc::new(labelled_pairs(4));
    let message = trainer.train().unwrap_err().to_string();
    assert!(message.starts_with("loss_scaler.scale"), "{message}");
}
