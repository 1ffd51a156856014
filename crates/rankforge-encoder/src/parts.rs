use crate::error::EncoderError;
use crate::input::Prompt;
use crate::model::Model;
use crate::modules::Module;
use crate::tokenizer::Tokenizer;
use indexmap::IndexMap;
use rankforge_base::hexadecimal;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// The parts that cross-encoders and dual encoders have in common.
#[derive(Clone)]
pub struct Parts {
    /// Architecture and parameters.
    pub model: Model,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Prompts: name to text.
    pub prompts: IndexMap<String, String>,
    /// Name of the prompt that is used when a call gives neither a text nor a name.
    pub default_prompt_name: Option<String>,
    /// Name or path that the model was loaded from.
    pub base_model: String,
    /// Directory with the parameters of the transformer, of which an adapter may be saved alone;
    /// `None` for a transformer without one, or with an adapter merged into it.
    pub(crate) base: Option<PathBuf>,
    /// Content of the transformer's `config.json`; `None` for a static embedding model.
    pub(crate) config: Option<Value>,
    /// The `transformer_task` of the module Transformer in sentence-transformers.
    pub(crate) task: &'static str,
    /// The modules after the first one.
    pub(crate) modules: Vec<Module>,
}

/// Number of parameters that are hashed at a time.
const HASHED_TOGETHER: usize = 1 << 16;

impl Parts {
    /// Content of the transformer's `config.json`; `None` for a static embedding model.
    pub fn config(&self) -> Option<&Value> {
        self.config.as_ref()
    }

    /// The SHA-256, in hexadecimal, of what the outputs of the model depend on besides its
    /// precision: architecture, parameters, adapters, prompts, maximum length and tokenizer. It
    /// does not depend on the path of the model.
    ///
    /// # Errors
    /// When the tokenizer cannot be serialized, or the model has no matrices
    /// ([`Packing::Instead`](crate::Packing::Instead)).
    pub fn digest(&self) -> Result<String, EncoderError> {
        self.model.expect_matrices()?;
        let mut hash = Sha256::new();
        hash.update(format!("{:?}", self.model.architecture()));
        for (name, text) in &self.prompts {
            hash.update(format!("{name:?} {text:?}"));
        }
        hash.update(format!("{:?}", self.tokenizer.max_length()));
        if let Some(lora) = self.model.lora() {
            hash.update(format!("{lora:?}"));
        }
        let parameters = self.model.parameters().flat();
        let length = parameters.rows() * parameters.columns();
        let parameters = parameters.with_shape(length, 1);
        for start in (0..length).step_by(HASHED_TOGETHER) {
            let piece = parameters.slice_rows(start..length.min(start + HASHED_TOGETHER)).to_vec();
            let bytes: Vec<u8> = piece.iter().flat_map(|value| value.to_le_bytes()).collect();
            hash.update(bytes);
        }
        let mut files = self.tokenizer.files()?;
        files.sort();
        for (_, bytes) in files {
            hash.update(bytes);
        }
        Ok(hexadecimal(&hash.finalize()))
    }

    /// The prompt of a call: `text`, or else the model's prompt named `name`, or else its default
    /// prompt. `None` when there is none of them, or when the prompt is empty.
    ///
    /// # Errors
    /// A name that the model does not have, or a text that the tokenizer fails on.
    pub fn prompt(
        &self,
        text: Option<&str>,
        name: Option<&str>,
    ) -> Result<Option<Prompt>, EncoderError> {
        let text = match (text, name.or(self.default_prompt_name.as_deref())) {
            (Some(text), _) => text,
            (None, None) => "",
            (None, Some(name)) => self.prompts.get(name).ok_or_else(|| EncoderError::Prompt {
                name: name.to_owned(),
                known: self.prompts.keys().cloned().collect(),
            })?,
        };
        self.tokenizer.prompt(text)
    }
}
