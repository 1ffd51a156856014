//! Checks of training arguments: of single values, and of combinations.

use crate::arguments::choices::{
    IntervalStrategy, LearningRateScheduler, ResumeFrom, SaveStrategy, Steps,
};
use crate::arguments::memory::bytes;
use crate::arguments::training_arguments::TrainingArguments;
use crate::error::Error;
use serde::Serialize;
use serde_json::Value;

impl TrainingArguments {
    /// Checks the values of arguments and their combinations.
    ///
    /// # Errors
    /// The first argument with an invalid value.
    pub fn validate(&self) -> Result<(), Error> {
        self.validate_paths()?;
        self.validate_values()?;
        self.validate_intervals()?;
        self.validate_memory()?;
        self.optimizer()?;
        self.validate_best_model()
    }

    /// The files of a run name these paths, in JSON.
    fn validate_paths(&self) -> Result<(), Error> {
        let resumed = match &self.resume_from_checkpoint {
            Some(ResumeFrom::Path(path)) => Some(path),
            Some(ResumeFrom::Newest(_)) | None => None,
        };
        let paths = [("output_dir", Some(&self.output_dir)), ("resume_from_checkpoint", resumed)];
        for (name, path) in paths {
            if let Some(path) = path.filter(|path| path.to_str().is_none()) {
                return Err(Error::argument(name, "a path in UTF-8", path.display()));
            }
        }
        Ok(())
    }

    fn validate_values(&self) -> Result<(), Error> {
        let at_least_one = [
            ("per_device_train_batch_size", Some(self.per_device_train_batch_size)),
            ("per_device_eval_batch_size", Some(self.per_device_eval_batch_size)),
            ("gradient_accumulation_steps", Some(self.gradient_accumulation_steps)),
            ("save_total_limit", self.save_total_limit),
            ("max_tokens_per_chunk", self.max_tokens_per_chunk),
        ];
        for (field, value) in at_least_one {
            check(value != Some(0), field, "at least 1", &0)?;
        }
        let finite_not_negative = [
            ("learning_rate", self.learning_rate),
            ("weight_decay", self.weight_decay),
            ("adam_epsilon", self.adam_epsilon),
            ("eval_delay", self.eval_delay),
            ("early_stopping_threshold", self.early_stopping_threshold),
        ];
        for (field, value) in finite_not_negative {
            check(value.is_finite() && value >= 0.0, field, "a number of at least 0", &value)?;
        }
        for (pattern, rate) in &self.learning_rate_mapping {
            let field = format!("learning_rate_mapping.{pattern}");
            check(rate.is_finite() && *rate >= 0.0, &field, "a number of at least 0", rate)?;
        }
        if let Some(decay) = self.layerwise_lr_decay {
            let possible = decay > 0.0 && decay <= 1.0;
            check(possible, "layerwise_lr_decay", "above 0 and at most 1", &decay)?;
        }
        for (field, beta) in [("adam_beta1", self.adam_beta1), ("adam_beta2", self.adam_beta2)] {
            check((0.0..1.0).contains(&beta), field, "at least 0 and below 1", &beta)?;
        }
        let both = self.bf16 && self.fp16;
        check(!both, "bf16", "at most one of bf16 and fp16 to be true", &"both")?;
        check(self.max_grad_norm.is_finite(), "max_grad_norm", "a number", &self.max_grad_norm)?;
        let epochs = self.num_train_epochs;
        let possible = self.max_steps > 0 || (epochs.is_finite() && epochs > 0.0);
        check(possible, "num_train_epochs", "a number above 0", &epochs)
    }

    fn validate_memory(&self) -> Result<(), Error> {
        if let Some(text) = &self.max_memory {
            bytes("max_memory", text)?;
        }
        match (self.auto_find_batch_size, &self.max_memory) {
            (true, None) => {
                let expected = "an amount of memory, for auto_find_batch_size";
                Err(Error::argument("max_memory", expected, "none"))
            }
            (false, Some(text)) => {
                let expected = "auto_find_batch_size = true beside it, as nothing else reads it";
                Err(Error::argument("max_memory", expected, format!("\"{text}\"")))
            }
            _ => Ok(()),
        }
    }

