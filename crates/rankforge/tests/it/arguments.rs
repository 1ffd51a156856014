//! Training arguments: names, defaults, former names, and checks of values.

use rankforge::Precision;
use rankforge::training::{
    BatchSampler, IntervalStrategy, ResumeFrom, SaveStrategy, Steps, TrainingArguments,
};
use serde_json::{Value, json};

fn read(value: Value) -> Result<(TrainingArguments, Vec<String>), String> {
    TrainingArguments::from_map(value.as_object().expect("an object"))
        .map_err(|error| error.to_string())
}

#[test]
fn the_notebooks_arguments_are_read() {
    let (arguments, warnings) = read(json!({
        "output_dir": "models/reranker-MiniLM-msmarco-v1",
        "num_train_epochs": 1,
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 16,
        "learning_rate": 2e-5,
        "warmup_ratio": 0.1,
        "fp16": true,
        "bf16": false,
        "batch_sampler": "no_duplicates",
        "eval_strategy": "steps",
        "eval_steps": 100,
        "save_strategy": "steps",
        "save_steps": 100,
        "save_total_limit": 2,
        "logging_steps": 100,
        "run_name": "reranker-MiniLM-msmarco-v1",
    }))
    .unwrap();
    assert_eq!(warnings, ["warmup_ratio is now called warmup_steps"]);
    let expected = TrainingArguments {
        output_dir: "models/reranker-MiniLM-msmarco-v1".into(),
        num_train_epochs: 1.0,
        per_device_train_batch_size: 16,
        per_device_eval_batch_size: 16,
        learning_rate: 2e-5,
        warmup_steps: Steps::Ratio(0.1),
        fp16: true,
        batch_sampler: BatchSampler::NoDuplicates,
        eval_strategy: IntervalStrategy::Steps,
        eval_steps: Some(Steps::Count(100)),
        save_strategy: SaveStrategy::Steps,
        save_steps: Steps::Count(100),
        save_total_limit: Some(2),
        logging_steps: Steps::Count(100),
        run_name: Some("reranker-MiniLM-msmarco-v1".to_owned()),
        ..TrainingArguments::default()
    };
    assert_eq!(arguments, expected);
}

#[test]
fn an_unknown_name_suggests_the_nearest() {
    let message = read(json!({"learning_rat": 1e-5})).unwrap_err();
    assert!(message.contains("did you mean learning_rate?"), "{message}");
    let message = read(json!({"xyzzy": 1})).unwrap_err();
    assert!(message.contains("xyzzy") && !message.contains("did you mean"), "{message}");
}

#[test]
fn unsupported_features_are_errors_unless_they_have_their_default() {
    let defaults = json!({
        "torch_compile": false, "deepspeed": null, "fsdp": null,
        "push_to_hub": false, "report_to": "none", "gradient_checkpointing": false,
        "optim": "adamw_torch", "neftune_noise_alpha": null, "router_mapping": {},
        "multi_dataset_batch_sampler": "proportional", "label_smoothing_factor": 0.0,
    });
    let (arguments, warnings) = read(defaults).unwrap();
    assert_eq!((arguments, warnings.len()), (TrainingArguments::default(), 0));
    for (name, value) in [
        ("deepspeed", json!("ds.json")),
        ("push_to_hub", json!(true)),
        ("project", json!("p")),
        ("neftune_noise_alpha", json!(5)),
        ("save_safetensors", json!(false)),
    ] {
        let message = read(json!({name: value})).unwrap_err();
        assert!(message.contains(name) && message.contains("it is not supported, as"), "{message}");
    }
}

