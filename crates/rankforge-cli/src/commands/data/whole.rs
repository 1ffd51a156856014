//! Steps of `rankforge data` that hold all rows in memory.

use crate::commands::data::output::{InputArgs, OutputArgs, load, report};
use crate::console::Console;
use crate::dataset::{expect_no_file, write_rows};
use crate::failure::CliError;
use crate::table::thousands;
use rankforge::base::FileError;
use rankforge::data::{RowWriter, Rows};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct ShuffleArgs {
    #[command(flatten)]
    input: InputArgs,

    /// Seed of the order
    #[arg(long, value_name = "SEED", default_value_t = 42)]
    seed: u64,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct SplitArgs {
    #[command(flatten)]
    input: InputArgs,

    /// Share of the rows that are for tests, below 1, or their number
    #[arg(long, value_name = "SHARE|N", default_value = "0.1", value_parser = test_size)]
    test_size: TestSize,

    /// Seed of the draw
    #[arg(long, value_name = "SEED", default_value_t = 42)]
    seed: u64,

    /// Format of the two files: parquet, jsonl, csv or tsv, the last three also as jsonl.gz and so
    /// on
    #[arg(long, value_name = "EXTENSION", default_value = "parquet")]
    format: String,

    /// New directory for `train` and `test`
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug)]
enum TestSize {
    Share(f64),
    Rows(usize),
}

fn test_size(text: &str) -> Result<TestSize, String> {
    match (text.parse::<usize>(), text.parse::<f64>()) {
        (Ok(rows), _) if rows > 0 => Ok(TestSize::Rows(rows)),
        (_, Ok(share)) if share > 0.0 && share < 1.0 => Ok(TestSize::Share(share)),
        _ => Err("expected a share between 0 and 1, or a number of rows".to_owned()),
    }
}

pub(super) fn shuffle(args: &ShuffleArgs, console: &Console) -> anyhow::Result<()> {
    let path = args.output.path();
    expect_no_file(path)?;
    drop(RowWriter::create(path)?);
    let rows = load(&args.input)?;
    write_all(path, &rows.shuffled(args.seed))?;
    report(path, rows.len(), rows.len(), console)
}

pub(super) fn split(args: &SplitArgs, console: &Console) -> anyhow::Result<()> {
    let folder = &args.output;
    expect_no_file(folder)?;
    let rows = load(&args.input)?;
    let test = match args.test_size {
        TestSize::Rows(rows) => rows,
        // As scikit-learn: of a part of a row, a whole one is tested.
        TestSize::Share(share) => (share * rows.len() as f64).ceil() as usize,
    };
    if test >= rows.len() {
        let message = format!("--test-size: expected fewer than the {} rows", rows.len());
        return Err(CliError::input(message).into());
    }
    let (train, test) = rows.train_test_split(test, args.seed);
    std::fs::create_dir_all(folder).map_err(FileError::io(folder))?;
    let result = write_splits(folder, &args.format, [&train, &test]);
    if result.is_err() {
        // Whatever it holds is of this command, as the directory was not there.
        let _ = std::fs::remove_dir_all(folder);
    }
    result?;
    let count = |rows: &Rows| thousands(rows.len() as u64);
    console.result(
        || format!("wrote {} and {} rows: {}\n", count(&train), count(&test), folder.display()),
        &json!({ "output": folder.to_string_lossy(), "train": train.len(), "test": test.len() }),
    )
}

fn write_splits(folder: &Path, format: &str, splits: [&Rows; 2]) -> anyhow::Result<()> {
    for (name, rows) in ["train", "test"].into_iter().zip(splits) {
        write_all(&folder.join(format!("{name}.{format}")), rows)?;
    }
    Ok(())
}

fn write_all(path: &Path, rows: &Rows) -> anyhow::Result<()> {
    write_rows(path, rows, &(0..rows.len()).collect::<Vec<_>>())
}
