//! Writing a model directory, whole or not at all.

use super::json;
use super::modules::Module;
use crate::{EncoderError, Model, Tokenizer};
use indexmap::IndexMap;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The sentence-transformers version whose layout is written; a newer number would make older
/// versions that read it well warn.
const LAYOUT_VERSION: &str = "5.4.0";

/// What a model directory holds beside numbers and tokenizer.
#[derive(Clone)]
pub(crate) struct ModelFiles {
    /// `CrossEncoder` or `SentenceTransformer`.
    pub model_type: &'static str,
    /// The transformer's `config.json`; a static embedding model has none.
    pub config: Option<Value>,
    /// What the transformer is read as, as sentence-transformers names it.
    pub task: &'static str,
    /// The modules after the first.
    pub modules: Vec<Module>,
    /// Texts to prepend, by name.
    pub prompts: IndexMap<String, String>,
    /// Which of them is used when none is asked for.
    pub default_prompt_name: Option<String>,
    /// Name or path the model was loaded from.
    pub base_model: String,
}

impl ModelFiles {
    /// The prompt to prepend: the given text, or the one of the given or the default name.
    ///
    /// # Errors
    /// A name the model does not have.
    pub(crate) fn prompt<'a>(
        &'a self,
        text: Option<&'a str>,
        name: Option<&'a str>,
    ) -> Result<Option<&'a str>, EncoderError> {
        if text.is_some() {
            return Ok(text);
        }
        match name.or(self.default_prompt_name.as_deref()) {
            None => Ok(None),
            Some(name) => match self.prompts.get(name) {
                Some(text) => Ok(Some(text)),
                None => {
                    let known: Vec<&str> = self.prompts.keys().map(String::as_str).collect();
                    Err(EncoderError::Input(format!(
                        "the model has no prompt named {name:?}: expected one of {known:?}"
                    )))
                }
            },
        }
    }

    /// Folder of the module that comes `index`-th after the first, in a saved directory.
    pub(crate) fn folder(index: usize, module: &Module) -> String {
        format!("{}_{}", index + 1, module.class())
    }

    /// Writes every file into a new or empty directory; `fields` go to
    /// `config_sentence_transformers.json`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn write(
        &self,
        directory: &Path,
        model: &Model,
        tokenizer: &Tokenizer,
        fields: Vec<(&str, Value)>,
        card: Option<&str>,
    ) -> Result<(), EncoderError> {
        create_directory(directory)?;
        if let Some(config) = &self.config {
            json::write_json(&directory.join("config.json"), config)?;
            let path = directory.join("sentence_bert_config.json");
            json::write_json(&path, &self.transformer_config())?;
        }
        tokenizer.save(directory)?;
        model.save("", &directory.join("model.safetensors"))?;
        for (index, module) in self.modules.iter().enumerate() {
            let name = ModelFiles::folder(index, module);
            let folder = directory.join(&name);
            create_directory(&folder)?;
            json::write_json(&folder.join("config.json"), &module.config())?;
            if module.has_weights() {
                model.save(&name, &folder.join("model.safetensors"))?;
            }
        }
        json::write_json(&directory.join("modules.json"), &self.module_list())?;
        let path = directory.join("config_sentence_transformers.json");
        json::write_json(&path, &self.model_config(fields))?;
        if let Some(card) = card {
            json::write_bytes(&directory.join("README.md"), card.as_bytes())?;
        }
        Ok(())
    }

    fn transformer_config(&self) -> Value {
        let (output, name) = if self.task == "sequence-classification" {
            ("logits", "scores")
        } else {
            ("last_hidden_state", "token_embeddings")
        };
        json!({
            "transformer_task": self.task,
            "modality_config": {"text": {"method": "forward", "method_output_name": output}},
            "module_output_name": name,
        })
    }

    fn module_list(&self) -> Value {
        let first = if self.config.is_some() {
            "sentence_transformers.base.modules.transformer.Transformer"
        } else {
            "sentence_transformers.sentence_transformer.modules.static_embedding.StaticEmbedding"
        };
        let mut list = vec![json!({"idx": 0, "name": "0", "path": "", "type": first})];
        for (index, module) in self.modules.iter().enumerate() {
            list.push(json!({
                "idx": index + 1,
                "name": (index + 1).to_string(),
                "path": ModelFiles::folder(index, module),
                "type": module.python_type(),
            }));
        }
        Value::Array(list)
    }

    fn model_config(&self, fields: Vec<(&str, Value)>) -> Value {
        let mut config = BTreeMap::from([
            (
                "__version__",
                json!({
                    "rankforge": env!("CARGO_PKG_VERSION"),
                    "sentence_transformers": LAYOUT_VERSION,
                }),
            ),
            ("default_prompt_name", json!(self.default_prompt_name)),
            ("model_type", json!(self.model_type)),
            ("prompts", json!(self.prompts)),
        ]);
        config.extend(fields);
        json!(config)
    }
}

