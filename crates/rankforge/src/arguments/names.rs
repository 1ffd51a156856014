//! The names of training arguments: those with a field, former names, arguments of features that
//! are not supported yet, and arguments without effect.

use crate::arguments::training_arguments::TrainingArguments;
use crate::error::Error;
use crate::value_types::wrong_type;
use rankforge_base::nearest;
use serde_json::{Map, Value, json};

/// Former names of arguments in transformers and sentence-transformers, with the present ones.
const RENAMED: &[(&str, &str)] = &[
    ("evaluation_strategy", "eval_strategy"),
    ("warmup_ratio", "warmup_steps"),
    ("per_gpu_train_batch_size", "per_device_train_batch_size"),
    ("per_gpu_eval_batch_size", "per_device_eval_batch_size"),
];

/// As in transformers' `Trainer`, these have no effect on evaluations during training.
const FULL_EVAL: &str = "evaluation during training has the precision of the training";

/// Arguments without effect on the result: name, default as JSON, and the reason for the warning.
const WITHOUT_EFFECT: &[(&str, &str, &str)] = &[
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

/// Arguments of features that are not supported yet: name, and default as JSON. Only the default is
/// accepted.
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
    ("router_mapping", "{}"),
];

/// The field of an error for an unknown name; the name itself is the value that the error reports.
const UNKNOWN: &str = "arguments";

impl TrainingArguments {
    /// Every name that [`TrainingArguments::from_map`] accepts.
    pub fn names() -> Vec<String> {
        let fields = TrainingArguments::default().to_map();
        fields
            .into_iter()
            .map(|(name, _)| name)
            .chain(without_fields().map(str::to_owned))
            .collect()
    }

    /// Reads arguments from a map by name. Returns the arguments, and warnings for the user.
    ///
    /// A former name is read as the present one, with a warning. An argument of a feature that is
    /// not supported yet must have its default. An argument without effect may have any value, with
    /// a warning when it is not the default.
    ///
    /// # Errors
    /// An unknown name (the error suggests the nearest known one), a value of the wrong type, a
    /// feature that is not supported yet, or an error of [`TrainingArguments::validate`].
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

/// Checks an argument that has no field; adds a warning when its value has no effect.
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
            _ => Err(Error::argument(
                name,
                "adamw_torch_fused or adamw_torch, which are the same here",
                value,
            )),
        };
    }
    if let Some((_, default)) = UNSUPPORTED.iter().find(|(known, _)| *known == name) {
        // An empty list of trackers, null and false all mean that the feature is off.
        let off = matches!(value, Value::Null | Value::Bool(false)) && *default != "true";
        let empty = value.as_array().is_some_and(Vec::is_empty) && name == "report_to";
        if is_default(value, default) || off || empty {
            return Ok(());
        }
        let expected = format!("{default}, as this feature is not supported yet");
        return Err(Error::argument(name, expected, value));
    }
    let known = names.keys().map(String::as_str).chain(without_fields());
    let expected = match nearest(name, known) {
        Some(nearest) => format!("the name of a training argument (did you mean {nearest}?)"),
        None => "the name of a training argument".to_owned(),
    };
    Err(Error::argument(UNKNOWN, expected, name))
}

/// All accepted names that have no field.
fn without_fields<'a>() -> impl Iterator<Item = &'a str> {
    let renamed = RENAMED.iter().map(|(old, _)| *old);
    let without_effect = WITHOUT_EFFECT.iter().map(|(name, ..)| *name);
    let unsupported = UNSUPPORTED.iter().map(|(name, _)| *name);
    renamed.chain(without_effect).chain(unsupported).chain(["optim"])
}

/// Reads the value of a former name as that of the present one, with a warning.
fn rename(
    old: &str,
    new: &str,
    value: &Value,
    known: &mut Map<String, Value>,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    if old == "warmup_ratio" && !value.as_f64().is_some_and(|ratio| (0.0..1.0).contains(&ratio)) {
        return Err(Error::argument(old, "at least 0 and below 1", value));
    }
    match known.get(new) {
        Some(present) if present.as_f64() == Some(0.0) && old == "warmup_ratio" => {}
        Some(present) => {
            let expected = format!("not both {old} and {new}, which are the same argument");
            return Err(Error::argument(old, expected, format!("{value} and {present}")));
        }
        None => {}
    }
    warnings.push(format!("{old} is now called {new}"));
    known.insert(new.to_owned(), value.clone());
    Ok(())
}

/// Deserializes each field separately first, so that an error can name the field.
fn deserialize(known: Map<String, Value>) -> Result<TrainingArguments, Error> {
    let mut complete = TrainingArguments::default().to_map();
    for (name, value) in known {
        let value = match (name.as_str(), &value) {
            // As in Python, a JSON object in a string is an object.
            ("prompts", Value::String(text)) if text.trim_start().starts_with('{') => {
                serde_json::from_str(text).unwrap_or(value)
            }
            ("learning_rate_mapping" | "lr_scheduler_kwargs", Value::String(text)) => {
                serde_json::from_str(text)
                    .map_err(|_| Error::argument(&name, "a JSON object", &value))?
            }
            ("learning_rate_mapping" | "lr_scheduler_kwargs", Value::Null) => json!({}),
            _ => value,
        };
        let single = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
        if let Err(error) = serde_json::from_value::<TrainingArguments>(single) {
            return Err(Error::argument(&name, expected_by(&error), value));
        }
        complete.insert(name, value);
    }
    serde_json::from_value(Value::Object(complete))
        .map_err(|error| Error::argument("arguments", "usable values", error))
}

/// The type that serde expected, in words.
fn expected_by(error: &serde_json::Error) -> String {
    let message = error.to_string();
    if let Some((expected, _)) = wrong_type(&message) {
        return expected;
    }
    let Some((_, expected)) = message.split_once(", expected ") else { return message };
    // serde_json adds a line and a column, although there is no text.
    expected.split(" at line ").next().unwrap_or(expected).to_owned()
}

fn is_default(value: &Value, default: &str) -> bool {
    let default: Value = serde_json::from_str(default).expect("the tables hold JSON");
    let same_number = value.as_f64().is_some() && value.as_f64() == default.as_f64();
    *value == default || same_number || value.is_null()
}
