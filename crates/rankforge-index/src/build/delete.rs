use crate::build::append::claim_existing;
use crate::error::IndexError;
use crate::ids::IdTable;
use crate::manifest::Manifest;
use std::path::Path;

/// Deletes the texts of these ids: no search finds them from then on. Their rows stay in the files.
/// An id may occur twice in `ids`. Returns the number of texts that were deleted.
///
/// # Errors
/// An id that no text has, and then nothing is deleted; no index at `path`, one with an append that
/// was interrupted (unless `restart`, which discards it), or another process that writes there.
pub fn delete_from_index(path: &Path, ids: &[&str], restart: bool) -> Result<usize, IndexError> {
    let (folder, manifest) = claim_existing(path)?;
    if folder.unfinished(Some(&manifest), restart)?.is_some() {
        let message = "an append was interrupted here, which a change would discard".to_owned();
        return Err(IndexError::Unfinished { path: path.to_owned(), message });
    }
    let table = IdTable::read(path, &manifest)?;
    let find = |id: &&str| {
        let unknown = || IndexError::UnknownId { path: path.to_owned(), id: (*id).to_owned() };
        table.row(id).ok_or_else(unknown)
    };
    let mut deleted = ids.iter().map(find).collect::<Result<Vec<u32>, IndexError>>()?;
    deleted.extend(&manifest.deleted);
    deleted.sort_unstable();
    deleted.dedup();
    let count = deleted.len() - manifest.deleted.len();
    Manifest { generation: manifest.generation + 1, deleted, ..manifest }.write(path)?;
    Ok(count)
}
