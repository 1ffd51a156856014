//! The modules of a transformer by their names in the checkpoint, and which of them a config means,
//! by the rules of peft.

use crate::architecture::{Architecture, ParameterSpec, TensorPart};
use crate::error::EncoderError;
use crate::lora::config::{LoraConfig, TargetModules};
use crate::stages::HeadStage;
use regex::Regex;
use std::ops::Range;

/// The modules that the heads of classifiers have in transformers; peft saves them as a whole.
pub(super) const CLASSIFIERS: [&str; 2] = ["classifier", "score"];

/// The families for which peft has default targets, and these.
const DEFAULT_TARGETS: ([&str; 4], [&str; 2]) =
    (["bert", "roberta", "xlm-roberta", "electra"], ["query", "value"]);

/// A linear layer of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinearModule {
    /// Name in the checkpoint, such as `bert.encoder.layer.0.attention.self.query`.
    pub(crate) name: String,
    /// Arena name of the layer, which may be several of the checkpoint's.
    pub(crate) layer: String,
    /// Rows of its weight that belong to this module.
    pub(crate) rows: Range<usize>,
    /// Width of its input.
    pub(crate) inputs: usize,
}

/// The linear layers of the transformer and of its classification head, in the order of the arena.
pub(super) fn linear_modules(architecture: &Architecture) -> Vec<LinearModule> {
    let specs = architecture.parameters.iter();
    let linear = specs.filter_map(|spec| Some((spec, linear_layer(architecture, spec)?)));
    let modules = linear.flat_map(|(spec, layer)| {
        let parts = spec.parts.iter().filter(|part| part.module.is_empty());
        parts.map(move |part| LinearModule {
            name: module_of(&part.name).to_owned(),
            layer: layer.to_owned(),
            rows: part.rows.clone(),
            inputs: spec.columns,
        })
    });
    modules.collect()
}

/// The arena name of the linear layer whose weight a parameter is.
fn linear_layer<'a>(architecture: &Architecture, spec: &'a ParameterSpec) -> Option<&'a str> {
    const OF_BLOCKS: [&str; 4] = ["qkv", "attention_output", "mlp_input", "mlp_output"];
    let layer = spec.name.strip_suffix(".weight")?;
    let is_linear = match spec.head_stage() {
        Some(stage) => {
            let stage = stage.parse::<usize>().ok().and_then(|index| architecture.head.get(index));
            matches!(stage, Some(HeadStage::Dense { .. }))
        }
        None => {
            let last = layer.rsplit('.').next().unwrap_or(layer);
            layer == "embeddings.projection" || OF_BLOCKS.contains(&last)
        }
    };
    is_linear.then_some(layer)
}

/// The module of a tensor: its name without the last part.
fn module_of(tensor: &str) -> &str {
    tensor.rsplit_once('.').map_or("", |(module, _)| module)
}

/// Whether a tensor of the transformer is in a module that is saved as a whole: one whose path ends
/// in one of the names, as peft finds them.
pub(crate) fn is_saved(tensor: &str, modules_to_save: &[String]) -> bool {
    let module = module_of(tensor);
    let ends = module.match_indices('.').map(|(end, _)| end).chain([module.len()]);
    let mut paths = ends.map(|end| &module[..end]);
    paths.any(|path| modules_to_save.iter().any(|name| path.ends_with(name.as_str())))
}

/// The targets of a config, and all modules that are saved as a whole.
pub(crate) struct Selected {
    pub(crate) targets: Vec<LinearModule>,
    pub(crate) modules_to_save: Vec<String>,
}

