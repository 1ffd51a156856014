use crate::error::{Error, read_from};
use crate::label_columns::LABEL_COLUMNS;
use crate::losses::{Cell, Column, Examples, LABEL_ROLE, Labels};
use rankforge_base::quoted_list;
use rankforge_data::{BlockOrder, RowSource, Rows, Value};
use rankforge_encoder::Prompt;
use std::sync::Arc;

/// Column names that sentence-transformers reserves.
const RESERVED_COLUMNS: [&str; 2] = ["return_loss", "dataset_name"];

/// Number of rows that are read at a time when all rows are processed.
const PIECE: usize = 4096;

/// Rows of a data set, with the roles of their columns: the label column, and the text columns in
/// order.
#[derive(Clone)]
pub struct Dataset {
    rows: Arc<dyn RowSource>,
    /// Name of the data set in errors.
    what: Arc<str>,
    names: Vec<String>,
    label: Option<usize>,
    texts: Vec<usize>,
}

impl Dataset {
    /// Assigns roles to the columns. The label column is the first of [`LABEL_COLUMNS`] that
    /// exists; all other columns are text columns, unless `chosen` lists the text columns in their
    /// order. `what` is the name of the data set in errors.
    ///
    /// # Errors
    /// No rows, no text column, a reserved or unknown column name, or a cell of the wrong type.
    /// Text columns hold texts or lists of texts, label columns finite numbers or lists of them.
    pub fn new(
        rows: Arc<dyn RowSource>,
        chosen: Option<&[String]>,
        what: &str,
    ) -> Result<Dataset, Error> {
        let names = rows.column_names();
        if rows.is_empty() {
            return Err(Error::rows(what, "at least one row", "none"));
        }
        if let Some(name) = names.iter().find(|name| RESERVED_COLUMNS.contains(&name.as_str())) {
            let expected = "other column names than `return_loss` and `dataset_name`";
            return Err(Error::rows(what, expected, format!("`{name}`")));
        }
        let label = LABEL_COLUMNS.iter().find_map(|label| names.iter().position(|n| n == label));
        let texts = match chosen {
            None => (0..names.len()).filter(|&index| Some(index) != label).collect(),
            Some(chosen) => choose(&names, label, chosen, what)?,
        };
        if texts.is_empty() {
            let got = format!("only {}", quoted_list(names.iter().map(String::as_str)));
            return Err(Error::rows(what, "a text column", got));
        }
        let dataset = Dataset { rows, what: what.into(), names, label, texts };
        dataset.check(what)?;
        Ok(dataset)
    }

    /// Name of the data set in messages.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.what
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows, which is never the case: [`Dataset::new`] refuses an empty set.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Names of the text columns, in the order in which a loss receives them.
    pub fn text_names(&self) -> Vec<String> {
        self.texts.iter().map(|&index| self.names[index].clone()).collect()
    }

    /// Completes an error of a loss about the batch `rows`: adds the name of the data set, and
    /// replaces the row of the batch by the row of the data set, and [`LABEL_ROLE`] by the name of
    /// the label column.
    pub(super) fn locate(&self, error: Error, rows: &[usize]) -> Error {
        let Error::Rows { mut place, expected, got } = error else { return error };
        let what = read_from(&self.what, self.rows.source());
        place.reader = format!("{what} for {}", place.reader);
        let index = place.row.and_then(|row| row.checked_sub(1));
        place.row = index.and_then(|index| rows.get(index)).map(|row| row + 1);
        if let (Some(column), Some(label)) = (&mut place.column, self.label)
            && column == LABEL_ROLE
        {
            column.clone_from(&self.names[label]);
        }
        Error::Rows { place, expected, got }
    }

    /// Indices of the text columns among all columns.
    pub(super) fn text_columns(&self) -> &[usize] {
        &self.texts
    }

    /// The blocks in which rows are read, where they are not all in memory.
    pub(super) fn blocks(&self) -> Option<BlockOrder> {
        self.rows.blocks()
    }

    /// Index of the label column among all columns.
    pub(super) fn label_column(&self) -> Option<usize> {
        self.label
    }

    /// Indices of the text columns and of the label column among all columns.
    pub(super) fn used_columns(&self) -> impl Iterator<Item = usize> {
        self.texts.iter().copied().chain(self.label)
    }

