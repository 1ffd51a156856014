use crate::EncoderError;
use half::{bf16, f16};
use indexmap::IndexMap;
use safetensors::{Dtype, tensor::TensorInfo};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "model.safetensors";
const INDEX_NAME: &str = "model.safetensors.index.json";

/// Numbers decoded at a time, so that a large table is never in memory twice.
const BLOCK: usize = 1 << 18;

/// The tensors of a module directory: `model.safetensors`, or the shards of
/// `model.safetensors.index.json`; f32, f16 and bf16 are read as f32.
pub struct Weights {
    directory: PathBuf,
    tensors: IndexMap<String, Tensor>,
}

/// Where a tensor's numbers are.
struct Tensor {
    file: PathBuf,
    offset: u64,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Weights {
    /// Opens a module directory and checks every header and shard against its file.
    ///
    /// # Errors
    /// No weights (with how to convert when only `pytorch_model.bin` is there), a truncated or
    /// malformed file, a missing shard.
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

    /// Shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| &tensor.shape[..])
    }

    /// The file that holds a tensor; the directory where there is no such tensor.
    pub fn path(&self, name: &str) -> &Path {
        self.tensors.get(name).map_or(&self.directory, |tensor| &tensor.file)
    }

    /// The numbers of a tensor, row-major.
    ///
    /// # Errors
    /// No such tensor, a type other than f32, f16, bf16, or the file cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, EncoderError> {
        let mut values = Vec::new();
        self.read_blocks(name, 1, |_, block| values.extend_from_slice(block))?;
        Ok(values)
    }

    /// The row numbers in a tensor of whole numbers, such as model2vec's `mapping`.
    ///
    /// # Errors
    /// No such tensor, a type other than I32 and I64, a negative number, or the file cannot be read.
    pub(crate) fn read_indices(&self, name: &str) -> Result<Vec<usize>, EncoderError> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(malformed(&self.directory, format!("there is no tensor {name}")));
        };
        let size = match tensor.dtype {
            Dtype::I32 | Dtype::I64 => tensor.dtype.bitsize() / 8,
            other => {
                let message = format!("tensor {name}: expected I32 or I64, got {other:?}");
                return Err(malformed(&tensor.file, message));
            }
        };
        let io = |source| EncoderError::Io { path: tensor.file.clone(), source };
        let mut file = File::open(&tensor.file).map_err(io)?;
        file.seek(SeekFrom::Start(tensor.offset)).map_err(io)?;
        let mut bytes = vec![0; tensor.shape.iter().product::<usize>() * size];
        file.read_exact(&mut bytes).map_err(io)?;
        let number = |bytes: &[u8]| {
            let number = match *bytes {
                [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
                [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
                _ => unreachable!("chunks of 4 or 8 bytes"),
            };
            usize::try_from(number).map_err(|_| {
                let message = format!("tensor {name}: expected row numbers, got {number}");
                malformed(&tensor.file, message)
            })
        };
        bytes.chunks_exact(size).map(number).collect()
    }

    /// Hands the numbers of a tensor to `receive` in blocks of whole rows of `columns` numbers,
    /// with the number of each block's first row.
    ///
    /// # Errors
    /// As [`Weights::read`].
    pub(crate) fn read_blocks(
        &self,
        name: &str,
        columns: usize,
        mut receive: impl FnMut(usize, &[f32]),
    ) -> Result<(), EncoderError> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(malformed(&self.directory, format!("there is no tensor {name}")));
        };
        let decode = decoder(tensor.dtype).ok_or_else(|| {
            let message =
                format!("tensor {name}: expected F32, F16 or BF16, got {:?}", tensor.dtype);
            malformed(&tensor.file, message)
        })?;
        let size = tensor.dtype.bitsize() / 8;
        let rows = tensor.shape.iter().product::<usize>() / columns.max(1);
        let rows_at_once = (BLOCK / columns.max(1)).max(1);
        let io = |source| EncoderError::Io { path: tensor.file.clone(), source };
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

type Decode = fn(&[u8], &mut Vec<f32>);

/// Appends the numbers that bytes hold; a function for all of them, as a call for each takes longer than reading.
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

