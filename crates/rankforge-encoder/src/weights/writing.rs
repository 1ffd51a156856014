use crate::error::EncoderError;
use crate::json;
use rankforge_base::{AtomicFile, FileError};
use safetensors::{Dtype, tensor::TensorInfo};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

/// Number of elements that are encoded at a time, so that no tensor needs memory for a second copy.
pub(crate) const BLOCK: usize = 1 << 18;

/// Takes a piece of the elements of a tensor.
pub(crate) type Sink<'a> = dyn FnMut(&[f32]) -> Result<(), EncoderError> + 'a;

/// Writes a safetensors file of f32 tensors, through a temporary file.
///
/// `tensors` are pairs (name, shape); `elements(index, write)` passes the elements of each to
/// `write`, row-major, in pieces of any length.
///
/// # Errors
/// When the file cannot be written. An earlier file at `path` is then left unchanged.
pub(crate) fn save(
    path: &Path,
    tensors: &[(String, Vec<usize>)],
    mut elements: impl FnMut(usize, &mut Sink<'_>) -> Result<(), EncoderError>,
) -> Result<(), EncoderError> {
    let io = FileError::io(path);
    let mut end = 0;
    let info = |(name, shape): &(String, Vec<usize>)| {
        let start = end;
        end += shape.iter().product::<usize>() * size_of::<f32>();
        let data_offsets = (start, end);
        (name.clone(), TensorInfo { dtype: Dtype::F32, shape: shape.clone(), data_offsets })
    };
    let infos = tensors.iter().map(info).collect();
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata = safetensors::tensor::Metadata::new(Some(format), infos)
        .map_err(|error| json::file_error(path, error.to_string()))?;
    let mut header =
        serde_json::to_vec(&metadata).map_err(|error| json::file_error(path, error.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut file = AtomicFile::create(path)?;
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(io)?;
    file.write_all(&header).map_err(io)?;
    let mut bytes = Vec::new();
    let mut write = |piece: &[f32]| {
        for block in piece.chunks(BLOCK) {
            bytes.clear();
            bytes.extend(block.iter().flat_map(|value| value.to_le_bytes()));
            file.write_all(&bytes).map_err(io)?;
        }
        Ok(())
    };
    for index in 0..tensors.len() {
        elements(index, &mut write)?;
    }
    Ok(file.commit()?)
}
