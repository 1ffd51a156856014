//! What a data section of a recipe does with its rows before anything else sees them.

use crate::error::Error;
use crate::recipe::sections::DatasetSection;
use rankforge_base::FileError;
use rankforge_data::{Condition, Duplicates, Location, Rows, load_rows};

impl DatasetSection {
    /// The first field that chooses or orders rows, which have to be in memory for it.
    pub(super) fn first_step(&self) -> Option<&'static str> {
        let steps = [
            ("filter", !self.filter.is_empty()),
            ("dedup", self.dedup.is_some()),
            ("shuffle_seed", self.shuffle_seed.is_some()),
            ("train_test_split", self.train_test_split.is_some()),
        ];
        steps.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// The rows in memory: those that fulfil `filter`, each once where `dedup` says so, shuffled,
    /// divided, and of these the first `limit`.
    ///
    /// # Errors
    /// Files that cannot be read, a step that cannot be done, or no row that is left.
    pub fn load(&self) -> Result<Rows, Error> {
        if self.first_step().is_none() {
            return Ok(load_rows(&self.location())?);
        }
        let mut rows = load_rows(&Location {
            columns: self.columns_to_read(),
            limit: None,
            ..self.location()
        })?;
        if !self.filter.is_empty() {
            rows = rows.select(&Condition::all_hold(&self.filter, &rows)?);
        }
        if let Some(columns) = &self.dedup {
            rows = rows.select(&Duplicates::new(columns.clone()).first_rows(&rows)?);
        }
        if let Some(seed) = self.shuffle_seed {
            rows = rows.shuffled(seed);
        }
        if let Some(split) = &self.train_test_split {
            rows = split.of(&rows)?;
        }
        if let Some(limit) = self.limit.filter(|limit| *limit < rows.len()) {
            rows = rows.select(&(0..limit).collect::<Vec<_>>());
        }
        if rows.is_empty() {
            let message = "no row is left of those that were read";
            return Err(FileError::content(&self.path, message).into());
        }
        match &self.columns {
            Some(columns) => {
                let names: Vec<&str> = columns.iter().map(String::as_str).collect();
                Ok(rows.select_columns(&names)?)
            }
            None => Ok(rows),
        }
    }

    /// The chosen columns, and those that steps compare.
    fn columns_to_read(&self) -> Option<Vec<String>> {
        let mut columns = self.columns.clone()?;
        let compared = self.filter.iter().map(|condition| condition.column().to_owned());
        for name in compared.chain(self.dedup.iter().flatten().cloned()) {
            if !columns.contains(&name) {
                columns.push(name);
            }
        }
        Some(columns)
    }
}
