//! The YAML front matter of a model card.

use crate::model_card::data::{ModelCardData, TrainingReport};
use crate::model_card::names::{is_on_hub, num_labels, title};
use crate::model_card::tables;
use indexmap::IndexMap;
use rankforge_encoder::TextModel;
use serde_json::{Value, json};

/// `pairs` are those of the examples.
pub(super) fn front_matter(
    model: &dyn TextModel,
    data: &ModelCardData,
    report: Option<&TrainingReport<'_>>,
    pairs: &[(String, String)],
) -> String {
    let labels = num_labels(model);
    let mut tags = vec!["sentence-transformers".to_owned()];
    tags.extend(if labels.is_some() {
        vec!["cross-encoder".to_owned(), "reranker".to_owned()]
    } else {
        ["sentence-similarity", "feature-extraction", "dense"].map(str::to_owned).to_vec()
    });
    if model.model().has_adapters() {
        tags.push("lora".to_owned());
    }
    tags.extend(data.tags.iter().cloned());
    if let Some(report) = report {
        let rows: usize = report.train_sets.iter().map(|set| set.rows.len()).sum();
        let mut derived = vec![format!("dataset_size:{rows}"), "generated_from_trainer".to_owned()];
        let losses = report.train_sets.iter().flat_map(|set| set.losses());
        derived.extend(losses.map(|loss| format!("loss:{}", loss.name())));
        derived.sort();
        derived.dedup();
        tags.extend(derived);
    }
    let pipeline = match labels {
        Some(1) => "text-ranking",
        Some(_) => "text-classification",
        None => "sentence-similarity",
    };
    let mut fields: IndexMap<&str, Value> = IndexMap::new();
    match data.language.as_slice() {
        [] => {}
        [one] => drop(fields.insert("language", one.as_str().into())),
        several => drop(fields.insert("language", several.into())),
    }
    if let Some(license) = &data.license {
        fields.insert("license", license.as_str().into());
    }
    fields.insert("tags", tags.into());
    // A local path would mean nothing to readers of the card.
    if is_on_hub(model.base_model()) {
        let relation = if model.model().has_adapters() { "adapter" } else { "finetune" };
        fields.insert("base_model", model.base_model().into());
        fields.insert("base_model_relation", relation.into());
    }
    let ids: Vec<&str> = data.train_datasets.iter().filter_map(|d| d.id.as_deref()).collect();
    if !ids.is_empty() {
        fields.insert("datasets", ids.into());
    }
    fields.insert("pipeline_tag", pipeline.into());
    fields.insert("library_name", "sentence-transformers".into());
    if let (None, [query, ..]) = (labels, pairs) {
        let sentences: Vec<&str> = pairs.iter().map(|pair| &*pair.1).collect();
        let example = json!({"source_sentence": query.0, "sentences": sentences});
        fields.insert("widget", vec![example].into());
    }
    let evaluations = report.map_or(&[][..], |report| report.evaluations);
    if !evaluations.is_empty() {
        fields.insert("metrics", tables::metric_names(evaluations).into());
        let name = data.model_name.clone();
        let name = name.unwrap_or_else(|| title(model, data, &[]));
        fields.insert("model-index", tables::model_index(&name, evaluations));
    }
    let mut yaml = String::new();
    for (name, value) in fields {
        yaml.push_str(&format!("{name}:"));
        push_yaml(&mut yaml, &value, 0);
    }
    yaml
}

/// Appends a value in YAML's block style. Strings are quoted as in JSON, which is valid YAML.
fn push_yaml(yaml: &mut String, value: &Value, indent: usize) {
    let pad = " ".repeat(indent);
    match value {
        Value::Array(items) => {
            yaml.push('\n');
            for item in items {
                yaml.push_str(&format!("{pad}-"));
                push_yaml(yaml, item, indent + 2);
            }
        }
        Value::Object(map) => {
            // The first field of an object in a list is on the line of the dash.
            let mut inline = yaml.ends_with('-');
            if !inline {
                yaml.push('\n');
            }
            for (name, field) in map {
                yaml.push_str(&if inline { " ".to_owned() } else { pad.clone() });
                yaml.push_str(&format!("{name}:"));
                // The dashes of a list are in the column of its key.
                push_yaml(yaml, field, if field.is_array() { indent } else { indent + 2 });
                inline = false;
            }
        }
        Value::String(text) if is_plain(text) => yaml.push_str(&format!(" {text}\n")),
        other => yaml.push_str(&format!(" {other}\n")),
    }
}

/// Whether YAML reads the text without quotes as the same string.
fn is_plain(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || "-_/.".contains(c);
    let inner = |c: char| letters(c) || c == ' ' || c == ':' || c == '@';
    let word = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(letters)
        && text.chars().all(inner)
        && !text.contains(": ")
        && !word.contains(&text.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_in_block_style_and_quotes_strings_where_needed() {
        let mut yaml = "model-index:".to_owned();
        let value = json!([{"name": "a: b", "results": [{"task": {"type": "x"}, "value": 0.5}]}]);
        push_yaml(&mut yaml, &value, 0);
        let expected = "model-index:\n- name: \"a: b\"\n  results:\n  - task:\n      type: x\n    \
                        value: 0.5\n";
        assert_eq!(yaml, expected);
        assert!(!is_plain("no") && !is_plain("- x") && !is_plain("3.5") && is_plain("loss:BCE"));
    }
}