    fn validate_intervals(&self) -> Result<(), Error> {
        let warmup = self.warmup_steps;
        let possible = match warmup {
            Steps::Count(_) => true,
            Steps::Ratio(ratio) => (0.0..1.0).contains(&ratio),
        };
        let steps_or_share = "a whole number, or a share of all steps of at least 0 and below 1";
        check(possible, "warmup_steps", steps_or_share, &as_number(warmup))?;
        let eval_interval = self.eval_interval();
        let intervals = [
            ("logging_steps", self.logging_strategy == IntervalStrategy::Steps, self.logging_steps),
            ("eval_steps", self.eval_strategy == IntervalStrategy::Steps, eval_interval),
            ("save_steps", self.save_strategy == SaveStrategy::Steps, self.save_steps),
        ];
        for (field, used, steps) in intervals {
            let possible = match steps {
                Steps::Count(count) => count > 0,
                Steps::Ratio(ratio) => ratio > 0.0 && ratio < 1.0,
            };
            let expected = "a whole number above 0, or a share of all steps between 0 and 1";
            check(possible || !used, field, expected, &as_number(steps))?;
        }
        Ok(())
    }

    fn validate_best_model(&self) -> Result<(), Error> {
        let evaluates = self.eval_strategy != IntervalStrategy::No;
        let saves_best = self.save_strategy == SaveStrategy::Best;
        if saves_best {
            check(evaluates, "eval_strategy", "steps or epoch, as save_strategy is best", &"no")?;
        }
        if self.lr_scheduler_type == LearningRateScheduler::ReduceLrOnPlateau {
            let expected = "steps or epoch, for reduce_lr_on_plateau";
            check(evaluates, "eval_strategy", expected, &"no")?;
        }
        match self.early_stopping_patience {
            None => {
                let (threshold, field) = (self.early_stopping_threshold, "early_stopping_patience");
                let expected = "a number, as early_stopping_threshold is given";
                check(threshold == 0.0, field, expected, &"none")?;
            }
            Some(patience) => {
                check(patience > 0, "early_stopping_patience", "at least 1", &patience)?;
                let expected = "steps or epoch, for early_stopping_patience";
                check(evaluates, "eval_strategy", expected, &"no")?;
            }
        }
        if !self.load_best_model_at_end {
            return Ok(());
        }
        check(evaluates, "eval_strategy", "steps or epoch, for load_best_model_at_end", &"no")?;
        let (eval, save) = (name_of(&self.eval_strategy), name_of(&self.save_strategy));
        let expected = format!("best or {eval} (the eval_strategy), for load_best_model_at_end");
        check(saves_best || eval == save, "save_strategy", &expected, &save)?;
        if self.save_strategy != SaveStrategy::Steps {
            return Ok(());
        }
        let aligned = match (self.eval_interval(), self.save_steps) {
            (Steps::Count(eval), Steps::Count(save)) => save.is_multiple_of(eval),
            (Steps::Ratio(eval), Steps::Ratio(save)) => {
                let times = save / eval;
                // Multiples of decimal fractions are inexact in binary: 0.3 / 0.1 is below 3.
                (times - times.round()).abs() < 1e-9 * times.max(1.0) && times.round() >= 1.0
            }
            _ => false,
        };
        let expected = format!(
            "a multiple of eval_steps ({}), for load_best_model_at_end",
            as_number(self.eval_interval())
        );
        check(aligned, "save_steps", &expected, &as_number(self.save_steps))
    }
}

fn check(
    possible: bool,
    field: &str,
    expected: &str,
    got: &dyn std::fmt::Display,
) -> Result<(), Error> {
    if possible {
        return Ok(());
    }
    Err(Error::argument(field, expected, got))
}

fn as_number(steps: Steps) -> String {
    match steps {
        Steps::Count(count) => count.to_string(),
        Steps::Ratio(ratio) => ratio.to_string(),
    }
}

/// The serialized name of an enum variant, as in recipes.
fn name_of(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        _ => unreachable!("unit variants are strings"),
    }
}
