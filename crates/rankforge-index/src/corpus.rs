use crate::error::IndexError;
use crate::rows::Row;
use rankforge_base::{FileError, Reporter};
use rankforge_data::{DataError, Location, RowReader, Rows, Value, beir_file};
use serde_json::{Map, Number, Value as Json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Texts to index: the rows of a data set, or the corpus of a BEIR folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CorpusSource {
    /// The data set. A directory with a file `corpus.jsonl` is a BEIR folder.
    pub location: Location,
    /// Column of the ids, texts or integers. `None`: `_id`, or else `id`.
    pub id_column: Option<String>,
    /// Column of the texts. `None`: `text`.
    pub text_column: Option<String>,
    /// Column of titles; one that is not empty stands before its text, with a space between them.
    /// `None`: `title` in a BEIR folder, and no column elsewhere.
    pub title_column: Option<String>,
}

/// The columns of the rows, once the first is known.
struct Columns {
    id: String,
    text: String,
    title: Option<String>,
    /// Whether a row may have no text, which is then empty, as BEIR does.
    may_lack_text: bool,
}

/// Reads a corpus in chunks.
pub(crate) struct CorpusReader<'a> {
    path: PathBuf,
    reader: RowReader,
    columns: Columns,
    rows: usize,
    reporter: &'a dyn Reporter,
    /// Columns that are no metadata, as JSON cannot hold their values.
    left_out: BTreeSet<String>,
}

impl CorpusSource {
    /// All texts of a file or directory, with the default columns.
    pub fn new(path: impl Into<PathBuf>) -> CorpusSource {
        CorpusSource { location: Location::new(path), ..CorpusSource::default() }
    }

    /// Opens the corpus; chunks have at most `chunk` rows.
    pub(crate) fn open<'a>(
        &self,
        chunk: usize,
        reporter: &'a dyn Reporter,
    ) -> Result<CorpusReader<'a>, IndexError> {
        let beir = beir_file(&self.location.path, "corpus.jsonl");
        let is_beir = beir.is_file();
        let path = if is_beir { beir } else { self.location.path.clone() };
        if path.exists() && !path.is_file() && !path.is_dir() {
            let message = "expected a file or a directory, as it is read twice, got a pipe";
            return Err(FileError::content(&path, message).into());
        }
        let location = Location { path: path.clone(), ..self.location.clone() };
        let reader = RowReader::open(&location, chunk)?;
        let columns = self.columns(&reader.column_names(), &path, is_beir)?;
        let left_out = BTreeSet::new();
        Ok(CorpusReader { path, reader, columns, rows: 0, reporter, left_out })
    }

    /// The columns by role, among those of the first row.
    fn columns(&self, names: &[&str], path: &Path, is_beir: bool) -> Result<Columns, IndexError> {
        if names.is_empty() {
            return Err(no_rows(path));
        }
        let known = |name: &str| names.contains(&name);
        let missing = |column: &str| DataError::MissingColumn {
            column: column.to_owned(),
            place: path.display().to_string(),
            columns: names.iter().map(|&name| name.to_owned()).collect(),
        };
        let id = match &self.id_column {
            Some(name) => name.clone(),
            None if known("_id") || !known("id") => "_id".to_owned(),
            None => "id".to_owned(),
        };
        if !known(&id) {
            return Err(missing(&id).into());
        }
        let text = self.text_column.clone().unwrap_or_else(|| "text".to_owned());
        if !known(&text) && !is_beir {
            return Err(missing(&text).into());
        }
        let title = match &self.title_column {
            Some(name) if !known(name) => return Err(missing(name).into()),
            Some(name) => Some(name.clone()),
            None => is_beir.then(|| "title".to_owned()),
        };
        Ok(Columns { id, text, title, may_lack_text: is_beir })
    }
}

