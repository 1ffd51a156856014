//! The weights of linear layers, packed once for all passes.

use rankforge_kernels::{Arena, PackedWeight, ParameterId, Precision};
use std::sync::Arc;

/// Whether weights of linear layers are packed when a model is opened. Passes give the same bits
/// either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Not packed: every pass packs them anew. For training, where weights change with each step.
    #[default]
    None,
    /// Packed, beside the matrices: inference on few tokens is faster, and weights take twice the
    /// memory.
    Beside,
    /// Packed in place of the matrices: as fast, and no more memory. The model can be neither
    /// trained nor saved, and has no digest.
    Instead,
}

/// Packed weights, by the id of their matrix.
#[derive(Clone)]
pub(crate) struct PackedWeights(Vec<Option<Arc<PackedWeight>>>);

impl PackedWeights {
    /// Packs the weights `ids`, each given with the first row of its last part, 0 where it is used
    /// as a whole. One whose part begins within a panel is left out.
    pub(crate) fn pack(
        parameters: &Arena,
        ids: impl Iterator<Item = (ParameterId, usize)>,
        precision: Precision,
    ) -> PackedWeights {
        let mut weights = vec![None; parameters.layout().entries().len()];
        for (id, part) in ids {
            let packed = PackedWeight::pack(parameters.view(id), precision);
            if packed.can_begin_at(part) {
                weights[id.0] = Some(Arc::new(packed));
            }
        }
        PackedWeights(weights)
    }

    /// The packed weight `id`.
    pub(crate) fn get(&self, id: ParameterId) -> Option<&PackedWeight> {
        self.0[id.0].as_deref()
    }
}