/// Fills a new directory beside `path` with `write`, then puts it in the place of `path`: a failure
/// leaves what was there as it was.
///
/// # Errors
/// When `path` exists and is not an earlier model directory, or `write` fails.
pub(crate) fn replace_directory(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), EncoderError>,
) -> Result<(), EncoderError> {
    let Some(Component::Normal(name)) = path.components().next_back() else {
        return Err(json::file_error(
            path,
            "expected the path of a new or earlier model directory",
        ));
    };
    let name = name.to_string_lossy().into_owned();
    check_replaceable(path)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    create_directory(&parent)?;
    let io = |source| EncoderError::Io { path: path.to_owned(), source };
    let fresh = tempfile::Builder::new()
        .prefix(&format!(".{name}.saving-"))
        .tempdir_in(&parent)
        .map_err(io)?;
    // A directory inside, as the temporary one itself is private to its owner.
    let written = fresh.path().join("new");
    write(&written)?;
    if !json::exists(path)? {
        return fs::rename(&written, path).map_err(io);
    }
    let old = fresh.path().join("old");
    fs::rename(path, &old).map_err(io)?;
    if let Err(source) = fs::rename(&written, path) {
        if fs::rename(&old, path).is_err() {
            // The old model must not go with the temporary directory.
            let kept = fresh.keep();
            let message =
                format!("cannot be written; the model that was here is {}/old", kept.display());
            return Err(json::file_error(path, message));
        }
        return Err(io(source));
    }
    Ok(())
}

/// An empty directory may be replaced, and one that holds a model and nothing else.
fn check_replaceable(path: &Path) -> Result<(), EncoderError> {
    if !json::exists(path)? {
        return Ok(());
    }
    if !path.is_dir() {
        return Err(json::file_error(
            path,
            "a file is there, where a model directory is to be written",
        ));
    }
    let io = |source| EncoderError::Io { path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?;
        let directory = entry.file_type().map_err(io)?.is_dir();
        names.push((entry.file_name().to_string_lossy().into_owned(), directory));
    }
    if names.is_empty() {
        return Ok(());
    }
    let has = |wanted: &str| names.iter().any(|(name, _)| name == wanted);
    let a_model = has("modules.json") || (has("config.json") && has("model.safetensors"));
    if !a_model {
        return Err(json::file_error(
            path,
            "exists and is no model directory: not replaced; name another, or an empty one",
        ));
    }
    names.sort();
    if let Some((name, _)) = names.iter().find(|(name, directory)| !of_a_model(name, *directory)) {
        return Err(json::file_error(
            path,
            format!("holds {name} beside a model: not replaced; name another directory"),
        ));
    }
    Ok(())
}

/// Whether a model directory has such an entry.
fn of_a_model(name: &str, directory: bool) -> bool {
    if directory {
        let numbered = name.split_once('_').is_some_and(|(number, class)| {
            number.parse::<usize>().is_ok() && class.starts_with(|c: char| c.is_ascii_uppercase())
        });
        return numbered || ["onnx", "openvino", ".cache"].contains(&name);
    }
    const ENDINGS: [&str; 9] =
        [".json", ".safetensors", ".txt", ".model", ".bin", ".md", ".jinja", ".py", ".codes"];
    ENDINGS.iter().any(|ending| name.ends_with(ending))
        || [".gitattributes", ".complete", "LICENSE"].contains(&name)
}

fn create_directory(path: &Path) -> Result<(), EncoderError> {
    fs::create_dir_all(path).map_err(|source| EncoderError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).expect("folder");
        entries
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_failed_save_leaves_the_old_directory_and_nothing_new() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("model");
        fs::create_dir(&path).expect("folder");
        fs::write(path.join("modules.json"), "old").expect("file");
        let result = replace_directory(&path, |directory| {
            create_directory(directory)?;
            json::write_bytes(&directory.join("modules.json"), b"new")?;
            Err(json::file_error(directory, "no space left on device"))
        });
        assert!(result.expect_err("the error of the writer").to_string().contains("no space left"));
        assert_eq!(fs::read_to_string(path.join("modules.json")).expect("file"), "old");
        assert_eq!(names(folder.path()), ["model"]);
        assert_eq!(names(&path), ["modules.json"]);
    }

    #[test]
    fn a_path_that_ends_in_no_name_is_refused() {
        for path in ["/", "..", "a/.."] {
            let result = replace_directory(Path::new(path), |_| panic!("nothing is to be written"));
            assert!(result.is_err(), "{path}");
        }
    }
}
