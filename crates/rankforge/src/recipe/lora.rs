//! `[lora]`: low-rank adapters, under the names of peft's `LoraConfig`.

use crate::error::Error;
use crate::recipe::document::Document;
use rankforge_encoder::{EncoderError, LoraConfig, TargetModules, TextModel};
use serde::Deserialize;
use toml::{Table, Value};

/// The fields of [`LoraConfig`] with peft's types.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    r: usize,
    lora_alpha: f64,
    lora_dropout: f64,
    target_modules: Option<Value>,
    modules_to_save: Vec<String>,
    use_rslora: bool,
    bias: String,
    init_lora_weights: Value,
}

impl Default for Section {
    fn default() -> Section {
        let LoraConfig { r, lora_alpha, lora_dropout, use_rslora, init_lora_weights, .. } =
            LoraConfig::default();
        Section {
            r,
            lora_alpha,
            lora_dropout,
            target_modules: None,
            modules_to_save: Vec::new(),
            use_rslora,
            bias: "none".to_owned(),
            init_lora_weights: Value::Boolean(init_lora_weights),
        }
    }
}

/// Fields of peft's `LoraConfig` that are not here, and what to do.
const UNSUPPORTED: [(&str, &str); 19] = [
    ("use_dora", NO_OTHER_ADAPTERS),
    ("use_qalora", NO_OTHER_ADAPTERS),
    ("use_bdlora", NO_OTHER_ADAPTERS),
    ("lora_bias", "adapters have no biases"),
    ("layers_pattern", NAME_LAYERS),
    ("layers_to_transform", NAME_LAYERS),
    ("exclude_modules", NAME_LAYERS),
    ("layer_replication", "layers are not replicated"),
    ("rank_pattern", ONE_SIZE),
    ("alpha_pattern", ONE_SIZE),
    ("fan_in_fan_out", "no supported model has transposed weights"),
    ("target_parameters", "adapters are beside linear layers"),
    ("trainable_token_indices", "tokens are trained with modules_to_save = [\"word_embeddings\"]"),
    ("loftq_config", "models are not quantised"),
    ("eva_config", INITIALISATION),
    ("corda_config", INITIALISATION),
    ("task_type", "it follows from the kind of the model"),
    ("peft_type", "it is LORA"),
    ("base_model_name_or_path", "it is the path of [model]"),
];

const NO_OTHER_ADAPTERS: &str = "LoRA is the one method that is supported";
const NAME_LAYERS: &str = "target_modules can be a regular expression of whole names of layers";
const ONE_SIZE: &str = "all adapters have the same r and lora_alpha";
const INITIALISATION: &str = "lora_A is drawn uniformly and lora_B is zero (or drawn too)";

/// Reads `[lora]`.
///
/// # Errors
/// A field that is not supported, with the reason; a value of the wrong type or out of range.
pub(super) fn read_lora(document: &Document, table: Table) -> Result<LoraConfig, Error> {
    if let Some((field, why)) = UNSUPPORTED.iter().find(|(field, _)| table.contains_key(*field)) {
        let at = format!("lora.{field}");
        return Err(document.refuse(&at, format!("expected no such field, as {why}")));
    }
    if document.gives("model.freeze") {
        let message = "expected no patterns beside [lora], which freezes all of the transformer \
                       but adapters and modules_to_save";
        return Err(document.refuse("model.freeze", message));
    }
    let section: Section = document.read_as(Value::Table(table), "lora")?;
    if section.bias != "none" {
        let message = format!(
            "expected \"none\", as biases are trained with their layers (modules_to_save); got \
             \"{}\"",
            section.bias
        );
        return Err(document.refuse("lora.bias", message));
    }
    let Value::Boolean(init_lora_weights) = section.init_lora_weights else {
        let got = section.init_lora_weights;
        let message = format!("expected true or false, as {INITIALISATION}; got {got}");
        return Err(document.refuse("lora.init_lora_weights", message));
    };
    let config = LoraConfig {
        r: section.r,
        lora_alpha: section.lora_alpha,
        lora_dropout: section.lora_dropout,
        target_modules: section.target_modules.map(|value| targets(document, value)).transpose()?,
        modules_to_save: section.modules_to_save,
        use_rslora: section.use_rslora,
        init_lora_weights,
    };
    config.validate().map_err(|error| refused(document, error))?;
    Ok(config)
}

/// A list of names, `"all-linear"`, or a regular expression.
fn targets(document: &Document, value: Value) -> Result<TargetModules, Error> {
    const AT: &str = "lora.target_modules";
    match value {
        Value::String(text) if text.eq_ignore_ascii_case("all-linear") => {
            Ok(TargetModules::AllLinear)
        }
        Value::String(pattern) => Ok(TargetModules::Pattern(pattern)),
        value @ Value::Array(_) => Ok(TargetModules::Names(document.read_as(value, AT)?)),
        other => {
            let message = format!(
                "expected a list of names, \"all-linear\" or a regular expression, got {other}"
            );
            Err(document.refuse(AT, message))
        }
    }
}

/// Adds the adapters of a recipe to its model.
///
/// # Errors
/// As [`TextModel::add_adapter`], with the line of the field at fault.
pub(super) fn add_adapter(
    document: &Document,
    model: &mut impl TextModel,
    config: &LoraConfig,
    seed: u64,
) -> Result<(), Error> {
    model.add_adapter(config, seed).map_err(|error| refused(document, error))
}

fn refused(document: &Document, error: EncoderError) -> Error {
    match error {
        EncoderError::Argument { field: "adapter", expected, got } => {
            document.refuse("lora", format!("expected {expected}, got {got}"))
        }
        EncoderError::Argument { field, expected, got } => {
            let at = format!("lora.{field}");
            document.refuse(&at, format!("expected {expected}, got {got}"))
        }
        other => Error::unusable("[lora]", other),
    }
}
