use crate::corpus::{CorpusSource, no_rows};
use crate::error::IndexError;
use crate::ids::IdTable;
use rankforge_base::{Reporter, hexadecimal};
use sha2::{Digest, Sha256};

/// What a first look at a corpus finds, before any text is embedded.
pub(super) struct Scan {
    /// Number of rows.
    pub(super) rows: usize,
    /// The SHA-256 of all rows as they are stored, in hexadecimal.
    pub(super) digest: String,
}

impl Scan {
    /// Reads the whole corpus once: every row must have a text and an id that no other row and no
    /// row of `known` has. `before` is the number of rows that the index has.
    pub(super) fn of(
        corpus: &CorpusSource,
        mut known: IdTable,
        before: usize,
        chunk: usize,
        reporter: &dyn Reporter,
    ) -> Result<Scan, IndexError> {
        let path = &corpus.location.path;
        let mut hash = Sha256::new();
        let mut rows = 0;
        for chunk in corpus.open(chunk, reporter)? {
            for row in chunk? {
                hash.update(row.line());
                let number = before + rows;
                let number32 = u32::try_from(number).map_err(|_| IndexError::Argument {
                    argument: "dataset",
                    expected: format!("at most {} rows in an index", u32::MAX),
                    got: format!("{} rows and more", number + 1),
                })?;
                if let Err(earlier) = known.insert(&row.id, number32) {
                    let (path, id, earlier) = (path.clone(), row.id, earlier as usize);
                    let second = rows + 1;
                    return Err(match earlier.checked_sub(before) {
                        Some(first) => {
                            IndexError::DuplicateId { path, id, first: first + 1, second }
                        }
                        None => {
                            let stored = earlier + 1;
                            IndexError::KnownId { path, id, row: second, stored }
                        }
                    });
                }
                rows += 1;
            }
        }
        if rows == 0 {
            return Err(no_rows(path));
        }
        Ok(Scan { rows, digest: hexadecimal(&hash.finalize()) })
    }
}
