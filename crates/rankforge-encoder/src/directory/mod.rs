//! Model directories: what their files say, and writing them.

pub(crate) mod json;
pub(crate) mod modules;
pub(crate) mod transformer;
pub(crate) mod write;

use crate::{
    Architecture, EncoderError, LoadReport, Model, OutputActivation, Reporter, Tokenizer, Weights,
};
use indexmap::IndexMap;
use modules::{Module, ModuleEntry};
use rankforge_kernels::{Device, Precision};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use write::ModelFiles;

/// How a model directory is opened.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where the model lives.
    pub device: Device,
    /// Number of labels, for cross-encoders; `None` follows the rules of sentence-transformers.
    pub num_labels: Option<usize>,
    /// Longest sequence; `None` follows the directory's files.
    pub max_length: Option<usize>,
    /// Output activation of a cross-encoder; `None` follows the directory's files.
    pub activation_fn: Option<OutputActivation>,
    /// Dropout before the classifier, in place of the config's.
    pub classifier_dropout: Option<f32>,
    /// Embeddings keep so many leading dimensions.
    pub truncate_dim: Option<usize>,
    /// Seed of freshly initialised parameters.
    pub seed: u64,
    /// How the operands of linear layers and attention are rounded; parameters and outputs stay `f32`.
    /// It changes nothing in a model without such layers, see [`Architecture::has_linear_layers`].
    pub precision: Precision,
}

impl LoadOptions {
    /// The defaults: everything follows the directory's files, seed 42, products of fp32.
    pub fn new(device: &Device) -> LoadOptions {
        LoadOptions {
            device: device.clone(),
            num_labels: None,
            max_length: None,
            activation_fn: None,
            classifier_dropout: None,
            truncate_dim: None,
            seed: 42,
            precision: Precision::Float32,
        }
    }
}

/// What the trainer needs of a cross-encoder or dual encoder.
pub trait Trainable: Send + Sync {
    /// The numbers.
    fn model(&self) -> &Model;
    /// The numbers, for the optimizer.
    fn model_mut(&mut self) -> &mut Model;
    /// The tokenizer.
    fn tokenizer(&self) -> &Tokenizer;
    /// `CrossEncoder` or `SentenceTransformer`.
    fn model_type(&self) -> &'static str;
    /// Labels of a cross-encoder; 0 for a dual encoder.
    fn num_labels(&self) -> usize;
    /// Name or path the model was loaded from, for the model card.
    fn base_model(&self) -> &str;
    /// The prompt that training prepends to the first text of each input, if any.
    fn default_prompt(&self) -> Option<&str>;
    /// Writes the newest sentence-transformers layout into a new or empty directory, which the
    /// caller has given a temporary name; `card` becomes `README.md`.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn save_files(&self, directory: &Path, card: Option<&str>) -> Result<(), EncoderError>;
    /// Replaces the parameters by those of a directory that [`Trainable::save_files`] wrote.
    ///
    /// # Errors
    /// When a file cannot be read or does not fit.
    fn load_parameters(&mut self, directory: &Path) -> Result<(), EncoderError>;
}

/// What `config_sentence_transformers.json` says; all `None` when there is none.
#[derive(Default)]
pub(crate) struct ModelConfig {
    pub path: PathBuf,
    pub model_type: Option<String>,
    pub prompts: IndexMap<String, String>,
    pub default_prompt_name: Option<String>,
    pub activation_fn: Option<String>,
    pub similarity_fn_name: Option<String>,
    pub truncate_dim: Option<usize>,
}

/// Reads `config_sentence_transformers.json`.
///
/// # Errors
/// A malformed file or a field of the wrong type.
pub(crate) fn read_model_config(directory: &Path) -> Result<ModelConfig, EncoderError> {
    let path = directory.join("config_sentence_transformers.json");
    let Some(config) = json::read_optional_object(&path)? else {
        return Ok(ModelConfig::default());
    };
    let mut prompts = IndexMap::new();
    match config.get("prompts") {
        None | Some(Value::Null) => {}
        Some(Value::Object(texts)) => {
            for (name, text) in texts {
                let error =
                    || json::field_error(&path, "prompts", "a text for each name", Some(text));
                prompts.insert(name.clone(), text.as_str().ok_or_else(error)?.to_owned());
            }
        }
        other => return Err(json::field_error(&path, "prompts", "an object", other)),
    }
    let text =
        |field| json::optional_str(&config, field, &path).map(|text| text.map(str::to_owned));
    Ok(ModelConfig {
        model_type: text("model_type")?,
        prompts,
        default_prompt_name: text("default_prompt_name")?,
        activation_fn: text("activation_fn")?,
        similarity_fn_name: text("similarity_fn_name")?,
        truncate_dim: json::optional_usize(&config, "truncate_dim", &path)?,
        path,
    })
}

