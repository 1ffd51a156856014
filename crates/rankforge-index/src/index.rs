use crate::append_file::truncated;
use crate::bm25::{Bm25Index, UnknownLanguage};
use crate::build::{existing, part_folder};
use crate::error::IndexError;
use crate::manifest::{MANIFEST, Manifest};
use crate::rows::{Row, StoredRows};
use crate::vectors::Vectors;
use crate::verify::{ALWAYS_VERIFIED, verify};
use rankforge_base::{FileError, Reporter, Silent, Task};
use rankforge_encoder::{Embed, EncodeOptions, Outputs, Side};
use rankforge_kernels::ops::{Neighbour, Skipped};
use rankforge_kernels::{Device, Workers};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A complete index, open for searches. Its files are mapped: nobody may shorten them meanwhile.
///
/// A row has its number, from 0, in the order in which rows were added.
pub struct Index {
    path: PathBuf,
    manifest: Manifest,
    rows: StoredRows,
    vectors: Option<Vectors>,
    /// Opened by the first search by words, as its dictionaries take memory.
    bm25: OnceLock<Bm25Index>,
    /// A bit for each deleted row.
    deleted: Vec<u64>,
}

impl Index {
    /// Whether `path` is the directory of a complete index.
    pub fn is_at(path: &Path) -> bool {
        path.join(MANIFEST).is_file()
    }

    /// Opens an index. Checks the lengths of its files, and the checksums too when the files have
    /// at most 16 MiB together.
    ///
    /// # Errors
    /// No index at `path`, one that is not complete, or a file that is missing, was cut or altered.
    pub fn open(path: &Path) -> Result<Index, IndexError> {
        let manifest = existing(path)?;
        let rows = StoredRows::open(path, &manifest)?;
        let vectors = manifest.vectors.as_ref();
        let vectors = vectors.map(|entry| Vectors::open(path, &manifest, entry)).transpose()?;
        check_parts(path, &manifest)?;
        let index = Index {
            path: path.to_owned(),
            deleted: bits(&manifest.deleted),
            bm25: OnceLock::new(),
            manifest,
            rows,
            vectors,
        };
        if index.manifest.bytes() <= ALWAYS_VERIFIED {
            verify(path, &index.manifest, &Silent)?;
        }
        Ok(index)
    }

    /// Compares all files with their checksums.
    ///
    /// # Errors
    /// A file that was altered; the message names the file and the rows.
    pub fn verify(&self, reporter: &dyn Reporter) -> Result<(), IndexError> {
        verify(&self.path, &self.manifest, reporter)
    }

    /// Where the index is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the index holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Number of rows, deleted ones included.
    pub fn rows(&self) -> usize {
        self.manifest.rows
    }

    /// Whether a row was deleted.
    pub fn is_deleted(&self, row: usize) -> bool {
        Skipped(&self.deleted).contains(row)
    }

