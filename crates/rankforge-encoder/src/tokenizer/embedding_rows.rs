//! Tokens that the embedding table of the model has no row for.

use crate::error::EncoderError;
use crate::tokenizer::encode::Tokenizer;

impl Tokenizer {
    /// Number of rows that an embedding table must have. Special tokens that only the class of the
    /// tokenizer has, by default, may be without one, unless they are added to every text.
    pub(crate) fn named_size(&self) -> usize {
        self.named_size
    }

    /// The added token that has the least id from `rows` on, where the vocabulary ends before.
    pub(crate) fn added_token_from(&self, rows: usize) -> Option<(&str, u32)> {
        let vocabulary = self.inner.get_vocab(false).into_values().max();
        if vocabulary.is_some_and(|largest| largest as usize >= rows) {
            return None;
        }
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        let beyond = added.iter().filter(|(id, _)| **id as usize >= rows);
        beyond.map(|(id, token)| (token.content.as_str(), *id)).min_by_key(|(_, id)| *id)
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
