/// What can go wrong with training, mining and evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model directory or text cannot be used.
    #[error(transparent)]
    Encoder(#[from] rankforge_encoder::EncoderError),
    /// A data set cannot be used.
    #[error(transparent)]
    Data(#[from] rankforge_data::DataError),
    /// The device could not be opened.
    #[error(transparent)]
    Device(#[from] rankforge_kernels::DeviceError),
    /// A file under the output directory could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file under the output directory is not what it should be.
    #[error("{}: {message}", path.display())]
    File {
        /// Which file.
        path: std::path::PathBuf,
        /// What is wrong, what was expected and what came.
        message: String,
    },
    /// An argument has an unusable value.
    #[error("{field}: expected {expected}, got {got}")]
    Argument {
        /// Which argument.
        field: String,
        /// What would do.
        expected: String,
        /// What came.
        got: String,
    },
    /// The data do not fit the loss, the sampler, the evaluator or the miner.
    #[error("{0}")]
    Input(String),
    /// The loss or a gradient is not a number.
    #[error("{0}")]
    NotFinite(String),
    /// The user interrupted the run; the message says which checkpoint holds its state.
    #[error("{0}")]
    Interrupted(String),
}
