//! Train, mine for, evaluate and use the two models of a retrieval cascade: the dual encoder that
//! finds candidates and the reranker that orders the best few.
//!
//! The README's example, which needs a model directory of each kind and a file of pairs:
//!
//! ```no_run
//! use rankforge::encoder::{CrossEncoder, DualEncoder, LoadOptions, PredictOptions, Silent};
//! use rankforge::mining::{MiningOptions, OutputFormat, mine_hard_negatives};
//! use rankforge::training::{Trainer, TrainingArguments};
//! use rankforge::{Device, data, losses::BinaryCrossEntropyLoss};
//! use std::path::Path;
//!
//! fn main() -> Result<(), rankforge::Error> {
//!     let options = LoadOptions::new(&Device::cpu(None)?);
//!     let pairs = data::load_rows(&data::Location { path: "pairs.jsonl".into(), ..Default::default() })?;
//!     let finder = DualEncoder::load(Path::new("models/static"), &options, &Silent)?;
//!     let settings = MiningOptions { num_negatives: 5, output_format: OutputFormat::LabeledPair, ..Default::default() };
//!     let mined = mine_hard_negatives(&pairs, &finder, &settings, None, None, &Silent)?;
//!     let model = CrossEncoder::load(Path::new("models/all-MiniLM-L6-v2"), &options, &Silent)?;
//!     let loss = BinaryCrossEntropyLoss { pos_weight: Some(5.0), ..Default::default() };
//!     let mut trainer = Trainer::new(model, TrainingArguments::default(), mined.rows, Box::new(loss), &Silent);
//!     trainer.train()?;
//!     trainer.save_model(Path::new("models/reranker"))?;
//!     let documents = ["A kiln fires clay.", "The Danube flows into the Black Sea."];
//!     let ranked = trainer.model.rank("Where does the Danube end?", &documents, Some(1), &PredictOptions::default(), &Silent)?;
//!     assert_eq!(ranked[0].corpus_id, 1);
//!     Ok(())
//! }
//! ```
#![forbid(unsafe_code)]

pub mod evaluation;
pub mod losses;
mod metrics;
pub mod mining;
pub mod model_card;
pub mod training;

mod error;
pub mod files;

pub use error::Error;
pub use metrics::Metrics;
pub use rankforge_data as data;
pub use rankforge_encoder as encoder;
pub use rankforge_kernels::{Device, Isa, Precision, UnknownPrecision, Workers};
