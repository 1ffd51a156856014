//! Tokens that the embedding table of the model has no row for.

use crate::error::EncoderError;
use crate::json;
use crate::tokenizer::encode::Tokenizer;
use crate::tokenizer::template::Template;
use crate::tokenizer::token_source::Source;
use std::path::Path;

impl Tokenizer {
    /// Checks that an embedding table of `rows` rows has one for every token that texts may have.
    /// `path` is the file that determines `rows`.
    ///
    /// # Errors
    /// When it lacks one; names the file that the token is from.
    pub(crate) fn check_table(&self, rows: usize, path: &Path) -> Result<(), EncoderError> {
        let Some((id, token)) = self.token_beyond(rows) else { return Ok(()) };
        let Source { path: source, id: stored } = self.files.source(&token, id);
        let given = match stored {
            Some(stored) if stored != u64::from(id) => {
                format!("id {stored} there and is loaded as {id}")
            }
            _ => format!("id {id}"),
        };
        let message = format!(
            "the token \"{token}\" has {given}, but the model's embedding table has {rows} rows \
             ({}) for the {} ids of the tokenizer: it is of another model, or the table was not \
             resized for the token (resize_token_embeddings in Python)",
            path.display(),
            self.vocab_size
        );
        Err(json::file_error(&source, message))
    }

    /// The least id from `rows` on of a token that must have a row, and the token.
    fn token_beyond(&self, rows: usize) -> Option<(u32, String)> {
        if self.vocab_size <= rows {
            return None;
        }
        let tokens = self.inner.get_vocab(true).into_iter().map(|(token, id)| (id, token));
        let special = self.templates.iter().flat_map(Template::ids);
        let special = special.map(|id| (id, self.inner.id_to_token(id).unwrap_or_default()));
        let beyond = tokens.chain(special).filter(|(id, _)| *id as usize >= rows);
        beyond.filter(|(id, _)| !self.optional_ids.contains(id)).min()
    }

    /// Tells the number of rows of the embedding table, so that a text with a token that has none
    /// is refused.
    pub(crate) fn set_rows(&mut self, rows: usize) {
        self.rows = (rows < self.vocab_size).then_some(rows);
    }

    /// Checks that the embedding table has a row for each of these ids.
    pub(super) fn check_rows<'a>(
        &self,
        mut ids: impl Iterator<Item = &'a u32>,
    ) -> Result<(), EncoderError> {
        let Some(rows) = self.rows else { return Ok(()) };
        match ids.find(|id| **id as usize >= rows) {
            None => Ok(()),
            Some(&id) => {
                let token = self.inner.id_to_token(id).unwrap_or_default();
                let message = format!(
                    "the token \"{token}\" has id {id}, but the model's embedding table has {rows} \
                     rows"
                );
                Err(EncoderError::Tokenizer { message })
            }
        }
    }
}