/// The fields of `CrossEncoderTrainingArguments` of sentence-transformers 6.2 (transformers 5.23),
/// each with a value that is not its default.
const OF_TRANSFORMERS: &str = r#"{
    "output_dir": "run", "per_device_train_batch_size": 2, "num_train_epochs": 1.0,
    "max_steps": 3, "learning_rate": 1e-3, "lr_scheduler_type": "cosine",
    "lr_scheduler_kwargs": {"num_cycles": 1}, "warmup_steps": 3, "optim": "sgd",
    "optim_args": "momentum=0.5", "weight_decay": 0.1, "adam_beta1": 0.8, "adam_beta2": 0.99,
    "adam_epsilon": 1e-6, "optim_target_modules": "all", "gradient_accumulation_steps": 2,
    "average_tokens_across_devices": false, "max_grad_norm": 2.0, "label_smoothing_factor": 0.1,
    "bf16": true, "fp16": true, "bf16_full_eval": true, "fp16_full_eval": true, "tf32": true,
    "activation_checkpointing": true, "activation_checkpointing_kwargs": {"every_n_layers": 2},
    "gradient_checkpointing": true, "gradient_checkpointing_kwargs": {"use_reentrant": false},
    "torch_compile": true, "torch_compile_backend": "inductor", "torch_compile_mode": "x",
    "use_liger_kernel": true, "liger_kernel_config": {"rope": true}, "use_cache": true,
    "neftune_noise_alpha": 5, "torch_empty_cache_steps": 4, "auto_find_batch_size": true,
    "logging_strategy": "epoch", "logging_steps": 5, "logging_first_step": true,
    "log_on_each_node": false, "logging_nan_inf_filter": false,
    "include_num_input_tokens_seen": "all", "log_level": "info", "log_level_replica": "info",
    "disable_tqdm": true, "report_to": "wandb", "run_name": "r", "project": "p",
    "trackio_space_id": "t", "trackio_bucket_id": "t", "trackio_static_space_id": "t",
    "eval_strategy": "epoch", "eval_steps": 5, "eval_delay": 1, "per_device_eval_batch_size": 2,
    "prediction_loss_only": false, "eval_on_start": true, "eval_do_concat_batches": false,
    "eval_use_gather_object": true, "eval_accumulation_steps": 2,
    "include_for_metrics": ["loss"], "batch_eval_metrics": true, "save_only_model": true,
    "save_strategy": "epoch", "save_steps": 5, "save_on_each_node": true, "save_total_limit": 2,
    "enable_jit_checkpoint": true, "push_to_hub": true, "hub_token": "t",
    "hub_private_repo": true, "hub_model_id": "m", "hub_strategy": "end",
    "hub_always_push": true, "hub_revision": "r", "load_best_model_at_end": true,
    "metric_for_best_model": "loss", "greater_is_better": true, "ignore_data_skip": true,
    "restore_callback_states_from_checkpoint": true, "full_determinism": true, "seed": 1,
    "data_seed": 1, "use_cpu": true, "accelerator_config": {"split_batches": true},
    "parallelism_config": {"tp": 2}, "dataloader_drop_last": true, "dataloader_num_workers": 2,
    "dataloader_pin_memory": false, "dataloader_persistent_workers": true,
    "dataloader_prefetch_factor": 2, "dataloader_multiprocessing_context": "spawn",
    "dataloader_in_order": false, "remove_unused_columns": false, "label_names": ["y"],
    "train_sampling_strategy": "group_by_length", "length_column_name": "n",
    "ddp_find_unused_parameters": true, "ddp_bucket_cap_mb": 3, "ddp_broadcast_buffers": true,
    "ddp_static_graph": true, "ddp_backend": "gloo", "ddp_timeout": 3, "fsdp": "full_shard",
    "fsdp_config": {"x": 1}, "deepspeed": "ds.json", "debug": "underflow_overflow",
    "skip_memory_metrics": false, "do_train": true, "do_eval": true, "do_predict": true,
    "resume_from_checkpoint": "c", "local_rank": 1, "prompts": "p",
    "batch_sampler": "no_duplicates", "multi_dataset_batch_sampler": "round_robin",
    "router_mapping": {"a": "b"}, "learning_rate_mapping": {"a": 1e-3}, "warmup_ratio": 0.1
}"#;

