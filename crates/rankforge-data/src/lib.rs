//! Data sets: rows read from jsonl, csv, parquet and Arrow files, from directories with splits and
//! from BEIR directories, and rows written to files.
//!
//! Contains nothing about models, tokenizers or kernels. Nothing is downloaded; if data sets ever
//! are, the code belongs in this crate.
#![forbid(unsafe_code)]

mod arrow_file;
mod arrow_messages;
mod arrow_values;
mod beir;
mod cell_types;
mod chunk;
mod compression;
mod condition;
mod csv_file;
mod duplicates;
mod error;
mod json_file;
mod json_objects;
mod nano_beir;
mod order;
mod parquet_columns;
mod parquet_file;
mod qrels;
mod reader;
mod rows;
mod source;
mod splits;
mod streamed;
mod value;
mod writer;

pub use beir::{Beir, UnknownJudgements, beir_file, fits_run_file, load_beir};
pub use cell_types::CellTypes;
pub use condition::Condition;
pub use duplicates::Duplicates;
pub use error::DataError;
pub use nano_beir::{load_nano_beir, load_nano_beir_ranking, nano_beir_names};
pub use qrels::{Judgement, load_qrels};
pub use reader::{Location, RowReader, load_rows, load_texts};
pub use rows::Rows;
pub use source::{BlockOrder, RowSource};
pub use splits::{has_known_extension, splits};
pub use streamed::StreamedRows;
pub use value::Value;
pub use writer::RowWriter;
