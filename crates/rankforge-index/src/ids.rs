use crate::error::IndexError;
use crate::manifest::Manifest;
use rankforge_base::FileError;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// The first 16 bytes of the SHA-256 of an id. Ids with the same hash are taken for the same: among
/// a billion ids, the chance that any two are mistaken is below 1e-20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IdHash([u8; 16]);

/// For each row, the [`IdHash`] of its id: 16 bytes.
pub(crate) const IDS: &str = "rows.ids";

/// The rows of ids.
#[derive(Default)]
pub(crate) struct IdTable {
    rows: HashMap<IdHash, u32>,
}

impl IdHash {
    pub(crate) fn of(id: &str) -> IdHash {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Sha256::digest(id)[..16]);
        IdHash(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl IdTable {
    /// The ids of the rows of an index that are not deleted.
    pub(crate) fn read(folder: &Path, manifest: &Manifest) -> Result<IdTable, IndexError> {
        let path = folder.join(IDS);
        let io = FileError::io(&path);
        let mut table = IdTable { rows: HashMap::with_capacity(manifest.rows) };
        let mut file = BufReader::new(File::open(&path).map_err(io)?);
        let mut deleted = manifest.deleted.iter().peekable();
        for row in 0..manifest.rows as u32 {
            let mut hash = [0; 16];
            file.read_exact(&mut hash).map_err(io)?;
            if deleted.next_if_eq(&&row).is_none() {
                table.rows.insert(IdHash(hash), row);
            }
        }
        Ok(table)
    }

    /// Adds an id; or returns the row that has it already.
    pub(crate) fn insert(&mut self, id: &str, row: u32) -> Result<(), u32> {
        match self.rows.entry(IdHash::of(id)) {
            Entry::Vacant(entry) => {
                entry.insert(row);
                Ok(())
            }
            Entry::Occupied(entry) => Err(*entry.get()),
        }
    }

    /// The row of an id.
    pub(crate) fn row(&self, id: &str) -> Option<u32> {
        self.rows.get(&IdHash::of(id)).copied()
    }
}
