//! Hugging Face tokenizers: reading and writing their files, and tokenising with a cache of words.

mod cut;
mod encode;
mod files;
mod template;
mod text_tokens;
mod word_cache;
mod word_piece;

pub use encode::Tokenizer;
pub use text_tokens::TextTokens;