#[test]
fn every_argument_of_transformers_is_supported_or_without_effect_or_refused_with_a_reason() {
    let all: serde_json::Map<String, Value> = serde_json::from_str(OF_TRANSFORMERS).unwrap();
    assert_eq!(all.len(), 120);
    let (mut supported, mut without_effect, mut refused) = (0, 0, 0);
    for (name, value) in &all {
        let what = format!("{name} = {value}");
        // Some need others beside them.
        let companions = match name.as_str() {
            "load_best_model_at_end" => json!({"eval_strategy": "epoch", "save_strategy": "epoch"}),
            "auto_find_batch_size" => json!({"max_memory": "1 GB"}),
            "optim_args" => json!({"optim": "sgd"}),
            "lr_scheduler_kwargs" => json!({"lr_scheduler_type": "cosine"}),
            _ => json!({}),
        };
        let mut given = companions.as_object().unwrap().clone();
        // The memory alone is refused, as it has no use.
        let (without, _) = read(Value::Object(given.clone())).unwrap_or_default();
        given.insert(name.clone(), value.clone());
        match read(Value::Object(given)) {
            Ok((arguments, warnings)) if arguments == without => {
                assert_eq!(warnings.len(), 1, "{what} is ignored without a word");
                assert!(warnings[0].starts_with(&format!("{what} has no effect: ")), "{what}");
                without_effect += 1;
            }
            Ok(_) => supported += 1,
            Err(message) => {
                assert!(message.starts_with(&format!("{name}: expected ")), "{message}");
                assert!(message.contains(" as "), "{what} is refused without a reason: {message}");
                refused += 1;
            }
        }
        assert!(TrainingArguments::names().contains(name), "{name} is no known name");
    }
    assert_eq!((supported, without_effect, refused), (48, 44, 28));
}

#[test]
fn bf16_and_fp16_exclude_each_other() {
    let precision = |value| read(value).map(|(arguments, _)| arguments.precision());
    assert_eq!(precision(json!({"bf16": false, "fp16": false})), Ok(Precision::Float32));
    assert_eq!(precision(json!({"bf16": true})), Ok(Precision::BFloat16));
    assert_eq!(precision(json!({"bf16": false, "fp16": true})), Ok(Precision::Float16));
    let message = precision(json!({"bf16": true, "fp16": true})).unwrap_err();
    assert!(message.contains("bf16") && message.contains("fp16"), "{message}");
    let message = precision(json!({"fp16": "yes"})).unwrap_err();
    assert!(message.starts_with("fp16"), "{message}");
}

#[test]
fn full_eval_arguments_have_no_effect_during_training() {
    // transformers' Trainer casts the model only for evaluations outside training.
    for name in ["bf16_full_eval", "fp16_full_eval"] {
        let (arguments, warnings) = read(json!({name: true})).unwrap();
        assert_eq!(arguments, TrainingArguments::default());
        assert!(warnings[0].starts_with(&format!("{name} = true has no effect")), "{warnings:?}");
        assert!(read(json!({name: false})).unwrap().1.is_empty());
    }
}

#[test]
fn arguments_without_effect_are_accepted_with_a_warning() {
    let (arguments, warnings) =
        read(json!({"dataloader_num_workers": 4, "use_cpu": true, "tf32": null})).unwrap();
    assert_eq!(arguments, TrainingArguments::default());
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("dataloader_num_workers = 4 has no effect"), "{warnings:?}");
}

#[test]
fn former_names_are_read_with_a_warning_but_not_together_with_present_ones() {
    let (arguments, warnings) = read(json!({"evaluation_strategy": "epoch"})).unwrap();
    assert_eq!(arguments.eval_strategy, IntervalStrategy::Epoch);
    assert_eq!(warnings, ["evaluation_strategy is now called eval_strategy"]);
    let message = read(json!({"evaluation_strategy": "epoch", "eval_strategy": "no"})).unwrap_err();
    assert!(message.contains("same argument"), "{message}");
    let (arguments, _) = read(json!({"warmup_ratio": 0.2, "warmup_steps": 0})).unwrap();
    assert_eq!(arguments.warmup_steps, Steps::Ratio(0.2));
    assert!(read(json!({"warmup_ratio": 0.2, "warmup_steps": 10})).is_err());
    assert!(read(json!({"warmup_ratio": 1.0})).is_err(), "a ratio of 1 would be read as one step");
}

#[test]
fn a_value_of_the_wrong_type_is_an_error_that_names_the_field() {
    for (name, value) in [
        ("num_train_epochs", json!("three")),
        ("batch_sampler", json!("by_label")),
        ("lr_scheduler_type", json!("plateau")),
        ("per_device_train_batch_size", json!(-1)),
        ("prompts", json!({"query": 3})),
        ("multi_dataset_batch_sampler", json!("in_turn")),
        ("seed", json!(0.5)),
    ] {
        let message = read(json!({name: value})).unwrap_err();
        assert!(message.starts_with(name), "{message}");
    }
}

