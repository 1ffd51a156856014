use crate::error::EncoderError;
use crate::json;
use crate::weights::header::{self, Tensor};
use crate::weights::numbers::{decoder, integer_decoder, is_float};
use indexmap::IndexMap;
use rankforge_base::FileError;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Number of elements that are decoded at a time, so that no tensor needs memory for a second copy.
const BLOCK: usize = 1 << 18;

/// The types that [`Weights::check_floats`] accepts.
const FLOATS: &str =
    "F64, F32, F16, BF16, F8_E4M3 or F8_E5M2 (quantised weights are not supported)";

/// The types that can be read.
const NUMBERS: &str = "F64, F32, F16, BF16, F8_E4M3, F8_E5M2, integers or BOOL";

/// The tensors of a module directory, in `model.safetensors` or in the shards that
/// `model.safetensors.index.json` lists.
///
/// Tensors are read one by one and converted to f32.
pub struct Weights {
    /// The file, or the index of the shards.
    source: PathBuf,
    tensors: IndexMap<String, Tensor>,
}

impl Weights {
    /// Opens the weights in a module directory and validates the headers of all files.
    ///
    /// # Errors
    /// No weights (the message says how to convert a `pytorch_model.bin`), a missing shard, or a
    /// truncated or malformed file.
    pub fn open(directory: &Path) -> Result<Weights, EncoderError> {
        let (source, mut tensors) = header::read(directory)?;
        tensors.sort_unstable_keys();
        Ok(Weights { source, tensors })
    }

    /// Opens one safetensors file and validates its header.
    ///
    /// # Errors
    /// A file that is missing, truncated or malformed.
    pub(crate) fn open_file(file: &Path) -> Result<Weights, EncoderError> {
        let mut tensors = header::read_header(file)?;
        tensors.sort_unstable_keys();
        Ok(Weights { source: file.to_owned(), tensors })
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    /// Shape of a tensor; `None` when there is no tensor of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| &tensor.shape[..])
    }

    /// Path of the file that contains a tensor; that of [`Weights::source`] when there is no tensor
    /// of this name.
    pub fn path(&self, name: &str) -> &Path {
        self.tensors.get(name).map_or(&self.source, |tensor| &tensor.file)
    }

    /// Path of `model.safetensors`, or of the index of its shards.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// The elements of a tensor, row-major.
    ///
    /// # Errors
    /// When there is no tensor of this name, its type is none of PyTorch's real numbers, or its
    /// file cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, EncoderError> {
        let mut values = Vec::new();
        self.read_blocks(name, 1, |_, block| values.extend_from_slice(block))?;
        Ok(values)
    }

    /// The elements of a tensor of indices, such as model2vec's `mapping`.
    ///
    /// # Errors
    /// When there is no tensor of this name, its type is not an integer type, an element is
    /// negative, or its file cannot be read.
    pub(crate) fn read_indices(&self, name: &str) -> Result<Vec<usize>, EncoderError> {
        let tensor = self.tensor(name)?;
        let decode = integer_decoder(tensor.dtype)
            .ok_or_else(|| tensor.unexpected_type(name, "integers"))?;
        let io = FileError::io(&tensor.file);
        let mut file = File::open(&tensor.file).map_err(io)?;
        file.seek(SeekFrom::Start(tensor.offset)).map_err(io)?;
        let mut bytes =
            vec![0; tensor.shape.iter().product::<usize>() * tensor.dtype.bitsize() / 8];
        file.read_exact(&mut bytes).map_err(io)?;
        let mut values = Vec::new();
        decode(&bytes, &mut values);
        let index = |value: i128| {
            usize::try_from(value).map_err(|_| {
                let message = format!("tensor {name}: expected indices from 0, got {value}");
                json::file_error(&tensor.file, message)
            })
        };
        values.into_iter().map(index).collect()
    }

    /// Checks that a tensor holds floating-point numbers: those of a transformer that are integers
    /// are quantised, and mean nothing without their scales.
    ///
    /// # Errors
    /// When there is no tensor of this name, or its type is another.
    pub(crate) fn check_floats(&self, name: &str) -> Result<(), EncoderError> {
        let tensor = self.tensor(name)?;
        match is_float(tensor.dtype) {
            true => Ok(()),
            false => Err(tensor.unexpected_type(name, FLOATS)),
        }
    }

    /// Checks that a tensor holds real numbers, integers or not.
    ///
    /// # Errors
    /// When there is no tensor of this name, or its type is another.
    pub(crate) fn check_numbers(&self, name: &str) -> Result<(), EncoderError> {
        let tensor = self.tensor(name)?;
        match decoder(tensor.dtype) {
            Some(_) => Ok(()),
            None => Err(tensor.unexpected_type(name, NUMBERS)),
        }
    }

    /// The number type of a tensor that does not hold floating-point numbers.
    pub(crate) fn other_type(&self, name: &str) -> Option<String> {
        let dtype = self.tensors.get(name)?.dtype;
        (!is_float(dtype)).then(|| dtype.to_string())
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
        let tensor = self.tensor(name)?;
        let decode = decoder(tensor.dtype).ok_or_else(|| tensor.unexpected_type(name, NUMBERS))?;
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

    fn tensor(&self, name: &str) -> Result<&Tensor, EncoderError> {
        let error = || json::file_error(&self.source, format!("no tensor {name}"));
        self.tensors.get(name).ok_or_else(error)
    }
}

impl Tensor {
    /// The error for a tensor of another number type than expected.
    fn unexpected_type(&self, name: &str, expected: &str) -> EncoderError {
        let message = format!("tensor {name}: expected {expected}, got {}", self.dtype);
        json::file_error(&self.file, message)
    }
}
