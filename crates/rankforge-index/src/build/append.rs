use crate::build::bm25::build_parts;
use crate::build::folder::Folder;
use crate::build::options::{BuildOptions, BuildReport, Embedder};
use crate::build::scan::Scan;
use crate::build::state::State;
use crate::corpus::CorpusSource;
use crate::error::IndexError;
use crate::ids::IdTable;
use crate::manifest::{Block, Bm25Entry, Manifest};
use crate::rows::{Row, RowsWriter};
use crate::vectors::VectorsWriter;
use rankforge_base::{FileError, StopGuard, Task};
use rankforge_encoder::{EncodeOptions, Side};
use std::collections::BTreeMap;
use std::path::Path;

/// Builds an index of a corpus in a new or empty directory, or finishes one that an interrupted
/// run began with the same corpus and settings.
///
/// The corpus is read twice: all ids and texts are checked before the first is embedded. A search
/// finds the index once it is complete.
///
/// # Errors
/// A corpus without rows, a row without a text, an id that occurs twice, a complete index or other
/// files at `path`, an unfinished index of another corpus or with other settings, another process
/// that writes there, a model that refuses a text, or a full disk. What was complete before stays.
pub fn build_index(
    path: &Path,
    corpus: &CorpusSource,
    embedder: Option<&Embedder<'_>>,
    options: &BuildOptions,
) -> Result<BuildReport, IndexError> {
    if embedder.is_none() && options.bm25.is_none() {
        return Err(IndexError::Argument {
            argument: "model",
            expected: "a model, BM25, or both".to_owned(),
            got: "neither".to_owned(),
        });
    }
    let folder = Folder::claim(path)?;
    if Manifest::read(path)?.is_some() {
        return Err(IndexError::Exists { path: path.to_owned() });
    }
    let unfinished = folder.unfinished(None, options.restart)?;
    let bm25 = options.bm25.map(|language| language.to_string());
    let manifest = Manifest {
        format: Manifest::FORMAT.to_owned(),
        version: Manifest::VERSION,
        generation: 1,
        rows: 0,
        deleted: Vec::new(),
        vectors: embedder.map(|embedder| embedder.entry(options.store)).transpose()?,
        bm25: bm25.map(|language| Bm25Entry { language, parts: Vec::new() }),
        blocks: Vec::new(),
    };
    Run { folder, corpus, embedder, options }.run(manifest, unfinished, IdTable::default())
}

/// Appends the rows of a corpus to an index, or finishes an append that was interrupted. Until it
/// is complete, searches find the index as it was.
///
/// # Errors
/// As [`build_index`]; no index at `path`, an id that a row of it has, or a model that is not the
/// one of the index.
pub fn append_to_index(
    path: &Path,
    corpus: &CorpusSource,
    embedder: Option<&Embedder<'_>>,
    options: &BuildOptions,
) -> Result<BuildReport, IndexError> {
    let (folder, manifest) = claim_existing(path)?;
    match (&manifest.vectors, embedder) {
        (Some(entry), Some(embedder)) => {
            let store = entry.store.parse().unwrap_or_default();
            let mut new = embedder.entry(store)?;
            new.model = entry.model.clone();
            if new != *entry {
                let message = format!("expected {}, got {}", entry.describe(), new.describe());
                return Err(IndexError::OtherModel { path: path.to_owned(), message });
            }
        }
        (None, None) => {}
        (entry, _) => {
            let expected = if entry.is_some() { "the model of the index" } else { "no model" };
            return Err(IndexError::Argument {
                argument: "model",
                expected: expected.to_owned(),
                got: if embedder.is_some() { "one" } else { "none" }.to_owned(),
            });
        }
    }
    let unfinished = folder.unfinished(Some(&manifest), options.restart)?;
    let known = IdTable::read(path, &manifest)?;
    let manifest = Manifest { generation: manifest.generation + 1, ..manifest };
    Run { folder, corpus, embedder, options }.run(manifest, unfinished, known)
}

/// Claims the complete index at `path`.
pub(crate) fn claim_existing(path: &Path) -> Result<(Folder, Manifest), IndexError> {
    // Before the claim, which creates a folder; after it, nobody changes the manifest.
    existing(path)?;
    let folder = Folder::claim(path)?;
    Ok((folder, existing(path)?))
}

/// The manifest of the complete index at `path`.
pub(crate) fn existing(path: &Path) -> Result<Manifest, IndexError> {
    match Manifest::read(path)? {
        Some(manifest) => Ok(manifest),
        None if State::read(path)?.is_some() => {
            let message = "a build was interrupted here".to_owned();
            Err(IndexError::Unfinished { path: path.to_owned(), message })
        }
        None => Err(FileError::content(path, "expected an index, got none").into()),
    }
}

