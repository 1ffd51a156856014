use crate::append_file::truncated;
use crate::build::part_folder;
use crate::error::IndexError;
use crate::manifest::{Extent, Manifest};
use rankforge_base::{FileError, Reporter, Task, hexadecimal};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Maximum size in bytes of an index whose checksums are verified at every opening.
pub(crate) const ALWAYS_VERIFIED: u64 = 16 << 20;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

impl Manifest {
    /// Number of bytes of all files.
    pub fn bytes(&self) -> u64 {
        let grown = self.blocks.last().into_iter().flat_map(|block| block.files.values());
        let parts = self.bm25.iter().flat_map(|bm25| &bm25.parts);
        grown.chain(parts.flat_map(|part| part.files.values())).map(|extent| extent.end).sum()
    }
}

/// Compares all files with their checksums.
pub(crate) fn verify(
    folder: &Path,
    manifest: &Manifest,
    reporter: &dyn Reporter,
) -> Result<(), IndexError> {
    let mebibytes = (manifest.bytes() >> 20) as usize;
    let task = Task::begin(reporter, "Verifying", mebibytes, "MiB");
    let mut files: BTreeMap<&str, Vec<(String, &Extent)>> = BTreeMap::new();
    let mut first = 0;
    for block in &manifest.blocks {
        for (name, extent) in &block.files {
            let rows = format!("rows {} to {}", first + 1, block.rows);
            files.entry(name).or_default().push((rows, extent));
        }
        first = block.rows;
    }
    for (name, extents) in files {
        verify_file(&folder.join(name), &extents, &task)?;
    }
    for part in manifest.bm25.iter().flat_map(|bm25| &bm25.parts) {
        for (name, extent) in &part.files {
            let rows = format!("rows {} to {}", part.first + 1, part.first + part.rows);
            verify_file(&part_folder(folder, part).join(name), &[(rows, extent)], &task)?;
        }
    }
    Ok(())
}

/// Compares the extents of a file with their checksums. Each stands with the rows that it is of.
fn verify_file(
    path: &Path,
    extents: &[(String, &Extent)],
    task: &Task<'_>,
) -> Result<(), IndexError> {
    let io = FileError::io(path);
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let (mut position, mut buffer) = (0, vec![0; CHUNK]);
    for (rows, extent) in extents {
        if length < extent.end {
            return Err(truncated(path, extent.end, length));
        }
        let mut hash = Sha256::new();
        while position < extent.end {
            let wanted = (extent.end - position).min(CHUNK as u64) as usize;
            file.read_exact(&mut buffer[..wanted]).map_err(io)?;
            hash.update(&buffer[..wanted]);
            task.advance(
                ((position + wanted as u64) / CHUNK as u64 - position / CHUNK as u64) as usize,
            );
            position += wanted as u64;
        }
        if hexadecimal(&hash.finalize()) != extent.sha256 {
            let message = format!("{rows}: the checksum is another: the file was altered");
            return Err(FileError::content(path, message).into());
        }
    }
    Ok(())
}
