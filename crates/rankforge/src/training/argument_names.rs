//! Which argument names there are: ours, old names, names of features that are not there yet, and
//! names that change nothing here.

use crate::Error;
use crate::training::TrainingArguments;
use serde_json::{Map, Value, json};

/// Old names of arguments, as transformers or sentence-transformers had them.
const RENAMED: &[(&str, &str)] = &[
    ("evaluation_strategy", "eval_strategy"),
    ("warmup_ratio", "warmup_steps"),
    ("per_gpu_train_batch_size", "per_device_train_batch_size"),
    ("per_gpu_eval_batch_size", "per_device_eval_batch_size"),
];

/// The Trainer, too, ignores these while it trains.
const FULL_EVAL: &str = "evaluation during training has the precision of the training";

/// Arguments whose value changes nothing in the result here, and why.
const WITHOUT_EFFECT: &[(&str, &str, &str)] = &[
    ("dataloader_num_workers", "0", "the next batch is always tokenised on a thread of its own"),
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
    ("use_cpu", "false", "training runs on the CPU"),
    ("no_cuda", "false", "training runs on the CPU"),
    ("use_mps_device", "false", "training runs on the CPU"),
    ("tf32", "null", "no unit here computes in tf32"),
    ("bf16_full_eval", "false", FULL_EVAL),
    ("fp16_full_eval", "false", FULL_EVAL),
    ("remove_unused_columns", "true", "every column is an input or the label"),
    ("prediction_loss_only", "true", "evaluation keeps no model output in any case"),
    ("overwrite_output_dir", "false", "checkpoints of the same step are always replaced"),
    ("logging_dir", "null", "the log is in trainer_state.json"),
    ("log_level", "\"passive\"", "the command line decides what is shown"),
    ("log_level_replica", "\"warning\"", "there is one process"),
    ("log_on_each_node", "true", "there is one process"),
    ("save_on_each_node", "false", "there is one process"),
    ("average_tokens_across_devices", "true", "there is one device"),
    ("local_rank", "-1", "there is one process"),
    ("ddp_timeout", "1800", "there is one process"),
    ("ddp_find_unused_parameters", "null", "there is one process"),
    ("ddp_broadcast_buffers", "null", "there is one process"),
    ("do_train", "false", "the command says what is done"),
    ("do_eval", "false", "eval_strategy says when the model is evaluated"),
    ("do_predict", "false", "the command says what is done"),
    ("skip_memory_metrics", "true", "memory is not logged"),
    ("use_cache", "false", "encoders have no cache"),
    ("half_precision_backend", "\"auto\"", "there is one way to compute in half precision"),
    ("fp16_opt_level", "\"O1\"", "there is one way to compute in half precision"),
    ("jit_mode_eval", "false", "there is no graph to trace"),
    ("torchdynamo", "null", "there is no graph to compile"),
    ("tpu_num_cores", "null", "training runs on the CPU"),
    ("past_index", "-1", "encoders have no past states"),
    ("optim_args", "null", "AdamW has its own arguments"),
];

/// Arguments of features that are not there yet; only their defaults are accepted.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("torch_compile", "false"),
    ("torch_compile_backend", "null"),
    ("torch_compile_mode", "null"),
    ("use_liger_kernel", "false"),
    ("gradient_checkpointing", "null"),
    ("gradient_checkpointing_kwargs", "null"),
    ("activation_checkpointing", "null"),
    ("torch_empty_cache_steps", "null"),
    ("auto_find_batch_size", "false"),
    ("eval_accumulation_steps", "null"),
    ("optim_target_modules", "null"),
    ("label_smoothing_factor", "0"),
    ("neftune_noise_alpha", "null"),
    ("disable_tqdm", "null"),
    ("report_to", "\"none\""),
    ("project", "\"huggingface\""),
    ("trackio_space_id", "null"),
    ("include_num_input_tokens_seen", "\"no\""),
    ("batch_eval_metrics", "false"),
    ("include_for_metrics", "[]"),
    ("eval_do_concat_batches", "true"),
    ("eval_use_gather_object", "false"),
    ("enable_jit_checkpoint", "false"),
    ("restore_callback_states_from_checkpoint", "false"),
    ("save_safetensors", "true"),
    ("push_to_hub", "false"),
    ("hub_model_id", "null"),
    ("hub_strategy", "\"every_save\""),
    ("hub_token", "null"),
    ("hub_private_repo", "null"),
    ("hub_always_push", "false"),
    ("hub_revision", "null"),
    ("label_names", "null"),
    ("train_sampling_strategy", "\"random\""),
    ("group_by_length", "false"),
    ("length_column_name", "\"length\""),
    ("ddp_backend", "null"),
    ("ddp_bucket_cap_mb", "null"),
    ("ddp_static_graph", "null"),
    ("fsdp", "null"),
    ("fsdp_config", "null"),
    ("deepspeed", "null"),
    ("accelerator_config", "null"),
    ("parallelism_config", "null"),
    ("debug", "\"\""),
    ("multi_dataset_batch_sampler", "\"proportional\""),
    ("router_mapping", "{}"),
];

