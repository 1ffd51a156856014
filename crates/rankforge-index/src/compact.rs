//! Rewriting an index without its deleted rows.

use crate::append_file::AppendFile;
use crate::build::{BuildOptions, INDEX_DIRECTORY, State, build_parts, claim_existing};
use crate::error::IndexError;
use crate::manifest::{Block, Bm25Entry, Manifest};
use crate::rows::{RowsWriter, StoredRows, map};
use crate::vectors::row_files;
use crate::verify::verify;
use rankforge_base::{StopGuard, Task, replace_directory};
use rankforge_kernels::Mapping;
use std::collections::BTreeMap;
use std::path::Path;

/// What [`compact_index`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Number of rows that are left.
    pub rows: usize,
    /// Number of deleted rows that were removed.
    pub removed: usize,
    /// Number of bytes that the files have less.
    pub bytes: u64,
}

/// Rewrites an index without its deleted rows, and without their words. The vectors are copied, not
/// computed. The new files take the place of the old ones when they are complete; until then, and
/// after a failure, the index is as it was. Searches that have it open go on with the old files,
/// whose space is free when they end.
///
/// Of `options`, blocks, threads, reporter and stop count.
///
/// # Errors
/// No index at `path`, one with an append that was interrupted (unless `options.restart`, which
/// discards it), one whose rows are all deleted, a file that was altered, another process that
/// writes there, a request to stop, or a full disk.
pub fn compact_index(path: &Path, options: &BuildOptions) -> Result<Compacted, IndexError> {
    let stop = options.stop.guard();
    let (folder, old) = claim_existing(path)?;
    if folder.unfinished(Some(&old), options.restart)?.is_some() {
        let message = "an append was interrupted here, which a change would discard".to_owned();
        return Err(IndexError::Unfinished { path: path.to_owned(), message });
    }
    let (rows, removed) = (old.live_rows(), old.deleted.len());
    if removed == 0 {
        return Ok(Compacted { rows, removed, bytes: 0 });
    }
    if rows == 0 {
        return Err(IndexError::Argument {
            argument: "compact",
            expected: "an index with a text that is not deleted".to_owned(),
            got: "none".to_owned(),
        });
    }
    // New checksums would hide what was altered.
    verify(path, &old, &*options.reporter)?;
    let mut bytes = 0;
    replace_directory(path, &INDEX_DIRECTORY, |new| {
        let manifest = rewrite(path, &old, new, options, &stop)?;
        bytes = manifest.bytes();
        manifest.write(new)
    })?;
    Ok(Compacted { rows, removed, bytes: old.bytes().saturating_sub(bytes) })
}

/// Writes the rows that are not deleted to `new`. Returns what is there then.
fn rewrite(
    path: &Path,
    old: &Manifest,
    new: &Path,
    options: &BuildOptions,
    stop: &StopGuard,
) -> Result<Manifest, IndexError> {
    let language = old.bm25.as_ref().map(|bm25| bm25.language.clone());
    let mut manifest = Manifest {
        generation: old.generation + 1,
        rows: 0,
        deleted: Vec::new(),
        bm25: language.map(|language| Bm25Entry { language, parts: Vec::new() }),
        blocks: Vec::new(),
        ..old.clone()
    };
    let total = old.live_rows();
    let stored = StoredRows::open(path, old)?;
    let mut writer = RowsWriter::open(new, &manifest)?;
    let files = old.vectors.as_ref().map(|entry| row_files(path, entry)).transpose()?;
    let copies = files.into_iter().flatten().map(|(name, length)| {
        let file = AppendFile::open(&new.join(name), 0)?;
        Ok(Copied { name, length, from: map(path, name, old)?, to: file })
    });
    let mut copies = copies.collect::<Result<Vec<_>, IndexError>>()?;
    let live: Vec<usize> =
        (0..old.rows).filter(|row| old.deleted.binary_search(&(*row as u32)).is_err()).collect();
    let task = Task::begin(&*options.reporter, "Copying", total, "texts");
    for block in live.chunks(options.block_rows) {
        if stop.is_requested() {
            return Err(IndexError::NotCompacted { path: path.to_owned() });
        }
        for row in block {
            writer.write(&stored.read(*row)?)?;
            copies.iter_mut().try_for_each(|copy| copy.row(*row))?;
        }
        let mut files = BTreeMap::new();
        writer.end_block(&mut files)?;
        for copy in &mut copies {
            files.insert(copy.name.to_owned(), copy.to.end_block()?);
        }
        manifest.rows += block.len();
        manifest.blocks.push(Block { rows: manifest.rows, files });
        task.advance(block.len());
    }
    drop(task);
    let mut state =
        State { corpus: path.to_owned(), digest: String::new(), total, before: 0, manifest };
    build_parts(new, &mut state, options, stop).map_err(|error| match error {
        IndexError::Stopped { .. } => IndexError::NotCompacted { path: path.to_owned() },
        error => error,
    })?;
    State::remove(new)?;
    Ok(state.manifest)
}

/// A file with the same number of bytes for each row.
struct Copied {
    name: &'static str,
    length: usize,
    from: Mapping,
    to: AppendFile,
}

impl Copied {
    fn row(&mut self, row: usize) -> Result<(), IndexError> {
        self.to.write(&self.from.bytes()[row * self.length..][..self.length])
    }
}
