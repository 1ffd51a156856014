//! Added and special tokens: what the files of a tokenizer name, by the precedence of transformers.

use crate::error::EncoderError;
use crate::json;
use crate::tokenizer::class::{ROLES, TokenizerClass};
use crate::tokenizer::token_spec::TokenSpec;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tokenizers::AddedToken;

/// A JSON object and the file that it was read from.
#[derive(Clone, Copy)]
pub(super) struct JsonFile<'a> {
    pub fields: &'a Map<String, Value>,
    pub path: &'a Path,
}

impl<'a> JsonFile<'a> {
    /// The fields of a file whose content is an object.
    pub(super) fn of((value, path): &'a (Value, PathBuf)) -> Option<JsonFile<'a>> {
        Some(JsonFile { fields: value.as_object()?, path })
    }
}

/// The files of a tokenizer that name tokens.
pub(super) struct TokenFiles<'a> {
    /// `tokenizer_config.json`
    pub config: Option<JsonFile<'a>>,
    /// `special_tokens_map.json`
    pub special_tokens_map: Option<JsonFile<'a>>,
    /// `added_tokens.json`
    pub added_tokens: Option<JsonFile<'a>>,
    /// The `added_tokens` of `tokenizer.json`, with their ids.
    pub stored: &'a [(u32, AddedToken)],
    /// The `pad_token` that `tokenizer.json` pads with.
    pub padding: Option<&'a str>,
}

/// The tokens that the files of a tokenizer name.
#[derive(Debug)]
pub(super) struct NamedTokens {
    /// The special token of each role, such as `cls_token`.
    roles: IndexMap<String, TokenSpec>,
    /// Special tokens without a role.
    extra: Vec<TokenSpec>,
    /// The added tokens that have an id in the files, in the order of these ids.
    listed: Vec<TokenSpec>,
    /// The texts of special tokens that the class has by default and that no file but
    /// `tokenizer.json` names: transformers writes all of them there.
    defaults: BTreeSet<String>,
}

impl NamedTokens {
    /// Reads the tokens of all files.
    ///
    /// `added_tokens_decoder` of `tokenizer_config.json` replaces `special_tokens_map.json`,
    /// `added_tokens.json` and the `added_tokens` of `tokenizer.json`, which are older ways to say
    /// the same. Of these, later ones replace what earlier ones say.
    ///
    /// # Errors
    /// A token that is neither a text nor an object with a text, or an id that is none.
    pub(super) fn read(
        files: &TokenFiles<'_>,
        class: TokenizerClass,
    ) -> Result<NamedTokens, EncoderError> {
        let mut reader = Reader { class, ..Reader::default() };
        if let Some(text) = files.padding.filter(|_| class == TokenizerClass::Backend) {
            reader.given.insert("pad_token".to_owned(), Some(TokenSpec::special(text)));
        }
        if let Some(config) = files.config {
            reader.read_config(config)?;
        }
        let decoder = files
            .config
            .and_then(|config| Some((config.path, config.fields.get("added_tokens_decoder")?)));
        if let Some((path, decoder)) = decoder {
            reader.read_decoder(decoder, path)?;
        } else {
            if let Some(map) = files.special_tokens_map {
                reader.read_map(map)?;
            }
            if let Some(added) = files.added_tokens {
                reader.read_added_tokens(added)?;
            }
        }
        let stored = if decoder.is_none() { files.stored } else { &[] };
        Ok(reader.finish(stored))
    }

    /// The text of the special token of a role.
    pub(super) fn role(&self, role: &str) -> Option<&str> {
        self.roles.get(role).map(|token| token.content.as_str())
    }

