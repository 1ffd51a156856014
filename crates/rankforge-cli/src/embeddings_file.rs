//! Writes embeddings to `.npy` (NumPy) or `.safetensors` files, chunk by chunk.
//!
//! Both formats start with a header that contains the number of rows, which is known only at the
//! end. So the file starts with a placeholder of fixed size, which is replaced at the end. Until
//! then the file has a temporary name.

use crate::failure::CliError;
use anyhow::Context;
use rankforge::base::AtomicFile;
use rankforge::util::{EmbeddingPrecision, QuantizedEmbeddings, QuantizedValues};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Size of the header in bytes, including padding. A multiple of 64, the larger of the two formats'
/// alignments.
const HEADER: usize = 128;

/// The file formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Npy,
    Safetensors,
}

/// The types of elements: their size, and their names in both formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Element {
    bytes: usize,
    npy: &'static str,
    safetensors: &'static str,
}

impl Element {
    fn of(precision: EmbeddingPrecision) -> Element {
        match precision {
            EmbeddingPrecision::Float32 => Element { bytes: 4, npy: "<f4", safetensors: "F32" },
            EmbeddingPrecision::Int8 | EmbeddingPrecision::Binary => {
                Element { bytes: 1, npy: "|i1", safetensors: "I8" }
            }
            EmbeddingPrecision::Uint8 | EmbeddingPrecision::Ubinary => {
                Element { bytes: 1, npy: "|u1", safetensors: "U8" }
            }
        }
    }
}

/// Writes a row-major matrix of embeddings, little-endian, in consecutive chunks of rows.
#[derive(Debug)]
pub(crate) struct EmbeddingsWriter {
    path: PathBuf,
    format: Format,
    element: Element,
    file: AtomicFile,
    rows: usize,
    columns: Option<usize>,
}

impl EmbeddingsWriter {
    /// Starts a file in the format of the extension of `path`, with elements of `precision`.
    ///
    /// # Errors
    /// If the extension is unknown or the file cannot be created.
    pub(crate) fn create(
        path: &Path,
        precision: EmbeddingPrecision,
    ) -> anyhow::Result<EmbeddingsWriter> {
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Format::Npy,
            Some("safetensors") => Format::Safetensors,
            _ => {
                let message = format!("{}: expected a .npy or .safetensors file", path.display());
                return Err(CliError::input(message).into());
            }
        };
        let mut file = AtomicFile::create(path)?;
        file.write_all(&[b' '; HEADER])
            .with_context(|| format!("cannot write {}", path.display()))?;
        let (path, element) = (path.to_owned(), Element::of(precision));
        Ok(EmbeddingsWriter { path, format, element, file, rows: 0, columns: None })
    }

    /// Appends rows, whose elements are of the precision of the file.
    ///
    /// # Errors
    /// If writing fails, for example because the disk is full.
    ///
    /// # Panics
    /// If the number of columns differs from that of earlier rows.
    pub(crate) fn write(&mut self, embeddings: &QuantizedEmbeddings) -> anyhow::Result<()> {
        let columns = *self.columns.get_or_insert(embeddings.columns);
        assert_eq!(columns, embeddings.columns, "columns of the earlier rows and of these");
        self.rows += embeddings.rows;
        match &embeddings.values {
            QuantizedValues::Float32(values) => self.write_bytes(values, |x| x.to_le_bytes()),
            QuantizedValues::Int8(values) => self.write_bytes(values, |x| x.to_le_bytes()),
            QuantizedValues::Uint8(values) => self.write_bytes(values, |x| x.to_le_bytes()),
        }
    }

    fn write_bytes<T: Copy, const N: usize>(
        &mut self,
        values: &[T],
        bytes_of: impl Fn(T) -> [u8; N],
    ) -> anyhow::Result<()> {
        assert_eq!(N, self.element.bytes, "bytes of an element of the file");
        let mut bytes = Vec::new();
        for values in values.chunks(8192) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| bytes_of(*value)));
            self.file
                .write_all(&bytes)
                .with_context(|| format!("cannot write {}", self.path.display()))?;
        }
        Ok(())
    }

    /// Writes the header, renames the file to its final name, and returns the numbers of rows and
    /// columns.
    ///
    /// # Errors
    /// If writing or renaming fails.
    pub(crate) fn finish(self) -> anyhow::Result<(usize, usize)> {
        let (rows, columns) = (self.rows, self.columns.unwrap_or(0));
        let header = header(self.format, self.element, rows, columns);
        let mut file = self.file;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&header))
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        file.commit()?;
        Ok((rows, columns))
    }
}

