//! From the files of a model directory to a [`CrossEncoder`].

use super::{CrossEncoder, OutputActivation};
use crate::directory::json;
use crate::directory::modules::{EMBEDDING, Module, ModuleEntry, SCORES, read_modules};
use crate::directory::transformer::{ModuleConfig, Transformer, class_name, classifier_dropout};
use crate::directory::write::ModelFiles;
use crate::directory::{load_model, push_modules, read_model_config};
use crate::{EncoderError, LoadOptions, Model, Reporter, Task, Tokenizer};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Reads any generation of layout.
pub(super) fn load(
    path: &Path,
    options: &LoadOptions,
    reporter: &dyn Reporter,
) -> Result<CrossEncoder, EncoderError> {
    if options.truncate_dim.is_some() {
        let message = "truncate_dim is for embeddings, and a cross-encoder has none";
        return Err(EncoderError::Input(message.to_owned()));
    }
    let Some(modules) = read_modules(path)? else {
        return load_classifier(path, path, options, reporter, None);
    };
    let settings = read_model_config(path)?;
    let model_type = settings.model_type.as_deref().unwrap_or("SentenceTransformer");
    let first = &modules[0];
    if first.class != "Transformer" {
        return Err(json::file_error(
            path,
            format!(
                "a cross-encoder starts with a Transformer module, and this has {}",
                first.class
            ),
        ));
    }
    if model_type != "CrossEncoder" {
        reporter.warning(&format!(
            "{}: a {model_type} opened as a cross-encoder: its transformer gets a classifier, its \
             other modules and prompts are left out",
            path.display()
        ));
        return load_classifier(path, &first.folder, options, reporter, None);
    }
    let module = ModuleConfig::read(&first.folder, reporter)?;
    let mut encoder = match module.task.as_deref() {
        Some("sequence-classification") | None if modules.len() == 1 => {
            load_classifier(path, &first.folder, options, reporter, Some(&module))?
        }
        Some("feature-extraction") if modules.len() > 1 => {
            load_modular(path, &modules, &module, options, reporter)?
        }
        Some("text-generation" | "any-to-any") => return Err(language_model(path)),
        task => {
            return Err(json::file_error(
                path,
                format!(
                    "{} modules after a transformer for {}: expected a transformer for \
                     sequence-classification alone, or one for feature-extraction and a head",
                    modules.len() - 1,
                    task.unwrap_or("no stated task")
                ),
            ));
        }
    };
    encoder.files.prompts = settings.prompts;
    encoder.files.default_prompt_name = settings.default_prompt_name;
    encoder.files.prompt(None, None)?;
    if options.activation_fn.is_none()
        && let Some(name) = &settings.activation_fn
        && let Some(activation) =
            OutputActivation::from_python(name, &settings.path, "activation_fn", reporter)?
    {
        encoder.activation = activation;
    }
    Ok(encoder)
}

/// A cross-encoder with fresh numbers, from a config and a tokenizer.
pub(super) fn from_config(
    config: &Value,
    tokenizer: Tokenizer,
    options: &LoadOptions,
    reporter: &dyn Reporter,
) -> Result<CrossEncoder, EncoderError> {
    let module = ModuleConfig::default();
    let path = PathBuf::from("config.json");
    let prepare = |config: &mut Value, path: &Path| prepare_classifier(config, path, options);
    let transformer =
        Transformer::build(config.clone(), path, tokenizer, &module, options, reporter, prepare)?;
    let mut model = Model::new(&options.device, transformer.architecture.clone(), options.seed);
    model.set_precision(options.precision);
    let base_model = transformer.config["model_type"].as_str().unwrap_or_default().to_owned();
    finish_classifier(transformer, model, base_model, options, reporter, Path::new("config.json"))
}