    /// Reads the rows with these indices as the batch of a loss. `prompts` has an entry for each
    /// text column.
    ///
    /// # Errors
    /// When a row cannot be read.
    pub fn examples(&self, rows: &[usize], prompts: &[Option<Prompt>]) -> Result<Examples, Error> {
        let mut columns: Vec<Option<(String, Vec<Value>)>> =
            self.rows.read(rows)?.into_columns().into_iter().map(Some).collect();
        let labels = match self.label.and_then(|index| columns[index].as_ref()) {
            None => Labels::None,
            Some((_, values)) => labels(values),
        };
        let texts = self.texts.iter().zip(prompts).map(|(&index, prompt)| {
            let (name, values) = columns[index].take().expect("no column is chosen twice");
            let cells = values.into_iter().map(cell).collect();
            Column { name, prompt: prompt.clone(), cells }
        });
        Ok(Examples { columns: texts.collect(), labels })
    }

    /// Calls `work` for consecutive pieces of the rows, with the index of the first row of the
    /// piece.
    ///
    /// # Errors
    /// A row that cannot be read, or the first error of `work`.
    pub(super) fn for_each_piece(
        &self,
        mut work: impl FnMut(usize, &Rows) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for start in (0..self.len()).step_by(PIECE) {
            let indices: Vec<usize> = (start..(start + PIECE).min(self.len())).collect();
            work(start, &self.rows.read(&indices)?)?;
        }
        Ok(())
    }

    /// Checks the type of every cell in the text columns and the label column.
    fn check(&self, what: &str) -> Result<(), Error> {
        // The first cell of a column decides whether all its cells must be lists.
        let mut lists: Option<Vec<bool>> = None;
        self.for_each_piece(|start, rows| {
            let columns = rows.columns();
            let first = |(_, values): &(String, Vec<Value>)| matches!(values[0], Value::List(_));
            let lists = lists.get_or_insert_with(|| columns.iter().map(first).collect());
            for index in self.used_columns() {
                let (name, values) = &columns[index];
                let is_label = Some(index) == self.label;
                for (row, value) in values.iter().enumerate() {
                    check_cell(value, is_label, lists[index]).map_err(|expected| {
                        let what = read_from(what, self.rows.source());
                        Error::cell(what, start + row, name, expected, value.describe())
                    })?;
                }
            }
            Ok(())
        })
    }
}

/// Indices of the text columns that were chosen by name.
fn choose(
    names: &[String],
    label: Option<usize>,
    chosen: &[String],
    what: &str,
) -> Result<Vec<usize>, Error> {
    let mut indices = Vec::with_capacity(chosen.len());
    for name in chosen {
        let Some(index) = names.iter().position(|known| known == name) else {
            let known = quoted_list(names.iter().map(String::as_str));
            return Err(Error::rows(what, format!("a column `{name}`"), known));
        };
        if label == Some(index) {
            let got = format!("the label column `{name}` among its text columns");
            return Err(Error::rows(what, "text columns", got));
        }
        if indices.contains(&index) {
            let got = format!("`{name}` twice");
            return Err(Error::rows(what, "each text column once", got));
        }
        indices.push(index);
    }
    Ok(indices)
}

/// Checks the type of a cell. The error is the expected type.
fn check_cell(value: &Value, is_label: bool, list: bool) -> Result<(), String> {
    let fits = |value: &Value| match (is_label, value) {
        // A label may be a list of lists: an embedding for each text column.
        (true, Value::List(items)) => list && items.iter().all(|item| number(item).is_some()),
        (true, value) => number(value).is_some(),
        (false, value) => value.as_text().is_some(),
    };
    let fine = match value {
        Value::List(items) => list && items.iter().all(fits),
        value => !list && fits(value),
    };
    if fine {
        return Ok(());
    }
    let item = if is_label { "a finite number" } else { "a text" };
    Err(if list { format!("a list, each item {item}") } else { item.to_owned() })
}

fn cell(value: Value) -> Cell {
    let text = |value: Value| match value {
        Value::Text(text) | Value::Untyped(text) => text,
        other => unreachable!("{} in a column of texts that was checked", other.describe()),
    };
    match value {
        Value::List(items) => Cell::Texts(items.into_iter().map(text).collect()),
        value => Cell::Text(text(value)),
    }
}

fn labels(values: &[Value]) -> Labels {
    let checked = |value: &Value| number(value).expect("labels are checked") as f32;
    let (mut scalars, mut lists) = (Vec::new(), Vec::new());
    for value in values {
        match value {
            Value::List(items) => {
                let flat = items.iter().flat_map(|item| match item {
                    Value::List(items) => items.as_slice(),
                    item => std::slice::from_ref(item),
                });
                lists.push(flat.map(checked).collect());
            }
            value => scalars.push(checked(value)),
        }
    }
    if lists.is_empty() { Labels::Scalars(scalars) } else { Labels::Lists(lists) }
}

/// A label, if it is finite as the `f32` that losses receive.
fn number(value: &Value) -> Option<f64> {
    value.as_number().filter(|number| (*number as f32).is_finite())
}
