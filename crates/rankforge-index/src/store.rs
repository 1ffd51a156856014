use std::fmt;
use std::str::FromStr;

/// How vectors are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// As 32-bit floats: scores are those of the model's embeddings.
    #[default]
    Float32,
    /// As 16-bit floats: scores are those of the rounded embeddings.
    Float16,
    /// As bytes with a scale for each vector: scores are those of the rounded embeddings.
    Int8,
}

/// A name that is none of a [`Store`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown store \"{0}\": expected f32, f16 or int8")]
pub struct UnknownStore(pub String);

impl Store {
    /// Name of the file with the vectors; `None` where there are only their bytes.
    pub(crate) fn file(self) -> Option<&'static str> {
        match self {
            Store::Float32 => Some("vectors.f32"),
            Store::Float16 => Some("vectors.f16"),
            Store::Int8 => None,
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Store::Float32 => "f32",
            Store::Float16 => "f16",
            Store::Int8 => "int8",
        })
    }
}

impl FromStr for Store {
    type Err = UnknownStore;

    fn from_str(name: &str) -> Result<Store, UnknownStore> {
        match name {
            "f32" => Ok(Store::Float32),
            "f16" => Ok(Store::Float16),
            "int8" => Ok(Store::Int8),
            _ => Err(UnknownStore(name.to_owned())),
        }
    }
}
