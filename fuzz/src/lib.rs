//! What the fuzz targets share: a folder for one input, and a limit on the memory one input takes.

pub mod rows;

use cap::Cap;
use std::alloc::System;
use std::path::Path;
use tempfile::TempDir;

/// Refuses an allocation beyond its limit; Rust then aborts, which libFuzzer reports.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Memory that an input of any size may take, in bytes: buffers, caches and thread pools.
const FIXED_BYTES: usize = 64 << 20;

/// Memory that each byte of an input may take, in bytes. The smallest cell of a JSON list takes two
/// bytes in a file and 32 as a value, twice while it is converted, and vectors grow by doubling.
const BYTES_PER_BYTE: usize = 512;

/// Runs `work` on an input of `length` bytes in an empty folder, with its memory limited.
///
/// # Panics
/// When the folder cannot be made.
pub fn with_folder(length: usize, work: impl FnOnce(&Path)) {
    let folder = temporary_folder();
    let most = ALLOCATOR.allocated() + FIXED_BYTES + BYTES_PER_BYTE * length;
    ALLOCATOR.set_limit(most).expect("the limit is above what is allocated");
    work(folder.path());
    ALLOCATOR.set_limit(usize::MAX).expect("there is no limit");
}

/// In memory where there is such a place, so that runs do not wait for a disk.
fn temporary_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder can be made")
}

/// Writes a file of an input.
///
/// # Panics
/// When it cannot be written.
pub fn write(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).expect("a file in a temporary folder can be written");
}
