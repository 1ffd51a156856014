//! Where the rows of `rankforge data` come from and go to.

use crate::console::Console;
use crate::dataset::{DatasetArgs, expect_no_file, expect_rows};
use crate::inference::after_rows;
use crate::interrupt::Graceful;
use crate::table::thousands;
use rankforge::Error;
use rankforge::data::{CellTypes, Location, RowReader, RowWriter, Rows};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Number of rows that are read and written at a time.
const CHUNK: usize = 8192;

/// The rows to read, and their names in the output.
#[derive(Debug, clap::Args)]
pub(super) struct InputArgs {
    #[command(flatten)]
    dataset: DatasetArgs,

    /// Names of the columns of .csv and .tsv files without a header row; such .tsv files have no
    /// quotes
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    header: Option<Vec<String>>,

    /// New names of columns
    #[arg(long, value_name = "OLD=NEW,...", value_delimiter = ',', value_parser = renaming)]
    rename: Vec<(String, String)>,
}

/// The new file.
#[derive(Debug, clap::Args)]
pub(super) struct OutputArgs {
    /// New file for the rows: .jsonl, .csv or .tsv, also with .gz or .zst, or .parquet
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

fn renaming(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(old, new)| !old.is_empty() && !new.is_empty());
    let (old, new) = pair.ok_or("expected the old name, = and the new name")?;
    Ok((old.to_owned(), new.to_owned()))
}

impl InputArgs {
    fn location(&self) -> Location {
        Location { header: self.header.clone(), ..self.dataset.location() }
    }

    /// The rows with types and new names.
    fn finished(&self, types: &CellTypes, rows: Rows) -> Result<Rows, Error> {
        Ok(types.apply(rows)?.renamed(&self.rename)?)
    }
}

/// Writes what `step` makes of each chunk of the rows, until it returns nothing.
///
/// # Errors
/// Rows that cannot be read, an output that exists or cannot be written, or Ctrl-C.
pub(super) fn stream(
    input: &InputArgs,
    output: &OutputArgs,
    console: &Console,
    mut step: impl FnMut(Rows) -> Result<Option<Rows>, Error>,
) -> anyhow::Result<()> {
    let path = &output.output;
    expect_no_file(path)?;
    let graceful = Graceful::begin();
    let mut writer = RowWriter::create(path)?;
    let location = input.location();
    let types = CellTypes::of(&location)?;
    let (mut read, mut written) = (0, 0);
    for chunk in RowReader::open(&location, CHUNK)? {
        graceful.check()?;
        let chunk = chunk?;
        let count = chunk.len();
        // The columns of a file without rows are those of the first chunk.
        let example = (read == 0).then(|| chunk.clone());
        let Some(rows) = step(chunk).map_err(|error| after_rows(error, read))? else { break };
        if let Some(example) = example {
            writer.begin(&input.finished(&types, example)?)?;
        }
        read += count;
        written += rows.len();
        if !rows.is_empty() {
            writer.write(&input.finished(&types, rows)?)?;
        }
    }
    graceful.check()?;
    expect_rows(read, &location.path)?;
    writer.finish()?;
    report(path, written, read, console)
}

/// All rows, with types and new names.
///
/// # Errors
/// Rows that cannot be read, or none.
pub(super) fn load(input: &InputArgs) -> anyhow::Result<Rows> {
    let location = input.location();
    let types = CellTypes::of(&location)?;
    let rows = rankforge::data::load_rows(&location)?;
    Ok(input.finished(&types, rows)?)
}

impl OutputArgs {
    pub(super) fn path(&self) -> &Path {
        &self.output
    }
}

/// Says how many rows were written.
pub(super) fn report(
    path: &Path,
    written: usize,
    read: usize,
    console: &Console,
) -> anyhow::Result<()> {
    let count = |rows: usize| thousands(rows as u64);
    console.result(
        || format!("wrote {} of {} rows: {}\n", count(written), count(read), path.display()),
        &json!({ "output": path.to_string_lossy(), "rows": written, "read": read }),
    )
}
