//! Opening model directories as [`DualEncoder`]s.

use crate::architecture::TransformerTask;
use crate::directory::kind::names_cross_encoder;
use crate::directory::module_config::ModuleConfig;
use crate::directory::modules::{ModuleEntry, read_modules};
use crate::directory::parameters::{load_model, push_modules};
use crate::directory::settings::{ModelSettings, read_settings};
use crate::directory::transformer_files::{TransformerFiles, class_name};
use crate::dual_encoder::encoder::DualEncoder;
use crate::dual_encoder::static_embedding::{self, check_embeds, parts};
use crate::error::EncoderError;
use crate::json;
use crate::model::Model;
use crate::modules::Module;
use crate::options::LoadOptions;
use rankforge_kernels::ops::{Pooling, Similarity};
use serde_json::{Value, json};
use std::path::Path;

impl DualEncoder {
    /// Opens a model directory with the default options.
    ///
    /// # Errors
    /// See [`DualEncoder::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<DualEncoder, EncoderError> {
        DualEncoder::open_with(path, &LoadOptions::default())
    }

    /// Opens a model directory: a sentence-transformers model, a model2vec model, or a transformers
    /// checkpoint, which gets mean pooling.
    ///
    /// A sentence-transformers model may consist of the modules Transformer or StaticEmbedding,
    /// Pooling, Dense, LayerNorm, Normalize and Dropout. The reporter gets a warning with tensors
    /// of the transformer beyond those that the config describes, and a message with other tensors
    /// that the model does not use.
    ///
    /// # Errors
    /// A file that is missing, malformed or unsupported, a checkpoint that lacks tensors, a
    /// cross-encoder, or an option that the model does not have. The error names file and field or
    /// tensors, what was expected and what was found.
    pub fn open_with(
        path: impl AsRef<Path>,
        options: &LoadOptions,
    ) -> Result<DualEncoder, EncoderError> {
        open(path.as_ref(), options)
    }
}

/// Opens a directory of any layout.
fn open(path: &Path, options: &LoadOptions) -> Result<DualEncoder, EncoderError> {
    let cross_encoder_options = [
        ("num_labels", options.num_labels.is_some()),
        ("activation_fn", options.activation_fn.is_some()),
        ("classifier_dropout", options.classifier_dropout.is_some()),
    ];
    if let Some((field, _)) = cross_encoder_options.iter().find(|(_, is_set)| *is_set) {
        let expected = "no value, as this is an option of cross-encoders";
        return Err(EncoderError::argument(field, expected, "a value"));
    }
    let modules = read_modules(path)?;
    let settings = match &modules {
        Some(_) => read_settings(path)?,
        None => ModelSettings::default(),
    };
    if let Some(kind) = settings.model_type.as_deref().filter(|kind| *kind != "SentenceTransformer")
    {
        let message = format!("expected a SentenceTransformer, got {kind}");
        return Err(json::file_error(path, message));
    }
    let encoder = match &modules {
        None if static_embedding::is_model2vec(path)? => {
            static_embedding::load_model2vec(path, options)?
        }
        None => {
            if let Some(what) = names_cross_encoder(path)? {
                let message = format!("expected a dual encoder, got a cross-encoder ({what})");
                return Err(json::file_error(path, message));
            }
            load_plain(path, options)?
        }
        Some(modules) if modules[0].class == "StaticEmbedding" => {
            static_embedding::load(path, modules, options)?
        }
        Some(modules) if modules[0].class == "Transformer" => load_modules(path, modules, options)?,
        Some(modules) => {
            let message = format!(
                "expected Transformer or StaticEmbedding as the first module, got {}",
                modules[0].class
            );
            return Err(json::file_error(path, message));
        }
    };
    apply(encoder, settings, options)
}

/// Opens the transformer in a directory, with mean pooling over its last hidden states, whatever
/// modules are beside it.
///
/// # Errors
/// As [`DualEncoder::open_with`].
pub(crate) fn open_transformer(
    path: &Path,
    options: &LoadOptions,
) -> Result<DualEncoder, EncoderError> {
    load_plain(path, options)
}

/// Loads a transformers checkpoint, with mean pooling over its last hidden states.
fn load_plain(path: &Path, options: &LoadOptions) -> Result<DualEncoder, EncoderError> {
    let module = ModuleConfig::default();
    let mut files = TransformerFiles::open(path, &module, options, features)?;
    let width = files.architecture.output_columns();
    let modes = options.pooling.clone().unwrap_or(vec![Pooling::Mean]);
    let pooling = Module::Pooling { width, modes, include_prompt: true };
    files.architecture.push_stage(pooling.stage(), "");
    let folders = [(String::new(), path.to_owned())];
    let model = load_model(files.architecture.clone(), &folders, options)?;
    Ok(encoder(path, files, model, vec![pooling]))
}

/// Loads a Transformer and the modules after it.
fn load_modules(
    path: &Path,
    entries: &[ModuleEntry],
    options: &LoadOptions,
) -> Result<DualEncoder, EncoderError> {
    let folder = &entries[0].folder;
    let module = ModuleConfig::read(folder, &*options.reporter)?;
    if let Some(task) = module.task.as_deref().filter(|task| *task != "feature-extraction") {
        let message =
            format!("expected a Transformer with transformer_task feature-extraction, got {task}");
        return Err(json::file_error(folder, message));
    }
    let mut files = TransformerFiles::open(folder, &module, options, features)?;
    let mut folders = vec![(String::new(), folder.clone())];
    let modules =
        push_modules(path, &mut files.architecture, &entries[1..], &mut folders, options)?;
    check_embeds(&modules, path)?;
    let model = load_model(files.architecture.clone(), &folders, options)?;
    Ok(encoder(path, files, model, modules))
}

fn features(_: &mut Value, _: &Path) -> Result<TransformerTask, EncoderError> {
    Ok(TransformerTask::FeatureExtraction)
}

/// Puts a dual encoder together, with the settings that are used when its files have none.
fn encoder(
    path: &Path,
    mut files: TransformerFiles,
    model: Model,
    modules: Vec<Module>,
) -> DualEncoder {
    files.config["architectures"] = json!([class_name(&files.config, "Model")]);
    let base_model = path.display().to_string();
    let mut parts = parts(model, files.tokenizer, Some(files.config), modules, base_model);
    parts.base = files.folder;
    DualEncoder { parts, similarity: Similarity::Cosine, truncate_dim: None }
}

/// Applies the settings of `config_sentence_transformers.json` and the options.
fn apply(
    mut encoder: DualEncoder,
    settings: ModelSettings,
    options: &LoadOptions,
) -> Result<DualEncoder, EncoderError> {
    settings.set_prompts(&mut encoder.parts)?;
    encoder.similarity = match (options.similarity, settings.similarity_fn_name.as_deref()) {
        (Some(similarity), _) => similarity,
        (None, None) => Similarity::Cosine,
        (None, Some(name)) => Similarity::from_name(name).unwrap_or_else(|| {
            options.reporter.warning(&format!(
                "{}: similarity_fn_name \"{name}\" is not cosine, dot, euclidean or manhattan; \
                 using cosine",
                settings.path.display()
            ));
            Similarity::Cosine
        }),
    };
    static_embedding::check_truncate_dim(options)?;
    if settings.truncate_dim == Some(0) {
        let got = Some(&Value::from(0));
        return Err(json::field_error(&settings.path, "truncate_dim", "a positive integer", got));
    }
    encoder.truncate_dim = options.truncate_dim.or(settings.truncate_dim);
    Ok(encoder)
}
