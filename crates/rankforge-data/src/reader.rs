use crate::csv_file::{self, CsvFile};
use crate::error::DataError;
use crate::json_file::JsonFile;
use crate::parquet_file::ParquetFile;
use crate::rows::Rows;
use crate::selection::Selection;
use crate::splits::{Format, split_files};
use indexmap::IndexMap;
use std::path::{Path, PathBuf};

/// Which rows and columns to read, and from where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Location {
    /// A `.jsonl`, `.json`, `.ndjson`, `.csv`, `.tsv` or `.parquet` file, or a directory of them.
    pub path: PathBuf,
    /// Name of a split of the directory, see [`splits`](crate::splits()). `None` reads the split
    /// `train`, or the only split.
    pub split: Option<String>,
    /// Columns to read, in this order; `None` reads all in the order of the file.
    pub columns: Option<Vec<String>>,
    /// Maximum number of rows to read; `None` reads all.
    pub limit: Option<usize>,
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
///   first object are the columns. A key that is missing in a later object is null.
/// - `.csv`, `.tsv`: a header row, then one row per record, separated by commas or tabs. A column
///   whose every cell is an integer or empty holds integers; one whose every cell is a number or
///   empty holds floats; any other holds text. An empty cell is null.
/// - `.parquet`: columns of text, integers, floats, booleans or lists of these.
///
/// All files of a split must have the same columns. The iterator ends after an error.
pub struct RowReader {
    files: std::vec::IntoIter<PathBuf>,
    current: Option<Source>,
    selection: Selection,
    /// Types of the columns of csv files.
    kinds: IndexMap<String, csv_file::Kind>,
    chunk_rows: usize,
    /// Number of rows to read before the limit is reached.
    remaining: usize,
}

impl RowReader {
    /// Opens a location. Chunks have at most `chunk_rows` rows.
    ///
    /// # Errors
    /// A missing file, an unknown extension, an unknown split (the message lists those that exist),
    /// a missing column, or a malformed csv file.
    ///
    /// # Panics
    /// When `chunk_rows` is 0.
    pub fn open(location: &Location, chunk_rows: usize) -> Result<RowReader, DataError> {
        assert!(chunk_rows > 0, "a chunk must hold at least one row");
        let files = split_files(&location.path, location.split.as_deref())?;
        let kinds = match Format::of(&files[0]) {
            Some(Format::Csv) => csv_file::infer(&files)?,
            _ => IndexMap::new(),
        };
        let selected = location
            .columns
            .as_ref()
            .map(|columns| Selection { columns: columns.clone(), exact: false });
        if let Some(selected) = &selected {
            selected.check_names()?;
        }
        let mut files = files.into_iter();
        let mut current = None;
        let mut selection = selected.clone().unwrap_or_default();
        // An empty JSON file has no columns, so the first file that has any determines them.
        for path in files.by_ref() {
            let source = Source::open(&path, selected.as_ref(), &kinds, chunk_rows)?;
            if !source.columns().is_empty() {
                let columns = source.columns().to_vec();
                selection = Selection { columns, exact: selected.is_none() };
                current = Some(source);
                break;
            }
        }
        let remaining = location.limit.unwrap_or(usize::MAX);
        Ok(RowReader { files, current, selection, kinds, chunk_rows, remaining })
    }

    /// The columns of every chunk, in order. Empty when all files are empty.
    pub fn column_names(&self) -> Vec<&str> {
        self.selection.columns.iter().map(String::as_str).collect()
    }

    fn next_chunk(&mut self) -> Result<Option<Rows>, DataError> {
        while self.remaining > 0 {
            let Some(source) = &mut self.current else { return Ok(None) };
            if let Some(mut rows) = source.next_rows(self.chunk_rows.min(self.remaining))? {
                rows.truncate(self.remaining);
                self.remaining -= rows.len();
                return Ok(Some(rows));
            }
            let open = |path: PathBuf| {
                Source::open(&path, Some(&self.selection), &self.kinds, self.chunk_rows)
            };
            self.current = self.files.next().map(open).transpose()?;
        }
        Ok(None)
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
    for chunk in RowReader::open(location, 8192)? {
        rows.append(chunk?)?;
    }
    if rows.is_empty() {
        return Err(DataError::file(&location.path, "expected at least one row, got none"));
    }
    Ok(rows)
}

/// The texts of one column of a data set. Without `column`, the column `text`, or else the first.
///
/// # Errors
/// The errors of [`load_rows`], a missing column, or a cell that is not text.
pub fn load_texts(path: &Path, column: Option<&str>) -> Result<Vec<String>, DataError> {
    let rows = load_rows(&Location::new(path))?;
    let names = rows.column_names();
    let text = names.iter().copied().find(|name| *name == "text");
    let column = column
        .or(text)
        .or(names.first().copied())
        .ok_or_else(|| DataError::file(path, "expected a column of texts, got no column"))?;
    Ok(rows.texts(column)?.into_iter().map(str::to_owned).collect())
}

/// An open file of any format.
enum Source {
    Json(Box<JsonFile>),
    Csv(Box<CsvFile>),
    Parquet(Box<ParquetFile>),
}

impl Source {
    fn open(
        path: &Path,
        selection: Option<&Selection>,
        kinds: &IndexMap<String, csv_file::Kind>,
        chunk_rows: usize,
    ) -> Result<Source, DataError> {
        Ok(match Format::of(path).expect("a split has only files of known formats") {
            Format::Json => Source::Json(Box::new(JsonFile::open(path, selection)?)),
            Format::Csv => Source::Csv(Box::new(CsvFile::open(path, selection, kinds)?)),
            Format::Parquet => {
                Source::Parquet(Box::new(ParquetFile::open(path, selection, chunk_rows)?))
            }
        })
    }

    fn columns(&self) -> &[String] {
        match self {
            Source::Json(file) => file.columns(),
            Source::Csv(file) => file.columns(),
            Source::Parquet(file) => file.columns(),
        }
    }

    fn next_rows(&mut self, max_rows: usize) -> Result<Option<Rows>, DataError> {
        match self {
            Source::Json(file) => file.next_rows(max_rows),
            Source::Csv(file) => file.next_rows(max_rows),
            Source::Parquet(file) => file.next_rows(),
        }
    }
}
