//! Opening model directories as [`CrossEncoder`]s.

use crate::architecture::TransformerTask;
use crate::cross_encoder::encoder::CrossEncoder;
use crate::cross_encoder::labels::{
    label_names, name_labels, named_labels, stored_num_labels, unusable_labels,
};
use crate::directory::module_config::ModuleConfig;
use crate::directory::modules::{ModuleEntry, read_modules};
use crate::directory::parameters::{load_model, push_modules};
use crate::directory::settings::{read_activation, read_settings};
use crate::directory::transformer_files::{
    ConfigFile, TransformerFiles, class_name, classifier_dropout,
};
use crate::error::EncoderError;
use crate::json::{self, LARGEST_SIZE};
use crate::model::Model;
use crate::modules::{EMBEDDING, Module, SCORES};
use crate::options::LoadOptions;
use crate::output_activation::OutputActivation;
use crate::parts::Parts;
use crate::tokenizer::Tokenizer;
use indexmap::IndexMap;
use rankforge_base::Reporter;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

impl CrossEncoder {
    /// Opens a model directory with the default options.
    ///
    /// # Errors
    /// See [`CrossEncoder::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<CrossEncoder, EncoderError> {
        CrossEncoder::open_with(path, &LoadOptions::default())
    }

    /// Opens a model directory: a transformers checkpoint, or any of the three generations of
    /// sentence-transformers layouts, including cross-encoders made of modules.
    ///
    /// A checkpoint without a classification head gets a new one, and the reporter a warning with
    /// its tensors. Another warning names tensors of the transformer beyond those that the config
    /// describes, and a message other tensors that the model does not use.
    ///
    /// # Errors
    /// A file that is missing, malformed or unsupported, a checkpoint that lacks tensors of the
    /// transformer, of a module or of the head that it has, or an option that the model does not
    /// have. The error names file and field or tensors, what was expected and what was found.
    pub fn open_with(
        path: impl AsRef<Path>,
        options: &LoadOptions,
    ) -> Result<CrossEncoder, EncoderError> {
        let encoder = open(path.as_ref(), options)?;
        if encoder.activation == OutputActivation::Softmax && encoder.num_labels() == 1 {
            let expected =
                "an activation that tells pairs apart, as Softmax of one label is always 1";
            return Err(EncoderError::argument("activation_fn", expected, "Softmax"));
        }
        Ok(encoder)
    }

    /// The number of labels of the classifier in a directory, by its `config.json`; `None` where
    /// that says nothing of a classifier, or cannot be read.
    pub fn stored_num_labels(path: &Path) -> Option<usize> {
        let path = path.join("config.json");
        let config = json::read_object(&path).ok()?;
        let is_classifier = |name: &String| name.ends_with("ForSequenceClassification");
        if !architectures(&config, &path).ok()?.iter().any(is_classifier) {
            return None;
        }
        stored_num_labels(&config, named_labels(&config, &path).ok()?, &path).ok()?
    }

    /// A cross-encoder with initialised parameters, from a `config.json` of transformers and a
    /// tokenizer.
    ///
    /// # Errors
    /// A config that is not a JSON object, of an unsupported family or with unusable fields, a
    /// tokenizer with more ids than the config's `vocab_size`, or sizes for which there is no
    /// memory.
    pub fn from_config(
        config: &Value,
        tokenizer: Tokenizer,
        options: &LoadOptions,
    ) -> Result<CrossEncoder, EncoderError> {
        let module = ModuleConfig::default();
        let file = ConfigFile { value: config.clone(), path: PathBuf::from("config.json") };
        let prepare = |config: &mut Value, path: &Path| prepare_classifier(config, path, options);
        let files = TransformerFiles::build(file, tokenizer, &module, options, prepare)?;
        let (model, _) = Model::open(files.architecture.clone(), &[], options)?;
        let base_model = files.config["model_type"].as_str().unwrap_or_default().to_owned();
        finish_classifier(files, model, base_model, options, Path::new("config.json"))
    }
}

