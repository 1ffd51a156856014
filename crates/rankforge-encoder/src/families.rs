//! One file for each family: its config fields, tensor names and head.

mod bert;
mod builder;
mod distilbert;
mod fields;
mod modernbert;
mod mpnet;
mod roberta;

use crate::{Architecture, EncoderError, Task};
use builder::Builder;
use fields::Fields;
use serde_json::Value;
use std::path::Path;

/// What distinguishes a family before its config is read.
struct Family {
    /// Hugging Face `model_type`.
    model_type: &'static str,
    /// What the names of the backbone's tensors start with in a checkpoint with a head.
    prefix: &'static str,
    read: fn(&Fields<'_>, &Task, Builder) -> Result<Architecture, EncoderError>,
}

const FAMILIES: [Family; 7] = [
    Family { model_type: "bert", prefix: "bert.", read: bert::bert },
    Family { model_type: "roberta", prefix: "roberta.", read: roberta::roberta },
    Family { model_type: "xlm-roberta", prefix: "roberta.", read: roberta::xlm_roberta },
    Family { model_type: "distilbert", prefix: "distilbert.", read: distilbert::distilbert },
    Family { model_type: "mpnet", prefix: "mpnet.", read: mpnet::mpnet },
    Family { model_type: "electra", prefix: "electra.", read: bert::electra },
    Family { model_type: "modernbert", prefix: "model.", read: modernbert::modernbert },
];

/// Reads a `config.json` by its `model_type`.
pub(crate) fn read(config: &Value, path: &Path, task: &Task) -> Result<Architecture, EncoderError> {
    let fields = Fields::new(config, path)?;
    let known = || FAMILIES.map(|family| family.model_type).join(", ");
    let model_type = fields.required_string("model_type", &format!("one of {}", known()))?;
    let Some(family) = FAMILIES.iter().find(|family| family.model_type == model_type) else {
        return Err(fields.error("model_type", &format!("one of {}", known())));
    };
    if let Task::SequenceClassification { num_labels: 0 } = task {
        return Err(EncoderError::Input("a classifier needs at least one label, got 0".to_owned()));
    }
    let prefix = match task {
        Task::FeatureExtraction => "",
        Task::SequenceClassification { .. } => family.prefix,
    };
    (family.read)(&fields, task, Builder::new(prefix))
}

/// Other names under which a checkpoint may hold the tensor `name`: with or without the family's
/// prefix, and with the names that layer norms had in TensorFlow.
pub(crate) fn aliases(model_type: &str, name: &str) -> Vec<String> {
    let prefix = FAMILIES
        .iter()
        .find(|family| family.model_type == model_type)
        .map_or("", |family| family.prefix);
    let mut names = vec![name.to_owned()];
    if !prefix.is_empty() {
        names.push(match name.strip_prefix(prefix) {
            Some(bare) => bare.to_owned(),
            None => format!("{prefix}{name}"),
        });
    }
    if model_type == "static" && name == "embedding.weight" {
        // model2vec's name.
        names.push("embeddings".to_owned());
    }
    for index in 0..names.len() {
        if let Some(norm) = names[index].strip_suffix("LayerNorm.weight") {
            names.push(format!("{norm}LayerNorm.gamma"));
        } else if let Some(norm) = names[index].strip_suffix("LayerNorm.bias") {
            names.push(format!("{norm}LayerNorm.beta"));
        }
    }
    names
}

/// Whether a checkpoint's tensor is a constant that older versions wrote out, not a parameter.
pub(crate) fn is_constant(name: &str) -> bool {
    const CONSTANTS: [&str; 3] = ["position_ids", "token_type_ids", "inv_freq"];
    CONSTANTS.iter().any(|constant| {
        name.strip_suffix(constant)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '_']))
    })
}
