use rankforge_base::{FileError, quoted_list};
use rankforge_kernels::Precision;
use std::fmt::Display;
use std::path::PathBuf;

/// Errors of reading, writing and applying models.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// A file or directory cannot be read or written, or its content is not what was expected.
    #[error(transparent)]
    File(#[from] FileError),
    /// A field of a JSON file is missing or has an unusable value.
    #[error("{}: field `{field}`: expected {expected}, got {got}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// Name of the field.
        field: String,
        /// Description of the values that are accepted.
        expected: String,
        /// The value that was found, or "nothing".
        got: String,
    },
    /// A checkpoint lacks tensors of the model.
    #[error(
        "{}: {} of the {expected} tensors of {part} {} missing: {}",
        path.display(), missing.len(), if missing.len() == 1 { "is" } else { "are" },
        first_names(missing)
    )]
    MissingTensors {
        /// The file, or the index of the shards.
        path: PathBuf,
        /// Description of the part of the model.
        part: String,
        /// Number of tensors that it has.
        expected: usize,
        /// Names of those that the checkpoint lacks.
        missing: Vec<String>,
        /// Names of the tensors of the checkpoint that the model does not use and that may be those
        /// that are missing.
        unused: Vec<String>,
    },
    /// An option has an unusable value.
    #[error("{field}: expected {expected}, got {got}")]
    Argument {
        /// Name of the option.
        field: &'static str,
        /// Description of the values that are accepted.
        expected: String,
        /// The value that was given.
        got: String,
    },
    /// The model has no prompt of this name.
    #[error(
        "the model has no prompt named \"{name}\"; it has {}",
        quoted_list(known.iter().map(String::as_str))
    )]
    Prompt {
        /// The name that was given.
        name: String,
        /// The names of the model's prompts.
        known: Vec<String>,
    },
    /// A tokenizer failed on a text, or could not be trained.
    #[error("tokenizer error: {message}")]
    Tokenizer {
        /// The message of the tokenizers crate.
        message: String,
    },
    /// The model computed an output that is infinite or NaN.
    #[error(
        "{model}: expected finite outputs, but the model gives {value} for input {}", input + 1
    )]
    NotFinite {
        /// Name or path of the model.
        model: String,
        /// Index of the input, from 0.
        input: usize,
        /// The output.
        value: f32,
        /// The precision of the model.
        precision: Precision,
    },
    /// There is no memory for a model of these sizes.
    #[error(
        "the model has {elements} parameters, more than memory can hold; the largest tensor is \
         {tensor}, of shape {shape:?}"
    )]
    Memory {
        /// Number of parameters; `usize::MAX` when there are even more.
        elements: usize,
        /// Name of the largest tensor.
        tensor: String,
        /// Shape of the largest tensor.
        shape: Vec<usize>,
    },
    /// The device could not be opened.
    #[error(transparent)]
    Device(#[from] rankforge_kernels::DeviceError),
}

impl EncoderError {
    pub(crate) fn tokenizer(error: tokenizers::Error) -> EncoderError {
        EncoderError::Tokenizer { message: error.to_string() }
    }

    pub(crate) fn argument(
        field: &'static str,
        expected: impl Into<String>,
        got: impl Display,
    ) -> EncoderError {
        EncoderError::Argument { field, expected: expected.into(), got: got.to_string() }
    }

    /// Advice to the user on how to resolve the error, where there is any.
    pub fn hint(&self) -> Option<String> {
        match self {
            EncoderError::File(error) => error.hint(),
            EncoderError::NotFinite { precision: Precision::Float16, .. } => {
                let hint = "values beyond 65,504 overflow in fp16; use bf16 or fp32";
                Some(hint.to_owned())
            }
            EncoderError::NotFinite { .. } => Some(
                "the model's weights may be NaN, infinite or very large, as after a training that \
                 diverged; use another checkpoint"
                    .to_owned(),
            ),
            EncoderError::MissingTensors { unused, .. } if unused.is_empty() => Some(
                "the checkpoint is incomplete, or its config describes a larger model".to_owned(),
            ),
            EncoderError::MissingTensors { unused, .. } => Some(format!(
                "the checkpoint has {} that the model does not use; its config may describe \
                 another model, or its names may begin with a prefix that should be removed",
                first_names(unused)
            )),
            EncoderError::Field { .. }
            | EncoderError::Argument { .. }
            | EncoderError::Prompt { .. }
            | EncoderError::Tokenizer { .. }
            | EncoderError::Memory { .. }
            | EncoderError::Device(_) => None,
        }
    }
}

/// The first names, and how many more there are.
pub(crate) fn first_names(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}
