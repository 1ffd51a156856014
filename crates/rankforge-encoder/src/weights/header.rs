//! Where the tensors of a checkpoint are: the headers of its files, and the index of its shards.

use crate::error::EncoderError;
use crate::json;
use indexmap::IndexMap;
use rankforge_base::FileError;
use safetensors::{Dtype, tensor::TensorInfo};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "model.safetensors";
const INDEX_NAME: &str = "model.safetensors.index.json";

/// A tensor in a file.
pub(super) struct Tensor {
    pub(super) file: PathBuf,
    /// Byte offset of its elements in the file.
    pub(super) offset: u64,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
}

/// The tensors of a module directory, and the file or index that lists them.
///
/// # Errors
/// No weights, a missing shard, or a truncated or malformed file.
pub(super) fn read(directory: &Path) -> Result<(PathBuf, IndexMap<String, Tensor>), EncoderError> {
    let (file, index) = (directory.join(FILE_NAME), directory.join(INDEX_NAME));
    if file.is_file() {
        let tensors = read_header(&file)?;
        Ok((file, tensors))
    } else if index.is_file() {
        let tensors = read_shards(directory, &index)?;
        Ok((index, tensors))
    } else {
        Err(missing(directory))
    }
}

/// The error for a directory without safetensors files. Where it has pickles, the message says how
/// to convert them: those of a module by their tensors, as a module has no class of transformers.
fn missing(directory: &Path) -> EncoderError {
    const TENSORS: &str = "import sys, torch; from safetensors.torch import save_file; \
        p = sys.argv[1]; t = torch.load(p + '/pytorch_model.bin', weights_only=True); \
        save_file({k: v.clone().contiguous() for k, v in t.items()}, \
        p + '/model.safetensors', {'format': 'pt'})";
    const SHARDS: &str = "import sys, transformers as t; p = sys.argv[1]; \
        c = t.AutoConfig.from_pretrained(p); \
        getattr(t, c.architectures[0]).from_pretrained(p).save_pretrained(p)";
    let pickles = [("pytorch_model.bin", TENSORS), ("pytorch_model.bin.index.json", SHARDS)];
    let pickle = pickles.into_iter().find(|(name, _)| directory.join(name).is_file());
    let message = match pickle {
        Some((name, command)) => format!(
            "expected {FILE_NAME}, got only {name}, a pickle that may execute code when it is \
             loaded; convert it once with: python -c \"{command}\" \"{}\"",
            directory.display()
        ),
        None => format!("expected {FILE_NAME} or {INDEX_NAME}, got neither"),
    };
    json::file_error(directory, message)
}

/// The tensors of all shards that an index lists.
///
/// # Errors
/// A malformed index, a shard that is missing, malformed or outside the directory, or a tensor that
/// is not in the shard that the index says.
fn read_shards(directory: &Path, index: &Path) -> Result<IndexMap<String, Tensor>, EncoderError> {
    let io = FileError::io(index);
    let text = std::fs::read(index).map_err(io)?;
    let value: Value = serde_json::from_slice(&text)
        .map_err(|error| json::file_error(index, format!("malformed JSON: {error}")))?;
    let Some(map) = value.get("weight_map").and_then(Value::as_object) else {
        let field = "weight_map".to_owned();
        let got = value.get("weight_map").map_or("nothing".to_owned(), Value::to_string);
        let expected = "an object that maps tensor names to file names".to_owned();
        return Err(EncoderError::Field { path: index.to_owned(), field, expected, got });
    };
    let mut shards: IndexMap<&str, IndexMap<String, Tensor>> = IndexMap::new();
    let mut tensors = IndexMap::new();
    for (name, shard) in map {
        // Shards are in the directory of the index; a path could lead to any file.
        let is_file_name = |shard: &&str| Path::new(shard).file_name() == Some(shard.as_ref());
        let Some(shard) = shard.as_str().filter(is_file_name) else {
            let message = format!("tensor {name}: expected a file name without path, got {shard}");
            return Err(json::file_error(index, message));
        };
        if !shards.contains_key(shard) {
            let file = directory.join(shard);
            if !file.is_file() {
                let message =
                    format!("tensor {name}: expected in {shard}, but no such file exists");
                return Err(json::file_error(index, message));
            }
            shards.insert(shard, read_header(&file)?);
        }
        let Some(tensor) = shards[shard].swap_remove(name) else {
            let message = format!("tensor {name}: expected in {shard}, which does not contain it");
            return Err(json::file_error(index, message));
        };
        tensors.insert(name.clone(), tensor);
    }
    // As in transformers, the index says which files there are, and these what is in them.
    for (name, tensor) in shards.into_values().flatten() {
        tensors.entry(name).or_insert(tensor);
    }
    Ok(tensors)
}