impl CorpusReader<'_> {
    fn cell_error(&self, row: usize, column: &str, expected: &str, got: String) -> IndexError {
        let (row, column, expected) = (self.rows + row + 1, column.to_owned(), expected.to_owned());
        DataError::Cell { path: Some(self.path.clone()), column, row, expected, got }.into()
    }

    /// The rows of a chunk.
    fn chunk(&mut self, rows: &Rows) -> Result<Vec<Row>, IndexError> {
        let Columns { id, text, title, .. } = &self.columns;
        let (id, text, title) = (id.clone(), text.clone(), title.clone());
        let column = |name: &str| rows.column(name).ok();
        let titles = title.as_deref().and_then(column);
        let ids = rows.column(&id)?;
        let texts = column(&text);
        let roles = [Some(id.as_str()), Some(text.as_str()), title.as_deref()];
        let others: Vec<(&str, &[Value])> = rows
            .column_names()
            .into_iter()
            .filter(|name| !roles.contains(&Some(*name)))
            .map(|name| Ok((name, rows.column(name)?)))
            .collect::<Result<_, DataError>>()?;
        let mut found = Vec::with_capacity(rows.len());
        for row in 0..rows.len() {
            let body = self.text(row, &text, texts.map_or(&Value::Null, |texts| &texts[row]))?;
            let title = match titles.map(|titles| &titles[row]) {
                None => "",
                Some(value) if value.is_missing() => "",
                Some(value) => value.as_text().ok_or_else(|| {
                    let name = title.as_deref().unwrap_or_default();
                    self.cell_error(row, name, "text", value.describe())
                })?,
            };
            let text = if title.is_empty() { body.to_owned() } else { format!("{title} {body}") };
            let id = self.id(row, &id, &ids[row])?;
            let mut metadata = Map::new();
            for (name, values) in &others {
                match to_json(&values[row]) {
                    Some(Json::Null) => {}
                    Some(value) => drop(metadata.insert((*name).to_owned(), value)),
                    None => self.leave_out(name, &values[row]),
                }
            }
            found.push(Row { id, text, metadata });
        }
        self.rows += rows.len();
        Ok(found)
    }

    fn text<'v>(&self, row: usize, name: &str, value: &'v Value) -> Result<&'v str, IndexError> {
        match value.as_text() {
            Some(text) => Ok(text),
            None if value.is_missing() && self.columns.may_lack_text => Ok(""),
            None => Err(self.cell_error(row, name, "text", value.describe())),
        }
    }

    fn id(&self, row: usize, name: &str, value: &Value) -> Result<String, IndexError> {
        let id = match value {
            Value::Integer(number) => number.to_string(),
            other => other.as_text().unwrap_or_default().to_owned(),
        };
        if id.is_empty() {
            let got = match value.as_text() {
                Some("") => "an empty text".to_owned(),
                _ => value.describe(),
            };
            return Err(self.cell_error(row, name, "a text or an integer", got));
        }
        Ok(id)
    }

    fn leave_out(&mut self, name: &str, value: &Value) {
        if self.left_out.insert(name.to_owned()) {
            let value = value.describe();
            let message = format!("column `{name}`: {value} is not kept as metadata");
            self.reporter.warning(&message);
        }
    }
}

impl Iterator for CorpusReader<'_> {
    type Item = Result<Vec<Row>, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = match self.reader.next()? {
            Ok(rows) => rows,
            Err(error) => return Some(Err(error.into())),
        };
        Some(self.chunk(&rows))
    }
}

/// The error for a corpus without rows.
pub(crate) fn no_rows(path: &Path) -> IndexError {
    FileError::content(path, "expected at least one row, got none").into()
}

/// The value as JSON; `None` where JSON has none: an object, or a number that is not finite.
fn to_json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Null => Json::Null,
        Value::Text(text) | Value::Untyped(text) => Json::String(text.clone()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::Number(Number::from_f64(*number)?),
        Value::Boolean(boolean) => Json::Bool(*boolean),
        Value::List(values) => Json::Array(values.iter().map(to_json).collect::<Option<_>>()?),
        Value::Unreadable(_) => return None,
    })
}
