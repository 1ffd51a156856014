//! The names of models and data sets in a card.

use crate::model_card::data::{DatasetName, ModelCardData};
use rankforge_encoder::{ModelKind, TextModel};

/// Maximum length of the list of data set names in the first sentence; longer ones are counted
/// instead.
const LONGEST_DATASET_NAMES: usize = 200;

/// Labels of a cross-encoder; `None` for a dual encoder.
pub(super) fn num_labels(model: &dyn TextModel) -> Option<usize> {
    let outputs = model.model().architecture().output_columns();
    (model.kind() == ModelKind::CrossEncoder).then_some(outputs)
}

/// `1234567` as `1,234,567`.
pub(super) fn with_thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The title: the given name, or one made of kind, base model and data sets.
pub(super) fn title(model: &dyn TextModel, data: &ModelCardData, datasets: &[String]) -> String {
    if let Some(name) = &data.model_name {
        return name.clone();
    }
    let kind = model.kind().to_string();
    match (model.base_model(), datasets) {
        ("", _) => kind,
        (base, []) => format!("{kind} based on {base}"),
        (base, _) => {
            let names: Vec<&str> =
                data.train_datasets.iter().filter_map(|dataset| dataset.name.as_deref()).collect();
            format!("{kind} based on {base} finetuned on {}", joined_names(&names))
        }
    }
}

/// `a`, `a and b`, `a, b and c`, or their number when that is too long.
pub(super) fn joined_names(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let joined = match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    };
    if joined.len() > LONGEST_DATASET_NAMES { names.len().to_string() } else { joined }
}

/// A data set's name, as a link when it is on the Hub.
pub(super) fn dataset_link(dataset: &DatasetName) -> Option<String> {
    let name = dataset.name.as_ref().or(dataset.id.as_ref())?;
    Some(match &dataset.id {
        Some(id) => format!("[{name}](https://huggingface.co/datasets/{id})"),
        None => name.clone(),
    })
}

/// A link for a name on the Hub; a local path unchanged.
pub(super) fn model_link(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    let hub =
        parts.len() == 2 && parts.iter().all(|part| !part.is_empty() && !part.starts_with('.'));
    // `models/bert` looks like a name on the Hub, but is a local directory.
    if hub && !std::path::Path::new(name).exists() {
        format!("[{name}](https://huggingface.co/{name})")
    } else {
        format!("`{name}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let shown: Vec<String> = [7, 100, 1000, 1_234_567].map(with_thousands).to_vec();
        assert_eq!(shown, ["7", "100", "1,000", "1,234,567"]);
    }

    #[test]
    fn names_are_joined_until_they_are_too_many() {
        assert_eq!(joined_names(&["a", "b", "c"]), "a, b and c");
        let long = vec!["name of a data set"; 20];
        assert_eq!(joined_names(&long), "20");
    }

    #[test]
    fn a_local_path_is_no_link() {
        assert_eq!(model_link("org/name"), "[org/name](https://huggingface.co/org/name)");
        assert_eq!(model_link("/models/org/name"), "`/models/org/name`");
        assert_eq!(model_link("./name"), "`./name`");
    }
}
