use crate::arguments::choices::{
    BatchSampler, IntervalStrategy, LearningRateScheduler, MultiDatasetBatchSampler, ResumeFrom,
    SaveStrategy, Steps,
};
use crate::arguments::prompts::Prompts;
use indexmap::IndexMap;
use rankforge_kernels::Precision;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// How a model is trained. Names and defaults are those of `CrossEncoderTrainingArguments` in
/// sentence-transformers 6.2 (transformers 5.23).
///
/// [`TrainingArguments::from_map`] also reads old names, and names that have no field here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingArguments {
    /// Directory of checkpoints, evaluation files and the plot.
    pub output_dir: PathBuf,
    /// Number of rows in a training batch.
    pub per_device_train_batch_size: usize,
    /// Number of rows in a batch of the evaluation loss; evaluators have batch sizes of their own.
    pub per_device_eval_batch_size: usize,
    /// Number of passes over the training data; may have a fraction.
    pub num_train_epochs: f64,
    /// Number of optimizer steps; replaces `num_train_epochs` when above 0.
    pub max_steps: i64,
    /// Number of batches whose gradients are accumulated for an optimizer step.
    pub gradient_accumulation_steps: usize,
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// How the learning rate changes.
    pub lr_scheduler_type: LearningRateScheduler,
    /// Settings of the schedule: `num_cycles`, `lr_end`, `power`, `timescale`.
    pub lr_scheduler_kwargs: Map<String, Value>,
    /// Number of steps in which the learning rate rises from 0, or their share of all steps.
    pub warmup_steps: Steps,
    /// Decoupled weight decay of all parameters except biases and those of norms.
    pub weight_decay: f64,
    /// Decay of AdamW's first moment.
    pub adam_beta1: f64,
    /// Decay of AdamW's second moment.
    pub adam_beta2: f64,
    /// AdamW's epsilon.
    pub adam_epsilon: f64,
    /// Gradients with a larger global norm are scaled down to this norm; 0 or less disables it.
    pub max_grad_norm: f64,
    /// Linear layers and attention round the operands of their products to bfloat16, in training
    /// and in the evaluations inside it; parameters, moments, outputs and losses stay `f32`.
    pub bf16: bool,
    /// The same with IEEE half precision, with a dynamic loss scale.
    pub fp16: bool,
    /// Regular expressions of parameter names, with the learning rate of the parameters that match.
    pub learning_rate_mapping: IndexMap<String, f64>,
    /// When the training loss is logged.
    pub logging_strategy: IntervalStrategy,
    /// Number of steps between log records.
    pub logging_steps: Steps,
    /// Whether the first step is logged too.
    pub logging_first_step: bool,
    /// When the model is evaluated.
    pub eval_strategy: IntervalStrategy,
    /// Number of steps between evaluations; `None` means `logging_steps`.
    pub eval_steps: Option<Steps>,
    /// Number of steps or epochs, as `eval_strategy` counts, before which the model is not
    /// evaluated.
    pub eval_delay: f64,
    /// Whether the model is evaluated before the first step too.
    pub eval_on_start: bool,
    /// When a checkpoint is written.
    pub save_strategy: SaveStrategy,
    /// Number of steps between checkpoints.
    pub save_steps: Steps,
    /// Maximum number of checkpoints that are kept; the newest and the best always are. `None`
    /// keeps all.
    pub save_total_limit: Option<usize>,
    /// Whether checkpoints hold the model only, so that a run cannot resume from them.
    pub save_only_model: bool,
    /// Whether the parameters of the best checkpoint are loaded after the last step.
    pub load_best_model_at_end: bool,
    /// The evaluation figure that decides which checkpoint is best; `loss` by default.
    pub metric_for_best_model: Option<String>,
    /// Whether a larger figure is better; by default it is, unless its name ends in `loss`.
    pub greater_is_better: Option<bool>,
    /// Seed of dropout, of the random choices of losses and of the batch order.
    pub seed: u64,
    /// Seed of the batch order instead of `seed`.
    pub data_seed: Option<u64>,
    /// Whether the last batch of an epoch is dropped when it is not full.
    pub dataloader_drop_last: bool,
    /// How rows become batches.
    pub batch_sampler: BatchSampler,
    /// From which training set each batch is taken, when there are several.
    pub multi_dataset_batch_sampler: MultiDatasetBatchSampler,
    /// Name of the run in the plot and the model card.
    pub run_name: Option<String>,
    /// Whether a resumed run begins the data of the current epoch again.
    pub ignore_data_skip: bool,
    /// The checkpoint to resume from.
    pub resume_from_checkpoint: Option<ResumeFrom>,
    /// Prepended to texts: one text for all, or a text for each column or training set.
    pub prompts: Option<Prompts>,
    /// Maximum number of tokens in a forward and backward pass; a larger batch is computed in
    /// chunks by gradient caching. Not an argument of sentence-transformers.
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
            multi_dataset_batch_sampler: MultiDatasetBatchSampler::Proportional,
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

    /// The interval between evaluations: `eval_steps`, or `logging_steps` without it.
    pub fn eval_interval(&self) -> Steps {
        match self.eval_steps {
            None | Some(Steps::Count(0)) => self.logging_steps,
            Some(steps) => steps,
        }
    }

    /// Key of the evaluation figure that decides which checkpoint is best, with the prefix `eval_`;
    /// `None` when no argument needs it.
    pub fn best_metric(&self) -> Option<String> {
        let asked = self.load_best_model_at_end || self.save_strategy == SaveStrategy::Best;
        let name = self.metric_for_best_model.as_deref().or(asked.then_some("loss"))?;
        Some(if name.starts_with("eval_") { name.to_owned() } else { format!("eval_{name}") })
    }

    /// Whether a larger [`TrainingArguments::best_metric`] is better.
    pub fn greater_is_better(&self) -> bool {
        self.greater_is_better
            .unwrap_or_else(|| self.best_metric().is_none_or(|name| !name.ends_with("loss")))
    }
}
