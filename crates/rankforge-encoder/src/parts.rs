use crate::error::EncoderError;
use crate::input::Prompt;
use crate::model::Model;
use crate::modules::Module;
use crate::tokenizer::Tokenizer;
use indexmap::IndexMap;
use serde_json::Value;

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
    /// Content of the transformer's `config.json`; `None` for a static embedding model.
    pub(crate) config: Option<Value>,
    /// The `transformer_task` of the module Transformer in sentence-transformers.
    pub(crate) task: &'static str,
    /// The modules after the first one.
    pub(crate) modules: Vec<Module>,
}

impl Parts {
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