    /// The row of this number.
    ///
    /// # Errors
    /// When the file of rows was altered.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, row: usize) -> Result<Row, IndexError> {
        self.rows.read(row)
    }

    /// Reads the stored vectors of the rows from `first` on into `values`, row-major.
    ///
    /// # Errors
    /// When the index has no vectors.
    ///
    /// # Panics
    /// When there are not as many rows.
    pub fn read_vectors(&self, first: usize, values: &mut [f32]) -> Result<(), IndexError> {
        self.vectors()?.read(first, values)
    }

    /// Checks that `encoder` is the model that made the vectors.
    ///
    /// # Errors
    /// When the index has no vectors, or its fingerprint or dimension is another.
    pub fn check_model(&self, encoder: &dyn Embed) -> Result<(), IndexError> {
        self.vectors()?;
        let Some(entry) = &self.manifest.vectors else { return Ok(()) };
        let fingerprint = encoder.fingerprint()?;
        if fingerprint == entry.fingerprint {
            return Ok(());
        }
        let short = |text: &str| text.get(..12).unwrap_or(text).to_owned();
        let (expected, got) = (short(&entry.fingerprint), short(&fingerprint));
        let message = format!("expected the fingerprint {expected}, got {got}");
        Err(IndexError::OtherModel { path: self.path.clone(), message })
    }

    /// The `k` rows whose vectors are nearest to the embeddings of `queries` by `encoder`; see
    /// [`Index::search_vectors`].
    ///
    /// Does not check the model, which takes a hash of it: [`Index::check_model`] does.
    ///
    /// # Errors
    /// When the index has no vectors, the encoder refuses a text, or its embeddings have another
    /// dimension.
    pub fn search_dense(
        &self,
        encoder: &dyn Embed,
        queries: &[&str],
        k: usize,
        options: &EncodeOptions,
    ) -> Result<Vec<Vec<Neighbour>>, IndexError> {
        self.vectors()?;
        let embeddings = encoder.embed(Side::Query, queries, options)?;
        let task = Task::begin(&*options.reporter, "Searching", queries.len(), "queries");
        self.search_vectors(encoder.device(), &embeddings, k, &|done| task.advance(done))
    }

    /// The `k` rows whose vectors are nearest to each of `queries`, `Q x E`: best first, ties by
    /// lower number, without the deleted rows. Scores are exactly those of the stored vectors.
    ///
    /// `done` is called with the number of queries finished since the last call, from any thread.
    ///
    /// # Errors
    /// When the index has no vectors, or the queries have another dimension.
    pub fn search_vectors(
        &self,
        device: &Device,
        queries: &Outputs,
        k: usize,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Vec<Neighbour>>, IndexError> {
        let vectors = self.vectors()?;
        if queries.columns != vectors.dimension() {
            let (expected, got) = (vectors.dimension(), queries.columns);
            let message = format!("expected embeddings of {expected} dimensions, got {got}");
            return Err(IndexError::OtherModel { path: self.path.clone(), message });
        }
        vectors.search(device, queries, k, Skipped(&self.deleted), done)
    }

    /// The `k` rows of highest BM25 for each query, without the deleted rows; see
    /// [`Bm25Index::search`].
    ///
    /// # Errors
    /// When the index has no BM25, or its files cannot be read.
    pub fn search_bm25(
        &self,
        queries: &[&str],
        k: usize,
        workers: &Workers,
    ) -> Result<Vec<Vec<Neighbour>>, IndexError> {
        self.bm25()?.search_among(queries, k, workers, &|row| !self.is_deleted(row as usize))
    }

    fn bm25(&self) -> Result<&Bm25Index, IndexError> {
        if let Some(bm25) = self.bm25.get() {
            return Ok(bm25);
        }
        let lacks = || IndexError::Lacks { path: self.path.clone(), what: "BM25" };
        let entry = self.manifest.bm25.as_ref().ok_or_else(lacks)?;
        let language = entry.language.parse().map_err(|error: UnknownLanguage| {
            FileError::content(&self.path.join(MANIFEST), error.to_string())
        })?;
        let parts = entry.parts.iter().map(|part| (part_folder(&self.path, part), part));
        let opened = Bm25Index::open(language, &parts.collect::<Vec<_>>())?;
        // Where two threads open it, one of the two stays.
        Ok(self.bm25.get_or_init(|| opened))
    }

    fn vectors(&self) -> Result<&Vectors, IndexError> {
        let lacks = || IndexError::Lacks { path: self.path.clone(), what: "vectors" };
        self.vectors.as_ref().ok_or_else(lacks)
    }
}

/// A bit for each of these rows, which ascend.
fn bits(rows: &[u32]) -> Vec<u64> {
    let words = rows.last().map_or(0, |last| *last as usize / 64 + 1);
    let mut bits = vec![0; words];
    for row in rows {
        bits[*row as usize / 64] |= 1 << (row % 64);
    }
    bits
}

/// Checks that the parts of the inverted index are of all rows, and that their files have the
/// lengths that the manifest says.
fn check_parts(path: &Path, manifest: &Manifest) -> Result<(), IndexError> {
    let Some(entry) = &manifest.bm25 else { return Ok(()) };
    let refuse = |message: String| FileError::content(&path.join(MANIFEST), message);
    let mut next = 0;
    for part in &entry.parts {
        if part.first != next {
            return Err(
                refuse(format!("`parts`: rows {next} to {} are missing", part.first)).into()
            );
        }
        next += part.rows;
        for (name, extent) in &part.files {
            let file = part_folder(path, part).join(name);
            let length = file.metadata().map_err(FileError::io(&file))?.len();
            if length < extent.end {
                return Err(truncated(&file, extent.end, length));
            }
        }
    }
    if next != manifest.rows {
        return Err(refuse(format!("`parts`: {next} rows of {}", manifest.rows)).into());
    }
    Ok(())
}
