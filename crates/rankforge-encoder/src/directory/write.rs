//! Writing model directories.

use crate::error::EncoderError;
use crate::json;
use crate::lora::{ADAPTER_CONFIG, ADAPTER_WEIGHTS};
use crate::parts::Parts;
use crate::roles::ModelKind;
use rankforge_base::{DirectoryKind, Entry, FileError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The sentence-transformers version that is written into the config: the first one with this
/// layout. Versions older than the number written warn when they load the model.
const LAYOUT_VERSION: &str = "5.4.0";

impl Parts {
    /// Writes all files of the model into a new or empty directory. `fields` are added to
    /// `config_sentence_transformers.json`; `card` becomes `README.md`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn write(
        &self,
        directory: &Path,
        kind: ModelKind,
        fields: Vec<(&str, Value)>,
        card: Option<&str>,
    ) -> Result<(), EncoderError> {
        create_directory(directory)?;
        if let Some(config) = &self.config {
            // With a config of its own, transformers takes the directory of an adapter for that of
            // its base model too.
            if !self.model.has_adapters() {
                json::write_json(&directory.join("config.json"), config)?;
            }
            let path = directory.join("sentence_bert_config.json");
            json::write_json(&path, &self.transformer_config())?;
        }
        self.tokenizer.save(directory)?;
        match self.model.lora() {
            Some(lora) => self.write_adapter(directory, lora)?,
            None => self.model.save("", &directory.join("model.safetensors"))?,
        }
        for (index, module) in self.modules.iter().enumerate() {
            let name = module.folder(index);
            let folder = directory.join(&name);
            create_directory(&folder)?;
            json::write_json(&folder.join("config.json"), &module.config())?;
            if module.has_weights() {
                self.model.save(&name, &folder.join("model.safetensors"))?;
            }
        }
        json::write_json(&directory.join("modules.json"), &self.module_list())?;
        let path = directory.join("config_sentence_transformers.json");
        json::write_json(&path, &self.model_config(kind, fields))?;
        if let Some(card) = card {
            json::write_bytes(&directory.join("README.md"), card.as_bytes())?;
        }
        Ok(())
    }

    /// The content of `sentence_bert_config.json`.
    fn transformer_config(&self) -> Value {
        let (output, name) = if self.task == "sequence-classification" {
            ("logits", "scores")
        } else {
            ("last_hidden_state", "token_embeddings")
        };
        let mut config = json!({
            "transformer_task": self.task,
            "modality_config": {"text": {"method": "forward", "method_output_name": output}},
            "module_output_name": name,
        });
        if let (true, Some(labels)) = (self.model.has_adapters(), self.own_labels()) {
            config["config_kwargs"] = labels;
        }
        if self.tokenizer.lower_case() {
            // The classes of most tokenizers replace the normalizer in `tokenizer.json`.
            config["do_lower_case"] = json!(true);
        }
        config
    }

    /// The fields of `config.json` about labels, of a classifier with several; the base model of an
    /// adapter may have others.
    fn own_labels(&self) -> Option<Value> {
        let config = self.config.as_ref()?;
        let several = config["id2label"].as_object()?.len() > 1;
        let fields = ["architectures", "id2label", "label2id"];
        let labels = fields.map(|field| (field.to_owned(), config[field].clone()));
        several.then(|| labels.into_iter().collect())
    }

    /// The content of `modules.json`.
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
                "path": module.folder(index),
                "type": module.python_type(),
            }));
        }
        Value::Array(list)
    }

    /// The content of `config_sentence_transformers.json`.
    fn model_config(&self, kind: ModelKind, fields: Vec<(&str, Value)>) -> Value {
        let mut config = BTreeMap::from([
            (
                "__version__",
                json!({
                    "rankforge": env!("CARGO_PKG_VERSION"),
                    "sentence_transformers": LAYOUT_VERSION,
                }),
            ),
            ("default_prompt_name", json!(self.default_prompt_name)),
            ("model_type", json!(kind.to_string())),
            ("prompts", json!(self.prompts)),
        ]);
        config.extend(fields);
        json!(config)
    }
}

/// How [`replace_directory`](rankforge_base::replace_directory) recognises a model directory.
pub const MODEL_DIRECTORY: DirectoryKind<'static> = DirectoryKind {
    name: "a model directory",
    recognises: &|entries| {
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        has("modules.json")
            || (has("config.json") && has("model.safetensors"))
            || (has(ADAPTER_CONFIG) && has(ADAPTER_WEIGHTS))
    },
    owns: &is_model_entry,
    temporary_prefix: ".rankforge-saving-",
};

/// Files that saving a model writes, here or in Python. Others would be lost when a model takes the
/// place of a directory, so a directory with any other entry is not replaced.
const MODEL_FILES: [&str; 25] = [
    ".gitattributes",
    "README.md",
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    "added_tokens.json",
    "bpe.codes",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "merges.txt",
    "model.safetensors",
    "model.safetensors.index.json",
    "modules.json",
    "sentence_bert_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "spm.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
];

/// Whether saving a model writes a file or subdirectory of this name: one of the files above, a
/// shard of the weights, or the folder of a module, such as `1_Pooling`.
pub fn is_model_entry(entry: &Entry) -> bool {
    let name = entry.name.as_str();
    if entry.is_directory {
        return name.split_once('_').is_some_and(|(index, class)| {
            index.parse::<usize>().is_ok() && class.starts_with(|c: char| c.is_ascii_uppercase())
        });
    }
    let is_shard = name.starts_with("model-") && name.ends_with(".safetensors");
    is_shard || MODEL_FILES.contains(&name)
}

fn create_directory(path: &Path) -> Result<(), EncoderError> {
    Ok(fs::create_dir_all(path).map_err(FileError::io(path))?)
}
