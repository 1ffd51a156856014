use std::path::Path;
use tempfile::NamedTempFile;

/// A temporary file beside its final place, readable by those whom a plain new file would let read it.
pub(crate) fn temporary_file(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
