use crate::error::EncoderError;
use half::{bf16, f16};
use indexmap::IndexMap;
use rankforge_base::{AtomicFile, FileError};
use safetensors::{Dtype, tensor::TensorInfo};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "model.safetensors";
const INDEX_NAME: &str = "model.safetensors.index.json";

/// Number of elements that are decoded or encoded at a time, so that no tensor needs memory for a
/// second copy.
const BLOCK: usize = 1 << 18;

/// The tensors of a module directory, in `model.safetensors` or in the shards that
/// `model.safetensors.index.json` lists.
///
/// Tensors are read one by one. Those of type f32, f16 and bf16 are converted to f32.
pub struct Weights {
    directory: PathBuf,
    tensors: IndexMap<String, Tensor>,
}

/// A tensor in a file.
struct Tensor {
    file: PathBuf,
    /// Byte offset of its elements in the file.
    offset: u64,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Weights {
    /// Opens the weights in a module directory and validates the headers of all files.
    ///
    /// # Errors
    /// No weights (the message says how to convert a `pytorch_model.bin`), a missing shard, or a
    /// truncated or malformed file.
    pub fn open(directory: &Path) -> Result<Weights, EncoderError> {
        let (file, index) = (directory.join(FILE_NAME), directory.join(INDEX_NAME));
        let mut tensors = if file.is_file() {
            read_header(&file)?
        } else if index.is_file() {
            read_shards(directory, &index)?
        } else {
            return Err(missing(directory));
        };
        tensors.sort_unstable_keys();
        Ok(Weights { directory: directory.to_owned(), tensors })
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    /// Shape of a tensor; `None` when there is no tensor of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| &tensor.shape[..])
    }

    /// Path of the file that contains a tensor; the directory when there is no tensor of this name.
    pub fn path(&self, name: &str) -> &Path {
        self.tensors.get(name).map_or(&self.directory, |tensor| &tensor.file)
    }

    /// The elements of a tensor, row-major.
    ///
    /// # Errors
    /// When there is no tensor of this name, its type is not f32, f16 or bf16, or its file cannot
    /// be read.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, EncoderError> {
        let mut values = Vec::new();
        self.read_blocks(name, 1, |_, block| values.extend_from_slice(block))?;
        Ok(values)
    }

    /// The elements of a tensor of indices, such as model2vec's `mapping`.
    ///
    /// # Errors
    /// When there is no tensor of this name, its type is not I32 or I64, an element is negative, or
    /// its file cannot be read.
    pub(crate) fn read_indices(&self, name: &str) -> Result<Vec<usize>, EncoderError> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(malformed(&self.directory, format!("no tensor {name}")));
        };
        let size = match tensor.dtype {
            Dtype::I32 | Dtype::I64 => tensor.dtype.bitsize() / 8,
            other => {
                let message = format!("tensor {name}: expected I32 or I64, got {other:?}");
                return Err(malformed(&tensor.file, message));
            }
        };
        let io = FileError::io(&tensor.file);
        let mut file = File::open(&tensor.file).map_err(io)?;
        file.seek(SeekFrom::Start(tensor.offset)).map_err(io)?;
        let mut bytes = vec![0; tensor.shape.iter().product::<usize>() * size];
        file.read_exact(&mut bytes).map_err(io)?;
        let index = |bytes: &[u8]| {
            let value = match *bytes {
                [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
                [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
                _ => unreachable!("chunks of 4 or 8 bytes"),
            };
            usize::try_from(value).map_err(|_| {
                let message = format!("tensor {name}: expected indices from 0, got {value}");
                malformed(&tensor.file, message)
            })
        };
        bytes.chunks_exact(size).map(index).collect()
    }

    /// Checks that a tensor can be read as f32.
    ///
    /// # Errors
    /// When there is no tensor of this name, or its type is not f32, f16 or bf16.
    pub(crate) fn check_type(&self, name: &str) -> Result<(), EncoderError> {
        match self.tensors.get(name) {
            Some(tensor) if decoder(tensor.dtype).is_some() => Ok(()),
            Some(tensor) => Err(not_floats(name, tensor)),
            None => Err(malformed(&self.directory, format!("no tensor {name}"))),
        }
    }

    /// Reads a tensor as a matrix of `columns` columns, in blocks of whole rows. Calls `receive`
    /// with the index of a block's first row and the block's elements.
    ///
    /// # Errors
    /// See [`Weights::read`].
    pub(crate) fn read_blocks(
        &self,
        name: &str,
        columns: usize,
        mut receive: impl FnMut(usize, &[f32]),
    ) -> Result<(), EncoderError> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(malformed(&self.directory, format!("no tensor {name}")));
        };
        let decode = decoder(tensor.dtype).ok_or_else(|| not_floats(name, tensor))?;
        let size = tensor.dtype.bitsize() / 8;
        let rows = tensor.shape.iter().product::<usize>() / columns.max(1);
        let rows_at_once = (BLOCK / columns.max(1)).max(1);
        let io = FileError::io(&tensor.file);
        let mut file = File::open(&tensor.file).map_err(io)?;
        file.seek(SeekFrom::Start(tensor.offset)).map_err(io)?;
        let (mut bytes, mut values) = (Vec::new(), Vec::new());
        for first in (0..rows).step_by(rows_at_once) {
            let count = rows_at_once.min(rows - first) * columns;
            bytes.resize(count * size, 0);
            file.read_exact(&mut bytes).map_err(io)?;
            values.clear();
            decode(&bytes, &mut values);
            receive(first, &values);
        }
        Ok(())
    }
}

