//! Python's `None` in recipes, which TOML lacks: the text "none".

use crate::arguments::TrainingArguments;
use crate::losses::Settings;
use crate::mining::MiningOptions;
use toml::Value;

/// Whether a text is Python's `None`.
fn is_none(text: &str) -> bool {
    text.eq_ignore_ascii_case("none")
}

/// The optional fields of data sections.
const OF_DATA: [&str; 8] = [
    "split",
    "columns",
    "limit",
    "header",
    "shuffle_buffer",
    "dedup",
    "shuffle_seed",
    "train_test_split",
];

/// The sections without the fields whose value is "none", where leaving a field out means the same:
/// those of models and evaluators, and the optional ones of data sets and mining. `mining_files`
/// are the fields of mining beside its options.
pub(super) fn without_nones(sections: Value, mining_files: &[&str]) -> Value {
    let Value::Table(mut sections) = sections else { return sections };
    let options = MiningOptions::fields();
    let of_mining = |name: &str| match options.iter().find(|field| field.name == name) {
        Some(field) => field.default.is_null(),
        None => mining_files.contains(&name),
    };
    let of_data = |name: &str| OF_DATA.contains(&name);
    for (name, section) in &mut sections {
        match (name.as_str(), section) {
            ("model", section) => remove(section, &|_| true),
            ("dataset" | "eval_dataset", section) => remove(section, &of_data),
            ("datasets" | "eval_datasets", Value::Table(sets)) => {
                sets.iter_mut().for_each(|(_, set)| remove(set, &of_data));
            }
            ("mining", section) => remove(section, &of_mining),
            ("evaluators", Value::Array(evaluators)) => {
                evaluators.iter_mut().for_each(|evaluator| remove(evaluator, &|_| true));
            }
            _ => {}
        }
    }
    Value::Table(sections)
}

/// Removes the optional fields of a section whose value is "none".
fn remove(section: &mut Value, optional: &dyn Fn(&str) -> bool) {
    if let Value::Table(fields) = section {
        fields.retain(|name, value| !(value.as_str().is_some_and(is_none) && optional(name)));
    }
}

/// Replaces "none" by null in the arguments that may have no value.
pub(super) fn nulls_for_nones(arguments: &mut Settings) {
    let defaults = TrainingArguments::default().to_map();
    for (name, value) in arguments {
        let optional = defaults.get(name).is_none_or(serde_json::Value::is_null);
        // The trackers of report_to have a "none" among them.
        if optional && name != "report_to" && value.as_str().is_some_and(is_none) {
            *value = serde_json::Value::Null;
        }
    }
}
