//! Utilities shared by the rankforge crates: progress reports, stop requests, atomic writes of
//! files and directories, the memory of the process, suggestions for misspelt names, and hashes as
//! text.
//!
//! Depends only on std, tempfile, thiserror and strsim. Contains nothing about models, data sets or
//! numerics.
#![forbid(unsafe_code)]

mod atomic_file;
mod cpu_time;
mod directory;
mod file_error;
mod names;
mod process_memory;
mod reporter;
mod stop;
mod temporary;

pub use atomic_file::{AtomicFile, write_atomically};
pub use cpu_time::cpu_seconds;
pub use directory::{DirectoryKind, Entry, claim_directory, replace_directory, sync_directory};
pub use file_error::FileError;
pub use names::{hexadecimal, nearest, quoted_list};
pub use process_memory::ProcessMemory;
pub use reporter::{Reporter, Silent, Task, silent};
pub use stop::{Stop, StopGuard};