/// Writes f32 tensors, whose numbers `numbers(index)` gives, to a temporary file beside `path`,
/// then renames it.
///
/// # Errors
/// When the file cannot be written; nothing is left behind.
pub(crate) fn save(
    path: &Path,
    tensors: &[(String, Vec<usize>)],
    mut numbers: impl FnMut(usize) -> Vec<f32>,
) -> Result<(), EncoderError> {
    let io = |source| EncoderError::Io { path: path.to_owned(), source };
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

    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // tempfile's own default would make the weights unreadable for other users.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let file = builder.tempfile_in(parent.unwrap_or(Path::new("."))).map_err(io)?;
    let mut writer = std::io::BufWriter::with_capacity(1 << 20, file.as_file());
    writer.write_all(&(header.len() as u64).to_le_bytes()).map_err(io)?;
    writer.write_all(&header).map_err(io)?;
    let mut bytes = Vec::new();
    for index in 0..tensors.len() {
        for block in numbers(index).chunks(BLOCK) {
            bytes.clear();
            bytes.extend(block.iter().flat_map(|number| number.to_le_bytes()));
            writer.write_all(&bytes).map_err(io)?;
        }
    }
    writer.flush().map_err(io)?;
    drop(writer);
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

fn malformed(path: &Path, message: String) -> EncoderError {
    EncoderError::File { path: path.to_owned(), message }
}

/// The error of a directory without safetensors.
fn missing(directory: &Path) -> EncoderError {
    let old = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
    let message = if old.iter().any(|name| directory.join(name).is_file()) {
        format!(
            "expected {FILE_NAME}, got only pytorch_model.bin, which can run code when it is \
             opened; convert it once with: python -c \"import sys, transformers as t; p = \
             sys.argv[1]; c = t.AutoConfig.from_pretrained(p); getattr(t, c.architectures[0])\
             .from_pretrained(p).save_pretrained(p, safe_serialization=True)\" {}",
            directory.display()
        )
    } else {
        format!("expected {FILE_NAME} or {INDEX_NAME}, got neither")
    };
    malformed(directory, message)
}

/// The tensors of all shards that an index names.
fn read_shards(directory: &Path, index: &Path) -> Result<IndexMap<String, Tensor>, EncoderError> {
    let io = |source| EncoderError::Io { path: index.to_owned(), source };
    let text = std::fs::read(index).map_err(io)?;
    let value: Value = serde_json::from_slice(&text)
        .map_err(|error| malformed(index, format!("not JSON: {error}")))?;
    let Some(map) = value.get("weight_map").and_then(Value::as_object) else {
        let field = "weight_map".to_owned();
        let got = value.get("weight_map").map_or("nothing".to_owned(), Value::to_string);
        let expected = "an object of tensor names and file names".to_owned();
        return Err(EncoderError::Field { path: index.to_owned(), field, expected, got });
    };
    let mut shards: IndexMap<&str, IndexMap<String, Tensor>> = IndexMap::new();
    let mut tensors = IndexMap::new();
    for (name, shard) in map {
        // A shard lies beside its index; a path that leads elsewhere is not one.
        let plain = |shard: &&str| Path::new(shard).file_name() == Some(shard.as_ref());
        let Some(shard) = shard.as_str().filter(plain) else {
            let message = format!("tensor {name}: expected a file name, got {shard}");
            return Err(malformed(index, message));
        };
        if !shards.contains_key(shard) {
            let file = directory.join(shard);
            if !file.is_file() {
                let message = format!("tensor {name}: expected it in {shard}, got no such file");
                return Err(malformed(index, message));
            }
            shards.insert(shard, read_header(&file)?);
        }
        let Some(tensor) = shards[shard].swap_remove(name) else {
            let message = format!("tensor {name}: expected it in {shard}, which does not have it");
            return Err(malformed(index, message));
        };
        tensors.insert(name.clone(), tensor);
    }
    Ok(tensors)
}

/// Reads and checks the header of one safetensors file.
fn read_header(path: &Path) -> Result<IndexMap<String, Tensor>, EncoderError> {
    /// The format's own limit.
    const LONGEST: u64 = 100_000_000;
    let io = |source| EncoderError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let Some(after_prefix) = length.checked_sub(8) else {
        return Err(malformed(path, format!("expected at least 8 bytes, got {length}")));
    };
    let mut prefix = [0; 8];
    file.read_exact(&mut prefix).map_err(io)?;
    let header_length = u64::from_le_bytes(prefix);
    if header_length > after_prefix.min(LONGEST) {
        let expected = after_prefix.min(LONGEST);
        let message = format!(
            "truncated or not safetensors: expected a header of at most {expected} bytes, got {header_length}"
        );
        return Err(malformed(path, message));
    }
    let mut header = vec![0; header_length as usize];
    file.read_exact(&mut header).map_err(io)?;
    let header: Value = serde_json::from_slice(&header)
        .map_err(|error| malformed(path, format!("the header is not JSON: {error}")))?;
    let Value::Object(header) = header else {
        return Err(malformed(path, "the header is not a JSON object".to_owned()));
    };
    let data_length = after_prefix - header_length;
    let mut spans = Vec::new();
    let mut tensors = IndexMap::new();
    for (name, value) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let info: TensorInfo = serde_json::from_value(value).map_err(|error| {
            malformed(
                path,
                format!("tensor {name}: expected dtype, shape and offsets, got {error}"),
            )
        })?;
        let span = check(&info, data_length)
            .map_err(|message| malformed(path, format!("tensor {name}: {message}")))?;
        spans.push((span, name.clone()));
        let offset = 8 + header_length + span.0;
        let file = path.to_owned();
        tensors.insert(name, Tensor { file, offset, dtype: info.dtype, shape: info.shape });
    }
    spans.sort_unstable();
    for pair in spans.windows(2) {
        let ((first, first_name), (second, second_name)) = (&pair[0], &pair[1]);
        if second.0 < first.1 {
            let message = format!(
                "tensor {second_name}: expected its bytes from {} on, after those of {first_name}, got {}",
                first.1, second.0
            );
            return Err(malformed(path, message));
        }
    }
    Ok(tensors)
}

/// The bytes of a tensor, after checking them against its shape and the file.
fn check(info: &TensorInfo, data_length: u64) -> Result<(u64, u64), String> {
    let (start, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
    if start > end || end > data_length {
        return Err(format!(
            "expected offsets within the {data_length} bytes of data, got {start}..{end}"
        ));
    }
    let numbers = info.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    let bits = numbers.and_then(|numbers| numbers.checked_mul(info.dtype.bitsize()));
    match bits {
        Some(bits) if bits.is_multiple_of(8) && (bits / 8) as u64 == end - start => {
            Ok((start, end))
        }
        _ => Err(format!(
            "expected {:?} numbers of shape {:?}, got {} bytes",
            info.dtype,
            info.shape,
            end - start
        )),
    }
}
