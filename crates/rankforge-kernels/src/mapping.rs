use memmap2::{Advice, Mmap, MmapOptions};
use std::io;

/// A file, opened by the caller, as memory that is read when it is used: for [`View::borrowed`] and
/// [`ByteRows::borrowed`].
///
/// Nobody may write to or shorten the file while it is mapped: what is read from it changes then,
/// and reading beyond a new end terminates the process. So map files that are written once, under a
/// temporary name.
///
/// [`View::borrowed`]: crate::View::borrowed
/// [`ByteRows::borrowed`]: crate::ops::ByteRows::borrowed
#[derive(Debug)]
pub struct Mapping(Mmap);

impl Mapping {
    /// Maps the whole file.
    ///
    /// # Errors
    /// When the system refuses to.
    #[expect(clippy::disallowed_types, reason = "a file that the caller opened")]
    pub fn new(file: &std::fs::File) -> io::Result<Mapping> {
        // SAFETY: the mapping is private and read alone; that the file stays as it is, is what the
        // documentation asks of the caller.
        unsafe { Mmap::map(file) }.map(Mapping)
    }

    /// Maps the first `length` bytes of the file, of a file that grows. More may be written behind
    /// them while they are mapped.
    ///
    /// # Errors
    /// When the file is shorter, or the system refuses to.
    #[expect(clippy::disallowed_types, reason = "a file that the caller opened")]
    pub fn first(file: &std::fs::File, length: u64) -> io::Result<Mapping> {
        let found = file.metadata()?.len();
        if found < length {
            let message = format!("expected at least {length} bytes, got {found}");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        let length = usize::try_from(length).map_err(io::Error::other)?;
        // SAFETY: as in `new`: the file has these bytes, and that they stay as they are is what the
        // documentation asks of the caller.
        unsafe { MmapOptions::new().len(length).map(file) }.map(Mapping)
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// All bytes as `f32` in the byte order of the machine; `None` when there is a part of one at
    /// the end.
    pub fn floats(&self) -> Option<&[f32]> {
        // SAFETY: any four bytes are an `f32`.
        let (before, floats, after) = unsafe { self.0.align_to() };
        // A mapping begins at a page, so that only its end can be off.
        (before.is_empty() && after.is_empty()).then_some(floats)
    }

    /// Tells the system that single rows will be read here and there: pages around them are then
    /// not read ahead.
    ///
    /// # Errors
    /// When the system refuses to.
    pub fn expect_random_reads(&self) -> io::Result<()> {
        self.0.advise(Advice::Random)
    }
}
