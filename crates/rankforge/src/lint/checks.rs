use crate::lint::finding::{Collected, Example, Finding, Kind};
use crate::lint::table::{Cell, Role, Table, TextColumn, Texts};
use std::collections::HashMap;

/// What the checks look at.
pub(super) struct Checked<'a> {
    pub(super) table: &'a Table<'a>,
    pub(super) texts: &'a Texts<'a>,
    /// The group of near duplicates of each text.
    pub(super) groups: &'a [u32],
    /// Most examples of a finding.
    pub(super) examples: usize,
}

impl Checked<'_> {
    fn collect(&self, kind: Kind) -> Collected {
        Collected::new(kind, self.examples)
    }

    fn example(&self, column: &TextColumn<'_>, cell: Cell) -> Example {
        Example { here: self.table.place(column, cell, self.texts), there: None }
    }

    fn compared(&self, here: (usize, Cell), there: (usize, Cell)) -> Example {
        let place = |(column, cell): (usize, Cell)| {
            self.table.place(&self.table.columns[column], cell, self.texts)
        };
        Example { here: place(here), there: Some(place(there)) }
    }

    /// All texts of the table, with the index of their column.
    fn cells(&self) -> impl Iterator<Item = (usize, Cell)> {
        let columns = self.table.columns.iter().enumerate();
        columns.flat_map(|(index, column)| column.cells.iter().map(move |cell| (index, *cell)))
    }

    pub(super) fn empty_texts(&self) -> Option<Finding> {
        let mut found = self.collect(Kind::EmptyText);
        for (column, cell) in self.cells().filter(|(_, cell)| self.texts.is_empty(cell.text)) {
            found.add(cell.row, || self.example(&self.table.columns[column], cell));
        }
        found.finding(None)
    }

    /// Texts whose `lengths` exceed the limit.
    pub(super) fn long_texts(&self, lengths: &[u32], limit: usize) -> Option<Finding> {
        let mut found = self.collect(Kind::LongText);
        let length = |cell: Cell| lengths[cell.text as usize] as usize;
        for (column, cell) in self.cells().filter(|(_, cell)| length(*cell) > limit) {
            found.add(cell.row, || self.example(&self.table.columns[column], cell));
        }
        found.finding(Some("[model] max_length, if the model reads more".to_owned()))
    }

    /// Rows with the texts of an earlier row: those with its labels, and those with others.
    pub(super) fn repeated_rows(&self) -> [Option<Finding>; 2] {
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.table.rows];
        let mut last = vec![None; self.table.rows];
        for (column, cell) in self.cells() {
            // The column too, so that lists of other lengths do not become equal.
            rows[cell.row].extend([column as u32, cell.text]);
            last[cell.row] = Some((column, cell));
        }
        let labels = |row: usize| self.table.labels.as_ref().map(|(_, labels)| &labels[row]);
        let mut first: HashMap<&[u32], usize> = HashMap::with_capacity(rows.len());
        let mut equal = self.collect(Kind::DuplicateRow);
        let mut other = self.collect(Kind::ContradictoryLabel);
        for (row, texts) in rows.iter().enumerate() {
            let earlier = *first.entry(texts).or_insert(row);
            let (Some(here), Some(there)) = (last[row], last[earlier]) else { continue };
            if earlier != row {
                let found = if labels(row) == labels(earlier) { &mut equal } else { &mut other };
                found.add(row, || self.compared(here, there));
            }
        }
        [other.finding(None), equal.finding(None)]
    }

    /// Negatives that are, but for a few words, positives of the same query.
    pub(super) fn positives_as_negatives(&self) -> Option<Finding> {
        let queries = self.table.queries();
        let mut positives = HashMap::new();
        let of = |wanted: bool| {
            let documents = self.cells().filter(|(column, _)| *column > 0);
            documents.filter(move |(column, cell)| {
                self.table.relevant(&self.table.columns[*column], *cell) == Some(wanted)
            })
        };
        let key = |cell: Cell| (queries[cell.row], self.groups[cell.text as usize]);
        for (column, cell) in of(true) {
            positives.entry(key(cell)).or_insert((column, cell));
        }
        let mut found = self.collect(Kind::PositiveAsNegative);
        for (column, cell) in of(false).filter(|(_, cell)| !self.texts.is_empty(cell.text)) {
            if let Some(positive) = positives.get(&key(cell)) {
                found.add(cell.row, || self.compared((column, cell), *positive));
            }
        }
        found.finding(None)
    }

    /// Documents that are the text of their query.
    pub(super) fn queries_as_documents(&self) -> Option<Finding> {
        let queries = self.table.queries();
        let mut found = self.collect(Kind::QueryAsDocument);
        for column in self.table.documents().iter().filter(|column| column.role != Role::Negative) {
            for cell in &column.cells {
                if cell.text == queries[cell.row] && !self.texts.is_empty(cell.text) {
                    found.add(cell.row, || self.example(column, *cell));
                }
            }
        }
        found.finding(None)
    }

    /// Queries that are near duplicates of others, and documents likewise.
    pub(super) fn near_duplicates(&self) -> Option<Finding> {
        let mut found = self.collect(Kind::NearDuplicate);
        for queries in [true, false] {
            let mut first: HashMap<u32, (usize, Cell)> = HashMap::new();
            for (column, cell) in self.cells().filter(|(column, _)| (*column == 0) == queries) {
                let group = self.groups[cell.text as usize];
                let earlier = *first.entry(group).or_insert((column, cell));
                if earlier.1.text != cell.text {
                    found.add(cell.row, || self.compared((column, cell), earlier));
                }
            }
        }
        found.finding(None)
    }

    /// Texts that occur in other rows too, in the same column.
    pub(super) fn repeated_texts(&self) -> Option<Finding> {
        let mut found = self.collect(Kind::RepeatedText);
        for (index, column) in self.table.columns.iter().enumerate() {
            let mut first: HashMap<u32, Cell> = HashMap::new();
            for cell in &column.cells {
                let earlier = *first.entry(cell.text).or_insert(*cell);
                if earlier.row != cell.row {
                    found.add(cell.row, || self.compared((index, *cell), (index, earlier)));
                }
            }
        }
        found.finding(Some("[arguments] batch_sampler = \"no_duplicates\"".to_owned()))
    }
}
