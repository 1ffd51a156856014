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
        ("torch_compile", json!(true)),
        ("deepspeed", json!("ds.json")),
        ("push_to_hub", json!(true)),
        ("report_to", json!("wandb")),
        ("report_to", json!(["wandb"])),
        ("gradient_checkpointing", json!(true)),
        ("neftune_noise_alpha", json!(5)),
        ("save_safetensors", json!(false)),
    ] {
        let message = read(json!({name: value})).unwrap_err();
        assert!(message.contains(name) && message.contains("not supported yet"), "{message}");
    }
    let message = read(json!({"optim": "adafactor"})).unwrap_err();
    assert!(message.contains("adamw_torch"), "{message}");
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
        ("batch_sampler", json!("group_by_label")),
        ("lr_scheduler_type", json!("reduce_lr_on_plateau")),
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