/// Reads the modules after the first and appends their stages. `folders` gets the module name and
/// folder of those with weights.
///
/// # Errors
/// A module that is not supported or does not fit the one before it.
pub(crate) fn push_modules(
    architecture: &mut Architecture,
    entries: &[ModuleEntry],
    folders: &mut Vec<(String, PathBuf)>,
    reporter: &dyn Reporter,
) -> Result<Vec<Module>, EncoderError> {
    let mut modules = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let module = Module::read(entry, reporter)?;
        let width = architecture.output_columns();
        if let Some(wanted) = module.width().filter(|&wanted| wanted != width) {
            let class = module.class();
            return Err(json::file_error(
                &entry.folder,
                format!("{class} takes {wanted} features and is given {width}"),
            ));
        }
        let pools = matches!(module, Module::Pooling { .. });
        if pools != architecture.head.is_empty() {
            let class = module.class();
            return Err(json::file_error(
                &entry.folder,
                format!("{class} at place {}: pooling comes first, and once", index + 1),
            ));
        }
        let name = ModelFiles::folder(index, &module);
        architecture.push_stage(module.stage(), &name);
        if module.has_weights() {
            folders.push((name, entry.folder.clone()));
        }
        modules.push(module);
    }
    if architecture.head.is_empty() {
        return Err(EncoderError::Input("a transformer without a Pooling module".to_owned()));
    }
    Ok(modules)
}

/// Reads the numbers of each module from its folder and tells what was missing and left over.
///
/// # Errors
/// Missing or unusable weights.
pub(crate) fn load_model(
    architecture: Architecture,
    folders: &[(String, PathBuf)],
    options: &LoadOptions,
    reporter: &dyn Reporter,
) -> Result<Model, EncoderError> {
    let weights: Vec<Weights> =
        folders.iter().map(|(_, folder)| Weights::open(folder)).collect::<Result<_, _>>()?;
    let modules: Vec<(&str, &Weights)> =
        folders.iter().zip(&weights).map(|((name, _), weights)| (name.as_str(), weights)).collect();
    let (mut model, reports) =
        Model::from_weights(&options.device, architecture, options.seed, &modules)?;
    for ((_, folder), report) in folders.iter().zip(&reports) {
        tell(folder, report, reporter);
    }
    model.set_precision(options.precision);
    Ok(model)
}

/// Replaces the numbers of a model by those of a directory that was written from it.
///
/// # Errors
/// Files that are missing, unusable, or of another model.
pub(crate) fn load_parameters(model: &mut Model, directory: &Path) -> Result<(), EncoderError> {
    let parameters = &model.architecture().parameters;
    let modules: BTreeSet<String> = parameters
        .iter()
        .flat_map(|spec| spec.parts.iter().map(|part| part.module.clone()))
        .collect();
    for module in modules {
        let folder = directory.join(&module);
        let report = model.load(&module, &Weights::open(&folder)?)?;
        if !report.fresh.is_empty() {
            let missing = list(&report.fresh);
            return Err(json::file_error(&folder, format!("tensors are missing: {missing}")));
        }
    }
    Ok(())
}

/// The text of the default prompt, where it has any.
pub(crate) fn default_prompt(files: &ModelFiles) -> Option<&str> {
    let name = files.default_prompt_name.as_ref()?;
    files.prompts.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

fn tell(folder: &Path, report: &LoadReport, reporter: &dyn Reporter) {
    let folder = folder.display();
    if !report.fresh.is_empty() {
        let fresh = list(&report.fresh);
        reporter.warning(&format!("{folder}: not in the checkpoint, freshly initialised: {fresh}"));
    }
    if !report.left_over.is_empty() {
        let left_over = list(&report.left_over);
        reporter.message(&format!("{folder}: in the checkpoint, not used: {left_over}"));
    }
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}
