//! Text files that are compressed as a whole: `.gz` or `.zst` behind the extension of their format.

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstandard,
}

impl Compression {
    /// The compression that the extension of a path names.
    pub(crate) fn of(path: &Path) -> Compression {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("gz") => Compression::Gzip,
            Some("zst") => Compression::Zstandard,
            _ => Compression::None,
        }
    }

    /// The path of a file without the extension of its compression.
    pub(crate) fn strip(path: &Path) -> PathBuf {
        match Compression::of(path) {
            Compression::None => path.to_owned(),
            _ => path.with_extension(""),
        }
    }
}

/// Opens a file, to read its decompressed bytes in order. Memory is that of the decompressor's
/// window, however much the file expands to.
///
/// # Errors
/// A file that cannot be opened, or that zstandard cannot read.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn Read + Send + Sync>> {
    let file = File::open(path)?;
    Ok(match Compression::of(path) {
        Compression::None => Box::new(file),
        // A file may be several compressed ones, one behind the other.
        Compression::Gzip => Box::new(Decompressed(MultiGzDecoder::new(BufReader::new(file)))),
        Compression::Zstandard => Box::new(Decompressed(zstd::Decoder::new(file)?)),
    })
}

/// A decompressor whose errors say that it is one.
struct Decompressed<R>(R);

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot be decompressed: {error}"))
        })
    }
}

/// A new file that compresses what is written to it.
pub(crate) enum TextWriter {
    Plain(File),
    Gzip(GzEncoder<File>),
    Zstandard(zstd::Encoder<'static, File>),
}

impl TextWriter {
    /// Writes to `file`, compressed as the extension of `path` says.
    ///
    /// # Errors
    /// A compressor that cannot be made.
    pub(crate) fn new(file: File, path: &Path) -> io::Result<TextWriter> {
        Ok(match Compression::of(path) {
            Compression::None => TextWriter::Plain(file),
            Compression::Gzip => TextWriter::Gzip(GzEncoder::new(file, Default::default())),
            Compression::Zstandard => TextWriter::Zstandard(zstd::Encoder::new(file, 0)?),
        })
    }

    /// Writes what the compressor still holds.
    ///
    /// # Errors
    /// A full disk.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            TextWriter::Plain(_) => Ok(()),
            TextWriter::Gzip(output) => output.finish().map(drop),
            TextWriter::Zstandard(output) => output.finish().map(drop),
        }
    }
}

impl Write for TextWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            TextWriter::Plain(output) => output.write(bytes),
            TextWriter::Gzip(output) => output.write(bytes),
            TextWriter::Zstandard(output) => output.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            TextWriter::Plain(output) => output.flush(),
            TextWriter::Gzip(output) => output.flush(),
            TextWriter::Zstandard(output) => output.flush(),
        }
    }
}
