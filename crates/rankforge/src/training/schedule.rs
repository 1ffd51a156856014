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
    /// Least factor, of the schedules that have one.
    least: f64,
    /// Factor of the first step of a warm-up, where that is a setting.
    first: Option<f64>,
    stable: Stable,
}

/// The parts of `warmup_stable_decay`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Stable {
    steps: f64,
    decay_steps: f64,
    warmup_curve: Curve,
    decay_curve: Curve,
}

/// How a factor goes from 0 to 1 in a warm-up, or from 1 to 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Curve {
    #[default]
    Linear,
    Cosine,
    OneMinusSqrt,
}

/// The settings of a schedule.
fn known_settings(scheduler: LearningRateScheduler) -> &'static [&'static str] {
    match scheduler {
        LearningRateScheduler::Cosine | LearningRateScheduler::CosineWithRestarts => {
            &["num_cycles"]
        }
        LearningRateScheduler::CosineWithMinLr => &["num_cycles", "min_lr", "min_lr_rate"],
        LearningRateScheduler::CosineWarmupWithMinLr => {
            &["num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"]
        }
        LearningRateScheduler::Polynomial => &["lr_end", "power"],
        LearningRateScheduler::InverseSqrt => &["timescale"],
        LearningRateScheduler::WarmupStableDecay => &[
            "num_decay_steps",
            "num_stable_steps",
            "warmup_type",
            "decay_type",
            "min_lr_ratio",
            "num_cycles",
        ],
        LearningRateScheduler::ReduceLrOnPlateau => &[
            "mode",
            "factor",
            "patience",
            "threshold",
            "threshold_mode",
            "cooldown",
            "min_lr",
            "eps",
        ],
        LearningRateScheduler::Linear
        | LearningRateScheduler::Constant
        | LearningRateScheduler::ConstantWithWarmup => &[],
    }
}

impl Schedule {
    /// A schedule of `total` steps, the first `warmup` of which are the warm-up.
    ///
    /// # Errors
    /// A setting that the schedule does not have or needs, or an unusable value.
    pub fn new(
        scheduler: LearningRateScheduler,
        settings: &Map<String, Value>,
        warmup: u64,
        total: u64,
        learning_rate: f64,
    ) -> Result<Schedule, Error> {
        let known = known_settings(scheduler);
        if let Some(name) = settings.keys().find(|name| !known.contains(&name.as_str())) {
            let known = if known.is_empty() { "no setting".to_owned() } else { known.join(", ") };
            let expected = format!("{known}, for this lr_scheduler_type");
            return Err(Error::argument("lr_scheduler_kwargs", expected, name));
        }
        let settings = Settings(settings);
        let restarts = scheduler == LearningRateScheduler::CosineWithRestarts;
        let timescale = if warmup > 0 { warmup as f64 } else { 10_000.0 };
        let schedule = Schedule {
            scheduler,
            warmup: warmup as f64,
            total: total as f64,
            learning_rate,
            cycles: settings.positive("num_cycles", if restarts { 1.0 } else { 0.5 })?,
            learning_rate_end: settings.positive("lr_end", 1e-7)?,
            power: settings.positive("power", 1.0)?,
            timescale: settings.positive("timescale", timescale)?,
            least: least(scheduler, settings, learning_rate)?,
            first: settings.not_negative("warmup_lr_rate")?,
            stable: match scheduler {
                LearningRateScheduler::WarmupStableDecay => stable(settings, warmup, total)?,
                _ => Stable::default(),
            },
        };
        let falls = schedule.learning_rate_end < learning_rate;
        if scheduler == LearningRateScheduler::Polynomial && !falls {
            let expected = format!("below the learning rate {learning_rate}");
            let field = "lr_scheduler_kwargs.lr_end";
            return Err(Error::argument(field, expected, schedule.learning_rate_end));
        }
        Ok(schedule)
    }

    /// The factor after `step` steps; the first step of a run uses `factor(0)`. What evaluations
    /// change of it, for `reduce_lr_on_plateau`, is a further factor.
    pub fn factor(&self, step: u64) -> f64 {
        let step = step as f64;
        match self.scheduler {
            LearningRateScheduler::Constant | LearningRateScheduler::ReduceLrOnPlateau => {
                return 1.0;
            }
            LearningRateScheduler::CosineWarmupWithMinLr => return self.slow_warmup(step),
            LearningRateScheduler::WarmupStableDecay => return self.stable(step),
            _ => {}
        }
        if step < self.warmup {
            return step / self.warmup.max(1.0);
        }
        let decaying = self.total - self.warmup;
        let progress = (step - self.warmup) / decaying.max(1.0);
        match self.scheduler {
            LearningRateScheduler::Linear => ((self.total - step) / decaying.max(1.0)).max(0.0),
            LearningRateScheduler::Cosine => {
                (0.5 * (1.0 + (PI * self.cycles * 2.0 * progress).cos())).max(0.0)
            }
            LearningRateScheduler::CosineWithMinLr => self.cosine_to_least(progress),
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
            LearningRateScheduler::ConstantWithWarmup
            | LearningRateScheduler::Constant
            | LearningRateScheduler::ReduceLrOnPlateau
            | LearningRateScheduler::CosineWarmupWithMinLr
            | LearningRateScheduler::WarmupStableDecay => 1.0,
        }
    }

    fn cosine_to_least(&self, progress: f64) -> f64 {
        let factor = 0.5 * (1.0 + (PI * self.cycles * 2.0 * progress).cos());
        (factor * (1.0 - self.least) + self.least).max(0.0)
    }

