use crate::error::IndexError;
use rankforge_base::{FileError, write_atomically};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What an index holds: the content of its `manifest.json`. Bytes of a file beyond those that a
/// manifest lists are no part of the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`Manifest::FORMAT`].
    pub format: String,
    /// [`Manifest::VERSION`].
    pub version: u32,
    /// Number of changes that made the index what it is.
    pub generation: u64,
    /// Number of rows, deleted ones included.
    pub rows: usize,
    /// The deleted rows, in ascending order.
    pub deleted: Vec<u32>,
    /// How rows became vectors; `None` in an index without a model.
    pub vectors: Option<VectorsEntry>,
    /// The inverted index; `None` in an index without one.
    pub bm25: Option<Bm25Entry>,
    /// Checksums of the files that grow, block by block of rows.
    pub blocks: Vec<Block>,
}

/// How the texts became vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorsEntry {
    /// The model, and how it is opened.
    pub model: ModelEntry,
    /// [`Embed::fingerprint`](rankforge_encoder::Embed::fingerprint) of the model.
    pub fingerprint: String,
    /// Embedding dimension.
    pub dimension: usize,
    /// How vectors are compared: `cosine`, `dot`, `euclidean` or `manhattan`.
    pub similarity: String,
    /// How they are stored: `f32`, `f16` or `int8`.
    pub store: String,
    /// Whether they were scaled to unit length.
    pub normalize_embeddings: bool,
    /// Number of dimensions that were kept; `None` is that of the model.
    pub truncate_dim: Option<usize>,
    /// Prompt of the texts; `None` is that of the model.
    pub prompt: Option<String>,
    /// Name of the prompt of the texts; `None` is that of the model.
    pub prompt_name: Option<String>,
    /// Version of the layout of the bytes that searches read.
    pub bytes_version: u32,
}

/// A model directory, and how it is opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// The directory.
    pub path: PathBuf,
    /// Maximum length of a text in tokens; `None` is that of the model.
    pub max_length: Option<usize>,
    /// Precision of matrix products: `fp32`, `bf16` or `fp16`.
    pub precision: String,
}

/// The inverted index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bm25Entry {
    /// Name of the [`Language`](crate::bm25::Language).
    pub language: String,
    /// Its parts, in the order of rows.
    pub parts: Vec<PartEntry>,
}

/// A part of the inverted index: the files of a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartEntry {
    /// Its first row.
    pub first: usize,
    /// Number of its rows.
    pub rows: usize,
    /// Its files by name.
    pub files: BTreeMap<String, Extent>,
}

/// A block of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Number of rows up to its end.
    pub rows: usize,
    /// What the block adds to each file.
    pub files: BTreeMap<String, Extent>,
}

/// The bytes of a file from the end of the extent before, or from its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// Where they end.
    pub end: u64,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// What `format` is.
    pub const FORMAT: &str = "rankforge index";

    /// The version of the format that this crate writes and reads.
    pub const VERSION: u32 = 1;

    /// Reads the manifest of an index; `None` when there is none.
    pub(crate) fn read(folder: &Path) -> Result<Option<Manifest>, IndexError> {
        let path = folder.join(MANIFEST);
        let Some(manifest) = read_json::<Manifest>(&path)? else { return Ok(None) };
        manifest.check(&path)?;
        Ok(Some(manifest))
    }

    /// Checks what the rest of the crate relies on.
    pub(crate) fn check(&self, path: &Path) -> Result<(), IndexError> {
        let refuse = |message: String| Err(FileError::content(path, message).into());
        if self.format != Manifest::FORMAT || self.version != Manifest::VERSION {
            let (format, version) = (Manifest::FORMAT, Manifest::VERSION);
            return refuse(format!(
                "expected `format` \"{format}\" and `version` {version}, got \"{}\" and {}",
                self.format, self.version
            ));
        }
        let mut rows = 0;
        for block in &self.blocks {
            if block.rows <= rows || block.rows > self.rows {
                return refuse(format!("`blocks`: {} rows after {rows}", block.rows));
            }
            rows = block.rows;
        }
        if rows != self.rows || u32::try_from(self.rows).is_err() {
            return refuse(format!("expected {} rows in `blocks`, got {rows}", self.rows));
        }
        let ascending = self.deleted.is_sorted_by(|a, b| a < b);
        if !ascending || self.deleted.last().is_some_and(|last| *last as usize >= self.rows) {
            return refuse(format!("`deleted`: expected ascending rows below {}", self.rows));
        }
        for part in self.bm25.iter().flat_map(|bm25| &bm25.parts) {
            if part.first > self.rows || part.rows > self.rows - part.first {
                return refuse(format!("`parts`: {} rows from {}", part.rows, part.first));
            }
        }
        Ok(())
    }

    /// Writes the manifest, which makes what it lists the index.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), IndexError> {
        write_json(&folder.join(MANIFEST), self)
    }

    /// Length of the file of this name as far as it belongs to the index.
    pub(crate) fn length(&self, file: &str) -> u64 {
        self.blocks.last().and_then(|block| block.files.get(file)).map_or(0, |extent| extent.end)
    }

    /// Number of rows that are not deleted.
    pub fn live_rows(&self) -> usize {
        self.rows - self.deleted.len()
    }
}

/// Name of the file with what an index holds.
pub(crate) const MANIFEST: &str = "manifest.json";

/// Reads a JSON file; `None` when it does not exist.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, IndexError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::io(path)(error).into()),
    };
    let parsed = serde_json::from_slice(&bytes);
    Ok(Some(parsed.map_err(|error| FileError::content(path, error.to_string()))?))
}

/// Writes a JSON file as a whole.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), IndexError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| FileError::content(path, error.to_string()))?;
    text.push('\n');
    Ok(write_atomically(path, text.as_bytes())?)
}

impl VectorsEntry {
    /// What the vectors depend on, for messages.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!(
            "the model {} (fingerprint {}) with {} dimensions stored as {}",
            self.model.path.display(),
            self.fingerprint.get(..12).unwrap_or(&self.fingerprint),
            self.dimension,
            self.store
        );
        if self.normalize_embeddings {
            text.push_str(", normalised");
        }
        if let Some(prompt) = self.prompt.as_ref().or(self.prompt_name.as_ref()) {
            text.push_str(&format!(", with the prompt \"{prompt}\""));
        }
        text
    }
}
