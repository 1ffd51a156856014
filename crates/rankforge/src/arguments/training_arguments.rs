use crate::arguments::choices::{
    BatchSampler, IntervalStrategy, LearningRateScheduler, MultiDatasetBatchSampler, ResumeFrom,
    SaveStrategy, Steps, optional_path_text, path_text,
};
use crate::arguments::optimizer_names::OptimizerNames;
use crate::arguments::prompts::Prompts;
use indexmap::IndexMap;
use rankforge_kernels::Precision;
use rankforge_trackers::ReportTo;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Training arguments. Names and defaults are those of `CrossEncoderTrainingArguments` in
/// sentence-transformers 6.2 (transformers 5.23).
///
/// [`TrainingArguments::from_map`] also accepts former names, and arguments that have no field
/// here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingArguments {
    /// Directory of checkpoints, evaluation files and the plot.
    #[serde(serialize_with = "path_text")]
    pub output_dir: PathBuf,
    /// Number of rows in a training batch.
    pub per_device_train_batch_size: usize,
    /// Number of rows in a batch of the evaluation loss; evaluators have their own batch sizes.
    pub per_device_eval_batch_size: usize,
    /// Number of passes over the training data; may be fractional.
    pub num_train_epochs: f64,
    /// Number of optimizer steps; overrides `num_train_epochs` when above 0.
    pub max_steps: i64,
    /// Number of batches whose gradients are accumulated for one optimizer step.
    pub gradient_accumulation_steps: usize,
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// Learning rate schedule.
    pub lr_scheduler_type: LearningRateScheduler,
    /// Settings of the schedule, see [`LearningRateScheduler`].
    pub lr_scheduler_kwargs: Map<String, Value>,
    /// Number of warm-up steps, in which the learning rate rises from 0, or their share of all
    /// steps.
    pub warmup_steps: Steps,
    /// The optimizer, see [`OptimizerNames`].
    pub optim: OptimizerNames,
    /// Settings of an optimizer other than AdamW, such as `momentum=0.9,nesterov=true`.
    pub optim_args: Option<String>,
    /// Weight decay of all parameters except biases and normalization layers; decoupled from the
    /// gradients by AdamW, Adafactor and Lion.
    pub weight_decay: f64,
    /// Decay rate of AdamW's first moment.
    pub adam_beta1: f64,
    /// Decay rate of AdamW's second moment.
    pub adam_beta2: f64,
    /// AdamW's epsilon.
    pub adam_epsilon: f64,
    /// Maximum global norm of the gradients, to which larger ones are scaled down; 0 or less
    /// disables clipping.
    pub max_grad_norm: f64,
    /// Whether linear layers and attention round the operands of their matrix products to bfloat16,
    /// in training and in evaluations during training. Parameters, moments, outputs and losses stay
    /// `f32`.
    pub bf16: bool,
    /// The same as `bf16` with IEEE half precision and dynamic loss scaling.
    pub fp16: bool,
    /// Learning rates of parameters whose names match a regular expression. The last match counts.
    pub learning_rate_mapping: IndexMap<String, f64>,
    /// Decay of learning rates with depth: the rate of block `k` of `n`, from 1, is multiplied by
    /// `decay^(n + 1 - k)`, and that of the embeddings by `decay^(n + 1)`. What follows the blocks,
    /// and what a pattern of `learning_rate_mapping` finds, has its full rate. Not an argument of
    /// sentence-transformers.
    pub layerwise_lr_decay: Option<f64>,
    /// When to log the training loss.
    pub logging_strategy: IntervalStrategy,
    /// Number of steps between log records.
    pub logging_steps: Steps,
    /// Whether to log the first step too.
    pub logging_first_step: bool,
    /// When to evaluate the model.
    pub eval_strategy: IntervalStrategy,
    /// Number of steps between evaluations; `None` means `logging_steps`.
    pub eval_steps: Option<Steps>,
    /// Number of steps or epochs (the unit of `eval_strategy`) before the first evaluation.
    pub eval_delay: f64,
    /// Whether to evaluate the model before the first step too.
    pub eval_on_start: bool,
    /// When to write a checkpoint.
    pub save_strategy: SaveStrategy,
    /// Number of steps between checkpoints.
    pub save_steps: Steps,
    /// Maximum number of checkpoints to keep; the newest and the best are never deleted. `None`
    /// keeps all.
    pub save_total_limit: Option<usize>,
    /// Whether checkpoints contain the model only. A run cannot resume from such checkpoints.
    pub save_only_model: bool,
    /// Whether to load the parameters of the best checkpoint after the last step.
    pub load_best_model_at_end: bool,
    /// The evaluation metric that decides which checkpoint is best; `loss` by default.
    pub metric_for_best_model: Option<String>,
    /// Whether a larger metric is better; by default it is, unless its name ends in `loss`.
    pub greater_is_better: Option<bool>,
    /// Number of evaluations without a better [`TrainingArguments::best_metric`] after which the
    /// run ends: `EarlyStoppingCallback` of transformers.
    pub early_stopping_patience: Option<u64>,
    /// How much the metric must be better than the best so far to count.
    pub early_stopping_threshold: f64,
    /// Seed of dropout, of the random choices of losses and of the batch order.
    pub seed: u64,
    /// Seed of the batch order; `seed` by default.
    pub data_seed: Option<u64>,
    /// Whether to drop the last batch of an epoch when it is not full.
    pub dataloader_drop_last: bool,
    /// How rows are grouped into batches.
    pub batch_sampler: BatchSampler,
    /// From which training set each batch is drawn, when there are several.
    pub multi_dataset_batch_sampler: MultiDatasetBatchSampler,
    /// What gets the log beside the folder of the run.
    pub report_to: ReportTo,
    /// Name of the run in trackers, the plot and the model card.
    pub run_name: Option<String>,
    /// Directory of TensorBoard's files; `TENSORBOARD_LOGGING_DIR` or `runs/DATE_HOST` in
    /// `output_dir` by default. An argument of earlier versions of transformers.
    #[serde(serialize_with = "optional_path_text")]
    pub logging_dir: Option<PathBuf>,
    /// Whether a resumed run starts the current epoch again instead of skipping the batches that
    /// were trained on.
    pub ignore_data_skip: bool,
    /// The checkpoint to resume from.
    pub resume_from_checkpoint: Option<ResumeFrom>,
    /// Whether the backward pass computes the activations of each block again, in place of keeping
    /// them: less memory, about a third more time, and the same bits.
    pub gradient_checkpointing: bool,
    /// Prompts prepended to texts: one for all texts, or one for each column or training set.
    pub prompts: Option<Prompts>,
    /// Maximum number of tokens in a forward and backward pass; a larger batch is computed in
    /// chunks by gradient caching. Not an argument of sentence-transformers.
    pub max_tokens_per_chunk: Option<usize>,
    /// Whether `max_tokens_per_chunk` is the number with which a run needs no more than
    /// `max_memory`. The batch stays as it is, where transformers halves it until it fits.
    pub auto_find_batch_size: bool,
    /// The memory of parameters, gradients, moments and activations, such as `4 GB`, for
    /// `auto_find_batch_size`. Rows are not counted. Not an argument of sentence-transformers.
    pub max_memory: Option<String>,
    /// Whether `output_dir` gets a page about the run, `report.html`. Not an argument of
    /// sentence-transformers.
    pub write_report: bool,
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
            optim: OptimizerNames::AdamwTorchFused,
            optim_args: None,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            bf16: false,
            fp16: false,
            learning_rate_mapping: IndexMap::new(),
            layerwise_lr_decay: None,
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
            early_stopping_patience: None,
            early_stopping_threshold: 0.0,
            seed: 42,
            data_seed: None,
            dataloader_drop_last: false,
            batch_sampler: BatchSampler::BatchSampler,
            multi_dataset_batch_sampler: MultiDatasetBatchSampler::Proportional,
            report_to: ReportTo::default(),
            run_name: None,
            logging_dir: None,
            ignore_data_skip: false,
            resume_from_checkpoint: None,
            gradient_checkpointing: false,
            prompts: None,
            max_tokens_per_chunk: None,
            auto_find_batch_size: false,
            max_memory: None,
            write_report: true,
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

    /// The precision to which a run rounds the operands of its matrix products.
    pub fn precision(&self) -> Precision {
        match (self.bf16, self.fp16) {
            (true, _) => Precision::BFloat16,
            (_, true) => Precision::Float16,
            _ => Precision::Float32,
        }
    }

    /// Whether the run resumes from a checkpoint.
    pub fn resumes(&self) -> bool {
        !matches!(self.resume_from_checkpoint, None | Some(ResumeFrom::Newest(false)))
    }

    /// The interval between evaluations: `eval_steps`, or `logging_steps` without it.
    pub fn eval_interval(&self) -> Steps {
        match self.eval_steps {
            None | Some(Steps::Count(0)) => self.logging_steps,
            Some(steps) => steps,
        }
    }

    /// Key of the evaluation metric that decides which checkpoint is best, with the prefix `eval_`;
    /// `None` when no argument needs it.
    pub fn best_metric(&self) -> Option<String> {
        let needed = self.load_best_model_at_end
            || self.save_strategy == SaveStrategy::Best
            || self.early_stopping_patience.is_some()
            || self.lr_scheduler_type == LearningRateScheduler::ReduceLrOnPlateau;
        let name = self.metric_for_best_model.as_deref().or(needed.then_some("loss"))?;
        Some(if name.starts_with("eval_") { name.to_owned() } else { format!("eval_{name}") })
    }

    /// Whether a larger [`TrainingArguments::best_metric`] is better.
    pub fn greater_is_better(&self) -> bool {
        self.greater_is_better
            .unwrap_or_else(|| self.best_metric().is_none_or(|name| !name.ends_with("loss")))
    }
}