    /// The added tokens of the tokenizer, in the order in which they get ids: the `existing` ones
    /// and those that the files name.
    pub(super) fn added_to(&self, existing: &[AddedToken]) -> Vec<AddedToken> {
        let contents = existing.iter().map(|token| &token.content);
        let known: BTreeSet<&String> =
            contents.chain(self.listed.iter().map(|token| &token.content)).collect();
        let mut adding = self.listed.clone();
        for token in self.roles.values().chain(&self.extra) {
            if !known.contains(&token.content) && !adding.contains(token) {
                adding.push(token.clone());
            }
        }
        let mut tokens: IndexMap<String, AddedToken> = IndexMap::new();
        for token in existing {
            tokens.insert(token.content.clone(), token.clone());
        }
        for mut token in adding {
            token.special |= self.roles.values().any(|named| named.content == token.content);
            tokens.insert(token.content.clone(), token.token());
        }
        tokens.shift_remove("");
        tokens.into_values().collect()
    }

    /// Whether a token is there only because the class has it by default.
    pub(super) fn is_default(&self, content: &str) -> bool {
        self.defaults.contains(content)
    }
}

/// What has been read so far.
struct Reader {
    class: TokenizerClass,
    /// The special tokens of roles that files give; `None` where one says that there is none.
    given: IndexMap<String, Option<TokenSpec>>,
    /// `extra_special_tokens`
    extra: Option<Vec<TokenSpec>>,
    /// `additional_special_tokens`, the older name, which counts where the newer one is missing.
    additional: Option<Vec<TokenSpec>>,
    /// Added tokens by the id that a file says they have.
    listed: BTreeMap<u64, TokenSpec>,
    /// The fields of `given` whose token `added_tokens.json` does not make special: those that
    /// `tokenizer_config.json` gives as an object.
    objects: BTreeSet<String>,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            class: TokenizerClass::Backend,
            given: IndexMap::new(),
            extra: None,
            additional: None,
            listed: BTreeMap::new(),
            objects: BTreeSet::new(),
        }
    }
}

impl Reader {
    fn read_config(&mut self, config: JsonFile<'_>) -> Result<(), EncoderError> {
        for (field, value) in config.fields {
            self.read_role(field, value, config.path, false)?;
        }
        let field = |name: &str| config.fields.get(name).filter(|value| !value.is_null());
        let is_empty = |value: &&Value| **value == json!([]) || **value == json!({});
        let extra = field("extra_special_tokens").filter(|value| !is_empty(value));
        let additional = field("additional_special_tokens");
        match (extra, additional) {
            (Some(extra), additional) => {
                self.extra = self.tokens(extra, "extra_special_tokens", config.path)?;
                if let Some(tokens) = additional {
                    self.additional =
                        self.tokens(tokens, "additional_special_tokens", config.path)?;
                }
            }
            (None, Some(tokens)) => {
                self.extra = self.tokens(tokens, "additional_special_tokens", config.path)?;
            }
            (None, None) => {}
        }
        Ok(())
    }

    fn read_decoder(&mut self, decoder: &Value, path: &Path) -> Result<(), EncoderError> {
        const FIELD: &str = "added_tokens_decoder";
        let error =
            || json::field_error(path, FIELD, "an object from ids to added tokens", Some(decoder));
        for (id, token) in decoder.as_object().ok_or_else(error)? {
            let id = id.parse().map_err(|_| error())?;
            self.listed.insert(id, TokenSpec::read(token, FIELD, path)?);
        }
        Ok(())
    }

    fn read_map(&mut self, map: JsonFile<'_>) -> Result<(), EncoderError> {
        for (field, value) in map.fields {
            match field.as_str() {
                "additional_special_tokens" if value.is_null() => {}
                "additional_special_tokens" => {
                    self.additional = self.tokens(value, field, map.path)?;
                }
                "extra_special_tokens" if !value.is_null() => {
                    for token in self.tokens(value, field, map.path)?.unwrap_or_default() {
                        let extra = self.extra.get_or_insert_default();
                        if !extra.contains(&token) {
                            extra.push(token);
                        }
                    }
                }
                _ => self.read_role(field, value, map.path, true)?,
            }
        }
        Ok(())
    }

