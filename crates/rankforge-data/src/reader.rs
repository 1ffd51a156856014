use crate::arrow_file::ArrowFile;
use crate::chunk::{BlockStart, Chunk};
use crate::csv_file::CsvFile;
use crate::error::DataError;
use crate::json_file::{JsonFile, find_keys};
use crate::parquet_file::ParquetFile;
use crate::rows::Rows;
use crate::splits::{Format, split_files};
use crate::value::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which rows and columns to read, and from where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Location {
    /// A file of one of the formats of [`RowReader`], or a directory of them.
    pub path: PathBuf,
    /// Name of a split of the directory, see [`splits`](crate::splits()). `None` reads the split
    /// `train`, or the only split.
    pub split: Option<String>,
    /// Columns to read, in this order; `None` reads all in the order in which they appear.
    pub columns: Option<Vec<String>>,
    /// Maximum number of rows to read; `None` reads all.
    pub limit: Option<usize>,
    /// Names of the columns of csv and tsv files that have no header row; the other formats have
    /// names of their own. Cells of such tsv files are taken as they are, with their quotes.
    pub header: Option<Vec<String>>,
}

impl Location {
    /// All rows and columns of a file, or of the split `train` (or the only split) of a directory.
    pub fn new(path: impl Into<PathBuf>) -> Location {
        Location { path: path.into(), ..Location::default() }
    }
}

/// Iterator over chunks of rows.
///
/// The formats, by extension:
/// - `.jsonl`, `.json`, `.ndjson`: one object per line, or one list of objects. The keys of the
///   objects are the columns.
/// - `.csv`, `.tsv`: a header row, then one row per record, separated by commas or tabs. All cells
///   are [`Value::Untyped`].
/// - `.parquet`: columns of text, integers, floats, booleans or lists of these.
/// - `.arrow`, `.feather`, `.ipc`: the same in the Arrow IPC format, as a file or a stream.
///
/// Files of the first two may be compressed, with `.gz` or `.zst` behind their extension.
///
/// A column of some files or objects is a column of all: null where it is not. Without
/// [`Location::columns`], a later chunk may therefore have more columns than an earlier one, after
/// those of the earlier one ([`Rows::append_chunk`]). A value of any other type is
/// [`Value::Unreadable`]. The iterator ends after an error.
pub struct RowReader {
    /// What was opened, for messages about rows.
    source: Arc<Path>,
    files: std::vec::IntoIter<PathBuf>,
    current: Option<Source>,
    /// The file of `current`.
    path: PathBuf,
    /// Where the last chunk started in its file, if the file can be read from there.
    start: Option<BlockStart>,
    /// The columns so far.
    columns: Vec<String>,
    /// Whether the caller chose the columns, so that there are no others.
    chosen: bool,
    /// [`Location::header`].
    header: Option<Vec<String>>,
    chunk_rows: usize,
    /// Number of rows to read before the limit is reached.
    remaining: usize,
}

impl RowReader {
    /// Opens a location. Chunks have at most `chunk_rows` rows.
    ///
    /// # Errors
    /// A missing file, an unknown extension, an unknown split (the message lists those that exist),
    /// a chosen column that no row has, or a file that is malformed before its first row.
    ///
    /// # Panics
    /// When `chunk_rows` is 0.
    pub fn open(location: &Location, chunk_rows: usize) -> Result<RowReader, DataError> {
        assert!(chunk_rows > 0, "a chunk must hold at least one row");
        let files = split_files(&location.path, location.split.as_deref())?;
        let mut reader = RowReader {
            source: location.path.as_path().into(),
            files: files.clone().into_iter(),
            current: None,
            path: PathBuf::new(),
            start: None,
            columns: location.columns.clone().unwrap_or_default(),
            chosen: location.columns.is_some(),
            header: location.header.clone(),
            chunk_rows,
            remaining: location.limit.unwrap_or(usize::MAX),
        };
        if let Some(index) = location.header.as_deref().and_then(repeated) {
            let names = location.header.as_deref().unwrap_or_default();
            return Err(DataError::column(&names[index], "twice among the names of columns"));
        }
        if let Some(index) = repeated(&reader.columns) {
            return Err(DataError::column(&reader.columns[index], "selected twice"));
        }
        // An empty JSON file has no columns, so the first one that has a row determines them.
        while let Some(path) = reader.files.next() {
            let source = reader.open_file(&path)?;
            if !source.is_empty() {
                if reader.chosen {
                    check_chosen(&location.path, &files, &source, &reader)?;
                } else {
                    reader.columns = source.names().to_vec();
                }
                reader.current = Some(source);
                reader.path = path;
                break;
            }
        }
        Ok(reader)
    }

