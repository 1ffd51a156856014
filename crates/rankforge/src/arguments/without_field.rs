//! The arguments that have no field: former names, what has no effect here, what is not supported.

/// Former names of arguments in transformers and sentence-transformers, with the present ones.
pub(super) const RENAMED: &[(&str, &str)] = &[
    ("evaluation_strategy", "eval_strategy"),
    ("warmup_ratio", "warmup_steps"),
    ("per_gpu_train_batch_size", "per_device_train_batch_size"),
    ("per_gpu_eval_batch_size", "per_device_eval_batch_size"),
];

/// Names that transformers has for one argument, with the one that is used here.
pub(super) const ALIASES: &[(&str, &str)] =
    &[("activation_checkpointing", "gradient_checkpointing")];

/// As in transformers' `Trainer`, these have no effect on evaluations during training.
const FULL_EVAL: &str = "evaluation during training has the precision of the training";
const CPU: &str = "training runs on the CPU";
const ONE_PROCESS: &str = "there is one process";
const NO_GRAPH: &str = "there is no graph to compile";
const RECOMPUTED: &str = "every block is computed again, and dropout draws the same masks";

/// Arguments without effect on the result: name, default as JSON, and the reason for the warning.
pub(super) const WITHOUT_EFFECT: &[(&str, &str, &str)] = &[
    ("dataloader_num_workers", "0", "one thread always prefetches the next batch"),
    ("dataloader_pin_memory", "true", "there is no device memory to copy to"),
    ("dataloader_persistent_workers", "false", "there are no worker processes"),
    ("dataloader_prefetch_factor", "null", "one batch is always prepared ahead"),
    ("dataloader_multiprocessing_context", "null", "there are no worker processes"),
    ("dataloader_in_order", "true", "batches always come in order"),
    ("full_determinism", "false", "the same seed always gives the same bits"),
    (
        "logging_nan_inf_filter",
        "true",
        "a loss that is not finite stops the run, or in fp16 skips the step",
    ),
    ("use_cpu", "false", CPU),
    ("no_cuda", "false", CPU),
    ("use_mps_device", "false", CPU),
    ("tpu_num_cores", "null", CPU),
    ("tf32", "null", "no unit here computes in tf32"),
    ("bf16_full_eval", "false", FULL_EVAL),
    ("fp16_full_eval", "false", FULL_EVAL),
    ("remove_unused_columns", "true", "every column is an input or the label"),
    ("prediction_loss_only", "true", "evaluation keeps no model output in any case"),
    ("eval_accumulation_steps", "null", "evaluation keeps no model output in any case"),
    ("eval_do_concat_batches", "true", "evaluation keeps no model output in any case"),
    ("eval_use_gather_object", "false", ONE_PROCESS),
    ("overwrite_output_dir", "false", "checkpoints of the same step are always replaced"),
    ("log_level", "\"passive\"", "the command line decides what is shown"),
    ("log_level_replica", "\"warning\"", ONE_PROCESS),
    ("log_on_each_node", "true", ONE_PROCESS),
    ("disable_tqdm", "null", "the command line decides what is shown"),
    ("save_on_each_node", "false", ONE_PROCESS),
    ("enable_jit_checkpoint", "false", "SIGTERM always writes a checkpoint"),
    ("average_tokens_across_devices", "true", "there is one device"),
    ("local_rank", "-1", ONE_PROCESS),
    ("ddp_timeout", "1800", ONE_PROCESS),
    ("ddp_find_unused_parameters", "null", ONE_PROCESS),
    ("ddp_broadcast_buffers", "null", ONE_PROCESS),
    ("ddp_backend", "null", ONE_PROCESS),
    ("ddp_bucket_cap_mb", "null", ONE_PROCESS),
    ("ddp_static_graph", "null", ONE_PROCESS),
    ("do_train", "false", "the command says what is done"),
    ("do_eval", "false", "eval_strategy says when the model is evaluated"),
    ("do_predict", "false", "the command says what is done"),
    ("skip_memory_metrics", "true", "log.jsonl always has the memory"),
    ("use_cache", "false", "encoders have no cache"),
    ("half_precision_backend", "\"auto\"", "there is one way to compute in half precision"),
    ("fp16_opt_level", "\"O1\"", "there is one way to compute in half precision"),
    ("jit_mode_eval", "false", "there is no graph to trace"),
    ("torchdynamo", "null", NO_GRAPH),
    ("torch_compile", "false", NO_GRAPH),
    ("torch_compile_backend", "null", NO_GRAPH),
    ("torch_compile_mode", "null", NO_GRAPH),
    ("use_liger_kernel", "false", "operations are fused in any case"),
    ("liger_kernel_config", "null", "operations are fused in any case"),
    ("torch_empty_cache_steps", "null", "memory is reused from batch to batch"),
    ("gradient_checkpointing_kwargs", "null", RECOMPUTED),
    ("activation_checkpointing_kwargs", "null", RECOMPUTED),
    ("past_index", "-1", "encoders have no past states"),
];

