//! The names of models and data sets in a card.

use crate::model_card::data::{DatasetName, ModelCardData};
use rankforge_encoder::{ModelKind, TextModel};
use rankforge_kernels::ops::Similarity;

/// Maximum length in bytes of a list of names. The card shows their number instead of a longer
/// list.
const LONGEST_DATASET_NAMES: usize = 200;

/// Number of output labels of a cross-encoder; `None` for a dual encoder.
pub(super) fn num_labels(model: &dyn TextModel) -> Option<usize> {
    let outputs = model.model().architecture().output_columns();
    (model.kind() == ModelKind::CrossEncoder).then_some(outputs)
}

/// Embedding dimension of a dual encoder, after truncation.
pub(super) fn dimension(model: &dyn TextModel) -> usize {
    let columns = model.model().architecture().output_columns();
    let fields = model.config_fields();
    let truncated = fields.iter().find(|(name, _)| *name == "truncate_dim");
    let truncated = truncated.and_then(|(_, value)| value.as_u64());
    truncated.map_or(columns, |dimension| columns.min(dimension as usize))
}

/// The similarity function of a dual encoder, in words.
pub(super) fn similarity(model: &dyn TextModel) -> Option<&'static str> {
    Some(match model.as_embed()?.similarity() {
        Similarity::Cosine => "Cosine Similarity",
        Similarity::Dot => "Dot Product",
        Similarity::Euclidean => "Euclidean Distance",
        Similarity::Manhattan => "Manhattan Distance",
    })
}

/// The title: the given name, or one built from kind, base model and data sets.
pub(super) fn title(model: &dyn TextModel, data: &ModelCardData, datasets: &[String]) -> String {
    if let Some(name) = &data.model_name {
        return name.clone();
    }
    let kind = model.kind().to_string();
    match (&*shown_model(model.base_model()), datasets) {
        ("", _) => kind,
        (base, []) => format!("{kind} based on {base}"),
        (base, _) => {
            let names: Vec<&str> =
                data.train_datasets.iter().filter_map(|dataset| dataset.name.as_deref()).collect();
            format!("{kind} based on {base} finetuned on {}", joined_names(&names))
        }
    }
}

/// Joins names as `a`, `a and b` or `a, b and c`. Gives their number when the result is too long.
pub(super) fn joined_names(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let joined = match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    };
    if joined.len() > LONGEST_DATASET_NAMES { names.len().to_string() } else { joined }
}

/// A data set's name, as a Markdown link when it is on the Hub; `None` without a name.
pub(super) fn dataset_link(dataset: &DatasetName) -> Option<String> {
    let name = dataset.name.as_ref().or(dataset.id.as_ref())?;
    Some(match &dataset.id {
        Some(id) => format!("[{name}](https://huggingface.co/datasets/{id})"),
        None => name.clone(),
    })
}

/// A Markdown link for a model on the Hub; the name of a local one in backticks.
pub(super) fn model_link(name: &str) -> String {
    match is_on_hub(name) {
        true => format!("[{name}](https://huggingface.co/{name})"),
        false => format!("`{}`", shown_model(name)),
    }
}

/// The name of a model as a card shows it: a path says nothing to readers of the card, but where
/// its owner keeps files.
fn shown_model(name: &str) -> String {
    match std::path::Path::new(name).file_name() {
        Some(last) if !is_on_hub(name) => last.to_string_lossy().into_owned(),
        _ => name.to_owned(),
    }
}

/// Whether a model has a name as on the Hub: `models/bert` looks like one, but may be a local
/// directory.
pub(super) fn is_on_hub(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let named = parts.iter().all(|part| !part.is_empty() && !part.starts_with('.'));
    parts.len() == 2 && named && !std::path::Path::new(name).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_joined_or_counted() {
        assert_eq!(joined_names(&["a", "b", "c"]), "a, b and c");
        let long = vec!["name of a data set"; 20];
        assert_eq!(joined_names(&long), "20");
    }

    #[test]
    fn a_local_path_is_not_a_link() {
        assert_eq!(model_link("org/name"), "[org/name](https://huggingface.co/org/name)");
        assert_eq!(model_link("/models/org/name"), "`name`");
        assert_eq!(model_link("./name"), "`name`");
    }
}
