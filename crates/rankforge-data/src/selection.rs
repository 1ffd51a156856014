use crate::error::DataError;
use std::path::Path;

/// The columns to read from a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Names, in the order of the result.
    pub(crate) columns: Vec<String>,
    /// Whether a file with any other column is refused.
    ///
    /// True when the user selected no columns: these are then the columns of the first file of the
    /// split, and every other file must have the same.
    pub(crate) exact: bool,
}

impl Selection {
    /// Checks that the file `path` with the columns `available` can be read with this selection.
    ///
    /// # Errors
    /// When a selected column is missing, or when the selection is exact and there is another
    /// column.
    pub(crate) fn check(&self, path: &Path, available: &[&str]) -> Result<(), DataError> {
        let is_missing = |name: &&String| !available.contains(&name.as_str());
        if let Some(missing) = self.columns.iter().find(is_missing) {
            let place = path.display().to_string();
            return Err(DataError::missing_column(missing, &place, available));
        }
        let selected: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        match available.iter().find(|name| self.exact && !selected.contains(name)) {
            Some(extra) => Err(DataError::unexpected_column(extra, path, &selected)),
            None => Ok(()),
        }
    }

    /// Checks that no column is selected twice.
    pub(crate) fn check_names(&self) -> Result<(), DataError> {
        let names = &self.columns;
        match (1..names.len()).find(|&index| names[..index].contains(&names[index])) {
            Some(index) => Err(DataError::column(&names[index], "selected twice")),
            None => Ok(()),
        }
    }
}
