use crate::Error;
use crate::training::{BatchSampler, LearningRateScheduler};
use indexmap::IndexMap;
use rankforge_kernels::Precision;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// A count of optimizer steps, or a share of all steps of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Steps {
    /// So many.
    Count(u64),
    /// This share of all steps, in `0..1`.
    Ratio(f64),
}

impl Steps {
    /// The count, given the steps of the whole run: `ceil(total · ratio)` for a share.
    pub fn resolve(self, total: u64) -> u64 {
        match self {
            Steps::Count(count) => count,
            Steps::Ratio(ratio) => (total as f64 * ratio).ceil() as u64,
        }
    }
}

/// When something is done regularly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalStrategy {
    /// Never.
    No,
    /// Every so many steps.
    Steps,
    /// At the end of each epoch.
    Epoch,
}

/// When a checkpoint is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaveStrategy {
    /// Never.
    No,
    /// Every so many steps, and after the last.
    Steps,
    /// At the end of each epoch.
    Epoch,
    /// Whenever an evaluation finds a new best.
    Best,
}

/// Which checkpoint a run continues from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ResumeFrom {
    /// `true`: the newest complete checkpoint in `output_dir`; `false`: none.
    Newest(bool),
    /// This one.
    Path(PathBuf),
}

/// How a model is trained; names and defaults are those of `CrossEncoderTrainingArguments` of
/// sentence-transformers 6.2 (transformers 5.23).
///
/// [`TrainingArguments::from_map`] reads the names a recipe may hold, those included that have no
/// field here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingArguments {
    /// Where checkpoints, evaluation files and the plot go.
    pub output_dir: PathBuf,
    /// Rows in a training batch.
    pub per_device_train_batch_size: usize,
    /// Rows in a batch of the evaluation loss; evaluators have batch sizes of their own.
    pub per_device_eval_batch_size: usize,
    /// Passes over the training data; may be a fraction.
    pub num_train_epochs: f64,
    /// Optimizer steps, in place of `num_train_epochs` when above 0.
    pub max_steps: i64,
    /// Batches whose gradients make one optimizer step.
    pub gradient_accumulation_steps: usize,
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// How the learning rate changes.
    pub lr_scheduler_type: LearningRateScheduler,
    /// Settings of the schedule: `num_cycles`, `lr_end`, `power`, `timescale`.
    pub lr_scheduler_kwargs: Map<String, Value>,
    /// Steps in which the learning rate rises from 0, or their share of all steps.
    pub warmup_steps: Steps,
    /// Decoupled weight decay, of parameters that are no bias and in no norm.
    pub weight_decay: f64,
    /// Decay of AdamW's first moment.
    pub adam_beta1: f64,
    /// Decay of AdamW's second moment.
    pub adam_beta2: f64,
    /// AdamW's epsilon.
    pub adam_epsilon: f64,
    /// Gradients of a larger global norm are scaled down to it; 0 and below switch this off.
    pub max_grad_norm: f64,
    /// Linear layers and attention round the operands of their products to bfloat16, in training
    /// and in the evaluations inside it; parameters, moments, outputs and losses stay `f32`.
    pub bf16: bool,
    /// The same with IEEE half precision, and a dynamic loss scale.
    pub fp16: bool,
    /// Regular expressions over parameter names, and the learning rate of those they find.
    pub learning_rate_mapping: IndexMap<String, f64>,
    /// When the training loss is logged.
    pub logging_strategy: IntervalStrategy,
    /// Steps between log records.
    pub logging_steps: Steps,
    /// Log after the first step too.
    pub logging_first_step: bool,
    /// When the model is evaluated.
    pub eval_strategy: IntervalStrategy,
    /// Steps between evaluations; `None` is `logging_steps`.
    pub eval_steps: Option<Steps>,
    /// No evaluation before so many steps or epochs, whichever `eval_strategy` counts.
    pub eval_delay: f64,
    /// Evaluate before the first step too.
    pub eval_on_start: bool,
    /// When a checkpoint is written.
    pub save_strategy: SaveStrategy,
    /// Steps between checkpoints.
    pub save_steps: Steps,
    /// Checkpoints kept, the newest and the best always among them; `None` keeps all.
    pub save_total_limit: Option<usize>,
    /// Checkpoints hold the model only; a run cannot continue from them.
    pub save_only_model: bool,
    /// After the last step, go back to the parameters of the best checkpoint.
    pub load_best_model_at_end: bool,
    /// The evaluation figure that says which model is best; `loss` when one is needed.
    pub metric_for_best_model: Option<String>,
    /// Whether more of it is better; `None`: unless its name ends in `loss`.
    pub greater_is_better: Option<bool>,
    /// Seed of dropout, of the losses' draws and of the batch order.
    pub seed: u64,
    /// Seed of the batch order, in place of `seed`.
    pub data_seed: Option<u64>,
    /// Leave out the last batch of an epoch when it is not full.
    pub dataloader_drop_last: bool,
    /// How rows become batches.
    pub batch_sampler: BatchSampler,
    /// What the run is called in the plot and the model card.
    pub run_name: Option<String>,
    /// After resuming, start the epoch's data again.
    pub ignore_data_skip: bool,
    /// The checkpoint to continue from.
    pub resume_from_checkpoint: Option<ResumeFrom>,
    /// Prepended to the first text of each input.
    pub prompts: Option<String>,
    /// Most tokens that are in the model at once; a larger batch goes through gradient caching.
    /// Not an argument of sentence-transformers.
    pub max_tokens_per_chunk: Option<usize>,
}

