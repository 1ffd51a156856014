//! Embeddings that are kept between runs, in NumPy files named by a hash of everything they depend
//! on.

use crate::error::Error;
use crate::mining::log::Log;
use rankforge_base::{AtomicFile, FileError, hexadecimal};
use rankforge_encoder::Outputs;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The file with the embeddings of some texts.
pub(super) struct Entry {
    path: PathBuf,
    what: &'static str,
    rows: usize,
}

impl Entry {
    /// `what` is `query` or `corpus`; the embeddings depend on the other arguments.
    pub(super) fn new(
        folder: &Path,
        what: &'static str,
        fingerprint: &str,
        prompt: (Option<&str>, Option<&str>),
        texts: &[&str],
    ) -> Entry {
        let mut hash = Sha256::new();
        hash.update(format!("{fingerprint} {what} {prompt:?}"));
        for text in texts {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let name = format!("{what}_embeddings_{}.npy", hexadecimal(&hash.finalize()));
        Entry { path: folder.join(name), what, rows: texts.len() }
    }

    /// The embeddings in the file, if there is one. A damaged file is reported and ignored.
    pub(super) fn load(&self, log: &mut Log<'_>) -> Result<Option<Outputs>, Error> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FileError::io(&self.path)(source).into()),
        };
        match parse(&bytes).filter(|outputs| outputs.rows == self.rows) {
            Some(outputs) => {
                log.say(format!(
                    "[Cache] Loaded {} embeddings from {} (shape=({}, {}))",
                    self.what,
                    self.path.display(),
                    outputs.rows,
                    outputs.columns
                ));
                Ok(Some(outputs))
            }
            None => {
                log.reporter.warning(&format!(
                    "{}: expected an f32 matrix of {} rows in NumPy's format; it is computed again",
                    self.path.display(),
                    self.rows
                ));
                Ok(None)
            }
        }
    }

    /// Writes embeddings to the file, under a temporary name until it is complete.
    pub(super) fn save(&self, outputs: &Outputs, log: &mut Log<'_>) -> Result<(), Error> {
        let mut file = AtomicFile::create(&self.path)?;
        write_matrix(&mut file, outputs).map_err(FileError::io(&self.path))?;
        file.commit()?;
        log.say(format!("[Cache] Saved {} embeddings to {}", self.what, self.path.display()));
        Ok(())
    }
}

const MAGIC: &[u8; 8] = b"\x93NUMPY\x01\x00";

/// Bytes of the header: always the same, so that the data are aligned.
const HEADER: usize = 128;

fn write_matrix(file: &mut impl Write, outputs: &Outputs) -> std::io::Result<()> {
    let dictionary = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}",
        outputs.rows, outputs.columns
    );
    file.write_all(MAGIC)?;
    file.write_all(&((HEADER - 10) as u16).to_le_bytes())?;
    file.write_all(format!("{dictionary:<width$}\n", width = HEADER - 11).as_bytes())?;
    for value in &outputs.values {
        file.write_all(&value.to_le_bytes())?;
    }
    Ok(())
}

/// Reads a matrix that [`write_matrix`] wrote; `None` for anything else.
fn parse(bytes: &[u8]) -> Option<Outputs> {
    let (header, data) = bytes.split_at_checked(HEADER)?;
    let dictionary = std::str::from_utf8(header.strip_prefix(MAGIC)?.get(2..)?).ok()?.trim_end();
    let shape = dictionary
        .strip_prefix("{'descr': '<f4', 'fortran_order': False, 'shape': (")?
        .strip_suffix("), }")?;
    let (rows, columns) = shape.split_once(", ")?;
    let (rows, columns): (usize, usize) = (rows.parse().ok()?, columns.parse().ok()?);
    if data.len() != rows.checked_mul(columns)?.checked_mul(size_of::<f32>())? {
        return None;
    }
    let values = data
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    Some(Outputs { rows, columns, values: values.collect() })
}
