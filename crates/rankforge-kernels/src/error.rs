use crate::isa::Isa;
use std::str::FromStr;

/// Why a device could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name is none of the known instruction sets.
    #[error(
        "unknown instruction set {got:?}: expected scalar, avx2, avx2vnni, avx512, \
         avx512vnni or avx512bf16"
    )]
    UnknownIsa {
        /// The requested name.
        got: String,
    },
    /// The machine lacks the instruction set.
    #[error("this machine lacks {isa}; it has {}", available.join(", "))]
    UnsupportedIsa {
        /// The requested instruction set.
        isa: Isa,
        /// What the machine has.
        available: Vec<String>,
    },
    /// The worker threads could not be started.
    #[error("cannot start {threads} worker threads: {message}")]
    Threads {
        /// The requested number.
        threads: usize,
        /// What the operating system said.
        message: String,
    },
}

impl FromStr for Isa {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Isa, DeviceError> {
        match name.to_ascii_lowercase().as_str() {
            "scalar" => Ok(Isa::Scalar),
            "avx2" => Ok(Isa::Avx2),
            "avx2vnni" => Ok(Isa::Avx2Vnni),
            "avx512" => Ok(Isa::Avx512),
            "avx512vnni" => Ok(Isa::Avx512Vnni),
            "avx512bf16" => Ok(Isa::Avx512Bf16),
            _ => Err(DeviceError::UnknownIsa { got: name.to_owned() }),
        }
    }
}