fn header(format: Format, element: Element, rows: usize, columns: usize) -> [u8; HEADER] {
    let mut bytes = [b' '; HEADER];
    let (start, text) = match format {
        Format::Npy => {
            let length = (HEADER - 10) as u16;
            bytes[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
            bytes[8..10].copy_from_slice(&length.to_le_bytes());
            bytes[HEADER - 1] = b'\n';
            let shape = format!("({rows}, {columns})");
            let descr = element.npy;
            (10, format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"))
        }
        Format::Safetensors => {
            let length = (HEADER - 8) as u64;
            bytes[..8].copy_from_slice(&length.to_le_bytes());
            let end = rows * columns * element.bytes;
            let dtype = element.safetensors;
            let tensor = format!(
                r#"{{"dtype":"{dtype}","shape":[{rows},{columns}],"data_offsets":[0,{end}]}}"#
            );
            (8, format!(r#"{{"embeddings":{tensor}}}"#))
        }
    };
    bytes[start..start + text.len()].copy_from_slice(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_chunks(path: &Path) -> Vec<u8> {
        let mut writer = EmbeddingsWriter::create(path, EmbeddingPrecision::Float32).unwrap();
        for values in [[1.0, 2.0], [3.0, -4.0]] {
            let values = QuantizedValues::Float32(values.to_vec());
            writer.write(&QuantizedEmbeddings { rows: 1, columns: 2, values }).unwrap();
        }
        assert!(!path.exists(), "the final name exists before `finish`");
        assert_eq!(writer.finish().unwrap(), (2, 2));
        std::fs::read(path).unwrap()
    }

    fn floats(bytes: &[u8]) -> Vec<f32> {
        bytes.chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    #[test]
    fn npy_files_have_a_header_and_rows() {
        let directory = tempfile::tempdir().unwrap();
        let bytes = two_chunks(&directory.path().join("x.npy"));
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
        let dictionary = std::str::from_utf8(&bytes[10..HEADER]).unwrap();
        assert!(
            dictionary.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }")
        );
        assert!(dictionary.ends_with('\n'));
        assert_eq!(floats(&bytes[HEADER..]), [1.0, 2.0, 3.0, -4.0]);
    }

    #[test]
    fn safetensors_files_have_a_header_and_rows() {
        let directory = tempfile::tempdir().unwrap();
        let bytes = two_chunks(&directory.path().join("x.safetensors"));
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        assert_eq!(header["embeddings"]["shape"], serde_json::json!([2, 2]));
        assert_eq!(header["embeddings"]["data_offsets"], serde_json::json!([0, 16]));
        assert_eq!(floats(&bytes[8 + length..]), [1.0, 2.0, 3.0, -4.0]);
    }

    #[test]
    fn elements_of_a_byte_have_their_type() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, precision, values| {
            let path = directory.path().join(name);
            let mut writer = EmbeddingsWriter::create(&path, precision).unwrap();
            writer.write(&QuantizedEmbeddings { rows: 1, columns: 3, values }).unwrap();
            writer.finish().unwrap();
            std::fs::read(path).unwrap()
        };
        let signed = QuantizedValues::Int8(vec![-128, 0, 127]);
        let bytes = write("x.npy", EmbeddingPrecision::Binary, signed);
        assert!(bytes[10..].starts_with(b"{'descr': '|i1', 'fortran_order': False"));
        assert_eq!(bytes[HEADER..], [128, 0, 127]);
        let unsigned = QuantizedValues::Uint8(vec![0, 128, 255]);
        let bytes = write("x.safetensors", EmbeddingPrecision::Uint8, unsigned);
        assert!(bytes[8..].starts_with(br#"{"embeddings":{"dtype":"U8","shape":[1,3]"#));
        assert_eq!(bytes[HEADER..], [0, 128, 255]);
    }

    #[test]
    fn the_longest_possible_headers_fit() {
        for format in [Format::Npy, Format::Safetensors] {
            header(format, Element::of(EmbeddingPrecision::Int8), 1_000_000_000_000, 65_536);
        }
    }

    #[test]
    fn an_unfinished_file_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let writer =
            EmbeddingsWriter::create(&directory.path().join("x.npy"), EmbeddingPrecision::Float32)
                .unwrap();
        drop(writer);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
