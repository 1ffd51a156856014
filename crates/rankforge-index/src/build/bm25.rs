use crate::bm25::{Language, PART_ROWS, UnknownLanguage, write_part};
use crate::build::folder::part_folder;
use crate::build::options::BuildOptions;
use crate::build::state::State;
use crate::error::IndexError;
use crate::manifest::{MANIFEST, PartEntry};
use crate::rows::StoredRows;
use rankforge_base::{FileError, StopGuard, Task};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Builds the parts of the inverted index that rows were added to, as many at a time as there are
/// threads.
pub(crate) fn build_parts(
    folder: &Path,
    state: &mut State,
    options: &BuildOptions,
    stop: &StopGuard,
) -> Result<(), IndexError> {
    let Some(bm25) = &state.manifest.bm25 else { return Ok(()) };
    let language: Language = bm25.language.parse().map_err(|error: UnknownLanguage| {
        FileError::content(&folder.join(MANIFEST), error.to_string())
    })?;
    let rows = state.manifest.rows;
    let part = |first: usize| PartEntry {
        first,
        rows: PART_ROWS.min(rows - first),
        files: BTreeMap::new(),
    };
    let complete = |new: &PartEntry| {
        bm25.parts.iter().find(|part| (part.first, part.rows) == (new.first, new.rows))
    };
    let mut parts: Vec<PartEntry> = (0..rows).step_by(PART_ROWS).map(part).collect();
    let mut missing = Vec::new();
    for (place, part) in parts.iter_mut().enumerate() {
        match complete(part) {
            Some(complete) => part.files.clone_from(&complete.files),
            None => missing.push(place),
        }
    }
    let stored = StoredRows::open(folder, &state.manifest)?;
    let count = missing.iter().map(|place| parts[*place].rows).sum();
    let task = Task::begin(&*options.reporter, "Indexing words", count, "texts");
    for places in missing.chunks(options.workers.count()) {
        if stop.is_requested() {
            let (path, rows, total) = (folder.to_owned(), state.done(), state.total);
            return Err(IndexError::Stopped { path, rows, total });
        }
        let build = |place: &usize| -> Result<(usize, BTreeMap<_, _>), IndexError> {
            let part = &parts[*place];
            let target = part_folder(folder, part);
            if target.exists() {
                // An interrupted run left it.
                fs::remove_dir_all(&target).map_err(FileError::io(&target))?;
            }
            let rows = part.first..part.first + part.rows;
            let texts = rows.map(|row| stored.read(row).map(|row| row.text));
            let files = write_part(&target, language, texts)?;
            task.advance(part.rows);
            Ok((*place, files))
        };
        let built: Result<Vec<(usize, BTreeMap<_, _>)>, IndexError> =
            options.workers.run(|| places.par_iter().map(build).collect());
        for (place, files) in built? {
            parts[place].files = files;
        }
        let complete = parts.iter().filter(|part| !part.files.is_empty()).cloned().collect();
        if let Some(bm25) = &mut state.manifest.bm25 {
            bm25.parts = complete;
        }
        state.write(folder)?;
    }
    Ok(())
}
