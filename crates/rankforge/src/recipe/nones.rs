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
const OF_DATA: [&str; 4] = ["split", "columns", "limit", "shuffle_buffer"];

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

#[cfg(test)]
mod tests {
    use crate::recipe::parse::Recipe;

    #[test]
    fn none_is_spelled_as_a_text() {
        let text = "[model]\npath = \"m\"\nmax_length = \"none\"\n[dataset]\npath = \"d\"\n\
                    split = \"None\"\n[mining]\nmodel = \"s\"\nrange_max = \"none\"\n\
                    cross_encoder = \"none\"\n[loss]\nname = \"MultipleNegativesRankingLoss\"\n\
                    num_negatives = \"none\"\n[arguments]\nsave_total_limit = \"none\"\n\
                    report_to = \"none\"\n[[evaluators]]\n\
                    type = \"CrossEncoderCorrelationEvaluator\"\npath = \"e\"\n\
                    batch_size = \"none\"\n";
        let recipe = Recipe::parse("r.toml", text, &[]).unwrap();
        assert_eq!(recipe.train_sets[0].rows.split, None);
        assert_eq!(recipe.mining.unwrap().options.range_max, None);
        assert_eq!(recipe.losses[0].loss.config()["num_negatives"], serde_json::Value::Null);
        assert_eq!(recipe.arguments.save_total_limit, None);
        for (field, expected) in [
            ("mining.num_negatives=None", "expected a whole number, got \"None\""),
            ("arguments.seed=none", "expected a whole number, got \"none\""),
        ] {
            let error = Recipe::parse("r.toml", text, &[field.parse().unwrap()]).err().unwrap();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn the_default_loss_of_several_labels_is_cross_entropy() {
        let loss = |model: &str| {
            let text = format!("[model]\npath = \"m\"\n{model}\n[dataset]\npath = \"d\"\n");
            Recipe::parse("r.toml", &text, &[]).unwrap().losses[0].loss.name()
        };
        assert_eq!(loss(""), "BinaryCrossEntropyLoss");
        assert_eq!(loss("num_labels = 1"), "BinaryCrossEntropyLoss");
        assert_eq!(loss("num_labels = 3"), "CrossEntropyLoss");
    }
}