impl Default for TrainingArguments {
    fn default() -> TrainingArguments {
        TrainingArguments {
            output_dir: PathBuf::from("trainer_output"),
            per_device_train_batch_size: 8,
            per_device_eval_batch_size: 8,
            num_train_epochs: 3.0,
            max_steps: -1,
            gradient_accumulation_steps: 1,
            learning_rate: 5e-5,
            lr_scheduler_type: LearningRateScheduler::Linear,
            lr_scheduler_kwargs: Map::new(),
            warmup_steps: Steps::Count(0),
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            bf16: false,
            fp16: false,
            learning_rate_mapping: IndexMap::new(),
            logging_strategy: IntervalStrategy::Steps,
            logging_steps: Steps::Count(500),
            logging_first_step: false,
            eval_strategy: IntervalStrategy::No,
            eval_steps: None,
            eval_delay: 0.0,
            eval_on_start: false,
            save_strategy: SaveStrategy::Steps,
            save_steps: Steps::Count(500),
            save_total_limit: None,
            save_only_model: false,
            load_best_model_at_end: false,
            metric_for_best_model: None,
            greater_is_better: None,
            seed: 42,
            data_seed: None,
            dataloader_drop_last: false,
            batch_sampler: BatchSampler::BatchSampler,
            run_name: None,
            ignore_data_skip: false,
            resume_from_checkpoint: None,
            prompts: None,
            max_tokens_per_chunk: None,
        }
    }
}

impl TrainingArguments {
    /// The arguments by name, in the order of the fields.
    pub fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => unreachable!("a struct of plain fields is a JSON object"),
        }
    }

    /// The arguments that differ from their defaults.
    pub fn non_default(&self) -> Map<String, Value> {
        let defaults = TrainingArguments::default().to_map();
        self.to_map().into_iter().filter(|(name, value)| defaults[name] != *value).collect()
    }

    /// How a run rounds the operands of its matrix products.
    pub fn precision(&self) -> Precision {
        match (self.bf16, self.fp16) {
            (true, _) => Precision::BFloat16,
            (_, true) => Precision::Float16,
            _ => Precision::Float32,
        }
    }

    /// Steps between evaluations: `eval_steps`, or `logging_steps` without it.
    pub fn eval_interval(&self) -> Steps {
        match self.eval_steps {
            None | Some(Steps::Count(0)) => self.logging_steps,
            Some(steps) => steps,
        }
    }

    /// The evaluation figure that says which model is best, `eval_` included; `None` when nothing asks.
    pub fn best_metric(&self) -> Option<String> {
        let asked = self.load_best_model_at_end || self.save_strategy == SaveStrategy::Best;
        let name = self.metric_for_best_model.as_deref().or(asked.then_some("loss"))?;
        Some(if name.starts_with("eval_") { name.to_owned() } else { format!("eval_{name}") })
    }

    /// Whether more of [`TrainingArguments::best_metric`] is better.
    pub fn greater_is_better(&self) -> bool {
        self.greater_is_better
            .unwrap_or_else(|| self.best_metric().is_none_or(|name| !name.ends_with("loss")))
    }

    /// Checks values and the rules between arguments.
    ///
    /// # Errors
    /// The first argument that cannot be, with what was expected.
    pub fn validate(&self) -> Result<(), Error> {
        self.validate_values()?;
        self.validate_intervals()?;
        self.validate_best_model()
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
        ];
        for (field, value) in finite_not_negative {
            check(value.is_finite() && value >= 0.0, field, "a number of at least 0", &value)?;
        }
        for (pattern, rate) in &self.learning_rate_mapping {
            let field = format!("learning_rate_mapping.{pattern}");
            check(rate.is_finite() && *rate >= 0.0, &field, "a number of at least 0", rate)?;
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
                // Two decimal fractions that are multiples differ by rounding only.
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
    Err(Error::Argument {
        field: field.to_owned(),
        expected: expected.to_owned(),
        got: got.to_string(),
    })
}

fn as_number(steps: Steps) -> String {
    match steps {
        Steps::Count(count) => count.to_string(),
        Steps::Ratio(ratio) => ratio.to_string(),
    }
}

/// The name of an enum value in recipes.
fn name_of(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        _ => unreachable!("unit variants are strings"),
    }
}