    /// The columns of the chunks so far, and before the first chunk those of the first row. No
    /// column is known when all files are empty and none was chosen.
    pub fn column_names(&self) -> Vec<&str> {
        self.columns.iter().map(String::as_str).collect()
    }

    /// The file of the last chunk, and where the chunk starts in it; `None` where the file cannot
    /// be read from there.
    pub(crate) fn last_chunk(&self) -> (&Path, Option<BlockStart>) {
        (&self.path, self.start)
    }

    fn open_file(&self, path: &Path) -> Result<Source, DataError> {
        let chosen = self.chosen.then_some(&self.columns[..]);
        let format = Format::of(path).expect("a split has only files of known formats");
        if self.header.is_some() && format != Format::Csv {
            let message = "has names of columns, so expected no header for it, got one";
            return Err(DataError::file(path, message));
        }
        Ok(match format {
            Format::Json => Source::Json(Box::new(JsonFile::open(path, chosen)?)),
            Format::Csv => {
                Source::Csv(Box::new(CsvFile::open(path, chosen, self.header.as_deref())?))
            }
            Format::Parquet => {
                Source::Parquet(Box::new(ParquetFile::open(path, chosen, self.chunk_rows)?))
            }
            Format::Arrow => Source::Arrow(Box::new(ArrowFile::open(path, chosen)?)),
        })
    }

    fn next_chunk(&mut self) -> Result<Option<Rows>, DataError> {
        while self.remaining > 0 {
            let Some(source) = &mut self.current else { return Ok(None) };
            self.start = source.start();
            if let Some(mut chunk) = source.next_rows(self.chunk_rows.min(self.remaining))? {
                chunk.rows = chunk.rows.min(self.remaining);
                self.remaining -= chunk.rows;
                return self.rows(chunk).map(Some);
            }
            let next = self.files.next();
            self.current = next.as_ref().map(|path| self.open_file(path)).transpose()?;
            self.path = next.unwrap_or_default();
        }
        Ok(None)
    }

    /// The rows of a chunk, with all columns.
    fn rows(&mut self, chunk: Chunk) -> Result<Rows, DataError> {
        if !self.chosen {
            let names = chunk.columns.iter().map(|(name, _)| name);
            let new: Vec<_> = names.filter(|name| !self.columns.contains(name)).cloned().collect();
            self.columns.extend(new);
        }
        let mut found: HashMap<String, Vec<Value>> = chunk.columns.into_iter().collect();
        let column = |name: &String| {
            let mut values = found.remove(name).unwrap_or_default();
            values.resize(chunk.rows, Value::Null);
            (name.clone(), values)
        };
        Ok(Rows::new(self.columns.iter().map(column).collect())?.read_from(&self.source))
    }
}

impl Iterator for RowReader {
    type Item = Result<Rows, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.next_chunk().transpose();
        if !matches!(chunk, Some(Ok(_))) {
            self.remaining = 0;
        }
        chunk
    }
}

/// Reads all rows of a location into memory.
///
/// # Errors
/// The errors of [`RowReader::open`], a malformed row, or no row at all.
pub fn load_rows(location: &Location) -> Result<Rows, DataError> {
    let mut rows = Rows::default();
    for chunk in RowReader::open(location, CHUNK)? {
        rows.append_chunk(chunk?);
    }
    if rows.is_empty() {
        return Err(DataError::file(&location.path, "expected at least one row, got none"));
    }
    Ok(rows)
}

