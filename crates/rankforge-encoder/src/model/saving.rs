//! Writing the tensors of a model, and merging adapters into them.

use crate::architecture::TensorPart;
use crate::error::EncoderError;
use crate::model::Model;
use crate::weights;
use rankforge_kernels::{Buffer, ParameterId};
use std::ops::Range;
use std::path::Path;

impl Model {
    /// Writes the tensors of `module` as f32 safetensors, to a temporary name, then renames.
    /// Adapters are merged into their weights.
    ///
    /// # Errors
    /// When the file cannot be written, or the model has no matrices
    /// ([`Packing::Instead`](crate::Packing::Instead)).
    pub fn save(&self, module: &str, path: &Path) -> Result<(), EncoderError> {
        self.save_parts(path, |part| (part.module == module).then(|| part.name.clone()))
    }

    /// [`Model::save`] for the tensors that have a name in the file.
    ///
    /// # Errors
    /// As [`Model::save`].
    pub(crate) fn save_parts(
        &self,
        path: &Path,
        name: impl Fn(&TensorPart) -> Option<String>,
    ) -> Result<(), EncoderError> {
        self.expect_matrices()?;
        let parts: Vec<(ParameterId, &TensorPart, String)> = self
            .parts()
            .filter_map(|(id, _, part)| name(part).map(|name| (id, part, name)))
            .collect();
        let tensors: Vec<(String, Vec<usize>)> =
            parts.iter().map(|(_, part, name)| (name.clone(), part.shape.clone())).collect();
        weights::save(path, &tensors, |index, write| {
            let (id, part, _) = &parts[index];
            let together = (weights::BLOCK / self.parameters.view(*id).columns().max(1)).max(1);
            let starts = part.rows.clone().step_by(together);
            starts.into_iter().try_for_each(|start| {
                write(&self.merged_rows(*id, start..part.rows.end.min(start + together)))
            })
        })
    }

    /// Rows of a matrix, with the adapters beside it added.
    pub(super) fn merged_rows(&self, id: ParameterId, rows: Range<usize>) -> Vec<f32> {
        let own = self.parameters.view(id).slice_rows(rows.clone());
        let mut beside = self.adapters().filter(|(weight, _)| *weight == id).peekable();
        if beside.peek().is_none() {
            return own.to_vec();
        }
        let mut merged = Buffer::upload(self.device(), own.rows(), own.columns(), &own.to_vec());
        for (_, adapter) in beside {
            adapter.merge(&self.parameters, rows.clone(), merged.view_mut());
        }
        merged.view().to_vec()
    }
}