/// A run that adds a corpus to an index.
struct Run<'a> {
    folder: Folder,
    corpus: &'a CorpusSource,
    embedder: Option<&'a Embedder<'a>>,
    options: &'a BuildOptions,
}

impl Run<'_> {
    /// Adds the rows to `manifest`, from where an `unfinished` run ended, and makes the result the
    /// index. `known` are the ids of the index.
    fn run(
        &self,
        manifest: Manifest,
        unfinished: Option<State>,
        known: IdTable,
    ) -> Result<BuildReport, IndexError> {
        let stop = self.options.stop.guard();
        let (block, reporter) = (self.options.block_rows, &*self.options.reporter);
        assert!(block > 0, "a block must hold at least one row");
        let before = manifest.rows;
        let scan = Scan::of(self.corpus, known, before, block, reporter)?;
        let corpus = self.corpus.location.path.clone();
        let new = State { corpus, digest: scan.digest, total: scan.rows, before, manifest };
        let mut state = match unfinished {
            Some(state) => {
                state.expect_same(&new, &self.folder.path)?;
                state
            }
            None => {
                if before == 0 {
                    self.folder.remove_rows()?;
                }
                new
            }
        };
        let continued = state.done();
        if continued > 0 {
            let total = state.total;
            reporter.message(&format!("continuing after {continued} of {total} rows"));
        }
        self.add_rows(&mut state, &stop)?;
        build_parts(&self.folder.path, &mut state, self.options, &stop)?;
        state.manifest.write(&self.folder.path)?;
        State::remove(&self.folder.path)?;
        self.folder.remove_other_parts(state.manifest.bm25.as_ref())?;
        let added = state.total - continued;
        Ok(BuildReport { rows: state.manifest.live_rows(), added, continued })
    }

    /// Adds the rows that are not done yet, block by block.
    fn add_rows(&self, state: &mut State, stop: &StopGuard) -> Result<(), IndexError> {
        if state.done() == state.total {
            return Ok(());
        }
        let folder = &self.folder.path;
        let reporter = &*self.options.reporter;
        let mut rows = RowsWriter::open(folder, &state.manifest)?;
        let entry = state.manifest.vectors.as_ref();
        let mut vectors =
            entry.map(|entry| VectorsWriter::open(folder, &state.manifest, entry)).transpose()?;
        let task = Task::begin(reporter, "Indexing", state.total, "texts");
        let mut seen = 0;
        for chunk in self.corpus.open(self.options.block_rows, &rankforge_base::Silent)? {
            let chunk = chunk?;
            // A block may have another size than those of the interrupted run.
            let skipped = state.done().saturating_sub(seen).min(chunk.len());
            seen += chunk.len();
            task.advance(skipped);
            let new = &chunk[skipped..];
            if new.is_empty() {
                continue;
            }
            self.check_stop(state, stop)?;
            if let Some(vectors) = &mut vectors {
                self.embed(new, state.manifest.rows, vectors)?;
            }
            for row in new {
                rows.write(row)?;
            }
            let mut files = BTreeMap::new();
            rows.end_block(&mut files)?;
            if let Some(vectors) = &mut vectors {
                vectors.end_block(&mut files)?;
            }
            state.manifest.rows += new.len();
            state.manifest.blocks.push(Block { rows: state.manifest.rows, files });
            state.write(folder)?;
            task.advance(new.len());
        }
        if state.done() != state.total {
            let (expected, got) = (state.total, state.done());
            let message = format!("had {expected} rows a moment ago, and has {got} now");
            return Err(FileError::content(&self.corpus.location.path, message).into());
        }
        Ok(())
    }

    fn embed(
        &self,
        rows: &[Row],
        first: usize,
        vectors: &mut VectorsWriter,
    ) -> Result<(), IndexError> {
        let Some(embedder) = self.embedder else { return Ok(()) };
        let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
        let options =
            EncodeOptions { reporter: self.options.reporter.clone(), ..embedder.options.clone() };
        let embeddings = embedder.encoder.embed(Side::Document, &texts, &options)?;
        vectors.write(embedder.encoder.device(), &embeddings, first)
    }

    fn check_stop(&self, state: &State, stop: &StopGuard) -> Result<(), IndexError> {
        match stop.is_requested() {
            false => Ok(()),
            true => Err(IndexError::Stopped {
                path: self.folder.path.clone(),
                rows: state.done(),
                total: state.total,
            }),
        }
    }
}