/// The texts of one column of a data set. Without `column`, the column `text`, or else the first.
/// No other column is read where the first row has this one.
///
/// # Errors
/// The errors of [`load_rows`], a missing column, or a cell that is not text.
pub fn load_texts(path: &Path, column: Option<&str>) -> Result<Vec<String>, DataError> {
    let mut location = Location::new(path);
    // A pipe cannot be opened twice.
    let known = match column {
        None if path.is_file() || path.is_dir() => {
            let reader = RowReader::open(&location, 1)?;
            reader.column_names().into_iter().find(|name| *name == "text").map(str::to_owned)
        }
        column => column.map(str::to_owned),
    };
    location.columns = known.clone().map(|name| vec![name]);
    let rows = load_rows(&location)?;
    let names = rows.column_names();
    let text = names.iter().copied().find(|name| *name == "text");
    let column = known.as_deref().or(text).unwrap_or(names[0]);
    rows.owned_texts(column)
}

/// Number of rows that are read at a time.
const CHUNK: usize = 8192;

/// The index of a name that stands earlier, too.
fn repeated(names: &[String]) -> Option<usize> {
    (1..names.len()).find(|&index| names[..index].contains(&names[index]))
}

/// Checks that each chosen column is one of a row that `reader` will read. `first` is the first of
/// `files` that is not empty: the others are looked at only if it does not show all the columns.
fn check_chosen(
    location: &Path,
    files: &[PathBuf],
    first: &Source,
    reader: &RowReader,
) -> Result<(), DataError> {
    let mut known = first.names().to_vec();
    let mut missing = reader.columns.clone();
    missing.retain(|name| !known.contains(name));
    let mut rows = 0;
    for path in files {
        // A pipe cannot be read twice.
        if missing.is_empty() || rows >= reader.remaining || !path.is_file() {
            break;
        }
        if Format::of(path) == Some(Format::Json) {
            rows += find_keys(path, reader.remaining - rows, &mut missing, &mut known)?;
        } else {
            let names = reader.open_file(path)?.names().to_vec();
            missing.retain(|name| !names.contains(name));
            let new: Vec<String> = names.into_iter().filter(|name| !known.contains(name)).collect();
            known.extend(new);
        }
    }
    match missing.first() {
        None => Ok(()),
        Some(name) => {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            Err(DataError::missing_column(name, &location.display().to_string(), &known))
        }
    }
}

/// An open file of any format.
enum Source {
    Json(Box<JsonFile>),
    Csv(Box<CsvFile>),
    Parquet(Box<ParquetFile>),
    Arrow(Box<ArrowFile>),
}

impl Source {
    /// Names of the columns: those of the header or the schema, or the keys of the first object.
    fn names(&self) -> &[String] {
        match self {
            Source::Json(file) => file.names(),
            Source::Csv(file) => file.names(),
            Source::Parquet(file) => file.names(),
            Source::Arrow(file) => file.names(),
        }
    }

    /// Whether there is no row to learn the columns from.
    fn is_empty(&self) -> bool {
        matches!(self, Source::Json(file) if file.is_empty())
    }

    /// Where the next row starts, if the file can be read from there.
    fn start(&self) -> Option<BlockStart> {
        match self {
            Source::Json(file) => file.start(),
            Source::Csv(_) | Source::Arrow(_) => None,
            Source::Parquet(file) => Some(BlockStart::Row(file.rows_before())),
        }
    }

    fn next_rows(&mut self, max_rows: usize) -> Result<Option<Chunk>, DataError> {
        match self {
            Source::Json(file) => file.next_rows(max_rows),
            Source::Csv(file) => file.next_rows(max_rows),
            Source::Parquet(file) => file.next_rows(),
            Source::Arrow(file) => file.next_rows(max_rows),
        }
    }
}
