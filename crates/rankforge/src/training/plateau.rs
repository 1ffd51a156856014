//! Learning rates that evaluations lower: the schedule `reduce_lr_on_plateau`.

use crate::arguments::{LearningRateScheduler, TrainingArguments};
use crate::error::Error;
use crate::training::schedule::Settings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The rule of PyTorch's `ReduceLROnPlateau`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plateau {
    learning_rate: f64,
    greater_is_better: bool,
    factor: f64,
    patience: u64,
    threshold: f64,
    relative: bool,
    cooldown: u64,
    min_lr: f64,
    eps: f64,
}

/// What the evaluations of a run have made of its learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlateauState {
    /// The best metric.
    pub best: Option<f64>,
    /// Number of evaluations since then.
    pub num_bad_epochs: u64,
    /// Number of evaluations that will not count.
    pub cooldown_counter: u64,
    /// The factor on all learning rates.
    pub factor: f64,
}

impl Default for PlateauState {
    fn default() -> PlateauState {
        PlateauState { best: None, num_bad_epochs: 0, cooldown_counter: 0, factor: 1.0 }
    }
}

impl Plateau {
    /// The rule of a run's arguments; `None` with another schedule.
    ///
    /// # Errors
    /// A setting with an unusable value.
    pub fn new(arguments: &TrainingArguments) -> Result<Option<Plateau>, Error> {
        if arguments.lr_scheduler_type != LearningRateScheduler::ReduceLrOnPlateau {
            return Ok(None);
        }
        let settings = Settings(&arguments.lr_scheduler_kwargs);
        let word = |name, words: [&'static str; 2]| {
            let expected = words.join(" or ");
            settings.given(name, &expected, |value: &Value| {
                words.iter().position(|word| value.as_str() == Some(word))
            })
        };
        let factor = settings.positive("factor", 0.1)?;
        if factor >= 1.0 {
            return Err(settings.refused("factor", "above 0 and below 1"));
        }
        let mode = word("mode", ["min", "max"])?;
        Ok(Some(Plateau {
            learning_rate: arguments.learning_rate,
            greater_is_better: mode.map_or(arguments.greater_is_better(), |mode| mode == 1),
            factor,
            patience: settings.steps("patience")?.unwrap_or(10),
            threshold: settings.not_negative("threshold")?.unwrap_or(1e-4),
            relative: word("threshold_mode", ["rel", "abs"])?.unwrap_or(0) == 0,
            cooldown: settings.steps("cooldown")?.unwrap_or(0),
            min_lr: settings.not_negative("min_lr")?.unwrap_or(0.0),
            eps: settings.not_negative("eps")?.unwrap_or(1e-8),
        }))
    }

    /// Takes the metric of an evaluation into account.
    pub fn step(&self, metric: f64, state: &mut PlateauState) {
        if self.is_better(metric, state.best) {
            state.best = Some(metric);
            state.num_bad_epochs = 0;
        } else {
            state.num_bad_epochs += 1;
        }
        if state.cooldown_counter > 0 {
            state.cooldown_counter -= 1;
            state.num_bad_epochs = 0;
        }
        if state.num_bad_epochs > self.patience {
            let before = self.learning_rate * state.factor;
            let after = (before * self.factor).max(self.min_lr);
            if before - after > self.eps {
                state.factor = after / self.learning_rate;
            }
            state.cooldown_counter = self.cooldown;
            state.num_bad_epochs = 0;
        }
    }

    fn is_better(&self, metric: f64, best: Option<f64>) -> bool {
        let Some(best) = best else { return !metric.is_nan() };
        match (self.greater_is_better, self.relative) {
            (false, true) => metric < best * (1.0 - self.threshold),
            (false, false) => metric < best - self.threshold,
            (true, true) => metric > best * (1.0 + self.threshold),
            (true, false) => metric > best + self.threshold,
        }
    }
}
