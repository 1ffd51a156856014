//! Files that appear under their name only when they are complete.

use std::path::Path;
use tempfile::NamedTempFile;

/// A temporary file beside its final place, readable by those whom a plain new file would let read it.
///
/// # Errors
/// When the folder cannot be written.
pub fn temporary_file(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
