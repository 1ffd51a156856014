//! Factors of the learning rate, compared with values of transformers 5.23.

use rankforge::Error;
use rankforge::training::{
    LearningRateScheduler, Plateau, PlateauState, RunLength, Schedule, Steps, TrainingArguments,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const LEARNING_RATE: f64 = 5e-5;

fn settings(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn factors(scheduler: LearningRateScheduler, options: Value, steps: &[u64]) -> Vec<f64> {
    let schedule = Schedule::new(scheduler, &settings(options), 10, 100, LEARNING_RATE).unwrap();
    steps.iter().map(|&step| schedule.factor(step)).collect()
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        // About a dozen f64 operations on values of up to 100.
        assert!((found - expected).abs() < 1e-13, "{found}, expected {expected}");
    }
}

/// `fixtures/schedules.py` wrote it.
#[derive(Deserialize)]
struct Golden {
    learning_rate: f64,
    steps: Vec<StepCase>,
    plateaus: Vec<PlateauCase>,
}

#[derive(Deserialize)]
struct StepCase {
    name: LearningRateScheduler,
    settings: Map<String, Value>,
    warmup: u64,
    total: u64,
    factors: Vec<f64>,
}

#[derive(Deserialize)]
struct PlateauCase {
    settings: Map<String, Value>,
    metrics: Vec<f64>,
    factors: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../fixtures/schedules.json")).unwrap()
}

#[test]
fn every_schedule_has_the_rates_of_transformers() {
    let Golden { learning_rate, steps, .. } = golden();
    for StepCase { name, settings, warmup, total, factors } in &steps {
        let schedule = Schedule::new(*name, settings, *warmup, *total, learning_rate).unwrap();
        for (step, expected) in (0..).zip(factors) {
            let found = schedule.factor(step);
            let what = format!("{name:?} {settings:?}, warm-up {warmup}, step {step}");
            // The peer multiplies by the learning rate and divides by it.
            assert!((found - expected).abs() < 1e-13, "{what}: {found}, expected {expected}");
        }
    }
    assert!(steps.len() >= 38);
}

#[test]
fn reduce_lr_on_plateau_has_the_rates_of_pytorch() {
    let Golden { learning_rate, plateaus, .. } = golden();
    assert!(plateaus.len() >= 6);
    for PlateauCase { settings, metrics, factors } in plateaus {
        let what = format!("{settings:?}");
        let arguments = TrainingArguments {
            lr_scheduler_type: LearningRateScheduler::ReduceLrOnPlateau,
            lr_scheduler_kwargs: settings,
            learning_rate,
            ..TrainingArguments::default()
        };
        let plateau = Plateau::new(&arguments).unwrap().unwrap();
        let mut state = PlateauState::default();
        for (index, (metric, expected)) in metrics.into_iter().zip(factors).enumerate() {
            plateau.step(metric, &mut state);
            let difference = (state.factor - expected).abs();
            assert!(difference < 1e-13, "{what}, evaluation {index}: {}", state.factor);
        }
    }
    assert_eq!(Plateau::new(&TrainingArguments::default()).unwrap(), None);
}

#[test]
fn settings_that_a_schedule_needs_or_cannot_use_are_told() {
    use LearningRateScheduler::{
        CosineWarmupWithMinLr, CosineWithMinLr, ReduceLrOnPlateau, WarmupStableDecay,
    };
    for (scheduler, options, expected) in [
        (CosineWithMinLr, json!({}), "expected min_lr or min_lr_rate, for this lr_scheduler_type"),
        (CosineWarmupWithMinLr, json!({"min_lr": 1e-6, "min_lr_rate": 0.1}), "got both"),
        (WarmupStableDecay, json!({}), "num_decay_steps: expected a number of steps"),
        (WarmupStableDecay, json!({"num_decay_steps": 91}), "expected at most 90"),
        (
            WarmupStableDecay,
            json!({"num_decay_steps": 9, "decay_type": "sqrt"}),
            "decay_type: expected linear, cosine or 1-sqrt, got \"sqrt\"",
        ),
        (ReduceLrOnPlateau, json!({"num_cycles": 1}), "mode, factor, patience"),
    ] {
        let made = Schedule::new(scheduler, &settings(options), 10, 100, LEARNING_RATE);
        let message = made.map(drop).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    for (options, expected) in [
        (json!({"mode": "more"}), "mode: expected min or max, got \"more\""),
        (json!({"factor": 1.5}), "factor: expected above 0 and below 1, got 1.5"),
    ] {
        let arguments = TrainingArguments {
            lr_scheduler_type: ReduceLrOnPlateau,
            lr_scheduler_kwargs: settings(options),
            ..TrainingArguments::default()
        };
        let message = Plateau::new(&arguments).map(drop).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn linear_rises_and_falls_linearly() {
    let found = factors(LearningRateScheduler::Linear, json!({}), &[0, 5, 10, 55, 99, 100, 120]);
    assert_close(&found, &[0.0, 0.5, 1.0, 0.5, 1.0 / 90.0, 0.0, 0.0]);
}

#[test]
fn cosine_follows_half_a_cosine_or_num_cycles() {
    let found = factors(LearningRateScheduler::Cosine, json!({}), &[5, 10, 55, 100]);
    assert_close(&found, &[0.5, 1.0, 0.5, 0.0]);
    let found = factors(LearningRateScheduler::Cosine, json!({"num_cycles": 1.0}), &[10, 55, 100]);
    assert_close(&found, &[1.0, 0.0, 1.0]);
}

#[test]
fn cosine_with_restarts_starts_each_cycle_at_the_full_rate() {
    let scheduler = LearningRateScheduler::CosineWithRestarts;
    assert_close(&factors(scheduler, json!({}), &[10, 55, 100]), &[1.0, 0.5, 0.0]);
    let found = factors(scheduler, json!({"num_cycles": 2}), &[10, 55, 100]);
    assert_close(&found, &[1.0, 1.0, 0.0]);
}

#[test]
fn polynomial_ends_at_lr_end() {
    let end = 1e-7 / LEARNING_RATE;
    let found = factors(LearningRateScheduler::Polynomial, json!({}), &[5, 10, 55, 100, 200]);
    assert_close(&found, &[0.5, 1.0, 0.5 * (1.0 - end) + end, end, end]);
    let options = json!({"power": 2, "lr_end": 1e-6});
    let end = 1e-6 / LEARNING_RATE;
    let found = factors(LearningRateScheduler::Polynomial, options, &[55, 100]);
    assert_close(&found, &[0.25 * (1.0 - end) + end, end]);
}

#[test]
fn only_constant_with_warmup_has_a_warm_up() {
    assert_close(&factors(LearningRateScheduler::Constant, json!({}), &[0, 50]), &[1.0, 1.0]);
    let found = factors(LearningRateScheduler::ConstantWithWarmup, json!({}), &[0, 5, 10, 99]);
    assert_close(&found, &[0.0, 0.5, 1.0, 1.0]);
}

#[test]
fn the_timescale_of_inverse_sqrt_is_the_warm_up_by_default() {
    let scheduler = LearningRateScheduler::InverseSqrt;
    assert_close(&factors(scheduler, json!({}), &[5, 10, 40]), &[0.5, 1.0, 0.5]);
    let found = factors(scheduler, json!({"timescale": 30}), &[10, 100]);
    assert_close(&found, &[1.0, 0.5]);
    let without = Schedule::new(scheduler, &Map::new(), 0, 100, LEARNING_RATE).unwrap();
    assert_close(&[without.factor(0), without.factor(30_000)], &[1.0, 0.5]);
}

#[test]
fn a_setting_of_another_schedule_is_an_error() {
    let options = settings(json!({"num_cycles": 2}));
    let error = Schedule::new(LearningRateScheduler::Linear, &options, 0, 10, 1e-5).unwrap_err();
    assert!(matches!(&error, Error::Argument { got, .. } if got == "num_cycles"), "{error}");
    let options = settings(json!({"lr_end": 1.0}));
    let scheduler = LearningRateScheduler::Polynomial;
    let error = Schedule::new(scheduler, &options, 0, 10, 1e-5).unwrap_err();
    assert!(error.to_string().contains("lr_end"), "{error}");
}

#[test]
fn epochs_and_accumulation_give_the_number_of_steps_of_transformers() {
    let length = |batches, accumulation, max_steps, epochs| {
        let length = RunLength::new(batches, accumulation, max_steps, epochs);
        (length.updates_per_epoch, length.max_steps, length.epochs)
    };
    assert_eq!(length(10, 1, -1, 3.0), (10, 30, 3));
    assert_eq!(
        length(10, 4, -1, 1.0),
        (3, 3, 1),
        "the last accumulation of an epoch has fewer batches"
    );
    assert_eq!(length(10, 4, -1, 1.5), (3, 5, 2), "a fraction of an epoch rounds up");
    assert_eq!(length(3, 8, -1, 2.0), (1, 2, 2), "at least one step in an epoch");
    assert_eq!(length(10, 1, 25, 1.0), (10, 25, 3), "max_steps overrides epochs");
}

#[test]
fn a_share_of_the_steps_is_rounded_up() {
    assert_eq!(Steps::Ratio(0.1).resolve(25), 3);
    assert_eq!(Steps::Ratio(0.0).resolve(25), 0);
    assert_eq!(Steps::Count(7).resolve(25), 7);
}
