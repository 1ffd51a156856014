use crate::error::IndexError;
use crate::manifest::Extent;
use rankforge_base::{FileError, hexadecimal};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that grows by blocks. What is behind the last complete block does not count: an
/// interrupted run may have left it there.
pub(crate) struct AppendFile {
    path: PathBuf,
    file: BufWriter<File>,
    end: u64,
    hash: Sha256,
}

impl AppendFile {
    /// Opens or creates the file and drops what is behind `end`.
    ///
    /// # Errors
    /// When it cannot be written, or is shorter than `end`.
    pub(crate) fn open(path: &Path, end: u64) -> Result<AppendFile, IndexError> {
        let io = FileError::io(path);
        let mut options = OpenOptions::new();
        let mut file =
            options.create(true).truncate(false).read(true).write(true).open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        if length < end {
            return Err(truncated(path, end, length));
        }
        file.set_len(end).map_err(io)?;
        file.seek(SeekFrom::Start(end)).map_err(io)?;
        let file = BufWriter::with_capacity(1 << 20, file);
        Ok(AppendFile { path: path.to_owned(), file, end, hash: Sha256::new() })
    }

    /// Where the next byte goes.
    pub(crate) fn position(&self) -> u64 {
        self.end
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        self.file.write_all(bytes).map_err(FileError::io(&self.path))?;
        self.hash.update(bytes);
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Ends a block: its bytes are on the disk when this returns.
    pub(crate) fn end_block(&mut self) -> Result<Extent, IndexError> {
        let io = FileError::io(&self.path);
        self.file.flush().map_err(io)?;
        self.file.get_ref().sync_data().map_err(io)?;
        let sha256 = hexadecimal(&std::mem::take(&mut self.hash).finalize());
        Ok(Extent { end: self.end, sha256 })
    }
}

/// The error for a file that is shorter than the manifest says.
pub(crate) fn truncated(path: &Path, expected: u64, length: u64) -> IndexError {
    let message = format!("expected at least {expected} bytes, got {length}: the file was cut");
    FileError::content(path, message).into()
}