/// A transformer with its family's classification head.
fn load_classifier(
    path: &Path,
    folder: &Path,
    options: &LoadOptions,
    reporter: &dyn Reporter,
    module: Option<&ModuleConfig>,
) -> Result<CrossEncoder, EncoderError> {
    let default = ModuleConfig::default();
    let prepare = |config: &mut Value, path: &Path| prepare_classifier(config, path, options);
    let transformer =
        Transformer::open(folder, module.unwrap_or(&default), options, reporter, prepare)?;
    let folders = [(String::new(), folder.to_owned())];
    let model = load_model(transformer.architecture.clone(), &folders, options, reporter)?;
    let base_model = path.display().to_string();
    finish_classifier(
        transformer,
        model,
        base_model,
        options,
        reporter,
        &folder.join("config.json"),
    )
}

fn finish_classifier(
    mut transformer: Transformer,
    model: Model,
    base_model: String,
    options: &LoadOptions,
    reporter: &dyn Reporter,
    path: &Path,
) -> Result<CrossEncoder, EncoderError> {
    let num_labels = model.architecture().output_columns();
    let activation = match options.activation_fn {
        Some(activation) => activation,
        None => stored_activation(&transformer.config, path, reporter)?
            .unwrap_or(OutputActivation::default_for(num_labels)),
    };
    let object = transformer.config.as_object_mut().expect("a config was read as an object");
    // From now on `config_sentence_transformers.json` has the activation.
    object.shift_remove("sentence_transformers");
    object.shift_remove("sbert_ce_default_activation_function");
    let labels = labels(&transformer.config, num_labels);
    let class = class_name(&transformer.config, "ForSequenceClassification");
    transformer.config["architectures"] = json!([class]);
    Ok(CrossEncoder {
        model,
        tokenizer: transformer.tokenizer,
        activation,
        num_labels,
        labels,
        files: ModelFiles {
            model_type: "CrossEncoder",
            config: Some(transformer.config),
            task: "sequence-classification",
            modules: Vec::new(),
            prompts: IndexMap::new(),
            default_prompt_name: None,
            base_model,
        },
    })
}

/// A transformer, pooling, and dense layers whose last output is the scores.
fn load_modular(
    path: &Path,
    entries: &[ModuleEntry],
    module: &ModuleConfig,
    options: &LoadOptions,
    reporter: &dyn Reporter,
) -> Result<CrossEncoder, EncoderError> {
    let prepare = |_: &mut Value, _: &Path| Ok(Task::FeatureExtraction);
    let folder = &entries[0].folder;
    let mut transformer = Transformer::open(folder, module, options, reporter, prepare)?;
    let mut folders = vec![(String::new(), folder.clone())];
    let modules =
        push_modules(&mut transformer.architecture, &entries[1..], &mut folders, reporter)?;
    let outputs = output_name(&modules, path)?;
    if outputs != SCORES {
        return Err(json::file_error(
            path,
            format!("its modules give {outputs:?}: expected a last Dense that gives \"scores\""),
        ));
    }
    let num_labels = transformer.architecture.output_columns();
    if let Some(wanted) = options.num_labels.filter(|&wanted| wanted != num_labels) {
        return Err(EncoderError::Input(format!(
            "{}: its last Dense gives {num_labels} scores: num_labels cannot be {wanted}",
            path.display()
        )));
    }
    if options.classifier_dropout.is_some() {
        let message = "a cross-encoder made of modules has no classifier_dropout";
        return Err(EncoderError::Input(message.to_owned()));
    }
    let model = load_model(transformer.architecture.clone(), &folders, options, reporter)?;
    transformer.config["architectures"] = json!([class_name(&transformer.config, "Model")]);
    Ok(CrossEncoder {
        model,
        tokenizer: transformer.tokenizer,
        activation: options.activation_fn.unwrap_or(OutputActivation::default_for(num_labels)),
        num_labels,
        labels: (0..num_labels).map(|label| format!("LABEL_{label}")).collect(),
        files: ModelFiles {
            model_type: "CrossEncoder",
            config: Some(transformer.config),
            task: "feature-extraction",
            modules,
            prompts: IndexMap::new(),
            default_prompt_name: None,
            base_model: path.display().to_string(),
        },
    })
}

