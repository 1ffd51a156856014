use crate::csv_file::{self, CsvFile};
use crate::json_file::JsonFile;
use crate::parquet_file::ParquetFile;
use crate::splits::{Format, split_files};
use crate::{DataError, Rows};
use indexmap::IndexMap;
use std::path::{Path, PathBuf};

/// Where rows come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Location {
    /// A `.jsonl`, `.json`, `.csv`, `.tsv` or `.parquet` file, or a folder of them.
    pub path: PathBuf,
    /// In a folder: files whose name starts with the split's name; `None` takes `train`, or the only split.
    pub split: Option<String>,
    /// Columns to keep, in this order; `None` keeps all. This is how roles are given by flag.
    pub columns: Option<Vec<String>>,
    /// Stop after so many rows.
    pub limit: Option<usize>,
}

/// Reads rows in chunks of bounded size.
///
/// | format | cells |
/// |---|---|
/// | `.jsonl`, `.json` | one object per line, or one list of objects; the keys of the first row are the columns; a key missing later is null |
/// | `.csv`, `.tsv` | header row; a column of which every cell is a (whole) number or empty is one of (whole) numbers, any other is text; an empty cell is null |
/// | `.parquet` | text, whole numbers, numbers, truth values and lists of these |
///
/// All files of a split have the same columns. After an error the reader ends.
pub struct RowReader {
    files: std::vec::IntoIter<PathBuf>,
    current: Option<Source>,
    wanted: Wanted,
    kinds: IndexMap<String, csv_file::Kind>,
    chunk_rows: usize,
    left: usize,
}

impl RowReader {
    /// Opens a location; chunks hold at most `chunk_rows` rows.
    ///
    /// # Errors
    /// A missing file, an unknown extension, an unknown split (those there are get listed), a missing column.
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
        let chosen = location
            .columns
            .as_ref()
            .map(|columns| Wanted { columns: columns.clone(), all: false });
        if let Some(chosen) = &chosen {
            chosen.check_names()?;
        }
        let mut files = files.into_iter();
        let mut current = None;
        let mut wanted = chosen.clone().unwrap_or_default();
        // Empty JSON files have no columns, so the first file with any says what they are.
        for path in files.by_ref() {
            let source = Source::open(&path, chosen.as_ref(), &kinds, chunk_rows)?;
            if !source.columns().is_empty() {
                wanted = Wanted { columns: source.columns().to_vec(), all: chosen.is_none() };
                current = Some(source);
                break;
            }
        }
        let left = location.limit.unwrap_or(usize::MAX);
        Ok(RowReader { files, current, wanted, kinds, chunk_rows, left })
    }

    /// The columns of every chunk, in order; none when all files are empty.
    pub fn column_names(&self) -> Vec<&str> {
        self.wanted.columns.iter().map(String::as_str).collect()
    }

    fn next_chunk(&mut self) -> Result<Option<Rows>, DataError> {
        while self.left > 0 {
            let Some(source) = &mut self.current else { return Ok(None) };
            if let Some(mut rows) = source.next_rows(self.chunk_rows.min(self.left))? {
                rows.truncate(self.left);
                self.left -= rows.len();
                return Ok(Some(rows));
            }
            let open = |path: PathBuf| {
                Source::open(&path, Some(&self.wanted), &self.kinds, self.chunk_rows)
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
            self.left = 0;
        }
        chunk
    }
}

/// All rows of a location.
///
/// # Errors
/// As [`RowReader`], and when there is no row at all.
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

/// The columns to read from a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Names, in the order of the result.
    pub(crate) columns: Vec<String>,
    /// Whether the file may have no others (nothing was chosen, and its split's first file has these).
    pub(crate) all: bool,
}

impl Wanted {
    /// Checks the columns of a file against the wanted ones.
    pub(crate) fn check(&self, path: &Path, there: &[&str]) -> Result<(), DataError> {
        let place = format!("in {}", path.display());
        if let Some(missing) = self.columns.iter().find(|name| !there.contains(&name.as_str())) {
            return Err(DataError::missing_column(missing, &place, there));
        }
        let ours: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        match there.iter().find(|name| self.all && !ours.contains(name)) {
            Some(extra) => {
                let place = format!("in the first file of the split ({} has it)", path.display());
                Err(DataError::missing_column(extra, &place, &ours))
            }
            None => Ok(()),
        }
    }

    fn check_names(&self) -> Result<(), DataError> {
        let names = &self.columns;
        match (1..names.len()).find(|&index| names[..index].contains(&names[index])) {
            Some(index) => Err(DataError::column(&names[index], "chosen twice")),
            None => Ok(()),
        }
    }
}

enum Source {
    Json(Box<JsonFile>),
    Csv(Box<CsvFile>),
    Parquet(Box<ParquetFile>),
}

impl Source {
    fn open(
        path: &Path,
        wanted: Option<&Wanted>,
        kinds: &IndexMap<String, csv_file::Kind>,
        chunk_rows: usize,
    ) -> Result<Source, DataError> {
        Ok(match Format::of(path).expect("splits hold files of known formats") {
            Format::Json => Source::Json(Box::new(JsonFile::open(path, wanted)?)),
            Format::Csv => Source::Csv(Box::new(CsvFile::open(path, wanted, kinds)?)),
            Format::Parquet => {
                Source::Parquet(Box::new(ParquetFile::open(path, wanted, chunk_rows)?))
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

    fn next_rows(&mut self, most: usize) -> Result<Option<Rows>, DataError> {
        match self {
            Source::Json(file) => file.next_rows(most),
            Source::Csv(file) => file.next_rows(most),
            Source::Parquet(file) => file.next_rows(),
        }
    }
}
