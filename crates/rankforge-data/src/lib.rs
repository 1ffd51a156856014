//! Rows from jsonl, csv and parquet files, folders with splits and BEIR folders, and back to files.
//!
//! Knows nothing of models, tokenizers or kernels. The only crate that may ever download data.
#![forbid(unsafe_code)]

mod beir;
mod csv_file;
mod describe;
mod error;
mod json_file;
mod parquet_file;
mod reader;
mod rows;
mod splits;
mod writer;

pub use beir::{Beir, load_beir};
pub use describe::{ColumnDescription, Description, Spread};
pub use error::DataError;
pub use reader::{Location, RowReader, load_rows};
pub use rows::{Rows, Value};
pub use splits::splits;
pub use writer::RowWriter;
