//! Hugging Face tokenizers: reading and writing their files, and tokenising with a cache of words.

mod added_tokens;
mod build;
mod class;
mod class_rules;
mod cut;
mod embedding_rows;
mod encode;
mod files;
mod read;
mod template;
mod text_tokens;
mod token_source;
mod token_spec;
mod vocabulary;
mod word_cache;
mod word_encoder;

pub use encode::Tokenizer;
pub use text_tokens::TextTokens;
