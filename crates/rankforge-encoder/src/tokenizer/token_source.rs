//! Which file of a tokenizer a token is from, for error messages.

use crate::json;
use crate::tokenizer::files::TokenizerFiles;
use serde_json::Value;
use std::path::PathBuf;

/// A file that a token is from.
pub(super) struct Source {
    pub path: PathBuf,
    /// The id that the file gives the token, if it gives one: classes number added tokens anew.
    pub id: Option<u64>,
}

impl TokenizerFiles {
    /// The file that the token with this id is from: one that says an id, or else one that names
    /// the token, or else that of the vocabulary.
    pub(super) fn source(&self, token: &str, id: u32) -> Source {
        let copied = |name: &str| self.copied.iter().find(|(other, _)| *other == name);
        let value = |name| json::parse(&copied(name)?.1, &self.path).ok();
        let beside = |name: &str| self.path.with_file_name(name);
        if let Some(decoder) = self.config().get("added_tokens_decoder").and_then(Value::as_object)
        {
            let listed = decoder.iter().find(|(_, spec)| spec["content"] == token);
            if let Some((id, _)) = listed {
                return Source { path: self.config_path.clone(), id: id.parse().ok() };
            }
        } else {
            if let Some(id) = value("added_tokens.json").and_then(|ids| ids.get(token)?.as_u64()) {
                return Source { path: beside("added_tokens.json"), id: Some(id) };
            }
            if let Some(id) = self.stored_id(token) {
                return Source { path: self.path.clone(), id: Some(id) };
            }
            if value("special_tokens_map.json").is_some_and(|map| names(&map, token)) {
                return Source { path: beside("special_tokens_map.json"), id: None };
            }
        }
        if names(self.config(), token) {
            return Source { path: self.config_path.clone(), id: None };
        }
        let vocabularies = ["vocab.txt", "vocab.json"].into_iter();
        let mut vocabularies = vocabularies.filter(|name| copied(name).is_some());
        let path = match json::exists(&self.path) {
            Ok(false) => vocabularies.next().map_or(self.path.clone(), beside),
            _ => self.path.clone(),
        };
        Source { path, id: Some(u64::from(id)) }
    }

    /// The id of an added token in the file `tokenizer.json`.
    fn stored_id(&self, token: &str) -> Option<u64> {
        let json = json::parse(&json::read_bytes(&self.path).ok()?, &self.path).ok()?;
        let mut added = json["added_tokens"].as_array()?.iter();
        added.find(|spec| spec["content"] == token)?["id"].as_u64()
    }
}

/// Whether a file names a token: as a text, as the `content` of an object, or in a list of these.
fn names(value: &Value, token: &str) -> bool {
    match value {
        Value::String(text) => text == token,
        Value::Array(values) => values.iter().any(|value| names(value, token)),
        Value::Object(fields) => fields.values().any(|value| names(value, token)),
        _ => false,
    }
}
