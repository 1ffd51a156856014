use crate::append_file::{AppendFile, truncated};
use crate::error::IndexError;
use crate::ids::{IDS, IdHash};
use crate::manifest::{Extent, Manifest};
use rankforge_base::FileError;
use rankforge_kernels::Mapping;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A text of an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its id.
    #[serde(rename = "_id")]
    pub id: String,
    /// The text.
    pub text: String,
    /// The other columns.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

/// One JSON object a line, as in the corpus of a BEIR data set.
pub(crate) const ROWS: &str = "rows.jsonl";

/// For each row, where its line ends in [`ROWS`]: 8 bytes, little-endian.
pub(crate) const ENDS: &str = "rows.ends";

/// Bytes of a row in [`ENDS`].
const END: usize = 8;

impl Row {
    /// The line of the row, with the line break.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("maps of JSON values have text keys");
        line.push(b'\n');
        line
    }
}

/// The rows of an index, in mapped files.
pub(crate) struct StoredRows {
    path: PathBuf,
    lines: Mapping,
    ends: Mapping,
    rows: usize,
}

impl StoredRows {
    /// Opens the files and checks their lengths.
    pub(crate) fn open(folder: &Path, manifest: &Manifest) -> Result<StoredRows, IndexError> {
        let lines = map(folder, ROWS, manifest)?;
        let ends = map(folder, ENDS, manifest)?;
        Ok(StoredRows { path: folder.join(ROWS), lines, ends, rows: manifest.rows })
    }

    /// Reads the row at `index`.
    ///
    /// # Errors
    /// When its line is not what was written.
    ///
    /// # Panics
    /// When there is no such row.
    pub(crate) fn read(&self, index: usize) -> Result<Row, IndexError> {
        let row = self.line(index).and_then(|line| serde_json::from_slice(line).ok());
        row.ok_or_else(|| {
            let message = format!("line {}: expected a row, got something else", index + 1);
            FileError::content(&self.path, format!("{message}: the file was altered")).into()
        })
    }

    /// The line of a row, with the line break; `None` where the file of ends is wrong.
    fn line(&self, index: usize) -> Option<&[u8]> {
        assert!(index < self.rows, "row {index} of {}", self.rows);
        let end = |row: usize| {
            let bytes = self.ends.bytes()[row * END..][..END].try_into();
            usize::try_from(u64::from_le_bytes(bytes.expect("8 bytes"))).ok()
        };
        let start = if index == 0 { 0 } else { end(index - 1)? };
        self.lines.bytes().get(start..end(index)?)
    }
}

/// Writes rows to the three files.
pub(crate) struct RowsWriter {
    lines: AppendFile,
    ends: AppendFile,
    ids: AppendFile,
}

impl RowsWriter {
    pub(crate) fn open(folder: &Path, manifest: &Manifest) -> Result<RowsWriter, IndexError> {
        let open = |name: &str| AppendFile::open(&folder.join(name), manifest.length(name));
        Ok(RowsWriter { lines: open(ROWS)?, ends: open(ENDS)?, ids: open(IDS)? })
    }

    pub(crate) fn write(&mut self, row: &Row) -> Result<(), IndexError> {
        self.lines.write(&row.line())?;
        self.ends.write(&self.lines.position().to_le_bytes())?;
        self.ids.write(IdHash::of(&row.id).bytes())
    }

    pub(crate) fn end_block(
        &mut self,
        files: &mut BTreeMap<String, Extent>,
    ) -> Result<(), IndexError> {
        let written = [(ROWS, &mut self.lines), (ENDS, &mut self.ends), (IDS, &mut self.ids)];
        for (name, file) in written {
            files.insert(name.to_owned(), file.end_block()?);
        }
        Ok(())
    }
}

/// Maps a file that grows, after a look at its length.
pub(crate) fn map(folder: &Path, name: &str, manifest: &Manifest) -> Result<Mapping, IndexError> {
    map_file(&folder.join(name), manifest.length(name))
}

/// Maps the first `length` bytes of a file.
pub(crate) fn map_file(path: &Path, length: u64) -> Result<Mapping, IndexError> {
    let io = FileError::io(path);
    let file = File::open(path).map_err(io)?;
    let found = file.metadata().map_err(io)?.len();
    if found < length {
        return Err(truncated(path, length, found));
    }
    Ok(Mapping::first(&file, length).map_err(io)?)
}
