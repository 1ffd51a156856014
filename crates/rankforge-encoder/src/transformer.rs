//! One transformer for every family: embeddings, blocks, final norm; each backward pass follows its
//! forward pass.
//!
//! A block of either norm place is the same three steps; what differs is which norms exist and
//! what the MLP's residual is:
//!
//! ```text
//! attended = input + attention(first norm? (input))        first norm: pre-norm families
//! middle   = middle norm (attended)
//! sum      = (pre: attended, post: middle) + mlp(middle)
//! output   = last norm? (sum)                              last norm: post-norm families
//! ```

mod attention;

use crate::config::{Mlp, NormPlace};
use crate::layers::{LinearBackward, Norm, NormBackward, dropped};
use crate::mode::{EMBEDDING, Site, place};
use crate::pass::Pass;
use crate::stages::HeadStage;
use crate::transformer::attention::{SavedBlock, attention, attention_backward};
use crate::workspace::{BlockActivations, EncoderActivations, EncoderGradients};
use rankforge_kernels::ops::{self, Epilogue, Pooling, Store};
use rankforge_kernels::{Arena, Buffer, ParameterId, View};

/// The last hidden states, `T x H`, or `B x H` with a readout. With `keep`, the activations hold
/// what [`backward`] needs: everything, or the inputs of the blocks if it is to compute the rest
/// again. Without, all blocks use the memory of one.
pub(crate) fn forward<'w>(
    pass: &Pass<'_>,
    keep: bool,
    activations: &'w mut EncoderActivations,
) -> View<'w> {
    let blocks = pass.config.blocks.len();
    activations.prepare(blocks, keep);
    let own = keep && !activations.recompute;
    embed(pass, activations);
    for index in 0..blocks {
        let EncoderActivations { hidden, blocks, .. } = &mut *activations;
        let (from, to) = if keep { (index, index + 1) } else { (index % 2, (index + 1) % 2) };
        let [input, output] = hidden.get_disjoint_mut([from, to]).expect("prepared");
        let saved = &mut blocks[if own { index } else { 0 }];
        attention(pass, index, input.view(), saved);
        mlp(pass, index, keep, saved, output);
    }
    let last = if keep { blocks } else { blocks % 2 };
    let Some(norm) = pass.transformer.final_norm else { return activations.hidden[last].view() };
    let x = activations.hidden[last].view();
    let out = activations.normed.reshape(x.rows(), x.columns()).view_mut();
    let statistics = activations.final_statistics.reshape(x.rows(), 2).view_mut();
    norm.forward(pass.parameters, x, out, statistics);
    activations.normed.view()
}

/// The word embedding table, when the hidden states are its rows unchanged: in static embedding
/// models. With `keep`, only where the gradient of pooling does not depend on these rows.
pub(crate) fn table(pass: &Pass<'_>, keep: bool) -> Option<ParameterId> {
    let Pass { config, transformer, stages, .. } = *pass;
    let by_rows = |stage: &HeadStage| {
        let HeadStage::Pool { modes, .. } = stage else { return false };
        modes.contains(&Pooling::Max)
    };
    let bare = config.blocks.is_empty()
        && transformer.position.is_none()
        && transformer.segment.is_none()
        && transformer.embedding_norm.is_none()
        && transformer.projection.is_none()
        && transformer.final_norm.is_none()
        && pass.dropout(config.embedding_dropout, EMBEDDING).is_none()
        && !(keep && stages.first().is_some_and(by_rows));
    bare.then_some(transformer.word)
}

/// The last hidden states again, after a [`forward`] with `keep`.
pub(crate) fn output<'w>(pass: &Pass<'_>, activations: &'w EncoderActivations) -> View<'w> {
    match pass.transformer.final_norm {
        Some(_) => activations.normed.view(),
        None => activations.hidden[pass.config.blocks.len()].view(),
    }
}

/// The hidden states of a layer below the last, after a [`forward`] with `keep`.
pub(crate) fn layer(activations: &EncoderActivations, layer: usize) -> View<'_> {
    activations.hidden[layer].view()
}

