//! Reading the files of a tokenizer as `AutoTokenizer` of transformers does.

use crate::error::EncoderError;
use crate::json;
use crate::tokenizer::added_tokens::{JsonFile, NamedTokens, TokenFiles};
use crate::tokenizer::build::{Built, TokenizerJson};
use crate::tokenizer::class::{TokenizerClass, other_class_has_segments};
use crate::tokenizer::class_rules::{BuildError, ClassSettings};
use crate::tokenizer::files::{COPIED, TokenizerFiles};
use crate::tokenizer::template::Template;
use crate::tokenizer::vocabulary;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokenizers::Model as _;

/// The files of a tokenizer, the tokenizer, and the tokens that the files name.
pub(super) struct ReadTokenizer {
    pub files: TokenizerFiles,
    pub tokenizer: tokenizers::Tokenizer,
    pub tokens: Option<NamedTokens>,
}

impl TokenizerFiles {
    /// Reads the files in a directory as `AutoTokenizer` of transformers does. Without a
    /// `tokenizer.json`, its content is converted from the vocabulary of the class.
    ///
    /// # Errors
    /// A missing or malformed file, or a field with an unusable value.
    pub(super) fn read(directory: &Path) -> Result<ReadTokenizer, EncoderError> {
        let mut files = TokenizerFiles::read_settings(directory)?;
        let model = json::read_optional_object(&directory.join("config.json"))?.unwrap_or_default();
        let model_path = directory.join("config.json");
        let model_type = json::optional_str(&model, "model_type", &model_path)?;
        let named = json::optional_str(files.config(), "tokenizer_class", &files.config_path)?
            .map(str::to_owned);
        let of_model = json::optional_str(&model, "tokenizer_class", &model_path)?;
        let (name, path) = match (&named, of_model) {
            (None, Some(name)) => (Some(name), &model_path),
            (name, _) => (name.as_deref(), &files.config_path),
        };
        let class = TokenizerClass::pick(model_type, name);
        if class.is_none() {
            let name = name.unwrap_or_default();
            let path = path.display();
            files.warnings.push(format!(
                "{path}: tokenizer_class {name} is not known; using tokenizer.json as it is, \
                 where Python may follow rules of that class"
            ));
        }
        if files.config().get("fast_tokenizer_files").is_some() {
            let path = files.config_path.display();
            files.warnings.push(format!(
                "{path}: fast_tokenizer_files is not supported; using tokenizer.json"
            ));
        }
        files.class = class;
        let nothing_named = model_type.is_none() && name.is_none();
        files.has_segments = match files.read_input_names()? {
            Some(has_segments) => has_segments,
            // Where nothing says what the class is, the template decides.
            None if nothing_named => true,
            None => match class {
                Some(class) => class.has_segments(),
                None => name.is_some_and(other_class_has_segments),
            },
        };
        let class = class.unwrap_or(TokenizerClass::Backend);
        let text = if json::exists(&files.path)? {
            read_text(&files.path)?
        } else {
            // A vocabulary without any setting is that of BERT.
            let class = if nothing_named { TokenizerClass::Bert } else { class };
            files.class = Some(class);
            vocabulary::tokenizer_json(directory, class, name.unwrap_or(class.name()))?
        };
        files.build(text)
    }

    /// Reads the files in a directory, of which `tokenizer.json` is used as it is.
    ///
    /// # Errors
    /// A missing or malformed file, or a field with an unusable value.
    pub(super) fn read_plain(directory: &Path) -> Result<ReadTokenizer, EncoderError> {
        let mut files = TokenizerFiles::read_settings(directory)?;
        files.json = read_text(&files.path)?;
        files.parse()
    }

    /// The files of a tokenizer that is only a `tokenizer.json`.
    ///
    /// # Errors
    /// Content that is not a tokenizer.
    pub(super) fn from_json(json: &str) -> Result<ReadTokenizer, EncoderError> {
        let mut files = TokenizerFiles::new(Path::new(""));
        json.clone_into(&mut files.json);
        files.parse()
    }

    /// The files of a tokenizer that is only a `tokenizer.json`, at `path`.
    ///
    /// # Errors
    /// A missing or malformed file.
    pub(super) fn from_json_file(path: &Path) -> Result<ReadTokenizer, EncoderError> {
        let mut files = TokenizerFiles::new(Path::new(""));
        path.clone_into(&mut files.path);
        files.json = read_text(path)?;
        files.parse()
    }

    /// Reads `tokenizer_config.json` and the files that are copied.
    fn read_settings(directory: &Path) -> Result<TokenizerFiles, EncoderError> {
        let mut files = TokenizerFiles::new(directory);
        files.config = json::read_optional_object(&files.config_path)?;
        for name in COPIED {
            let file = directory.join(name);
            if json::exists(&file)? {
                files.copied.push((name, json::read_bytes(&file)?));
            }
        }
        let splits =
            json::optional_bool(files.config(), "split_special_tokens", &files.config_path);
        files.splits_special_tokens = splits?.unwrap_or(false);
        Ok(files)
    }