const NO_TRACKIO: &str = "only trackio reads it, and report_to does not have that";
const NO_HUB: &str = "nothing is sent over the network";
const NO_METRICS: &str = "evaluators measure the model, and take no functions";
const ONE_MACHINE: &str = "a run has one process on one machine";
const ORDER: &str = "batch_sampler decides how rows are grouped";

/// Arguments that are not supported: name, default as JSON, and the reason. Only the default is
/// accepted.
pub(super) const UNSUPPORTED: &[(&str, &str, &str)] = &[
    ("optim_target_modules", "null", "only the optimizers GaLore and APOLLO read it"),
    (
        "label_smoothing_factor",
        "0",
        "the losses of sentence-transformers do not read it; some, such as CrossEntropyLoss, have \
         a setting of their own",
    ),
    (
        "neftune_noise_alpha",
        "null",
        "noise on word embeddings is for generating models; dropout is the noise of encoders",
    ),
    ("project", "\"huggingface\"", NO_TRACKIO),
    ("trackio_space_id", "null", NO_TRACKIO),
    ("trackio_bucket_id", "null", NO_TRACKIO),
    ("trackio_static_space_id", "null", NO_TRACKIO),
    (
        "include_num_input_tokens_seen",
        "\"no\"",
        "trainer_state.json always has num_input_tokens_seen",
    ),
    ("batch_eval_metrics", "false", NO_METRICS),
    ("include_for_metrics", "[]", NO_METRICS),
    (
        "restore_callback_states_from_checkpoint",
        "false",
        "a resumed run always takes over the counts of early stopping, and callbacks have no state",
    ),
    ("save_safetensors", "true", "models are written as safetensors only"),
    ("push_to_hub", "false", NO_HUB),
    ("hub_model_id", "null", NO_HUB),
    ("hub_strategy", "\"every_save\"", NO_HUB),
    ("hub_token", "null", NO_HUB),
    ("hub_private_repo", "null", NO_HUB),
    ("hub_always_push", "false", NO_HUB),
    ("hub_revision", "null", NO_HUB),
    ("label_names", "null", "the label is the column label, labels, score or scores"),
    ("train_sampling_strategy", "\"random\"", ORDER),
    ("group_by_length", "false", ORDER),
    ("length_column_name", "\"length\"", ORDER),
    ("fsdp", "null", ONE_MACHINE),
    ("fsdp_config", "null", ONE_MACHINE),
    ("deepspeed", "null", ONE_MACHINE),
    ("accelerator_config", "null", ONE_MACHINE),
    ("parallelism_config", "null", ONE_MACHINE),
    ("debug", "\"\"", "its checks are for several processes; a run checks losses and gradients"),
    ("router_mapping", "{}", "models have one path for all inputs, no Router"),
];

/// Why a schedule of transformers is not one of [`LearningRateScheduler`].
///
/// [`LearningRateScheduler`]: crate::arguments::choices::LearningRateScheduler
pub(super) const NO_GREEDY: &str = "greedy is not supported, as the rate of a step would depend on \
                                    evaluations in both directions; reduce_lr_on_plateau lowers it";