/// Adds the gradients of the parameters that are trained, given that of the last hidden states in
/// `d.hidden`; needs a [`forward`] with `keep`. Ends below the lowest of these parameters.
///
/// `d_layers` are gradients of the hidden states of the batch's layers.
pub(crate) fn backward(
    pass: &Pass<'_>,
    activations: &mut EncoderActivations,
    d: &mut EncoderGradients,
    gradients: &mut Arena,
    d_layers: &[Buffer],
) {
    let Some(lowest) = pass.transformer.lowest_trained(gradients) else { return };
    let blocks = pass.config.blocks.len();
    if let Some(norm) = pass.transformer.final_norm {
        let (x, statistics) = (activations.hidden[blocks].view(), &activations.final_statistics);
        norm_backward(pass, SavedNorm { norm, x, statistics }, d, gradients);
    }
    for index in (0..blocks).rev() {
        if index + 1 < lowest {
            return;
        }
        // The forward pass left the activations of the last block.
        if activations.recompute && index + 1 < blocks {
            forward_again(pass, index, activations);
        }
        let saved = &activations.blocks[if activations.recompute { 0 } else { index }];
        mlp_backward(pass, index, saved, d, gradients);
        let input = activations.hidden[index].view();
        attention_backward(pass, SavedBlock { index, input, saved }, d, gradients);
        for (_, d_layer) in pass.batch.layers.iter().zip(d_layers).filter(|(at, _)| **at == index) {
            ops::add(d_layer.view(), d.hidden.view_mut());
        }
    }
    if lowest == 0 {
        embed_backward(pass, activations, d, gradients);
    }
}

/// Computes the activations of a block again from its input. Dropout is a function of the draw and
/// the place, so that all bits are those of the forward pass.
fn forward_again(pass: &Pass<'_>, index: usize, activations: &mut EncoderActivations) {
    let EncoderActivations { hidden, blocks, .. } = activations;
    let [input, output] = hidden.get_disjoint_mut([index, index + 1]).expect("prepared");
    attention(pass, index, input.view(), &mut blocks[0]);
    mlp(pass, index, true, &mut blocks[0], output);
}

/// `hidden[0] = projection? (dropout(norm? (word + position + segment)))`.
fn embed(pass: &Pass<'_>, activations: &mut EncoderActivations) {
    let Pass { config, transformer, parameters, batch, .. } = *pass;
    let (tokens, width) = (batch.ragged.tokens(), config.embedding_size);
    let EncoderActivations { embedding_sum, embedding_statistics, embedded, hidden, .. } =
        activations;
    let hidden = hidden[0].reshape(tokens, config.hidden_size);
    let target = match transformer.projection {
        Some(_) => embedded.reshape(tokens, width),
        None => &mut *hidden,
    };
    let sum = match transformer.embedding_norm {
        Some(_) => &mut *embedding_sum.reshape(tokens, width),
        None => &mut *target,
    };
    ops::gather(parameters.view(transformer.word), &batch.ids, false, sum.view_mut());
    if let Some(table) = transformer.position {
        let positions = batch.positions.as_ref().expect("learned positions need position ids");
        ops::gather(parameters.view(table), positions, true, sum.view_mut());
    }
    if let Some(table) = transformer.segment {
        let segments = batch.type_ids.as_ref().expect("segment embeddings need segment ids");
        ops::gather(parameters.view(table), segments, true, sum.view_mut());
    }
    if let Some(norm) = transformer.embedding_norm {
        let statistics = embedding_statistics.reshape(tokens, 2).view_mut();
        norm.forward(parameters, embedding_sum.view(), target.view_mut(), statistics);
    }
    if let Some(dropout) = pass.dropout(config.embedding_dropout, EMBEDDING) {
        ops::dropout(dropout, target.view_mut());
    }
    if let Some(projection) = transformer.projection {
        projection.forward(pass.rounded(), embedded.view(), Epilogue::default(), hidden.view_mut());
    }
}