    /// Builds the tokenizer from the content of `tokenizer.json` by the rules of the class, with
    /// the tokens of all files.
    fn build(mut self, text: String) -> Result<ReadTokenizer, EncoderError> {
        let class = self.class.unwrap_or(TokenizerClass::Backend);
        self.json = text;
        self.check_syntax()?;
        let parts = TokenizerJson::parse(&self.json).map_err(|error| self.invalid(error))?;
        let tokens = self.read_tokens(&parts, class)?;
        let settings = self.class_settings()?;
        let built = parts.build(&self.json, class, settings, &tokens);
        let Built { tokenizer, json } = built.map_err(|error| self.build_error(error))?;
        self.json = json.unwrap_or(self.json);
        self.truncates_left = self.read_truncates_left()?;
        Ok(ReadTokenizer { files: self, tokenizer, tokens: Some(tokens) })
    }

    /// The tokenizer of `tokenizer.json` as it is.
    ///
    /// # Errors
    /// Content that is not a tokenizer.
    pub(super) fn parse(mut self) -> Result<ReadTokenizer, EncoderError> {
        self.check_syntax()?;
        let tokenizer = self.json.parse().map_err(|error| self.invalid(error))?;
        self.truncates_left = self.read_truncates_left()?;
        Ok(ReadTokenizer { files: self, tokenizer, tokens: None })
    }

    /// The tokens that the files name.
    fn read_tokens(
        &self,
        parts: &TokenizerJson<'_>,
        class: TokenizerClass,
    ) -> Result<NamedTokens, EncoderError> {
        let object = |name: &str| -> Result<Option<(Value, PathBuf)>, EncoderError> {
            let Some((_, bytes)) = self.copied.iter().find(|(other, _)| *other == name) else {
                return Ok(None);
            };
            let path = self.path.with_file_name(name);
            let value = json::parse(bytes, &path)?;
            json::check_object(&value, &path)?;
            Ok(Some((value, path)))
        };
        // Where this field is, the older files are not read.
        let is_legacy = self.config().get("added_tokens_decoder").is_none();
        let legacy = |name| if is_legacy { object(name) } else { Ok(None) };
        let special_tokens_map = legacy("special_tokens_map.json")?;
        let added_tokens = legacy("added_tokens.json")?;
        let stored = parts.stored_tokens().map_err(|error| self.invalid(error))?;
        let padding = parts.padding_token();
        let config = self.config.as_ref().and_then(Value::as_object);
        let config = config.map(|fields| JsonFile { fields, path: &self.config_path });
        let files = TokenFiles {
            config,
            special_tokens_map: special_tokens_map.as_ref().and_then(JsonFile::of),
            added_tokens: added_tokens.as_ref().and_then(JsonFile::of),
            stored: &stored,
            padding: padding.as_deref(),
        };
        NamedTokens::read(&files, class)
    }

    fn class_settings(&self) -> Result<ClassSettings, EncoderError> {
        let flag = |field| json::optional_bool(self.config(), field, &self.config_path);
        Ok(ClassSettings {
            do_lower_case: flag("do_lower_case")?,
            tokenize_chinese_chars: flag("tokenize_chinese_chars")?,
            strip_accents: flag("strip_accents")?,
            add_prefix_space: flag("add_prefix_space")?,
            trim_offsets: flag("trim_offsets")?,
        })
    }

    fn build_error(&self, error: BuildError) -> EncoderError {
        match error {
            BuildError::Invalid(message) => self.invalid(message),
            BuildError::Model(message) => self.error(format!("model: {message}")),
            BuildError::NoToken(field) => {
                let got = self.config().get(field);
                json::field_error(&self.config_path, field, "a special token of the class", got)
            }
        }
    }
}

/// Number of rows that an embedding table needs for all tokens: the largest id plus 1.
pub(super) fn size(tokenizer: &tokenizers::Tokenizer, templates: &[Template]) -> usize {
    let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder().keys().copied();
    let ids = added.chain(tokenizer.get_vocab(false).into_values());
    let ids = ids.chain(templates.iter().flat_map(Template::ids));
    ids.max().map_or(0, |id| id as usize + 1)
}

/// Ids of tokens that an embedding table may have no row for: those that are only defaults of the
/// class, and the empty token, such as that of an empty line in `vocab.txt`, which no text has. An
/// id that is added to every text is none of them.
pub(super) fn optional_ids(
    tokenizer: &tokenizers::Tokenizer,
    templates: &[Template],
    tokens: Option<&NamedTokens>,
) -> Vec<u32> {
    let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
    let is_default = |content: &str| tokens.is_some_and(|tokens| tokens.is_default(content));
    let defaults = added.iter().filter(|(id, token)| {
        is_default(&token.content) && tokenizer.get_model().id_to_token(**id).is_none()
    });
    let optional = defaults.map(|(id, _)| *id).chain(tokenizer.get_model().token_to_id(""));
    optional
        .filter(|id| !templates.iter().any(|template| template.ids().any(|own| own == *id)))
        .collect()
}

fn read_text(path: &Path) -> Result<String, EncoderError> {
    let bytes = json::read_bytes(path)?;
    String::from_utf8(bytes).map_err(|_| json::file_error(path, "invalid UTF-8"))
}