/// Appends the elements in some bytes to a vector.
type Decode = fn(&[u8], &mut Vec<f32>);

/// The function that decodes elements of this type; `None` for types other than floats. It decodes
/// many elements in a call, as a call per element would take longer than reading the file.
fn decoder(dtype: Dtype) -> Option<Decode> {
    match dtype {
        Dtype::F32 => Some(|bytes, values| {
            values.extend(bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes));
        }),
        Dtype::F16 => Some(|bytes, values| {
            values.extend(
                bytes.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()),
            );
        }),
        Dtype::BF16 => Some(|bytes, values| {
            values.extend(
                bytes.as_chunks().0.iter().map(|&bytes| bf16::from_le_bytes(bytes).to_f32()),
            );
        }),
        _ => None,
    }
}

/// The error for a tensor of another type than floats.
fn not_floats(name: &str, tensor: &Tensor) -> EncoderError {
    let message = format!("tensor {name}: expected F32, F16 or BF16, got {:?}", tensor.dtype);
    malformed(&tensor.file, message)
}

/// Writes a safetensors file of f32 tensors, through a temporary file.
///
/// `tensors` are pairs (name, shape); `elements(index)` gives the elements of each, row-major.
///
/// # Errors
/// When the file cannot be written. An earlier file at `path` is then left unchanged.
pub(crate) fn save(
    path: &Path,
    tensors: &[(String, Vec<usize>)],
    mut elements: impl FnMut(usize) -> Vec<f32>,
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
        .map_err(|error| malformed(path, error.to_string()))?;
    let mut header =
        serde_json::to_vec(&metadata).map_err(|error| malformed(path, error.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut file = AtomicFile::create(path)?;
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(io)?;
    file.write_all(&header).map_err(io)?;
    let mut bytes = Vec::new();
    for index in 0..tensors.len() {
        for block in elements(index).chunks(BLOCK) {
            bytes.clear();
            bytes.extend(block.iter().flat_map(|value| value.to_le_bytes()));
            file.write_all(&bytes).map_err(io)?;
        }
    }
    Ok(file.commit()?)
}

/// The error for a file whose content is not what was expected.
fn malformed(path: &Path, message: String) -> EncoderError {
    FileError::content(path, message).into()
}

/// The error for a directory without safetensors files.
fn missing(directory: &Path) -> EncoderError {
    let pickles = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
    let message = if pickles.iter().any(|name| directory.join(name).is_file()) {
        format!(
            "expected {FILE_NAME}, got only pytorch_model.bin, a pickle that may execute code when \
             it is loaded; convert it once with: python -c \"import sys, transformers as t; p = \
             sys.argv[1]; c = t.AutoConfig.from_pretrained(p); getattr(t, c.architectures[0])\
             .from_pretrained(p).save_pretrained(p, safe_serialization=True)\" {}",
            directory.display()
        )
    } else {
        format!("expected {FILE_NAME} or {INDEX_NAME}, got neither")
    };
    malformed(directory, message)
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
        .map_err(|error| malformed(index, format!("malformed JSON: {error}")))?;
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
            return Err(malformed(index, message));
        };
        if !shards.contains_key(shard) {
            let file = directory.join(shard);
            if !file.is_file() {
                let message =
                    format!("tensor {name}: expected in {shard}, but no such file exists");
                return Err(malformed(index, message));
            }
            shards.insert(shard, read_header(&file)?);
        }
        let Some(tensor) = shards[shard].swap_remove(name) else {
            let message = format!("tensor {name}: expected in {shard}, which does not contain it");
            return Err(malformed(index, message));
        };
        tensors.insert(name.clone(), tensor);
    }
    Ok(tensors)
}

/// Reads and validates the header of a safetensors file: an 8-byte length, then a JSON object that
/// maps tensor names to their type, shape and byte range.
fn read_header(path: &Path) -> Result<IndexMap<String, Tensor>, EncoderError> {
    /// Maximum length of the JSON, in bytes, according to the format.
    const MAX_LENGTH: u64 = 100_000_000;
    let io = FileError::io(path);
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let Some(after_prefix) = length.checked_sub(8) else {
        return Err(malformed(path, format!("expected at least 8 bytes, got {length}")));
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
        return Err(malformed(path, message));
    }
    let mut header = vec![0; header_length as usize];
    file.read_exact(&mut header).map_err(io)?;
    let header: Value = serde_json::from_slice(&header)
        .map_err(|error| malformed(path, format!("malformed JSON in the header: {error}")))?;
    let Value::Object(header) = header else {
        let message = "expected a JSON object as the header, got another JSON value".to_owned();
        return Err(malformed(path, message));
    };
    let data_length = after_prefix - header_length;
    let mut ranges = Vec::new();
    let mut tensors = IndexMap::new();
    for (name, value) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let info: TensorInfo = serde_json::from_value(value).map_err(|error| {
            let message =
                format!("tensor {name}: expected dtype, shape and data_offsets, but {error}");
            malformed(path, message)
        })?;
        let (start, end) = byte_range(&info, data_length)
            .map_err(|message| malformed(path, format!("tensor {name}: {message}")))?;
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
            return Err(malformed(path, message));
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
            "expected {:?} elements of shape {:?}, got {} bytes",
            info.dtype,
            info.shape,
            end - start
        )),
    }
}
