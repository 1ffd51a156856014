//! Trains a reranker on labeled pairs, saves it, and ranks with it.
//!
//! ```sh
//! cargo run --release --example train -- MODEL PAIRS.jsonl OUTPUT
//! ```
//!
//! `MODEL` is a transformer or a reranker; the rows have two text columns and a `label` column.

use rankforge::Error;
use rankforge::data::{Location, load_rows};
use rankforge::encoder::{CrossEncoder, Ranked};
use rankforge::losses::BinaryCrossEntropyLoss;
use rankforge::training::{SaveStrategy, Trainer, TrainingArguments};
use std::path::Path;

#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a program prints")]
fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, pairs, output] = &arguments[..] else {
        panic!("expected MODEL PAIRS.jsonl OUTPUT, got {arguments:?}");
    };
    let ranking = run(Path::new(model), Path::new(pairs), Path::new(output))?;
    for Ranked { corpus_id, score } in ranking {
        println!("{score:.4}  {}", DOCUMENTS[corpus_id]);
    }
    Ok(())
}

const QUERY: &str = "Where does the Danube end?";
const DOCUMENTS: [&str; 2] = ["A kiln fires clay.", "The Danube flows into the Black Sea."];

/// Trains on the pairs and ranks the documents with the saved model.
pub fn run(model: &Path, pairs: &Path, output: &Path) -> Result<Vec<Ranked>, Error> {
    let rows = load_rows(&Location::new(pairs))?;
    let loss = BinaryCrossEntropyLoss { pos_weight: Some(5.0), ..Default::default() };
    let arguments = TrainingArguments {
        output_dir: output.join("checkpoints"),
        per_device_train_batch_size: 16,
        num_train_epochs: 1.0,
        learning_rate: 2e-5,
        save_strategy: SaveStrategy::No,
        ..TrainingArguments::default()
    };
    let mut trainer = Trainer::new(CrossEncoder::open(model)?, arguments, rows, loss);
    trainer.train()?;
    trainer.save_model(output.join("reranker"))?;

    let reranker = CrossEncoder::open(output.join("reranker"))?;
    Ok(reranker.rank(QUERY, &DOCUMENTS)?)
}