/// Reads and validates the header of a safetensors file: an 8-byte length, then a JSON object that
/// maps tensor names to their type, shape and byte range.
pub(super) fn read_header(path: &Path) -> Result<IndexMap<String, Tensor>, EncoderError> {
    /// Maximum length of the JSON, in bytes, according to the format.
    const MAX_LENGTH: u64 = 100_000_000;
    let io = FileError::io(path);
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let Some(after_prefix) = length.checked_sub(8) else {
        return Err(json::file_error(path, format!("expected at least 8 bytes, got {length}")));
    };
    let mut prefix = [0; 8];
    file.read_exact(&mut prefix).map_err(io)?;
    let header_length = u64::from_le_bytes(prefix);
    if header_length > after_prefix.min(MAX_LENGTH) {
        let expected = after_prefix.min(MAX_LENGTH);
        let message = format!(
            "truncated, or not a safetensors file: expected a header of at most {expected} bytes, \
             got {header_length}"
        );
        return Err(json::file_error(path, message));
    }
    let mut header = vec![0; header_length as usize];
    file.read_exact(&mut header).map_err(io)?;
    let header: Value = serde_json::from_slice(&header).map_err(|error| {
        json::file_error(path, format!("malformed JSON in the header: {error}"))
    })?;
    let Value::Object(header) = header else {
        let message = "expected a JSON object as the header, got another JSON value".to_owned();
        return Err(json::file_error(path, message));
    };
    let data_length = after_prefix - header_length;
    let mut ranges = Vec::new();
    let mut tensors = IndexMap::new();
    for (name, value) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let info: TensorInfo = serde_json::from_value(value).map_err(|error| {
            let message =
                format!("tensor {name}: expected dtype, shape and data_offsets, but {error}");
            json::file_error(path, message)
        })?;
        let (start, end) = byte_range(&info, data_length)
            .map_err(|message| json::file_error(path, format!("tensor {name}: {message}")))?;
        ranges.push((start, end, name.clone()));
        let offset = 8 + header_length + start;
        let file = path.to_owned();
        tensors.insert(name, Tensor { file, offset, dtype: info.dtype, shape: info.shape });
    }
    check_overlaps(path, ranges)?;
    Ok(tensors)
}

/// Checks that the byte ranges (start, end, name) of the tensors of a file do not overlap.
fn check_overlaps(path: &Path, mut ranges: Vec<(u64, u64, String)>) -> Result<(), EncoderError> {
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        let ((_, end, earlier), (start, _, later)) = (&pair[0], &pair[1]);
        if start < end {
            let message = format!(
                "tensor {later}: expected data from byte {end} on, after the data of {earlier}, \
                 got {start}"
            );
            return Err(json::file_error(path, message));
        }
    }
    Ok(())
}

/// The bytes (start, end) of a tensor in the data of its file, which has `data_length` bytes.
///
/// # Errors
/// When the range is not within the data, or its length is not that of the tensor's type and shape.
fn byte_range(info: &TensorInfo, data_length: u64) -> Result<(u64, u64), String> {
    let (start, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
    if start > end || end > data_length {
        return Err(format!(
            "expected offsets within the {data_length} bytes of data, got {start}..{end}"
        ));
    }
    let elements = info.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    let bits = elements.and_then(|elements| elements.checked_mul(info.dtype.bitsize()));
    match bits {
        Some(bits) if bits.is_multiple_of(8) && (bits / 8) as u64 == end - start => {
            Ok((start, end))
        }
        _ => Err(format!(
            "expected {} elements of shape {:?}, got {} bytes",
            info.dtype,
            info.shape,
            end - start
        )),
    }
}
