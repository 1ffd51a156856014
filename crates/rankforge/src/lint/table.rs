use crate::error::Error;
use crate::label_columns::LABEL_COLUMNS;
use crate::lint::finding::Place;
use rankforge_base::quoted_list;
use rankforge_data::{Rows, Value};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

/// What the texts of a column are, by its place: training reads columns in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The first column of texts.
    Query,
    /// Documents that answer the query.
    Positive,
    /// Documents that do not.
    Negative,
    /// Documents whose labels say whether they answer the query.
    Candidates,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Query => "query",
            Role::Positive => "positive",
            Role::Negative => "negative",
            Role::Candidates => "candidates",
        }
    }
}

/// A text of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) row: usize,
    /// Place in the list of the row; 0 in a column that has none.
    pub(super) place: usize,
    /// Index in [`Texts`].
    pub(super) text: u32,
}

/// A column of texts, or of lists of texts.
pub(super) struct TextColumn<'a> {
    pub(super) name: &'a str,
    pub(super) role: Role,
    /// In the order of the rows. A null is an empty text.
    pub(super) cells: Vec<Cell>,
}

/// The columns of texts of a table, and its labels.
pub(super) struct Table<'a> {
    pub(super) rows: usize,
    pub(super) columns: Vec<TextColumn<'a>>,
    pub(super) labels: Option<Labels<'a>>,
}

/// Name of a column of labels, and the labels of each row: as many as it has candidates.
pub(super) type Labels<'a> = (&'a str, Vec<Vec<f64>>);

/// All texts, each once: those that are equal but for case and white space are one.
#[derive(Default)]
pub(super) struct Texts<'a> {
    ids: HashMap<u64, u32>,
    texts: Vec<&'a str>,
}

impl<'a> Texts<'a> {
    fn id(&mut self, text: &'a str, folded: &mut String) -> u32 {
        fold(text, folded);
        let mut hasher = DefaultHasher::new();
        hasher.write(folded.as_bytes());
        *self.ids.entry(hasher.finish()).or_insert_with(|| {
            self.texts.push(text);
            self.texts.len() as u32 - 1
        })
    }

    /// The texts by index, as they were first written.
    pub(super) fn all(&self) -> &[&'a str] {
        &self.texts
    }

    /// Whether the text is empty or white space.
    pub(super) fn is_empty(&self, text: u32) -> bool {
        self.texts[text as usize].trim().is_empty()
    }
}

/// Writes the text in lower case with single spaces.
fn fold(text: &str, folded: &mut String) {
    folded.clear();
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        if word.is_ascii() {
            folded.extend(word.bytes().map(|byte| char::from(byte.to_ascii_lowercase())));
        } else {
            folded.extend(word.chars().flat_map(char::to_lowercase));
        }
    }
}

impl<'a> Table<'a> {
    /// Reads the columns of texts and the labels of rows, and adds the texts to `texts`. Errors
    /// have the `name` of the data set.
    pub(super) fn of(
        name: &str,
        rows: &'a Rows,
        texts: &mut Texts<'a>,
    ) -> Result<Table<'a>, Error> {
        let labels = labels(rows).map_err(|source| {
            let what = format!("the labels of {name}");
            Error::Unusable { what, source: Box::new(source) }
        })?;
        let mut columns = Vec::new();
        for (column, values) in rows.columns() {
            let is_text = |value: &Value| match value {
                Value::List(values) => values.iter().any(|value| value.as_text().is_some()),
                other => other.as_text().is_some(),
            };
            let given = values.iter().find(|value| !value.is_missing());
            if !LABEL_COLUMNS.contains(&column.as_str()) && given.is_some_and(is_text) {
                let cells = cells(values, texts);
                columns.push(TextColumn { name: column, role: Role::Query, cells });
            }
        }
        if columns.is_empty() {
            let got = format!("the columns {}", quoted_list(rows.column_names()));
            return Err(Error::rows(name, "at least one column of texts", got));
        }
        let candidates = columns.len() == 2 && labels.is_some();
        for (place, column) in columns.iter_mut().enumerate() {
            column.role = match place {
                0 => Role::Query,
                1 if candidates => Role::Candidates,
                1 => Role::Positive,
                _ => Role::Negative,
            };
        }
        Ok(Table { rows: rows.len(), columns, labels })
    }

    /// Columns of documents: all but the first.
    pub(super) fn documents(&self) -> &[TextColumn<'a>] {
        &self.columns[1..]
    }

    /// The text of each row of the first column.
    pub(super) fn queries(&self) -> Vec<u32> {
        let mut queries = vec![0; self.rows];
        self.columns[0].cells.iter().for_each(|cell| queries[cell.row] = cell.text);
        queries
    }

    /// Whether a document answers its query; `None` where labels are no yes or no.
    pub(super) fn relevant(&self, column: &TextColumn<'_>, cell: Cell) -> Option<bool> {
        match column.role {
            Role::Query => None,
            Role::Positive => Some(true),
            Role::Negative => Some(false),
            Role::Candidates => {
                let label = *self.labels.as_ref()?.1[cell.row].get(cell.place)?;
                [0.0, 1.0].contains(&label).then_some(label == 1.0)
            }
        }
    }

    /// A text of this table, for people to read.
    pub(super) fn place(&self, column: &TextColumn<'_>, cell: Cell, texts: &Texts<'_>) -> Place {
        let text = texts.all()[cell.text as usize].to_owned();
        Place { data: None, row: cell.row + 1, column: column.name.to_owned(), text }
    }
}

fn cells<'a>(values: &'a [Value], texts: &mut Texts<'a>) -> Vec<Cell> {
    let mut folded = String::new();
    let mut cells = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let list = match value {
            Value::List(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        for (place, value) in list.iter().enumerate() {
            let text = texts.id(value.as_text().unwrap_or(""), &mut folded);
            cells.push(Cell { row, place, text });
        }
    }
    cells
}

/// Name and labels of the label column, where there is one of numbers or of lists of numbers.
fn labels(rows: &Rows) -> Result<Option<Labels<'_>>, Error> {
    let named = |name: &&str| rows.column_names().contains(name);
    let Some(name) = LABEL_COLUMNS.into_iter().find(named) else { return Ok(None) };
    let column = rows.column(name)?;
    if column.iter().any(|value| matches!(value, Value::List(_))) {
        let list = |value: &Value| match value {
            Value::List(list) => list.iter().filter_map(Value::as_number).collect(),
            _ => Vec::new(),
        };
        return Ok(Some((name, column.iter().map(list).collect())));
    }
    Ok(Some((name, rows.numbers(name)?.into_iter().map(|label| vec![label]).collect())))
}