/// Backward of [`embed`], given the gradient of its output in `d.hidden`.
fn embed_backward(
    pass: &Pass<'_>,
    activations: &EncoderActivations,
    d: &mut EncoderGradients,
    gradients: &mut Arena,
) {
    let Pass { config, transformer, batch, .. } = *pass;
    let (tokens, width) = (batch.ragged.tokens(), config.embedding_size);
    if let Some(projection) = transformer.projection {
        let backward = LinearBackward {
            d_out: d.hidden.view(),
            x: activations.embedded.view(),
            store: Store::Write,
            d_x: d.other.reshape(tokens, width).view_mut(),
        };
        projection.backward(pass.rounded(), gradients, backward);
        d.swap();
    }
    if let Some(dropout) = pass.dropout(config.embedding_dropout, EMBEDDING) {
        ops::dropout(dropout, d.hidden.view_mut());
    }
    if let Some(norm) = transformer.embedding_norm {
        let (x, statistics) = (activations.embedding_sum.view(), &activations.embedding_statistics);
        norm_backward(pass, SavedNorm { norm, x, statistics }, d, gradients);
    }
    let tables = [
        (Some(transformer.word), Some(&batch.ids)),
        (transformer.position, batch.positions.as_ref()),
        (transformer.segment, batch.type_ids.as_ref()),
    ];
    for (table, rows) in tables {
        if let (Some(table), Some(rows)) = (table, rows)
            && gradients.has(table)
        {
            ops::gather_backward(d.hidden.view(), rows, gradients.view_mut(table));
        }
    }
}

/// `output = last norm? (residual + dropout(mlp(middle)))`, `middle = middle norm (attended)`.
fn mlp(
    pass: &Pass<'_>,
    index: usize,
    keep: bool,
    saved: &mut BlockActivations,
    output: &mut Buffer,
) {
    let Pass { config, parameters, .. } = *pass;
    let (h, f) = (config.hidden_size, config.intermediate_size);
    let tokens = saved.attended.rows();
    let block = &pass.transformer.blocks[index];
    let middle = saved.middle.reshape(tokens, h);
    let statistics = saved.middle_statistics.reshape(tokens, 2).view_mut();
    block.middle_norm.forward(parameters, saved.attended.view(), middle.view_mut(), statistics);

    let mut hidden = Buffer::working(parameters.device(), tokens, f);
    match config.mlp {
        Mlp::Plain(activation) => {
            let pre_activation = keep.then(|| saved.mlp_sum.reshape(tokens, f).view_mut());
            let activation = Some(activation);
            let epilogue = Epilogue { pre_activation, activation, ..Epilogue::default() };
            block.mlp_input.forward(pass.rounded(), middle.view(), epilogue, hidden.view_mut());
        }
        Mlp::Gated(gate) => {
            let sum = saved.mlp_sum.reshape(tokens, 2 * f);
            let epilogue = Epilogue::default();
            block.mlp_input.forward(pass.rounded(), middle.view(), epilogue, sum.view_mut());
            ops::gated(gate, sum.view(), hidden.view_mut());
        }
    }
    if let Some(dropout) = pass.dropout(config.mlp_dropout, place(index, Site::MlpHidden)) {
        ops::dropout(dropout, hidden.view_mut());
    }

    let residual = match config.norm_place {
        NormPlace::Post => saved.middle.view(),
        NormPlace::Pre => saved.attended.view(),
    };
    let dropout = pass.dropout(config.mlp_output_dropout, place(index, Site::MlpOutput));
    let epilogue = Epilogue { dropout, residual: Some(residual), ..Epilogue::default() };
    let output = output.reshape(tokens, h).view_mut();
    match block.last_norm {
        None => block.mlp_output.forward(pass.rounded(), hidden.view(), epilogue, output),
        Some(norm) => {
            let sum = saved.block_sum.reshape(tokens, h);
            block.mlp_output.forward(pass.rounded(), hidden.view(), epilogue, sum.view_mut());
            let statistics = saved.last_statistics.reshape(tokens, 2).view_mut();
            norm.forward(parameters, sum.view(), output, statistics);
        }
    }
}

/// The input of the MLP's second layer again, from that of its activation: computing it takes less
/// than its memory is worth, as it and the sums are the largest matrices of a block.
fn mlp_hidden(pass: &Pass<'_>, index: usize, saved: &BlockActivations) -> Buffer {
    let Pass { config, parameters, .. } = *pass;
    let sum = saved.mlp_sum.view();
    let mut hidden = Buffer::working(parameters.device(), sum.rows(), config.intermediate_size);
    match config.mlp {
        Mlp::Plain(function) => ops::activate(function, sum, hidden.view_mut()),
        Mlp::Gated(gate) => ops::gated(gate, sum, hidden.view_mut()),
    }
    if let Some(dropout) = pass.dropout(config.mlp_dropout, place(index, Site::MlpHidden)) {
        ops::dropout(dropout, hidden.view_mut());
    }
    hidden
}

