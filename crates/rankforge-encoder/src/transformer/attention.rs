//! The first half of a transformer block: attention for all tokens, or only for those that the head
//! reads.

use crate::config::Positions;
use crate::layers::{LinearBackward, NormBackward, dropped};
use crate::mode::{Site, place};
use crate::pass::{Pass, Readout};
use crate::workspace::{BlockActivations, EncoderGradients};
use rankforge_kernels::ops::{
    self, Attention, AttentionBackward, Epilogue, Qkv, RelativeBias, Store,
};
use rankforge_kernels::{Arena, Indices, View};

/// `attended = input + dropout(W attention(norm(input)))`, where `norm` is the layer norm before
/// attention, or the identity in a block without one.
///
/// In the last block, with a readout, only the rows of the readout are computed.
pub(super) fn attention(
    pass: &Pass<'_>,
    index: usize,
    input: View<'_>,
    saved: &mut BlockActivations,
) {
    let Pass { config, parameters, batch, .. } = *pass;
    let (block, tokens, h) =
        (&pass.transformer.blocks[index], batch.ragged.tokens(), config.hidden_size);
    if let Some(norm) = block.first_norm {
        let out = saved.attention_input.reshape(tokens, h).view_mut();
        let statistics = saved.first_statistics.reshape(tokens, 2).view_mut();
        norm.forward(parameters, input, out, statistics);
    }
    attend(pass, index, input, saved);
    let residual = match pass.readout_at(index) {
        None => input,
        Some(Readout { rows, .. }) => {
            let residual = saved.input_readout.reshape(rows.len(), h);
            ops::gather(input, rows, false, residual.view_mut());
            residual.view()
        }
    };
    let dropout =
        pass.dropout(config.attention_output_dropout, place(index, Site::AttentionOutput));
    let epilogue = Epilogue { dropout, residual: Some(residual), ..Epilogue::default() };
    let attended = saved.attended.reshape(residual.rows(), h).view_mut();
    block.attention_output.forward(pass.rounded(), saved.context.view(), epilogue, attended);
}

/// `context = attention(x)`, where `x` is the output of the layer norm before attention, or `input`
/// in a block without one.
///
/// Every token is a query token; in the last block, with a readout, only the tokens of the readout
/// are. Keys and values come from all tokens.
fn attend(pass: &Pass<'_>, index: usize, input: View<'_>, saved: &mut BlockActivations) {
    let (config, ragged, block) =
        (pass.config, &pass.batch.ragged, &pass.transformer.blocks[index]);
    let (tokens, heads, h) = (ragged.tokens(), config.heads, config.hidden_size);
    let BlockActivations { attention_input, qkv, queries, queries_input, .. } = saved;
    let x = if block.first_norm.is_some() { attention_input.view() } else { input };
    let attention = attention_config(pass, index);
    let qkv = match attention.queries {
        None => {
            let qkv = qkv.reshape(tokens, 3 * h);
            block.qkv.forward(pass.rounded(), x, Epilogue::default(), qkv.view_mut());
            if let Some(rotary) = &block.rotary {
                ops::rotary(rotary, ragged, None, 2 * heads, qkv.view_mut());
            }
            Qkv::Together(qkv.view())
        }
        Some(rows) => {
            let [for_queries, for_others] = [block.qkv.part(0..h), block.qkv.part(h..3 * h)];
            let (queries_input, queries) =
                (queries_input.reshape(rows.len(), h), queries.reshape(rows.len(), h));
            ops::gather(x, rows, false, queries_input.view_mut());
            let epilogue = Epilogue::default();
            for_queries.forward(pass.rounded(), queries_input.view(), epilogue, queries.view_mut());
            let keys_values = qkv.reshape(tokens, 2 * h);
            for_others.forward(pass.rounded(), x, Epilogue::default(), keys_values.view_mut());
            if let Some(rotary) = &block.rotary {
                ops::rotary(rotary, ragged, Some(rows), heads, queries.view_mut());
                ops::rotary(rotary, ragged, None, heads, keys_values.view_mut());
            }
            Qkv::Apart { queries: queries.view(), keys_values: keys_values.view() }
        }
    };
    let rows = attention.queries.map_or(tokens, Indices::len);
    let context = saved.context.reshape(rows, h).view_mut();
    let log_sum_exp = saved.log_sum_exp.reshape(rows, heads).view_mut();
    ops::attention(&attention, qkv, context, log_sum_exp);
}

/// A block after its forward pass.
#[derive(Clone, Copy)]
pub(super) struct SavedBlock<'a> {
    pub(super) index: usize,
    pub(super) input: View<'a>,
    pub(super) saved: &'a BlockActivations,
}

