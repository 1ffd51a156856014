use crate::append_file::AppendFile;
use crate::error::IndexError;
use crate::manifest::{Extent, MANIFEST, Manifest, VectorsEntry};
use crate::rows::map;
use crate::store::{Store, UnknownStore};
use half::f16;
use rankforge_base::FileError;
use rankforge_encoder::Outputs;
use rankforge_kernels::ops::{ByteRows, Neighbour, RowSource, Similarity, Skipped, StoredCorpus};
use rankforge_kernels::{Buffer, Device, Mapping};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The bytes and the terms of [`ByteRows`].
pub(crate) const BYTES: &str = "vectors.bytes";
pub(crate) const TERMS: &str = "vectors.terms";

const _: () = assert!(cfg!(target_endian = "little"), "mapped numbers are little-endian");

/// The vectors of an index, in mapped files.
pub(crate) struct Vectors {
    folder: PathBuf,
    similarity: Similarity,
    dimension: usize,
    store: Store,
    bytes: Mapping,
    terms: Mapping,
    /// `None` with [`Store::Int8`].
    values: Option<Mapping>,
}

impl Vectors {
    /// Opens the files and checks their lengths.
    pub(crate) fn open(
        folder: &Path,
        manifest: &Manifest,
        entry: &VectorsEntry,
    ) -> Result<Vectors, IndexError> {
        let (similarity, store) = checked(folder, entry)?;
        let dimension = entry.dimension;
        let open = |name: &str, bytes_of_row: usize| {
            let (expected, got) = ((manifest.rows * bytes_of_row) as u64, manifest.length(name));
            if expected != got {
                let message = format!("expected {expected} bytes in the manifest, got {got}");
                return Err(FileError::content(&folder.join(name), message).into());
            }
            map(folder, name, manifest)
        };
        let sizes: BTreeMap<&str, usize> = row_files(folder, entry)?.into_iter().collect();
        let (bytes, terms) = (open(BYTES, sizes[BYTES])?, open(TERMS, sizes[TERMS])?);
        let values = store.file().map(|name| open(name, sizes[name])).transpose()?;
        if let Some(values) = &values {
            // Only a hint to the system: searches read single rows.
            let _ = values.expect_random_reads();
        }
        let folder = folder.to_owned();
        Ok(Vectors { folder, similarity, dimension, store, bytes, terms, values })
    }

    /// Embedding dimension.
    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// The `k` vectors nearest to each query, `Q x E`, without those that are `skipped`.
    pub(crate) fn search(
        &self,
        device: &Device,
        queries: &Outputs,
        k: usize,
        skipped: Skipped<'_>,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Vec<Neighbour>>, IndexError> {
        let queries = Buffer::upload(device, queries.rows, queries.columns, &queries.values);
        self.with_rows(|bytes, rows| {
            StoredCorpus::new(device, bytes, rows).top_k(queries.view(), k, skipped, done)
        })
    }

    /// Reads the vectors from `first` on into `values`, row-major.
    pub(crate) fn read(&self, first: usize, values: &mut [f32]) -> Result<(), IndexError> {
        self.with_rows(|_, rows| rows.read(first, values))
    }

    /// Calls `work` with the bytes and the stored vectors.
    fn with_rows<T>(
        &self,
        work: impl FnOnce(&ByteRows<'_>, &dyn RowSource) -> io::Result<T>,
    ) -> Result<T, IndexError> {
        let columns = self.dimension;
        let whole = "the length of the file is a multiple of 4 bytes";
        let terms = self.terms.floats().expect(whole);
        let bytes = ByteRows::borrowed(self.similarity, columns, self.bytes.bytes(), terms);
        let done = match &self.values {
            None => work(&bytes, &bytes),
            Some(values) if self.store == Store::Float16 => {
                work(&bytes, &HalfRows { bytes: values.bytes(), columns })
            }
            Some(values) => {
                work(&bytes, &FloatRows { values: values.floats().expect(whole), columns })
            }
        };
        Ok(done.map_err(FileError::io(&self.folder))?)
    }
}

/// Rows of `f32` in memory or in a mapped file.
struct FloatRows<'a> {
    values: &'a [f32],
    columns: usize,
}

/// Rows of `f16`, little-endian, in a mapped file.
struct HalfRows<'a> {
    bytes: &'a [u8],
    columns: usize,
}

impl RowSource for FloatRows<'_> {
    fn read(&self, first: usize, rows: &mut [f32]) -> io::Result<()> {
        rows.copy_from_slice(&self.values[first * self.columns..][..rows.len()]);
        Ok(())
    }
}

impl RowSource for HalfRows<'_> {
    fn read(&self, first: usize, rows: &mut [f32]) -> io::Result<()> {
        let bytes = &self.bytes[first * self.columns * size_of::<f16>()..];
        for (value, bytes) in rows.iter_mut().zip(bytes.chunks_exact(size_of::<f16>())) {
            *value = f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
        }
        Ok(())
    }
}

