//! The weights of linear layers, packed once for all passes.

use rankforge_kernels::{Arena, PackedWeight, ParameterId};
use std::sync::Arc;

/// Whether the weights of linear layers are packed when a model is opened. Passes give the same
/// bits either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Not packed: every pass packs them anew. For models that will be trained, as weights change
    /// with each step.
    None,
    /// Packed beside the matrices: inference is faster, several times so for short texts, and the
    /// weights take twice the memory. Whatever may change the parameters drops the packed ones.
    #[default]
    Beside,
    /// Packed in place of the matrices: as fast, and no more memory. The model can be neither
    /// trained nor saved, and has no digest.
    Instead,
}

/// Packed weights, by the id of their matrix.
#[derive(Clone)]
pub(crate) struct PackedWeights(Vec<Option<Arc<PackedWeight>>>);

impl PackedWeights {
    /// None of the weights of `parameters`.
    pub(crate) fn none(parameters: &Arena) -> PackedWeights {
        PackedWeights(vec![None; parameters.layout().entries().len()])
    }

    /// The packed weight `id`.
    pub(crate) fn get(&self, id: ParameterId) -> Option<&PackedWeight> {
        self.0[id.0].as_deref()
    }

    pub(crate) fn set(&mut self, id: ParameterId, weight: PackedWeight) {
        self.0[id.0] = Some(Arc::new(weight));
    }
}
