//! The table of the supported families.

use crate::architecture::{Architecture, TransformerTask};
use crate::error::EncoderError;
use crate::families::builder::Builder;
use crate::families::fields::Fields;
use crate::families::{bert, distilbert, modernbert, mpnet, roberta};
use crate::json::{LARGEST_SIZE, SIZE};
use serde_json::Value;
use std::path::Path;

/// A family of models.
struct Family {
    /// Hugging Face `model_type`.
    model_type: &'static str,
    /// What the names of the transformer's tensors begin with in a checkpoint that has a head.
    prefix: &'static str,
    /// Reads the config.
    read: fn(&Fields<'_>, &TransformerTask, Builder) -> Result<Architecture, EncoderError>,
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

impl Architecture {
    /// The architecture that a Hugging Face `config.json` describes; `path` is for error messages.
    ///
    /// # Errors
    /// A `model_type` that is missing or not supported (the message lists those that are), another
    /// field that is missing, of the wrong type or not supported, or a `num_labels` of 0 or beyond
    /// 2^24.
    pub fn from_config(
        config: &Value,
        path: &Path,
        task: &TransformerTask,
    ) -> Result<Architecture, EncoderError> {
        read(config, path, task)
    }
}

/// Reads a `config.json` by its `model_type`.
fn read(config: &Value, path: &Path, task: &TransformerTask) -> Result<Architecture, EncoderError> {
    let fields = Fields::new(config, path)?;
    let expected = format!("one of {}", FAMILIES.map(|family| family.model_type).join(", "));
    let model_type = fields.required_string("model_type", &expected)?;
    let Some(family) = FAMILIES.iter().find(|family| family.model_type == model_type) else {
        return Err(fields.error("model_type", &expected));
    };
    for (name, expected) in [
        ("quantization_config", "no value (quantised checkpoints are not supported)"),
        ("per_layer_config", "no value (layers of different shapes are not supported)"),
    ] {
        if fields.get(name).is_some() {
            return Err(fields.error(name, expected));
        }
    }
    if let TransformerTask::SequenceClassification { num_labels } = *task
        && !(1..=LARGEST_SIZE).contains(&num_labels)
    {
        return Err(EncoderError::argument("num_labels", SIZE, num_labels));
    }
    let prefix = match task {
        TransformerTask::FeatureExtraction => "",
        TransformerTask::SequenceClassification { .. } => family.prefix,
    };
    (family.read)(&fields, task, Builder::new(prefix))
}

/// What the names of the transformer's tensors begin with in a checkpoint that has a head.
pub(crate) fn prefix(model_type: &str) -> &'static str {
    let family = FAMILIES.iter().find(|family| family.model_type == model_type);
    family.map_or("", |family| family.prefix)
}

/// The names under which a checkpoint may contain the tensor `name`: as in transformers, with one
/// prefix of the family more or less, and with `gamma` and `beta`, the TensorFlow names of the
/// weight and bias of a layer norm.
pub(crate) fn aliases(model_type: &str, name: &str) -> Vec<String> {
    let prefix = prefix(model_type);
    let mut names = vec![name.to_owned()];
    if !prefix.is_empty() {
        names.extend(name.strip_prefix(prefix).map(str::to_owned));
        names.push(format!("{prefix}{name}"));
    }
    if model_type == "static" && name == "embedding.weight" {
        // The name in files of model2vec.
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

/// Whether a tensor is not a parameter but a constant that older versions of transformers saved.
pub(crate) fn is_constant(name: &str) -> bool {
    const CONSTANTS: [&str; 3] = ["position_ids", "token_type_ids", "inv_freq"];
    CONSTANTS.iter().any(|constant| {
        name.strip_suffix(constant)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '_']))
    })
}