/// Opens a directory of any layout.
fn open(path: &Path, options: &LoadOptions) -> Result<CrossEncoder, EncoderError> {
    let dual_encoder_options = [
        ("truncate_dim", options.truncate_dim.is_some()),
        ("pooling", options.pooling.is_some()),
        ("similarity", options.similarity.is_some()),
    ];
    if let Some((field, _)) = dual_encoder_options.iter().find(|(_, is_set)| *is_set) {
        let expected = "no value, as a cross-encoder gives no embeddings";
        return Err(EncoderError::argument(field, expected, "a value"));
    }
    let reporter = &*options.reporter;
    let Some(modules) = read_modules(path)? else {
        return load_classifier(path, path, options, None);
    };
    let settings = read_settings(path)?;
    let model_type = settings.model_type.as_deref().unwrap_or("SentenceTransformer");
    let first = &modules[0];
    if first.class != "Transformer" {
        let message = format!(
            "expected Transformer as the first module of a cross-encoder, got {}",
            first.class
        );
        return Err(json::file_error(path, message));
    }
    if model_type != "CrossEncoder" {
        reporter.warning(&format!(
            "{}: a {model_type} is opened as a cross-encoder: its transformer gets a classifier, \
             its other modules and its prompts are ignored",
            path.display()
        ));
        return load_classifier(path, &first.folder, options, None);
    }
    let module = ModuleConfig::read(&first.folder, reporter)?;
    let mut encoder = match module.task.as_deref() {
        Some("sequence-classification") | None if modules.len() == 1 => {
            load_classifier(path, &first.folder, options, Some(&module))?
        }
        Some("feature-extraction") if modules.len() > 1 => {
            load_modular(path, &modules, &module, options)?
        }
        Some("text-generation" | "any-to-any") => return Err(language_model(path)),
        task => {
            let message = format!(
                "expected a Transformer with the transformer_task sequence-classification and no \
                 other module, or one with feature-extraction and further modules; got {} and {} \
                 further modules",
                task.unwrap_or("no task"),
                modules.len() - 1
            );
            return Err(json::file_error(path, message));
        }
    };
    settings.set_prompts(&mut encoder.parts)?;
    if options.activation_fn.is_none()
        && let Some(name) = &settings.activation_fn
        && let Some(activation) = read_activation(name, &settings.path, "activation_fn", reporter)?
    {
        encoder.activation = activation;
    }
    Ok(encoder)
}

/// Loads a transformer with its family's classification head from `folder`.
fn load_classifier(
    path: &Path,
    folder: &Path,
    options: &LoadOptions,
    module: Option<&ModuleConfig>,
) -> Result<CrossEncoder, EncoderError> {
    let default = ModuleConfig::default();
    let prepare = |config: &mut Value, path: &Path| prepare_classifier(config, path, options);
    let files = TransformerFiles::open(folder, module.unwrap_or(&default), options, prepare)?;
    let folders = [(String::new(), folder.to_owned())];
    let model = load_model(files.architecture.clone(), &folders, options)?;
    let base_model = path.display().to_string();
    finish_classifier(files, model, base_model, options, &folder.join("config.json"))
}

/// Puts a classifier together; `path` is that of its `config.json`, for error messages.
fn finish_classifier(
    mut files: TransformerFiles,
    model: Model,
    base_model: String,
    options: &LoadOptions,
    path: &Path,
) -> Result<CrossEncoder, EncoderError> {
    let num_labels = model.architecture().output_columns();
    let activation = match options.activation_fn {
        Some(activation) => activation,
        None => stored_activation(&files.config, path, &*options.reporter)?
            .unwrap_or(OutputActivation::default_for(num_labels)),
    };
    let object = files.config.as_object_mut().expect("the config is an object");
    // Older layouts keep the activation here; the one that is written keeps it in
    // `config_sentence_transformers.json`.
    object.shift_remove("sentence_transformers");
    object.shift_remove("sbert_ce_default_activation_function");
    name_labels(&mut files.config, num_labels);
    let labels = label_names(&files.config, num_labels);
    let class = class_name(&files.config, "ForSequenceClassification");
    files.config["architectures"] = json!([class]);
    let parts = Parts {
        model,
        tokenizer: files.tokenizer,
        prompts: IndexMap::new(),
        default_prompt_name: None,
        base_model,
        base: files.folder,
        config: Some(files.config),
        task: "sequence-classification",
        modules: Vec::new(),
    };
    Ok(CrossEncoder { parts, activation, labels })
}

