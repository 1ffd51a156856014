use crate::{EncoderError, Input, Tokens};
use std::path::Path;

/// A Hugging Face tokenizer with the files it came from, truncating to a maximum length.
#[derive(Clone)]
pub struct Tokenizer {}

impl Tokenizer {
    /// Reads `tokenizer.json` and, where it is there, `tokenizer_config.json` of a directory.
    ///
    /// # Errors
    /// A missing or malformed file.
    pub fn load(directory: &Path) -> Result<Tokenizer, EncoderError> {
        unimplemented!()
    }

    /// From the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// Malformed text.
    pub fn from_json(json: &str) -> Result<Tokenizer, EncoderError> {
        unimplemented!()
    }

    /// Writes the tokenizer's files into a directory.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), EncoderError> {
        unimplemented!()
    }

    /// Largest number of ids, added tokens included.
    pub fn vocab_size(&self) -> usize {
        unimplemented!()
    }

    /// Longest sequence, special tokens included; `None` is without limit.
    pub fn max_length(&self) -> Option<usize> {
        unimplemented!()
    }

    /// Sets the longest sequence.
    pub fn set_max_length(&mut self, max_length: Option<usize>) {
        unimplemented!()
    }

    /// Tokenises in parallel, in order: the pair template, `longest_first` truncation to
    /// `max_length`, no padding. Static embedding models add no special tokens.
    ///
    /// # Errors
    /// When the tokenizer fails on a text.
    pub fn encode(&self, inputs: &[Input<'_>]) -> Result<Vec<Tokens>, EncoderError> {
        unimplemented!()
    }
}
