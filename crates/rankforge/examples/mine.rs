//! Mines hard negatives for pairs of queries and passages: passages that a dual encoder ranks
//! highly for a query, although they do not answer it.
//!
//! ```sh
//! cargo run --release --example mine -- DUAL_ENCODER PAIRS.jsonl MINED.jsonl
//! ```

use rankforge::Error;
use rankforge::base::Stop;
use rankforge::data::{Location, load_rows};
use rankforge::encoder::DualEncoder;
use rankforge::mining::{HardNegativeMiner, MinedFile, MiningOptions, OutputFormat};
use std::path::Path;

#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a program prints")]
fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, pairs, output] = &arguments[..] else {
        panic!("expected DUAL_ENCODER PAIRS.jsonl MINED.jsonl, got {arguments:?}");
    };
    let mined = run(Path::new(model), Path::new(pairs), Path::new(output))?;
    println!("{}", mined.lines.join("\n"));
    println!("{} rows with the columns {}", mined.summary.rows, mined.columns.join(", "));
    Ok(())
}

/// Mines two negatives for each query and writes labeled pairs.
pub fn run(model: &Path, pairs: &Path, output: &Path) -> Result<MinedFile, Error> {
    let pairs = load_rows(&Location::new(pairs))?;
    let encoder = DualEncoder::open(model)?;
    let miner = HardNegativeMiner {
        options: MiningOptions {
            num_negatives: 2,
            range_max: Some(20),
            // A passage that scores nearly as high as the answer may be an answer as well.
            relative_margin: Some(0.05),
            output_format: OutputFormat::LabeledPair,
            ..MiningOptions::default()
        },
        ..HardNegativeMiner::new(&encoder)
    };
    miner.mine_to_file(&pairs, output, &Stop::default())
}