    fn read_added_tokens(&mut self, added: JsonFile<'_>) -> Result<(), EncoderError> {
        let is_role =
            |role: &String| ROLES.contains(&role.as_str()) && !self.objects.contains(role);
        let roles = self.given.iter().filter(|(role, _)| is_role(role));
        let tokens = roles.filter_map(|(_, token)| token.as_ref());
        let tokens = tokens.chain(self.extra.iter().flatten());
        let names: BTreeSet<String> = tokens.map(|token| token.content.clone()).collect();
        for (content, id) in added.fields {
            let error =
                || json::field_error(added.path, content, "the token's id, an integer", Some(id));
            let special = names.contains(content);
            let content = content.clone();
            let token =
                TokenSpec { content, normalized: Some(!special), special, ..TokenSpec::default() };
            self.listed.insert(id.as_u64().ok_or_else(error)?, token);
        }
        Ok(())
    }

    /// Reads a field that names a special token. In `special_tokens_map.json` all are special.
    fn read_role(
        &mut self,
        field: &str,
        value: &Value,
        path: &Path,
        is_map: bool,
    ) -> Result<(), EncoderError> {
        let token = match value {
            _ if !field.ends_with("_token") => return Ok(()),
            Value::Null => None,
            Value::String(text) => Some(self.class.token(field, text)),
            Value::Object(_) => {
                let token = TokenSpec::read(value, field, path)?;
                Some(TokenSpec { special: token.special || is_map, ..token })
            }
            other if ROLES.contains(&field) => {
                let expected = "a string, or an object with the string as `content`";
                return Err(json::field_error(path, field, expected, Some(other)));
            }
            // Settings such as `add_bos_token`.
            _ => return Ok(()),
        };
        match value.is_object() && !is_map {
            true => self.objects.insert(field.to_owned()),
            false => self.objects.remove(field),
        };
        self.given.insert(field.to_owned(), token);
        Ok(())
    }

    /// A list of special tokens. An object instead gives tokens roles of their own.
    fn tokens(
        &mut self,
        value: &Value,
        field: &str,
        path: &Path,
    ) -> Result<Option<Vec<TokenSpec>>, EncoderError> {
        if let Value::Object(roles) = value {
            for (role, token) in roles {
                let token = special_token(token, field, path)?;
                self.given.insert(role.clone(), Some(token));
            }
            return Ok(None);
        }
        let error = || json::field_error(path, field, "an array of tokens", Some(value));
        let tokens = value.as_array().ok_or_else(error)?;
        let tokens = tokens.iter().map(|token| special_token(token, field, path));
        tokens.collect::<Result<_, _>>().map(Some)
    }

    /// The tokens, with those `stored` in `tokenizer.json` and the defaults of the class.
    fn finish(mut self, stored: &[(u32, AddedToken)]) -> NamedTokens {
        let extra = self.extra.or(self.additional);
        let given = self.given.values().flatten().chain(self.listed.values());
        let given = given.chain(extra.iter().flatten());
        let given: BTreeSet<String> = given.map(|token| token.content.clone()).collect();
        let mut defaults = BTreeSet::new();
        let mut roles = IndexMap::new();
        for role in ROLES {
            let default = || {
                let token = self.class.default_token(role)?;
                defaults.insert(token.content.clone());
                Some(token)
            };
            let token = self.given.shift_remove(role).unwrap_or_else(default);
            roles.extend(token.map(|token| (role.to_owned(), token)));
        }
        // Roles that only this tokenizer has.
        roles.extend(self.given.into_iter().filter_map(|(role, token)| Some((role, token?))));
        let extra = extra.unwrap_or_else(|| {
            let extra = self.class.default_extra();
            defaults.extend(extra.iter().map(|token| token.content.clone()));
            extra
        });
        let stored = stored.iter().map(|(id, token)| (u64::from(*id), TokenSpec::from(token)));
        self.listed.extend(stored);
        let listed = self.listed.into_values().collect();
        defaults.retain(|content| !given.contains(content));
        NamedTokens { roles, extra, listed, defaults }
    }
}

/// A special token that is given as a text or as an object.
fn special_token(value: &Value, field: &str, path: &Path) -> Result<TokenSpec, EncoderError> {
    match value {
        Value::String(text) => Ok(TokenSpec::special(text)),
        other => TokenSpec::read(other, field, path),
    }
}
