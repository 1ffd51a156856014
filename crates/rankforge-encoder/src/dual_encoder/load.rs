//! From the files of a model directory to a [`DualEncoder`].

use super::DualEncoder;
use crate::directory::json;
use crate::directory::modules::{EMBEDDING, Module, ModuleEntry, read_modules};
use crate::directory::transformer::{ModuleConfig, Transformer, class_name};
use crate::directory::write::ModelFiles;
use crate::directory::{ModelConfig, load_model, push_modules, read_model_config};
use crate::dual_encoder::static_embedding;
use crate::{EncoderError, LoadOptions, Reporter, Task};
use indexmap::IndexMap;
use rankforge_kernels::ops::{Pooling, Similarity};
use serde_json::{Value, json};
use std::path::Path;

/// Reads any of the layouts.
pub(super) fn load(
    path: &Path,
    options: &LoadOptions,
    reporter: &dyn Reporter,
) -> Result<DualEncoder, EncoderError> {
    let of_a_classifier = [
        ("num_labels", options.num_labels.is_some()),
        ("activation_fn", options.activation_fn.is_some()),
        ("classifier_dropout", options.classifier_dropout.is_some()),
    ];
    if let Some((field, _)) = of_a_classifier.iter().find(|(_, given)| *given) {
        return Err(EncoderError::Input(format!("{field} is for cross-encoders")));
    }
    let modules = read_modules(path)?;
    let settings = match &modules {
        Some(_) => read_model_config(path)?,
        None => ModelConfig::default(),
    };
    if settings.model_type.as_deref().is_some_and(|name| name != "SentenceTransformer") {
        let got = settings.model_type.as_deref().unwrap_or_default();
        return Err(json::file_error(
            path,
            format!("a {got} model, where a SentenceTransformer was expected"),
        ));
    }
    let encoder = match &modules {
        None if static_embedding::is_model2vec(path)? => {
            static_embedding::load_model2vec(path, options, reporter)?
        }
        None => load_plain(path, options, reporter)?,
        Some(modules) if modules[0].class == "StaticEmbedding" => {
            static_embedding::load(path, modules, options, reporter)?
        }
        Some(modules) if modules[0].class == "Transformer" => {
            load_modules(path, modules, options, reporter)?
        }
        Some(modules) => {
            return Err(json::file_error(
                path,
                format!(
                    "first module {} is not supported: expected Transformer or StaticEmbedding",
                    modules[0].class
                ),
            ));
        }
    };
    apply(encoder, settings, options, reporter)
}

/// A plain checkpoint: mean pooling over its last hidden states.
fn load_plain(
    path: &Path,
    options: &LoadOptions,
    reporter: &dyn Reporter,
) -> Result<DualEncoder, EncoderError> {
    let module = ModuleConfig::default();
    let mut transformer = Transformer::open(path, &module, options, reporter, features)?;
    let width = transformer.architecture.output_columns();
    let pooling = Module::Pooling { width, modes: vec![Pooling::Mean], include_prompt: true };
    transformer.architecture.push_stage(pooling.stage(), "");
    let folders = [(String::new(), path.to_owned())];
    let model = load_model(transformer.architecture.clone(), &folders, options, reporter)?;
    Ok(encoder(path, transformer, model, vec![pooling]))
}

fn load_modules(
    path: &Path,
    entries: &[ModuleEntry],
    options: &LoadOptions,
    reporter: &dyn Reporter,
) -> Result<DualEncoder, EncoderError> {
    let folder = &entries[0].folder;
    let module = ModuleConfig::read(folder, reporter)?;
    if module.task.as_deref().is_some_and(|task| task != "feature-extraction") {
        let task = module.task.as_deref().unwrap_or_default();
        return Err(json::file_error(
            folder,
            format!("a transformer for {task}: expected one for feature-extraction"),
        ));
    }
    let mut transformer = Transformer::open(folder, &module, options, reporter, features)?;
    let mut folders = vec![(String::new(), folder.clone())];
    let modules =
        push_modules(&mut transformer.architecture, &entries[1..], &mut folders, reporter)?;
    check_embeds(&modules, path)?;
    let model = load_model(transformer.architecture.clone(), &folders, options, reporter)?;
    Ok(encoder(path, transformer, model, modules))
}

/// All modules must hand on one embedding.
pub(super) fn check_embeds(modules: &[Module], path: &Path) -> Result<(), EncoderError> {
    for module in modules {
        if let Module::Dense(dense) = module
            && (dense.input_name != EMBEDDING || dense.output_name != EMBEDDING)
        {
            let (from, to) = (&dense.input_name, &dense.output_name);
            return Err(json::file_error(
                path,
                format!("a Dense from {from:?} to {to:?}: expected {EMBEDDING:?} for both"),
            ));
        }
    }
    Ok(())
}

fn features(_: &mut Value, _: &Path) -> Result<Task, EncoderError> {
    Ok(Task::FeatureExtraction)
}

fn encoder(
    path: &Path,
    mut transformer: Transformer,
    model: crate::Model,
    modules: Vec<Module>,
) -> DualEncoder {
    transformer.config["architectures"] = json!([class_name(&transformer.config, "Model")]);
    DualEncoder {
        model,
        tokenizer: transformer.tokenizer,
        similarity: Similarity::Cosine,
        truncate_dim: None,
        files: files(Some(transformer.config), modules, path.display().to_string()),
    }
}

pub(super) fn files(config: Option<Value>, modules: Vec<Module>, base_model: String) -> ModelFiles {
    ModelFiles {
        model_type: "SentenceTransformer",
        config,
        task: "feature-extraction",
        modules,
        prompts: default_prompts(),
        default_prompt_name: None,
        base_model,
    }
}

/// Every sentence encoder has these two, empty unless its files say otherwise.
fn default_prompts() -> IndexMap<String, String> {
    ["query", "document"].into_iter().map(|name| (name.to_owned(), String::new())).collect()
}

/// What `config_sentence_transformers.json` and the options say.
fn apply(
    mut encoder: DualEncoder,
    settings: ModelConfig,
    options: &LoadOptions,
    reporter: &dyn Reporter,
) -> Result<DualEncoder, EncoderError> {
    encoder.files.prompts.extend(settings.prompts);
    encoder.files.default_prompt_name = settings.default_prompt_name;
    encoder.files.prompt(None, None)?;
    encoder.similarity = match settings.similarity_fn_name.as_deref() {
        None => Similarity::Cosine,
        Some(name) => super::similarity_from_name(name).unwrap_or_else(|| {
            reporter.warning(&format!(
                "{}: similarity_fn_name {name:?} is not cosine, dot, euclidean or manhattan; using cosine",
                settings.path.display()
            ));
            Similarity::Cosine
        }),
    };
    encoder.truncate_dim = options.truncate_dim.or(settings.truncate_dim);
    if encoder.truncate_dim == Some(0) {
        return Err(EncoderError::Input("truncate_dim must be positive".to_owned()));
    }
    Ok(encoder)
}