/// Backward of [`attention`]: replaces the gradient of `attended` in `d.hidden` by that of `input`,
/// and adds the gradients of the parameters to `gradients`.
pub(super) fn attention_backward(
    pass: &Pass<'_>,
    saved_block: SavedBlock<'_>,
    d: &mut EncoderGradients,
    gradients: &mut Arena,
) {
    let SavedBlock { index, input, saved } = saved_block;
    let Pass { config, transformer, parameters, batch, .. } = *pass;
    let (block, tokens, h) =
        (&transformer.blocks[index], batch.ragged.tokens(), config.hidden_size);
    let dropout =
        pass.dropout(config.attention_output_dropout, place(index, Site::AttentionOutput));
    let d_output = dropped(dropout, &d.hidden, &mut d.other);
    let backward = LinearBackward {
        d_out: d_output,
        x: saved.context.view(),
        store: Store::Write,
        d_x: d.context.reshape(d_output.rows(), h).view_mut(),
    };
    block.attention_output.backward(pass.rounded(), gradients, backward);

    if let Some(Readout { rows, .. }) = pass.readout_at(index) {
        let all = d.other.reshape(tokens, h);
        all.view_mut().fill(0.0);
        ops::gather_backward(d.hidden.view(), rows, all.view_mut());
        d.swap();
    }
    attend_backward(pass, saved_block, d, gradients);
    if let Some(norm) = block.first_norm {
        let backward = NormBackward {
            d_out: d.other.view(),
            x: input,
            statistics: saved.first_statistics.view(),
            accumulate: true,
            d_x: d.hidden.view_mut(),
        };
        norm.backward(parameters, gradients, backward);
    }
}

/// Backward of [`attend`], given the gradient of the context in `d.context`. The gradient of its
/// input is written to `d.other` when that is the output of a norm, and otherwise, when it is the
/// block's own input, added to `d.hidden`.
fn attend_backward(
    pass: &Pass<'_>,
    saved_block: SavedBlock<'_>,
    d: &mut EncoderGradients,
    gradients: &mut Arena,
) {
    let SavedBlock { index, input, saved } = saved_block;
    let (config, ragged, block) =
        (pass.config, &pass.batch.ragged, &pass.transformer.blocks[index]);
    let (tokens, heads, h) = (ragged.tokens(), config.heads, config.hidden_size);
    let attention = attention_config(pass, index);
    let normed = block.first_norm.is_some();
    let x = if normed { saved.attention_input.view() } else { input };
    let EncoderGradients { hidden, other, context: d_context, qkv: d_qkv, queries, .. } = d;
    let (context, log_sum_exp) = (saved.context.view(), saved.log_sum_exp.view());
    let (qkv, d_all) = match attention.queries {
        None => {
            let d_qkv = d_qkv.reshape(tokens, 3 * h).view_mut();
            (Qkv::Together(saved.qkv.view()), Qkv::Together(d_qkv))
        }
        Some(rows) => {
            let (of_queries, keys_values) = (saved.queries.view(), saved.qkv.view());
            let d_queries = queries.reshape(rows.len(), h).view_mut();
            let d_keys_values = d_qkv.reshape(tokens, 2 * h).view_mut();
            let d_all = Qkv::Apart { queries: d_queries, keys_values: d_keys_values };
            (Qkv::Apart { queries: of_queries, keys_values }, d_all)
        }
    };
    let table = pass.transformer.relative_bias.filter(|&table| gradients.has(table));
    let d_bias = table.map(|table| gradients.view_mut(table));
    let d_out = d_context.view();
    let inputs = AttentionBackward { d_out, qkv, out: context, log_sum_exp };
    ops::attention_backward(&attention, inputs, d_all, d_bias);

    let (store, d_x) = match normed {
        true => (Store::Write, other.reshape(tokens, h)),
        false => (Store::Add, hidden),
    };
    let Some(rows) = attention.queries else {
        if let Some(rotary) = &block.rotary {
            ops::rotary_backward(rotary, ragged, None, 2 * heads, d_qkv.view_mut());
        }
        let backward = LinearBackward { d_out: d_qkv.view(), x, store, d_x: d_x.view_mut() };
        return block.qkv.backward(pass.rounded(), gradients, backward);
    };
    if let Some(rotary) = &block.rotary {
        ops::rotary_backward(rotary, ragged, Some(rows), heads, queries.view_mut());
        ops::rotary_backward(rotary, ragged, None, heads, d_qkv.view_mut());
    }
    let [for_queries, for_others] = [block.qkv.part(0..h), block.qkv.part(h..3 * h)];
    let backward = LinearBackward { d_out: d_qkv.view(), x, store, d_x: d_x.view_mut() };
    for_others.backward(pass.rounded(), gradients, backward);
    let d_rows = d_context.reshape(rows.len(), h);
    let backward = LinearBackward {
        d_out: queries.view(),
        x: saved.queries_input.view(),
        store: Store::Write,
        d_x: d_rows.view_mut(),
    };
    for_queries.backward(pass.rounded(), gradients, backward);
    ops::gather_backward(d_rows.view(), rows, d_x.view_mut());
}

fn attention_config<'a>(pass: &Pass<'a>, index: usize) -> Attention<'a> {
    let config = pass.config;
    let head_dim = config.hidden_size / config.heads;
    let bias = pass.transformer.relative_bias.map(|table| match config.positions {
        Positions::LearnedWithRelativeBias { max_distance, .. } => {
            RelativeBias { table: pass.parameters.view(table), max_distance }
        }
        ref other => unreachable!("a relative position bias, but positions are {other:?}"),
    });
    Attention {
        ragged: &pass.batch.ragged,
        queries: pass.readout_at(index).map(|readout| &readout.rows),
        heads: config.heads,
        scale: 1.0 / (head_dim as f32).sqrt(),
        window: config.blocks[index].window,
        causal: false,
        bias,
        dropout: pass.dropout(config.attention_dropout, place(index, Site::Probabilities)),
        precision: pass.precision,
    }
}
