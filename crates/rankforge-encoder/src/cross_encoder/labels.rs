//! The number of labels of a classifier and their names, by the rules of transformers' configs.

use crate::error::EncoderError;
use crate::json;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The number of names in `id2label`; `None` when there is no such field.
pub(super) fn named_labels(config: &Value, path: &Path) -> Result<Option<usize>, EncoderError> {
    const FIELD: &str = "id2label";
    match config.get(FIELD) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(names)) if names.keys().all(|key| label_index(key).is_some()) => {
            Ok(Some(names.len()))
        }
        other => {
            let expected = "an object with an integer for each name";
            Err(json::field_error(path, FIELD, expected, other))
        }
    }
}

/// A key of `id2label`, which is an integer.
fn label_index(key: &str) -> Option<i64> {
    key.trim().parse().ok()
}

/// The number of labels in a config: `num_labels`, which transformers reads but does not write, or
/// else that of the names.
pub(super) fn stored_num_labels(
    config: &Value,
    named: Option<usize>,
    path: &Path,
) -> Result<Option<usize>, EncoderError> {
    const FIELD: &str = "num_labels";
    let Some(value) = config.get(FIELD) else { return Ok(named) };
    if named.is_some_and(|named| value.as_f64() == Some(named as f64)) {
        return Ok(named);
    }
    match json::optional_usize(config, FIELD, path)? {
        Some(number) => Ok(Some(number)),
        None => Err(json::field_error(path, FIELD, json::SIZE, Some(value))),
    }
}

/// The error for a number of labels in a config that no model has.
pub(super) fn unusable_labels(config: &Value, path: &Path) -> EncoderError {
    match config.get("num_labels") {
        None => {
            json::field_error(path, "id2label", "a name for each label", config.get("id2label"))
        }
        number => json::field_error(path, "num_labels", json::SIZE, number),
    }
}

/// Names the labels `LABEL_0`, `LABEL_1`, ... in a config whose names was
/// emptied.
pub(super) fn name_labels(config: &mut Value, num_labels: usize) {
    if config["id2label"].as_object().is_none_or(|names| !names.is_empty()) {
        return;
    }
    let label = |index: usize| format!("LABEL_{index}");
    let names: Map<String, Value> =
        (0..num_labels).map(|index| (index.to_string(), json!(label(index)))).collect();
    let ids: Map<String, Value> =
        (0..num_labels).map(|index| (label(index), json!(index))).collect();
    config["id2label"] = Value::Object(names);
    config["label2id"] = Value::Object(ids);
}

/// The names in `id2label`, or `LABEL_0`, `LABEL_1`, ... where it has none.
pub(super) fn label_names(config: &Value, num_labels: usize) -> Vec<String> {
    let mut labels: Vec<String> = (0..num_labels).map(|index| format!("LABEL_{index}")).collect();
    for (key, name) in config["id2label"].as_object().into_iter().flatten() {
        let label = label_index(key).and_then(|index| usize::try_from(index).ok());
        if let Some(label) = label.and_then(|index| labels.get_mut(index)) {
            match name {
                Value::Null => {}
                Value::String(name) => label.clone_from(name),
                other => *label = other.to_string(),
            }
        }
    }
    labels
}
