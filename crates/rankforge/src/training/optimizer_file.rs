//! The file of an optimizer: tensors of arenas by name.

use crate::error::Error;
use crate::training::named_ranges::NamedRange;
use crate::training::optimizer::Optimizer;
use rankforge_base::FileError;
use rankforge_kernels::{Arena, View};
use safetensors::{Dtype, SafeTensors};
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

/// The state of an optimizer, under its names.
pub(super) fn state(optimizer: &Optimizer) -> impl Iterator<Item = (String, Saved<'_>)> {
    let all = optimizer.state().iter();
    all.flat_map(|state| saved(state.prefix, &state.arena, &state.tensors))
}

/// The tensors of an arena under names with a prefix.
pub(super) fn saved<'a>(
    prefix: &str,
    arena: &'a Arena,
    tensors: &'a [NamedRange],
) -> impl Iterator<Item = (String, Saved<'a>)> {
    tensors.iter().map(move |tensor| (format!("{prefix}{}", tensor.name), Saved { arena, tensor }))
}

/// One tensor of an arena, converted to bytes only when it is written, to save memory.
pub(super) struct Saved<'a> {
    arena: &'a Arena,
    tensor: &'a NamedRange,
}

impl safetensors::View for Saved<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = part(self.arena.flat(), self.tensor.range.clone()).to_vec();
        Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        self.tensor.range.len() * size_of::<f32>()
    }
}

/// A range of an arena's elements as a column vector.
fn part(flat: View<'_>, range: Range<usize>) -> View<'_> {
    flat.with_shape(flat.columns(), 1).slice_rows(range)
}

/// An optimizer file that is read.
pub(super) struct TensorFile<'a> {
    pub(super) path: &'a Path,
    pub(super) tensors: SafeTensors<'a>,
}

impl TensorFile<'_> {
    pub(super) fn read_state(&self, optimizer: &mut Optimizer) -> Result<(), Error> {
        let mut all = optimizer.state_mut().iter_mut();
        all.try_for_each(|state| self.read(state.prefix, &state.tensors, &mut state.arena))
    }

    /// Reads tensors, whose names have a prefix in the file, into their places in an arena.
    pub(super) fn read(
        &self,
        prefix: &str,
        tensors: &[NamedRange],
        arena: &mut Arena,
    ) -> Result<(), Error> {
        let error = |message: String| FileError::content(self.path, message);
        let length = arena.layout().len();
        for NamedRange { name, shape, range, .. } in tensors {
            let tensor = self
                .tensors
                .tensor(&format!("{prefix}{name}"))
                .map_err(|found| error(format!("tensor `{prefix}{name}`: {found}")))?;
            if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
                return Err(error(format!(
                    "tensor `{prefix}{name}`: expected F32 {shape:?}, got {} {:?}",
                    tensor.dtype(),
                    tensor.shape()
                ))
                .into());
            }
            let numbers = tensor.data().as_chunks::<4>().0.iter();
            let values: Vec<f32> = numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect();
            let target = arena.flat_mut().with_shape(length, 1);
            target.slice_rows(range.clone()).write(&values);
        }
        Ok(())
    }
}
