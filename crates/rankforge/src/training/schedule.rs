use crate::arguments::LearningRateScheduler;
use crate::error::Error;
use serde_json::{Map, Value};
use std::f64::consts::PI;

/// The factor on the learning rate at each step of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    scheduler: LearningRateScheduler,
    warmup: f64,
    total: f64,
    learning_rate: f64,
    cycles: f64,
    learning_rate_end: f64,
    power: f64,
    timescale: f64,
}

impl Schedule {
    /// A schedule of `total` steps, the first `warmup` of which are the warm-up.
    ///
    /// # Errors
    /// A setting that the schedule does not have, or an unusable value.
    pub fn new(
        scheduler: LearningRateScheduler,
        settings: &Map<String, Value>,
        warmup: u64,
        total: u64,
        learning_rate: f64,
    ) -> Result<Schedule, Error> {
        let known: &[&str] = match scheduler {
            LearningRateScheduler::Cosine | LearningRateScheduler::CosineWithRestarts => {
                &["num_cycles"]
            }
            LearningRateScheduler::Polynomial => &["lr_end", "power"],
            LearningRateScheduler::InverseSqrt => &["timescale"],
            _ => &[],
        };
        if let Some(name) = settings.keys().find(|name| !known.contains(&name.as_str())) {
            let known = if known.is_empty() { "no setting".to_owned() } else { known.join(", ") };
            return Err(Error::Argument {
                field: "lr_scheduler_kwargs".to_owned(),
                expected: format!("{known}, for this lr_scheduler_type"),
                got: name.clone(),
            });
        }
        let restarts = scheduler == LearningRateScheduler::CosineWithRestarts;
        let schedule = Schedule {
            scheduler,
            warmup: warmup as f64,
            total: total as f64,
            learning_rate,
            cycles: setting(settings, "num_cycles", if restarts { 1.0 } else { 0.5 })?,
            learning_rate_end: setting(settings, "lr_end", 1e-7)?,
            power: setting(settings, "power", 1.0)?,
            timescale: setting(
                settings,
                "timescale",
                if warmup > 0 { warmup as f64 } else { 10_000.0 },
            )?,
        };
        let falls = schedule.learning_rate_end < learning_rate;
        if scheduler == LearningRateScheduler::Polynomial && !falls {
            return Err(Error::Argument {
                field: "lr_scheduler_kwargs.lr_end".to_owned(),
                expected: format!("below the learning rate {learning_rate}"),
                got: schedule.learning_rate_end.to_string(),
            });
        }
        Ok(schedule)
    }

    /// The factor after `step` steps; the first step of a run uses `factor(0)`.
    pub fn factor(&self, step: u64) -> f64 {
        let step = step as f64;
        if self.scheduler == LearningRateScheduler::Constant {
            return 1.0;
        }
        if step < self.warmup {
            return step / self.warmup.max(1.0);
        }
        let decaying = self.total - self.warmup;
        let progress = (step - self.warmup) / decaying.max(1.0);
        match self.scheduler {
            LearningRateScheduler::Constant | LearningRateScheduler::ConstantWithWarmup => 1.0,
            LearningRateScheduler::Linear => ((self.total - step) / decaying.max(1.0)).max(0.0),
            LearningRateScheduler::Cosine => {
                (0.5 * (1.0 + (PI * self.cycles * 2.0 * progress).cos())).max(0.0)
            }
            LearningRateScheduler::CosineWithRestarts if progress >= 1.0 => 0.0,
            LearningRateScheduler::CosineWithRestarts => {
                (0.5 * (1.0 + (PI * (self.cycles * progress).fract()).cos())).max(0.0)
            }
            LearningRateScheduler::Polynomial => {
                let range = self.learning_rate - self.learning_rate_end;
                let rest = (1.0 - progress).max(0.0);
                (range * rest.powf(self.power) + self.learning_rate_end) / self.learning_rate
            }
            LearningRateScheduler::InverseSqrt => {
                let shift = self.timescale - self.warmup;
                1.0 / ((step + shift) / self.timescale).sqrt()
            }
        }
    }
}

fn setting(settings: &Map<String, Value>, name: &str, default: f64) -> Result<f64, Error> {
    match settings.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => {
            value.as_f64().filter(|number| *number > 0.0).ok_or_else(|| Error::Argument {
                field: format!("lr_scheduler_kwargs.{name}"),
                expected: "a number above 0".to_owned(),
                got: value.to_string(),
            })
        }
    }
}

/// The length of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLength {
    /// Number of batches in an epoch.
    pub batches_per_epoch: usize,
    /// Number of optimizer steps in an epoch: `ceil(batches / accumulation)`.
    pub updates_per_epoch: u64,
    /// Number of optimizer steps in the run.
    pub max_steps: u64,
    /// Number of epochs that the run begins.
    pub epochs: u64,
}

impl RunLength {
    /// The length of a run with `batches` batches in an epoch; `max_steps` replaces `epochs` when
    /// above 0.
    pub fn new(batches: usize, accumulation: usize, max_steps: i64, epochs: f64) -> RunLength {
        let updates = (batches.div_ceil(accumulation) as u64).max(1);
        let (max_steps, epochs) = match u64::try_from(max_steps) {
            Ok(steps) if steps > 0 => (steps, steps.div_ceil(updates)),
            _ => ((epochs * updates as f64).ceil() as u64, epochs.ceil() as u64),
        };
        RunLength { batches_per_epoch: batches, updates_per_epoch: updates, max_steps, epochs }
    }
}