/// The name of what a chain of modules gives; each must read what the one before it gave.
fn output_name(modules: &[Module], path: &Path) -> Result<String, EncoderError> {
    let mut current = EMBEDDING.to_owned();
    for module in modules {
        let (input, output) = match module {
            Module::Dense(dense) => (dense.input_name.as_str(), dense.output_name.as_str()),
            _ => (EMBEDDING, EMBEDDING),
        };
        if input != current {
            let class = module.class();
            return Err(json::file_error(
                path,
                format!("module {class} reads {input:?} where {current:?} was given"),
            ));
        }
        current = output.to_owned();
    }
    Ok(current)
}

/// Decides the number of labels and puts it into the config.
fn prepare_classifier(
    config: &mut Value,
    path: &Path,
    options: &LoadOptions,
) -> Result<Task, EncoderError> {
    let architectures = architectures(config, path)?;
    if architectures.first().is_some_and(|name| name.ends_with("ForCausalLM")) {
        return Err(language_model(path));
    }
    let classifier = architectures.iter().any(|name| name.ends_with("ForSequenceClassification"));
    let stored = stored_num_labels(config, path)?;
    let num_labels = match options.num_labels {
        Some(num_labels) => num_labels,
        None if classifier => stored.unwrap_or(2),
        None => 1,
    };
    if stored != Some(num_labels) {
        let label = |index: usize| format!("LABEL_{index}");
        let names: Map<String, Value> =
            (0..num_labels).map(|index| (index.to_string(), json!(label(index)))).collect();
        let numbers: Map<String, Value> =
            (0..num_labels).map(|index| (label(index), json!(index))).collect();
        config["id2label"] = Value::Object(names);
        config["label2id"] = Value::Object(numbers);
    }
    config.as_object_mut().expect("a config was read as an object").shift_remove("num_labels");
    if let Some(dropout) = options.classifier_dropout {
        classifier_dropout(config, dropout)?;
    }
    Ok(Task::SequenceClassification { num_labels })
}

fn architectures(config: &Value, path: &Path) -> Result<Vec<String>, EncoderError> {
    const FIELD: &str = "architectures";
    let error = || json::field_error(path, FIELD, "an array of class names", config.get(FIELD));
    match config.get(FIELD) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(value) => value
            .as_array()
            .ok_or_else(error)?
            .iter()
            .map(|name| name.as_str().map(str::to_owned).ok_or_else(error))
            .collect(),
    }
}

/// `id2label` says it, or `num_labels` does in hand-made configs.
fn stored_num_labels(config: &Value, path: &Path) -> Result<Option<usize>, EncoderError> {
    match config.get("id2label") {
        Some(Value::Object(names)) => Ok(Some(names.len())),
        None | Some(Value::Null) => json::optional_usize(config, "num_labels", path),
        other => Err(json::field_error(path, "id2label", "an object", other)),
    }
}

fn labels(config: &Value, num_labels: usize) -> Vec<String> {
    let name = |index: usize| match &config["id2label"][index.to_string()] {
        Value::String(name) => name.clone(),
        Value::Null => format!("LABEL_{index}"),
        other => other.to_string(),
    };
    (0..num_labels).map(name).collect()
}

/// The activation that layouts before 5.4 keep in `config.json`.
fn stored_activation(
    config: &Value,
    path: &Path,
    reporter: &dyn Reporter,
) -> Result<Option<OutputActivation>, EncoderError> {
    const OLDEST: &str = "sbert_ce_default_activation_function";
    let newer = config.get("sentence_transformers");
    let (name, field) = match newer.filter(|newer| newer.get("activation_fn").is_some()) {
        Some(newer) => (json::optional_str(newer, "activation_fn", path)?, "activation_fn"),
        None => (json::optional_str(config, OLDEST, path)?, OLDEST),
    };
    match name {
        Some(name) => OutputActivation::from_python(name, path, field, reporter),
        None => Ok(None),
    }
}

fn language_model(path: &Path) -> EncoderError {
    json::file_error(
        path,
        "a reranker made of a language model (CausalLM, LogitScore) is not supported: expected an \
         encoder with a classification head",
    )
}
