use crate::EncoderError;
use std::path::Path;

/// The tensors of a module directory: `model.safetensors`, or the shards of
/// `model.safetensors.index.json`; f32, f16 and bf16 are read as f32.
pub struct Weights {}

impl Weights {
    /// Opens a module directory and checks every header and shard against its file.
    ///
    /// # Errors
    /// No weights (with how to convert when only `pytorch_model.bin` is there), a truncated or
    /// malformed file, a missing shard, a type other than f32, f16, bf16.
    pub fn open(directory: &Path) -> Result<Weights, EncoderError> {
        unimplemented!()
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<&str> {
        unimplemented!()
    }

    /// Shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        unimplemented!()
    }

    /// The numbers of a tensor, row-major.
    ///
    /// # Errors
    /// No such tensor, or the file cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, EncoderError> {
        unimplemented!()
    }
}