#[test]
fn invalid_values_are_errors() {
    for (name, value) in [
        ("per_device_train_batch_size", json!(0)),
        ("gradient_accumulation_steps", json!(0)),
        ("save_total_limit", json!(0)),
        ("learning_rate", json!(-1e-5)),
        ("adam_beta1", json!(1.0)),
        ("num_train_epochs", json!(0)),
        ("warmup_steps", json!(1.5)),
        ("warmup_steps", json!(-1)),
        ("logging_steps", json!(0)),
        ("save_steps", json!(0)),
        ("save_steps", json!(2.5)),
    ] {
        let message = read(json!({name: value})).unwrap_err();
        assert!(message.starts_with(name), "{message}");
    }
    // An argument that is not used is not checked.
    assert!(read(json!({"save_steps": 0, "save_strategy": "no"})).is_ok());
}

#[test]
fn loading_the_best_model_needs_an_evaluation_at_every_checkpoint() {
    let best = |mut options: Value| {
        options["load_best_model_at_end"] = json!(true);
        read(options)
    };
    assert!(best(json!({})).unwrap_err().starts_with("eval_strategy"));
    assert!(best(json!({"eval_strategy": "epoch"})).unwrap_err().starts_with("save_strategy"));
    let steps = |eval: Value, save: Value| {
        best(json!({"eval_strategy": "steps", "eval_steps": eval, "save_steps": save}))
    };
    assert!(steps(json!(100), json!(200)).is_ok());
    assert!(steps(json!(100), json!(150)).unwrap_err().starts_with("save_steps"));
    assert!(steps(json!(0.1), json!(0.3)).is_ok());
    assert!(steps(json!(0.1), json!(0.25)).is_err());
    assert!(steps(json!(0.1), json!(10)).is_err());
    assert!(
        best(json!({"eval_strategy": "steps", "eval_steps": 7, "save_strategy": "best"})).is_ok()
    );
    assert!(read(json!({"save_strategy": "best"})).unwrap_err().starts_with("eval_strategy"));
}

#[test]
fn the_best_metric_follows_the_rules_of_transformers() {
    let (mut arguments, _) = read(json!({})).unwrap();
    assert_eq!(arguments.best_metric(), None);
    arguments.load_best_model_at_end = true;
    assert_eq!(arguments.best_metric().as_deref(), Some("eval_loss"));
    assert!(!arguments.greater_is_better());
    arguments.metric_for_best_model = Some("dev_map".to_owned());
    assert_eq!(arguments.best_metric().as_deref(), Some("eval_dev_map"));
    assert!(arguments.greater_is_better());
    arguments.greater_is_better = Some(false);
    assert!(!arguments.greater_is_better());
}

#[test]
fn non_default_lists_the_arguments_that_differ_from_their_defaults() {
    let (arguments, _) = read(json!({"seed": 7, "learning_rate": 5e-5})).unwrap();
    assert_eq!(Value::Object(arguments.non_default()), json!({"seed": 7}));
}

#[test]
fn a_mapping_may_be_a_string_of_json() {
    let (arguments, _) = read(json!({"learning_rate_mapping": "{\"classifier\": 1e-3}"})).unwrap();
    assert_eq!(arguments.learning_rate_mapping["classifier"], 1e-3);
}

#[cfg(unix)]
#[test]
fn paths_that_are_not_utf_8_are_refused_before_a_run_and_no_reason_to_panic() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let path = std::path::PathBuf::from(OsStr::from_bytes(b"b\xffd"));
    let arguments = TrainingArguments { output_dir: path.clone(), ..TrainingArguments::default() };
    assert_eq!(arguments.to_map()["output_dir"], "b\u{fffd}d");
    let message = arguments.validate().unwrap_err().to_string();
    assert_eq!(message, "output_dir: expected a path in UTF-8, got b\u{fffd}d");
    let resume_from_checkpoint = Some(ResumeFrom::Path(path));
    let arguments = TrainingArguments { resume_from_checkpoint, ..TrainingArguments::default() };
    assert_eq!(arguments.to_map()["resume_from_checkpoint"], "b\u{fffd}d");
    let message = arguments.validate().unwrap_err().to_string();
    assert!(message.starts_with("resume_from_checkpoint: expected a path in UTF-8"), "{message}");
}