impl TrainingArguments {
    /// Reads arguments by name; the second value holds warnings for the user.
    ///
    /// Old names are read as the new ones with a warning. An argument of a feature that is not
    /// there yet may have its default only. An argument that changes nothing here may have any
    /// value, with a warning when it is not the default.
    ///
    /// # Errors
    /// An unknown name (the nearest known one is suggested), a value of the wrong type, a feature
    /// that is not there yet, or what [`TrainingArguments::validate`] refuses.
    pub fn from_map(map: &Map<String, Value>) -> Result<(TrainingArguments, Vec<String>), Error> {
        let mut warnings = Vec::new();
        let mut known = Map::new();
        let names = TrainingArguments::default().to_map();
        for (name, value) in map {
            if names.contains_key(name) {
                known.insert(name.clone(), value.clone());
            } else if !RENAMED.iter().any(|(old, _)| old == name) {
                without_field(name, value, &names, &mut warnings)?;
            }
        }
        for (old, new) in RENAMED {
            match map.get(*old) {
                None | Some(Value::Null) => {}
                Some(value) => rename(old, new, value, &mut known, &mut warnings)?,
            }
        }
        let arguments = deserialize(known)?;
        arguments.validate()?;
        Ok((arguments, warnings))
    }
}

/// Checks an argument that has no field.
fn without_field(
    name: &str,
    value: &Value,
    names: &Map<String, Value>,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    if let Some((_, default, reason)) = WITHOUT_EFFECT.iter().find(|(known, ..)| *known == name) {
        if !is_default(value, default) {
            warnings.push(format!("{name} = {value} has no effect: {reason}"));
        }
        return Ok(());
    }
    if name == "optim" {
        let adamw = ["adamw_torch_fused", "adamw_torch"];
        return match value.as_str() {
            Some(optimizer) if adamw.contains(&optimizer) => Ok(()),
            _ => Err(argument(name, "adamw_torch_fused or adamw_torch, the one there is", value)),
        };
    }
    if let Some((_, default)) = UNSUPPORTED.iter().find(|(known, _)| *known == name) {
        // An empty list of reporters and a switched-off feature are the default in other words.
        let off = matches!(value, Value::Null | Value::Bool(false)) && *default != "true";
        let empty = value.as_array().is_some_and(Vec::is_empty) && name == "report_to";
        if is_default(value, default) || off || empty {
            return Ok(());
        }
        let expected = format!("{default}, as this feature is not supported yet");
        return Err(argument(name, &expected, value));
    }
    let known = names
        .keys()
        .map(String::as_str)
        .chain(RENAMED.iter().map(|(old, _)| *old))
        .chain(WITHOUT_EFFECT.iter().map(|(name, ..)| *name))
        .chain(UNSUPPORTED.iter().map(|(name, _)| *name))
        .chain(["optim"]);
    let expected = match nearest(name, known) {
        Some(nearest) => format!("the name of a training argument (did you mean {nearest}?)"),
        None => "the name of a training argument".to_owned(),
    };
    Err(argument("arguments", &expected, &json!(name)))
}

fn rename(
    old: &str,
    new: &str,
    value: &Value,
    known: &mut Map<String, Value>,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    if old == "warmup_ratio" && !value.as_f64().is_some_and(|ratio| (0.0..1.0).contains(&ratio)) {
        return Err(argument(old, "at least 0 and below 1", value));
    }
    match known.get(new) {
        Some(present) if present.as_f64() == Some(0.0) && old == "warmup_ratio" => {}
        Some(present) => {
            return Err(Error::Argument {
                field: old.to_owned(),
                expected: format!("not both {old} and {new}, which are the same argument"),
                got: format!("{value} and {present}"),
            });
        }
        None => {}
    }
    warnings.push(format!("{old} is now called {new}"));
    known.insert(new.to_owned(), value.clone());
    Ok(())
}

/// Reads each field by itself, so that an error can name it.
fn deserialize(known: Map<String, Value>) -> Result<TrainingArguments, Error> {
    let mut complete = TrainingArguments::default().to_map();
    for (name, value) in known {
        let value = match (name.as_str(), &value) {
            ("prompts", Value::Object(_)) => {
                let expected =
                    "one text, as prompts of single columns or data sets are not supported";
                return Err(argument(&name, expected, &value));
            }
            ("learning_rate_mapping" | "lr_scheduler_kwargs", Value::String(text)) => {
                serde_json::from_str(text).map_err(|_| argument(&name, "a JSON object", &value))?
            }
            ("learning_rate_mapping" | "lr_scheduler_kwargs", Value::Null) => json!({}),
            _ => value,
        };
        let single = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
        if let Err(error) = serde_json::from_value::<TrainingArguments>(single) {
            return Err(argument(&name, &format!("another value ({error})"), &value));
        }
        complete.insert(name, value);
    }
    serde_json::from_value(Value::Object(complete))
        .map_err(|error| Error::Input(format!("training arguments: {error}")))
}

fn is_default(value: &Value, default: &str) -> bool {
    let default: Value = serde_json::from_str(default).expect("the tables hold JSON");
    let same_number = value.as_f64().is_some() && value.as_f64() == default.as_f64();
    *value == default || same_number || value.is_null()
}

/// The known name nearest to `name`, when one is near at all.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

fn argument(field: &str, expected: &str, got: &Value) -> Error {
    Error::Argument { field: field.to_owned(), expected: expected.to_owned(), got: got.to_string() }
}
