//! Which tensors of a checkpoint belong to which rows of the parameters.

use crate::architecture::{Architecture, TensorPart, WORD_EMBEDDINGS};
use crate::error::EncoderError;
use crate::families;
use crate::weights::{Names, Weights};
use rankforge_base::FileError;
use rankforge_kernels::{Arena, ParameterId};
use std::collections::HashSet;
use std::ops::Range;

/// What loading a checkpoint found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors that the checkpoint lacks; they are newly initialised.
    pub missing: Vec<String>,
    /// Tensors of the checkpoint that the model does not use.
    pub unused: Vec<String>,
}

/// The tensors of a checkpoint that are parameters of one module. Their types and shapes are
/// checked, so that reading them fails only when the file cannot be read.
pub(crate) struct ModuleTensors<'a> {
    weights: &'a Weights,
    found: Vec<FoundTensor<'a>>,
    pub(crate) report: LoadReport,
}

/// A tensor of a checkpoint, and where its elements go.
struct FoundTensor<'a> {
    /// Its name in the checkpoint.
    name: &'a str,
    id: ParameterId,
    /// Rows and number of columns of the matrix `id`.
    rows: Range<usize>,
    columns: usize,
}

impl<'a> ModuleTensors<'a> {
    /// Finds the tensors of `module` in `weights`, with or without the family's prefix and the
    /// parts of PyTorch's wrappers in their names. Nothing is allocated for them, so that a
    /// checkpoint can be compared with the sizes of a config before memory is taken for these.
    ///
    /// # Errors
    /// A tensor of an unusable number type, or whose shape is not that of the architecture; the
    /// error names both shapes. Two tensors whose names differ only in wrappers.
    pub(crate) fn find(
        architecture: &Architecture,
        module: &str,
        weights: &'a Weights,
    ) -> Result<ModuleTensors<'a>, EncoderError> {
        let model_type = &architecture.encoder.model_type;
        ModuleTensors::find_named(architecture, weights, |part| match part.module == module {
            true => families::aliases(model_type, &part.name),
            false => Vec::new(),
        })
    }

    /// [`ModuleTensors::find`] for the tensors that `aliases` has names for, by these names.
    ///
    /// # Errors
    /// As [`ModuleTensors::find`].
    pub(crate) fn find_named(
        architecture: &Architecture,
        weights: &'a Weights,
        aliases: impl Fn(&TensorPart) -> Vec<String>,
    ) -> Result<ModuleTensors<'a>, EncoderError> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        let names = Names::of(weights)?;
        for (id, spec) in architecture.parameters.iter().enumerate() {
            for part in &spec.parts {
                let aliases = aliases(part);
                if aliases.is_empty() {
                    continue;
                }
                let Some(name) = aliases.iter().find_map(|name| names.get(name)) else {
                    missing.push(part.name.clone());
                    continue;
                };
                check_shape(weights, name, &part.shape)?;
                match architecture.encoder.blocks.is_empty() && spec.name == WORD_EMBEDDINGS {
                    // model2vec's tables may be of 8-bit integers.
                    true => weights.check_numbers(name)?,
                    false => weights.check_floats(name)?,
                }
                let (id, rows) = (ParameterId(id), part.rows.clone());
                found.push(FoundTensor { name, id, rows, columns: spec.columns });
            }
        }
        let used: HashSet<&str> = found.iter().map(|tensor| tensor.name).collect();
        let unused = |name: &&str| !used.contains(name) && !families::is_constant(name);
        let unused = weights.names().into_iter().filter(unused).map(str::to_owned).collect();
        Ok(ModuleTensors { weights, found, report: LoadReport { missing, unused } })
    }

    /// The name of a tensor that `parameters` has other values for than the file, if there is one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn first_changed(&self, parameters: &Arena) -> Result<Option<&str>, EncoderError> {
        for tensor in &self.found {
            let mut same = true;
            self.weights.read_blocks(tensor.name, tensor.columns, |first, values| {
                let first = tensor.rows.start + first;
                let rows = first..first + values.len() / tensor.columns;
                let own = parameters.view(tensor.id).slice_rows(rows).to_vec();
                same &= own.iter().zip(values).all(|(a, b)| a.to_bits() == b.to_bits());
            })?;
            if !same {
                return Ok(Some(tensor.name));
            }
        }
        Ok(None)
    }

    /// Reads the tensors that `parameters` has memory for. They are those of the architecture.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn read(&self, parameters: &mut Arena) -> Result<(), EncoderError> {
        for tensor in &self.found {
            if !parameters.has(tensor.id) {
                continue;
            }
            self.weights.read_blocks(tensor.name, tensor.columns, |first, values| {
                let first = tensor.rows.start + first;
                let rows = first..first + values.len() / tensor.columns;
                parameters.view_mut(tensor.id).slice_rows(rows).write(values);
            })?;
        }
        Ok(())
    }
}

/// Checks the shape of a tensor of a file.
///
/// # Errors
/// Another shape than `expected`.
pub(crate) fn check_shape(
    weights: &Weights,
    name: &str,
    expected: &[usize],
) -> Result<(), EncoderError> {
    match weights.shape(name) {
        Some(shape) if shape == expected => Ok(()),
        shape => {
            let got = shape.unwrap_or_default();
            let message = format!("tensor {name}: expected shape {expected:?}, got {got:?}");
            Err(FileError::content(weights.path(name), message).into())
        }
    }
}
