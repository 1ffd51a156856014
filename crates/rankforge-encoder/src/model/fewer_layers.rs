//! Models with some of the blocks of another.

use crate::architecture::ParameterSpec;
use crate::model::Model;
use rankforge_kernels::ParameterId;

impl Model {
    /// The same parameters without the blocks that are not among `layers`, which ascend. Block `i`
    /// is `layers[i]` of this model.
    pub(crate) fn with_layers(&self, layers: &[usize]) -> Model {
        let mut architecture = self.architecture().clone();
        let blocks = &self.architecture().encoder.blocks;
        architecture.encoder.blocks = layers.iter().map(|layer| blocks[*layer]).collect();
        let specs = self.architecture().parameters.iter().enumerate();
        let kept: Vec<(ParameterId, ParameterSpec)> = specs
            .filter_map(|(id, spec)| Some((ParameterId(id), renamed(spec, layers)?)))
            .collect();
        architecture.parameters = kept.iter().map(|(_, spec)| spec.clone()).collect();
        let values = kept.iter().map(|(id, _)| self.parameters().view(*id).to_vec());
        self.with_values(architecture, None, values)
    }
}

/// A parameter with the number that its block has among `layers`, in its own name and in those of
/// its tensors; `None` when the block is none of them.
fn renamed(spec: &ParameterSpec, layers: &[usize]) -> Option<ParameterSpec> {
    let Some((old, rest)) = spec.name.strip_prefix("blocks.").and_then(|name| name.split_once('.'))
    else {
        return Some(spec.clone());
    };
    let new = layers.iter().position(|layer| layer.to_string() == old)?.to_string();
    let mut spec = ParameterSpec { name: format!("blocks.{new}.{rest}"), ..spec.clone() };
    for part in &mut spec.parts {
        // The number of the block is the only number among the parts of a tensor's name.
        let names = part.name.split('.').map(|name| if name == old { &new } else { name });
        part.name = names.collect::<Vec<&str>>().join(".");
    }
    Some(spec)
}
