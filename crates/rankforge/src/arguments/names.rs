//! The names of training arguments: those with a field, and those of `without_field`.

use crate::arguments::optimizer_names::expected_optimizer;
use crate::arguments::training_arguments::TrainingArguments;
use crate::arguments::without_field::{ALIASES, NO_GREEDY, RENAMED, UNSUPPORTED, WITHOUT_EFFECT};
use crate::error::Error;
use crate::value_types::wrong_type;
use rankforge_base::nearest;
use serde_json::{Map, Value, json};

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
            } else if !RENAMED.iter().chain(ALIASES).any(|(old, _)| old == name) {
                without_field(name, value, &names, &mut warnings)?;
            }
        }
        for (old, new) in RENAMED {
            match map.get(*old) {
                None | Some(Value::Null) => {}
                Some(value) => rename(old, new, value, &mut known, &mut warnings)?,
            }
        }
        for (alias, name) in ALIASES {
            if let Some(value) = map.get(*alias).filter(|value| !value.is_null()) {
                known.entry(*name).or_insert_with(|| value.clone());
            }
        }
        let arguments = deserialize(known)?;
        arguments.validate()?;
        warnings.extend(arguments.unread());
        Ok((arguments, warnings))
    }
}

impl TrainingArguments {
    /// Warnings about arguments of AdamW that another optimizer does not read.
    fn unread(&self) -> impl Iterator<Item = String> {
        let (given, optim) = (self.non_default(), self.to_map()["optim"].clone());
        self.without_use().iter().filter_map(move |name| {
            let value = given.get(*name)?;
            Some(format!("{name} = {value} has no effect: {optim} does not read it"))
        })
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
    if let Some((_, default, reason)) = UNSUPPORTED.iter().find(|(known, ..)| *known == name) {
        // Null and false both mean that the feature is off.
        let off = matches!(value, Value::Null | Value::Bool(false)) && *default != "true";
        if is_default(value, default) || off {
            return Ok(());
        }
        let expected = format!("{default}: it is not supported, as {reason}");
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
    let unsupported = UNSUPPORTED.iter().map(|(name, ..)| *name);
    let renamed = renamed.chain(ALIASES.iter().map(|(alias, _)| *alias));
    renamed.chain(without_effect).chain(unsupported)
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
            ("gradient_checkpointing" | "auto_find_batch_size", Value::Null) => json!(false),
            ("lr_scheduler_type", Value::String(text)) if text == "greedy" => {
                return Err(Error::argument(&name, "another schedule", NO_GREEDY));
            }
            ("optim", Value::Null) => complete[&name].clone(),
            _ => value,
        };
        let single = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
        if let Err(error) = serde_json::from_value::<TrainingArguments>(single) {
            let expected = match (name.as_str(), &value) {
                ("optim", Value::String(optimizer)) => expected_optimizer(optimizer),
                _ => expected_by(&error),
            };
            return Err(Error::argument(&name, expected, value));
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
