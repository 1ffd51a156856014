//! Hugging Face tokenizers: reading and writing their files, and tokenising with a cache of words.

mod encode;
mod files;
mod template;
mod word_cache;
mod word_piece;

pub use encode::Tokenizer;