/// Backward of [`mlp`]: turns the gradient of the block's output, in `d.hidden`, into that of
/// `attended`.
fn mlp_backward(
    pass: &Pass<'_>,
    index: usize,
    saved: &BlockActivations,
    d: &mut EncoderGradients,
    gradients: &mut Arena,
) {
    let Pass { config, parameters, .. } = *pass;
    let (h, f) = (config.hidden_size, config.intermediate_size);
    let tokens = saved.attended.rows();
    let block = &pass.transformer.blocks[index];
    if let Some(norm) = block.last_norm {
        let (x, statistics) = (saved.block_sum.view(), &saved.last_statistics);
        norm_backward(pass, SavedNorm { norm, x, statistics }, d, gradients);
    }
    let dropout = pass.dropout(config.mlp_output_dropout, place(index, Site::MlpOutput));
    let d_output = dropped(dropout, &d.hidden, &mut d.other);
    let hidden = mlp_hidden(pass, index, saved);
    let (hidden, sum) = (hidden.view(), saved.mlp_sum.view());
    let d_sum = d.mlp_sum.reshape(tokens, sum.columns());
    let output = block.mlp_output;
    let dropout = pass.dropout(config.mlp_dropout, place(index, Site::MlpHidden));
    match (config.mlp, dropout) {
        // The derivative of the activation is applied while the product is in cache.
        (Mlp::Plain(function), None) if !output.has_adapters() => {
            let (store, d_x) = (Store::Slopes(function, sum), d_sum.view_mut());
            let backward = LinearBackward { d_out: d_output, x: hidden, store, d_x };
            output.backward(pass.rounded(), gradients, backward);
        }
        (mlp, dropout) => {
            let d_hidden = d.mlp_hidden.reshape(tokens, f);
            let (store, d_x) = (Store::Write, d_hidden.view_mut());
            let backward = LinearBackward { d_out: d_output, x: hidden, store, d_x };
            output.backward(pass.rounded(), gradients, backward);
            if let Some(dropout) = dropout {
                ops::dropout(dropout, d_hidden.view_mut());
            }
            let (d_hidden, d_sum) = (d_hidden.view(), d_sum.view_mut());
            match mlp {
                Mlp::Plain(function) => ops::activate_backward(function, d_hidden, sum, d_sum),
                Mlp::Gated(gate) => ops::gated_backward(gate, d_hidden, sum, d_sum),
            }
        }
    }
    let (d_sum, middle) = (d_sum.view(), saved.middle.view());
    let (x, statistics) = (saved.attended.view(), &saved.middle_statistics);
    match config.norm_place {
        NormPlace::Post => {
            let (store, d_x) = (Store::Add, d.hidden.view_mut());
            let backward = LinearBackward { d_out: d_sum, x: middle, store, d_x };
            block.mlp_input.backward(pass.rounded(), gradients, backward);
            let norm = block.middle_norm;
            norm_backward(pass, SavedNorm { norm, x, statistics }, d, gradients);
        }
        NormPlace::Pre => {
            let d_middle = d.other.reshape(tokens, h);
            let (store, d_x) = (Store::Write, d_middle.view_mut());
            let backward = LinearBackward { d_out: d_sum, x: middle, store, d_x };
            block.mlp_input.backward(pass.rounded(), gradients, backward);
            let backward = NormBackward {
                d_out: d_middle.view(),
                x,
                statistics: statistics.view(),
                accumulate: true,
                d_x: d.hidden.view_mut(),
            };
            block.middle_norm.backward(parameters, gradients, backward);
        }
    }
}

/// A norm after its forward pass.
struct SavedNorm<'a> {
    norm: Norm,
    /// Its input.
    x: View<'a>,
    statistics: &'a Buffer,
}

/// Backward of a norm without a residual around it: `d.hidden` becomes the gradient of `x`.
fn norm_backward(
    pass: &Pass<'_>,
    norm: SavedNorm<'_>,
    d: &mut EncoderGradients,
    gradients: &mut Arena,
) {
    let SavedNorm { norm, x, statistics } = norm;
    let backward = NormBackward {
        d_out: d.hidden.view(),
        x,
        statistics: statistics.view(),
        accumulate: false,
        d_x: d.other.reshape(x.rows(), x.columns()).view_mut(),
    };
    norm.backward(pass.parameters, gradients, backward);
    d.swap();
}
