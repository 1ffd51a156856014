//! Outputs of several layers: the hidden states of each go through the same head.

use crate::head::{self, HeadActivations, HeadBackward, PoolSource, Pooled};
use crate::outputs::Outputs;
use crate::pass::Pass;
use crate::transformer;
use crate::workspace::{EncoderActivations, Workspace};
use rankforge_kernels::{Arena, Buffer, View};

/// The outputs of the last layer, and beside them those of each of the batch's layers. Keeps the
/// activations of all blocks, as the hidden states of each are read.
pub(super) fn forward(
    pass: &Pass<'_>,
    encoder: &mut EncoderActivations,
    activations: &mut HeadActivations,
) -> Outputs {
    let (layers, blocks) = (&pass.batch.layers, pass.config.blocks.len());
    assert!(
        layers.iter().all(|layer| *layer < blocks),
        "a layer that is not below the last of a model with {blocks} blocks"
    );
    transformer::forward(pass, true, encoder);
    let mut of = |hidden: View<'_>| {
        let outputs = head::forward(pass, PoolSource::Hidden(hidden), activations);
        Outputs { rows: outputs.rows(), columns: outputs.columns(), values: outputs.to_vec() }
    };
    let mut parts = vec![of(transformer::output(pass, encoder))];
    parts.extend(layers.iter().map(|layer| of(transformer::layer(encoder, *layer))));
    Outputs::side_by_side(&parts)
}

/// Backward of [`forward`]. The head is computed again for each layer before its backward pass, as
/// its activations are those of one layer at a time.
pub(super) fn backward(
    pass: &Pass<'_>,
    d_outputs: &Outputs,
    workspace: &mut Workspace,
    gradients: &mut Arena,
) {
    let layers = &pass.batch.layers;
    let width = d_outputs.columns / (layers.len() + 1);
    let Workspace { encoder, head: activations, d, d_layers, .. } = workspace;
    d_layers.resize_with(layers.len(), || Buffer::empty(pass.parameters.device()));
    let mut through_head = |place: usize, hidden: View<'_>, d_hidden: &mut Buffer| {
        head::forward(pass, PoolSource::Hidden(hidden), activations);
        let d_outputs = &d_outputs.columns(place * width..(place + 1) * width);
        let pooled = Pooled::Hidden { hidden, d_hidden };
        let backward = HeadBackward { d_outputs, pooled };
        head::backward(pass, activations, gradients, backward);
    };
    through_head(0, transformer::output(pass, encoder), &mut d.hidden);
    for (place, (layer, d_layer)) in layers.iter().zip(&mut *d_layers).enumerate() {
        through_head(place + 1, transformer::layer(encoder, *layer), d_layer);
    }
    transformer::backward(pass, encoder, d, gradients, d_layers);
}