/// Finds the modules of a config in a model. `missing` are tensors that the base model lacks: those
/// of a new classification head, which is saved too.
///
/// # Errors
/// A name or pattern that finds nothing, no target, or no default for the family.
pub(crate) fn select(
    architecture: &Architecture,
    config: &LoraConfig,
    is_classifier: bool,
    missing: &[String],
) -> Result<Selected, EncoderError> {
    let modules_to_save = modules_to_save(architecture, config, is_classifier, missing)?;
    let all = linear_modules(architecture);
    if all.is_empty() {
        let got = "a model without linear layers";
        return Err(EncoderError::argument("target_modules", "a transformer", got));
    }
    let names: Vec<&str> = all.iter().map(|module| module.name.as_str()).collect();
    let wanted: Box<dyn Fn(&str) -> bool> = match &config.target_modules {
        None => {
            let (families, targets) = DEFAULT_TARGETS;
            let family = &architecture.encoder.model_type;
            if !families.contains(&family.as_str()) {
                let expected = format!(
                    "\"all-linear\" or names of modules ({}), as peft has no default for {family}",
                    last_parts(&names)
                );
                return Err(EncoderError::argument("target_modules", expected, "none"));
            }
            Box::new(move |name| targets.iter().any(|target| is_named(name, target)))
        }
        Some(TargetModules::AllLinear) => Box::new(|_| true),
        Some(TargetModules::Names(targets)) => {
            targets.iter().try_for_each(|target| check_name(target, &names))?;
            Box::new(|name| targets.iter().any(|target| is_named(name, target)))
        }
        Some(TargetModules::Pattern(pattern)) => {
            let pattern = Regex::new(&format!("^(?:{pattern})$")).map_err(|error| {
                EncoderError::argument("target_modules", "a regular expression", error)
            })?;
            Box::new(move |name| pattern.is_match(name))
        }
    };
    let is_free = |module: &LinearModule| {
        let tensor = format!("{}.weight", module.name);
        !is_saved(&tensor, &modules_to_save) && !contains_path(&module.name, &modules_to_save)
    };
    let targets: Vec<LinearModule> =
        all.iter().filter(|module| wanted(&module.name) && is_free(module)).cloned().collect();
    if targets.is_empty() {
        let expected = format!("modules such as {}", last_parts(&names));
        let got = "none that is not saved as a whole";
        return Err(EncoderError::argument("target_modules", expected, got));
    }
    Ok(Selected { targets, modules_to_save })
}

/// The modules of a config that are saved as a whole, and those that have to be.
fn modules_to_save(
    architecture: &Architecture,
    config: &LoraConfig,
    is_classifier: bool,
    missing: &[String],
) -> Result<Vec<String>, EncoderError> {
    let parts = architecture.parameters.iter().flat_map(|spec| &spec.parts);
    let tensors: Vec<&TensorPart> = parts.filter(|part| part.module.is_empty()).collect();
    let mut names = config.modules_to_save.clone();
    for name in &names {
        let one = std::slice::from_ref(name);
        if name.is_empty() || !tensors.iter().any(|part| is_saved(&part.name, one)) {
            let expected = "ends of paths of modules of the model";
            let got = format!("\"{name}\"");
            return Err(EncoderError::argument("modules_to_save", expected, got));
        }
    }
    if is_classifier {
        let heads = CLASSIFIERS.into_iter().map(str::to_owned);
        let heads: Vec<String> = heads.filter(|head| !names.contains(head)).collect();
        names.extend(heads);
    }
    for tensor in missing {
        if !is_saved(tensor, &names) {
            names.push(module_of(tensor).to_owned());
        }
    }
    Ok(names)
}

/// Whether `name` is `target`, or ends in it after a point.
fn is_named(name: &str, target: &str) -> bool {
    name == target || name.strip_suffix(target).is_some_and(|rest| rest.ends_with('.'))
}

/// Whether the path of a module contains one of the names between points.
fn contains_path(module: &str, names: &[String]) -> bool {
    let module = format!(".{module}.");
    names.iter().any(|name| module.contains(&format!(".{name}.")))
}

fn check_name(target: &str, names: &[&str]) -> Result<(), EncoderError> {
    if names.iter().any(|name| is_named(name, target)) {
        return Ok(());
    }
    let expected = format!("names of linear layers of the model ({})", last_parts(names));
    Err(EncoderError::argument("target_modules", expected, format!("\"{target}\"")))
}

/// The last parts of names, each once.
fn last_parts(names: &[&str]) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for name in names {
        let last = name.rsplit('.').next().unwrap_or(name);
        if !parts.contains(&last) {
            parts.push(last);
        }
    }
    parts.join(", ")
}