/// Loads a cross-encoder made of modules: a transformer, pooling, and dense layers of which the
/// last one gives the scores.
fn load_modular(
    path: &Path,
    entries: &[ModuleEntry],
    module: &ModuleConfig,
    options: &LoadOptions,
) -> Result<CrossEncoder, EncoderError> {
    let prepare = |_: &mut Value, _: &Path| Ok(TransformerTask::FeatureExtraction);
    let folder = &entries[0].folder;
    let mut files = TransformerFiles::open(folder, module, options, prepare)?;
    let mut folders = vec![(String::new(), folder.clone())];
    let modules =
        push_modules(path, &mut files.architecture, &entries[1..], &mut folders, options)?;
    let outputs = output_name(&modules, path)?;
    if outputs != SCORES {
        let message = format!(
            "expected a last Dense module with module_output_name \"{SCORES}\", got \"{outputs}\""
        );
        return Err(json::file_error(path, message));
    }
    let num_labels = files.architecture.output_columns();
    if let Some(requested) = options.num_labels.filter(|&requested| requested != num_labels) {
        let expected = format!("{num_labels}, the out_features of the model's last Dense module");
        return Err(EncoderError::argument("num_labels", expected, requested));
    }
    if let Some(dropout) = options.classifier_dropout {
        let expected = "no value, as a cross-encoder made of modules has no classification head";
        return Err(EncoderError::argument("classifier_dropout", expected, dropout));
    }
    let model = load_model(files.architecture.clone(), &folders, options)?;
    files.config["architectures"] = json!([class_name(&files.config, "Model")]);
    let parts = Parts {
        model,
        tokenizer: files.tokenizer,
        prompts: IndexMap::new(),
        default_prompt_name: None,
        base_model: path.display().to_string(),
        base: files.folder,
        config: Some(files.config),
        task: "feature-extraction",
        modules,
    };
    let activation = options.activation_fn.unwrap_or(OutputActivation::default_for(num_labels));
    let labels = (0..num_labels).map(|label| format!("LABEL_{label}")).collect();
    Ok(CrossEncoder { parts, activation, labels })
}

/// The name of the output of the last module. Each module must read the output of the one before.
fn output_name(modules: &[Module], path: &Path) -> Result<String, EncoderError> {
    let mut current = EMBEDDING.to_owned();
    for module in modules {
        let (input, output) = match module {
            Module::Dense(dense) => (dense.input_name.as_str(), dense.output_name.as_str()),
            _ => (EMBEDDING, EMBEDDING),
        };
        if input != current {
            let class = module.class();
            let message = format!(
                "module {class}: expected module_input_name \"{current}\", the output of the \
                 module before, got \"{input}\""
            );
            return Err(json::file_error(path, message));
        }
        current = output.to_owned();
    }
    Ok(current)
}

/// Determines the number of labels, and empties the names of the labels in the config where there
/// is another number of them.
///
/// As in sentence-transformers: the option, or what the checkpoint of a classifier has, or 1.
fn prepare_classifier(
    config: &mut Value,
    path: &Path,
    options: &LoadOptions,
) -> Result<TransformerTask, EncoderError> {
    let architectures = architectures(config, path)?;
    if architectures.first().is_some_and(|name| name.ends_with("ForCausalLM")) {
        return Err(language_model(path));
    }
    let is_classifier =
        architectures.iter().any(|name| name.ends_with("ForSequenceClassification"));
    let named = named_labels(config, path)?;
    let stored = stored_num_labels(config, named, path)?;
    let num_labels = match options.num_labels {
        Some(num_labels) if !(1..=LARGEST_SIZE).contains(&num_labels) => {
            return Err(EncoderError::argument("num_labels", json::SIZE, num_labels));
        }
        Some(num_labels) => num_labels,
        None if is_classifier => match stored {
            Some(num_labels) if (1..=LARGEST_SIZE).contains(&num_labels) => num_labels,
            Some(_) => return Err(unusable_labels(config, path)),
            // transformers' default for a config that says nothing.
            None => 2,
        },
        None => 1,
    };
    if let (Some(named), Some(stored)) = (named, stored)
        && named != stored
    {
        options.reporter.warning(&format!(
            "{}: id2label has {named} names, but num_labels is {stored}; the names are replaced",
            path.display()
        ));
    }
    if named != Some(num_labels) {
        // `name_labels` fills them, once the number has been compared with the checkpoint.
        config["id2label"] = json!({});
        config["label2id"] = json!({});
    }
    config.as_object_mut().expect("the config is an object").shift_remove("num_labels");
    if let Some(dropout) = options.classifier_dropout {
        classifier_dropout(config, dropout)?;
    }
    Ok(TransformerTask::SequenceClassification { num_labels })
}

/// The class names in `architectures`; empty when there is no such field.
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

/// The output activation in `config.json`, where sentence-transformers kept it before version 5.4.
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
        Some(name) => read_activation(name, path, field, reporter),
        None => Ok(None),
    }
}

/// The error for a reranker that is a causal language model.
fn language_model(path: &Path) -> EncoderError {
    json::file_error(
        path,
        "expected an encoder with a classification head, got a causal language model (ForCausalLM \
         or LogitScore), which is not supported",
    )
}
