//! The framing of `.wandb` files: that of LevelDB's logs, with a header and another checksum.

use crate::protobuf::Message;
use rankforge_base::FileError;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Records are cut where a block ends.
const BLOCK: usize = 32768;
/// Checksum (4 bytes), length (2) and kind of a piece.
const PIECE_HEADER: usize = 7;

/// The first bytes of a file: a name, a number that says what it is, and the version.
const HEADER: [u8; 7] = [b':', b'W', b'&', b'B', 0xe1, 0xbe, 0];

/// A file of records.
pub(crate) struct RecordLog {
    path: PathBuf,
    file: File,
    /// Its size in bytes.
    size: usize,
}

impl RecordLog {
    /// Creates the file.
    ///
    /// # Errors
    /// If it exists or cannot be written.
    pub(crate) fn create(path: &Path) -> Result<RecordLog, FileError> {
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        let mut file = file.map_err(FileError::io(path))?;
        file.write_all(&HEADER).map_err(FileError::io(path))?;
        Ok(RecordLog { path: path.to_owned(), file, size: HEADER.len() })
    }

    /// Appends records.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn append(&mut self, records: &[Message]) -> Result<(), FileError> {
        let mut bytes = Vec::new();
        for record in records {
            frame(&record.0, self.size, &mut bytes);
        }
        self.file.write_all(&bytes).map_err(FileError::io(&self.path))?;
        self.size += bytes.len();
        Ok(())
    }
}

/// Appends a record to `bytes`, which follow `before` bytes of the file.
fn frame(record: &[u8], before: usize, bytes: &mut Vec<u8>) {
    let mut rest = record;
    let mut first = true;
    loop {
        let mut left = BLOCK - (before + bytes.len()) % BLOCK;
        if left < PIECE_HEADER {
            bytes.resize(bytes.len() + left, 0);
            left = BLOCK;
        }
        let (piece, later) = rest.split_at(rest.len().min(left - PIECE_HEADER));
        let kind = match (first, later.is_empty()) {
            (true, true) => 1,
            (true, false) => 2,
            (false, false) => 3,
            (false, true) => 4,
        };
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&[kind]);
        checksum.update(piece);
        bytes.extend(checksum.finalize().to_le_bytes());
        bytes.extend((piece.len() as u16).to_le_bytes());
        bytes.push(kind);
        bytes.extend(piece);
        (rest, first) = (later, false);
        if rest.is_empty() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a file: kind and length.
    fn pieces(bytes: &[u8]) -> Vec<(u8, usize)> {
        let (mut at, mut found) = (HEADER.len(), Vec::new());
        while at < bytes.len() {
            let left = BLOCK - at % BLOCK;
            if left < PIECE_HEADER {
                at += left;
                continue;
            }
            let length = usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
            found.push((bytes[at + 6], length));
            at += PIECE_HEADER + length;
        }
        found
    }

    #[test]
    fn records_are_cut_at_the_ends_of_blocks_and_none_begins_in_the_last_six_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.wandb");
        let mut log = RecordLog::create(&path).unwrap();
        let first = BLOCK - HEADER.len() - PIECE_HEADER - 6;
        let sizes = [first, 2 * BLOCK, 3];
        log.append(&sizes.map(|size| Message(vec![7; size]))).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.starts_with(&HEADER));
        let whole = BLOCK - PIECE_HEADER;
        let last = 2 * BLOCK - 2 * whole;
        let expected = [(1, first), (2, whole), (3, whole), (4, last), (1, 3)];
        assert_eq!(pieces(&bytes), expected);
        assert!(RecordLog::create(&path).is_err(), "a run of the same name");
    }
}
