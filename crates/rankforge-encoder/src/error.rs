use std::path::PathBuf;

/// What can go wrong with a model directory or its inputs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {message}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong, what was expected and what came.
        message: String,
    },
    /// A field of a JSON file is missing or has an unusable value.
    #[error("{}: field `{field}`: expected {expected}, got {got}", path.display())]
    Field {
        /// Which file.
        path: PathBuf,
        /// Which field.
        field: String,
        /// What would do.
        expected: String,
        /// What came.
        got: String,
    },
    /// The input texts or options cannot be used.
    #[error("{0}")]
    Input(String),
    /// The device could not be opened.
    #[error(transparent)]
    Device(#[from] rankforge_kernels::DeviceError),
}
