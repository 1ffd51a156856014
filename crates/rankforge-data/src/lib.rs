//! Rows from jsonl, csv and parquet files, folders with splits and BEIR folders, and back to files.
//!
//! Knows nothing of models, tokenizers or kernels. The only crate that may ever download data.
#![forbid(unsafe_code)]

mod beir;
mod error;
mod reader;
mod rows;
mod writer;

pub use beir::{Beir, load_beir};
pub use error::DataError;
pub use reader::{Location, RowReader, load_rows, splits};
pub use rows::{Rows, Value};
pub use writer::RowWriter;