/// Similarity and store of an index, where this crate knows them.
fn checked(folder: &Path, entry: &VectorsEntry) -> Result<(Similarity, Store), IndexError> {
    let refuse = |message: String| FileError::content(&folder.join(MANIFEST), message);
    let store = entry.store.parse().map_err(|error: UnknownStore| refuse(error.to_string()))?;
    let similarity = Similarity::from_name(&entry.similarity);
    let similarity =
        similarity.ok_or_else(|| refuse(format!("`similarity`: \"{}\"", entry.similarity)))?;
    if entry.bytes_version != ByteRows::VERSION || entry.dimension == 0 {
        let expected = ByteRows::VERSION;
        let (version, dimension) = (entry.bytes_version, entry.dimension);
        let message = format!(
            "expected `bytes_version` {expected} and a `dimension` above 0, got {version} and \
             {dimension}"
        );
        return Err(refuse(message).into());
    }
    Ok((similarity, store))
}

/// The files of vectors, with the number of bytes that a row has in each.
pub(crate) fn row_files(
    folder: &Path,
    entry: &VectorsEntry,
) -> Result<Vec<(&'static str, usize)>, IndexError> {
    let (_, store) = checked(folder, entry)?;
    let dimension = entry.dimension;
    let of_values = match store {
        Store::Float32 => size_of::<f32>(),
        Store::Float16 => size_of::<f16>(),
        Store::Int8 => 0,
    };
    let values = store.file().map(|name| (name, dimension * of_values));
    let terms = ByteRows::TERMS_OF_ROW * size_of::<f32>();
    let files = [(BYTES, ByteRows::bytes_of_row(dimension)), (TERMS, terms)];
    Ok(values.into_iter().chain(files).collect())
}

/// Writes vectors to their files.
pub(crate) struct VectorsWriter {
    similarity: Similarity,
    dimension: usize,
    store: Store,
    bytes: AppendFile,
    terms: AppendFile,
    values: Option<(&'static str, AppendFile)>,
}

impl VectorsWriter {
    pub(crate) fn open(
        folder: &Path,
        manifest: &Manifest,
        entry: &VectorsEntry,
    ) -> Result<VectorsWriter, IndexError> {
        let (similarity, store) = checked(folder, entry)?;
        let open = |name: &str| AppendFile::open(&folder.join(name), manifest.length(name));
        let values = store.file().map(|name| Ok::<_, IndexError>((name, open(name)?)));
        Ok(VectorsWriter {
            similarity,
            dimension: entry.dimension,
            store,
            bytes: open(BYTES)?,
            terms: open(TERMS)?,
            values: values.transpose()?,
        })
    }

    /// Appends vectors, `N x E`. `first` is the number of the first of them, for messages.
    ///
    /// # Errors
    /// When they have another dimension, cannot be stored, or a file cannot be written.
    pub(crate) fn write(
        &mut self,
        device: &Device,
        vectors: &Outputs,
        first: usize,
    ) -> Result<(), IndexError> {
        if vectors.columns != self.dimension {
            return Err(IndexError::Argument {
                argument: "model",
                expected: format!("embeddings of {} dimensions", self.dimension),
                got: format!("{} dimensions", vectors.columns),
            });
        }
        let (stored, file_bytes) = match self.store {
            Store::Float16 => {
                let halves = vectors.values.iter().map(|value| f16::from_f32(*value));
                let halves: Vec<f16> = halves.collect();
                self.check(halves.iter().map(|half| half.is_finite()), first)?;
                let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
                (halves.iter().map(|half| half.to_f32()).collect(), bytes)
            }
            Store::Float32 => (vectors.values.clone(), little_endian(&vectors.values)),
            Store::Int8 => (vectors.values.clone(), Vec::new()),
        };
        let rows = Buffer::from_vec(device, vectors.rows, vectors.columns, stored);
        let mut rounded = ByteRows::round(self.similarity, rows.view());
        if self.store == Store::Int8 {
            let terms = rounded.terms().chunks_exact(ByteRows::TERMS_OF_ROW);
            // The first term of a row that bytes do not bound.
            let bounded: Vec<bool> = terms.map(|row| row[0] > f32::NEG_INFINITY).collect();
            let of_values = bounded.iter().flat_map(|row| vec![*row; self.dimension]);
            self.check(of_values, first)?;
            rounded = rounded.without_rows();
        }
        if let Some((_, file)) = &mut self.values {
            file.write(&file_bytes)?;
        }
        self.bytes.write(rounded.bytes())?;
        self.terms.write(&little_endian(rounded.terms()))
    }

    /// Checks that every value can be stored.
    fn check(
        &self,
        can_be_stored: impl IntoIterator<Item = bool>,
        first: usize,
    ) -> Result<(), IndexError> {
        match can_be_stored.into_iter().position(|stored| !stored) {
            None => Ok(()),
            Some(place) => Err(IndexError::Store {
                row: first + place / self.dimension + 1,
                store: self.store,
            }),
        }
    }

    pub(crate) fn end_block(
        &mut self,
        files: &mut BTreeMap<String, Extent>,
    ) -> Result<(), IndexError> {
        files.insert(BYTES.to_owned(), self.bytes.end_block()?);
        files.insert(TERMS.to_owned(), self.terms.end_block()?);
        if let Some((name, file)) = &mut self.values {
            files.insert((*name).to_owned(), file.end_block()?);
        }
        Ok(())
    }
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