    /// `cosine_warmup_with_min_lr`, which counts steps from 1.
    fn slow_warmup(&self, step: f64) -> f64 {
        if step < self.warmup {
            return match self.first {
                None => (step + 1.0) / self.warmup.max(1.0),
                Some(first) => first + (1.0 - first) * step / (self.warmup - 1.0).max(1.0),
            };
        }
        self.cosine_to_least((step - self.warmup + 1.0) / (self.total - self.warmup).max(1.0))
    }

    /// `warmup_stable_decay`.
    fn stable(&self, step: f64) -> f64 {
        let Stable { steps, decay_steps, warmup_curve, decay_curve } = self.stable;
        let factor = if step < self.warmup {
            let progress = step / self.warmup.max(1.0);
            match warmup_curve {
                Curve::Linear => progress,
                Curve::Cosine => 0.5 * (1.0 - (PI * progress).cos()),
                Curve::OneMinusSqrt => 1.0 - (1.0 - progress).sqrt(),
            }
        } else if step < self.warmup + steps {
            return 1.0;
        } else if step < self.warmup + steps + decay_steps {
            let progress = (step - self.warmup - steps) / decay_steps.max(1.0);
            match decay_curve {
                Curve::Linear => 1.0 - progress,
                Curve::Cosine => 0.5 * (1.0 + (PI * self.cycles * 2.0 * progress).cos()),
                Curve::OneMinusSqrt => 1.0 - progress.sqrt(),
            }
        } else {
            return self.least;
        };
        (factor * (1.0 - self.least) + self.least).max(0.0)
    }
}

/// The least factor of the schedules that have one.
fn least(
    scheduler: LearningRateScheduler,
    settings: Settings<'_>,
    learning_rate: f64,
) -> Result<f64, Error> {
    match scheduler {
        LearningRateScheduler::WarmupStableDecay => {
            Ok(settings.not_negative("min_lr_ratio")?.unwrap_or(0.0))
        }
        LearningRateScheduler::CosineWithMinLr | LearningRateScheduler::CosineWarmupWithMinLr => {
            match (settings.not_negative("min_lr")?, settings.not_negative("min_lr_rate")?) {
                (Some(rate), None) => Ok(rate / learning_rate),
                (None, Some(share)) => Ok(share),
                (rate, _) => {
                    let got = if rate.is_some() { "both" } else { "neither" };
                    let expected = "min_lr or min_lr_rate, for this lr_scheduler_type";
                    Err(Error::argument("lr_scheduler_kwargs", expected, got))
                }
            }
        }
        _ => Ok(0.0),
    }
}

/// The parts of `warmup_stable_decay`.
fn stable(settings: Settings<'_>, warmup: u64, total: u64) -> Result<Stable, Error> {
    let decay = "lr_scheduler_kwargs.num_decay_steps";
    let Some(decay_steps) = settings.steps("num_decay_steps")? else {
        let expected = "a number of steps, for warmup_stable_decay";
        return Err(Error::argument(decay, expected, "nothing"));
    };
    let steps = match settings.steps("num_stable_steps")? {
        Some(steps) => steps,
        None => total.checked_sub(warmup + decay_steps).ok_or_else(|| {
            let expected = format!("at most {}, the steps after the warm-up", total - warmup);
            Error::argument(decay, expected, decay_steps)
        })?,
    };
    Ok(Stable {
        steps: steps as f64,
        decay_steps: decay_steps as f64,
        warmup_curve: settings.curve("warmup_type", Curve::Linear)?,
        decay_curve: settings.curve("decay_type", Curve::Cosine)?,
    })
}

/// `lr_scheduler_kwargs`.
#[derive(Clone, Copy)]
pub(super) struct Settings<'a>(pub(super) &'a Map<String, Value>);

impl Settings<'_> {
    /// The error for the value of a setting.
    pub(super) fn refused(self, name: &str, expected: &str) -> Error {
        let got = self.0.get(name).cloned().unwrap_or_default();
        Error::argument(format!("lr_scheduler_kwargs.{name}"), expected, got)
    }

    /// A value that was given, if `convert` finds it usable.
    pub(super) fn given<T>(
        self,
        name: &str,
        expected: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => convert(value).map(Some).ok_or_else(|| self.refused(name, expected)),
        }
    }

    pub(super) fn positive(self, name: &str, default: f64) -> Result<f64, Error> {
        let number = |value: &Value| value.as_f64().filter(|number| *number > 0.0);
        Ok(self.given(name, "a number above 0", number)?.unwrap_or(default))
    }

    pub(super) fn not_negative(self, name: &str) -> Result<Option<f64>, Error> {
        let number = |value: &Value| value.as_f64().filter(|number| *number >= 0.0);
        self.given(name, "a number of at least 0", number)
    }

    pub(super) fn steps(self, name: &str) -> Result<Option<u64>, Error> {
        self.given(name, "a whole number of at least 0", Value::as_u64)
    }

    fn curve(self, name: &str, default: Curve) -> Result<Curve, Error> {
        let curve = |value: &Value| match value.as_str()? {
            "linear" => Some(Curve::Linear),
            "cosine" => Some(Curve::Cosine),
            "1-sqrt" => Some(Curve::OneMinusSqrt),
            _ => None,
        };
        Ok(self.given(name, "linear, cosine or 1-sqrt", curve)?.unwrap_or(default))
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
