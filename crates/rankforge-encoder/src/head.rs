use crate::buffers::buffers;
use crate::layers::{LinearBackward, NormBackward};
use crate::mode::HEAD;
use crate::outputs::Outputs;
use crate::pass::Pass;
use crate::stages::HeadStage;
use rankforge_kernels::ops::{self, Epilogue, Pool, Pooling, Store};
use rankforge_kernels::{Arena, Buffer, Device, ParameterId, View};

/// Activations of the head, `B` rows in every stage: too small to share memory between stages.
pub(crate) struct HeadActivations {
    device: Device,
    stages: Vec<StageActivations>,
    d: HeadGradients,
}

buffers! {
    /// Activations of one stage.
    StageActivations {
        output,
        /// The sum before the activation of a dense stage, the norms of `Normalize`, or the
        /// statistics of a layer norm.
        saved,
        /// The residual after its projection.
        projected,
    }
}

buffers! {
    /// Gradients of one stage, shared by all.
    HeadGradients {
        /// Of its output.
        output,
        /// Of its input.
        input,
        /// Of the sum before its activation.
        sum,
    }
}

impl HeadActivations {
    pub(crate) fn new(device: &Device) -> HeadActivations {
        let d = HeadGradients::new(device);
        HeadActivations { device: device.clone(), stages: Vec::new(), d }
    }

    pub(crate) fn buffers(&self) -> impl Iterator<Item = &Buffer> {
        self.d.buffers().chain(self.stages.iter().flat_map(StageActivations::buffers))
    }
}

/// What the first stage pools.
#[derive(Clone, Copy)]
pub(crate) enum PoolSource<'a> {
    /// Hidden states, a row for each token.
    Hidden(View<'a>),
    /// The embedding table, of a model whose hidden states would be copies of its rows.
    Table(View<'a>),
}

/// Outputs of the head, `B x output_columns`, given the last hidden states.
///
/// # Panics
/// When the head has no stage: there is nothing that turns hidden states into outputs.
pub(crate) fn forward<'w>(
    pass: &Pass<'_>,
    input: PoolSource<'_>,
    activations: &'w mut HeadActivations,
) -> View<'w> {
    let stages = pass.stages;
    assert!(!stages.is_empty(), "a model without a pooling stage has no outputs");
    while activations.stages.len() < stages.len() {
        activations.stages.push(StageActivations::new(&activations.device));
    }
    for (index, stage) in stages.iter().enumerate() {
        let (before, rest) = activations.stages.split_at_mut(index);
        let input = before.last().map_or(input, |stage| PoolSource::Hidden(stage.output.view()));
        let saved = &mut rest[0];
        match (stage, input) {
            (HeadStage::Pool { modes, skip_prompt }, input) => {
                pool_forward(pass, modes, *skip_prompt, input, saved);
            }
            (_, PoolSource::Hidden(input)) => {
                stage_forward(pass, index, input, saved);
            }
            (_, PoolSource::Table(_)) => unreachable!("the first stage pools"),
        }
    }
    activations.stages[stages.len() - 1].output.view()
}

/// What the backward pass of the head reads, and where the gradient of its input goes.
pub(crate) struct HeadBackward<'a> {
    /// Gradient of the outputs, `B x output_columns`.
    pub(crate) d_outputs: &'a Outputs,
    /// What was pooled, and where its gradient goes.
    pub(crate) pooled: Pooled<'a>,
}

/// The input of the pooling stage in a backward pass.
pub(crate) enum Pooled<'a> {
    /// Hidden states, a row for each token.
    Hidden {
        /// The last hidden states.
        hidden: View<'a>,
        /// Their gradient, which is overwritten.
        d_hidden: &'a mut Buffer,
    },
    /// Rows of the embedding table, to whose gradient that of each token is added.
    Table(ParameterId),
}

/// Adds the gradients of the head's parameters and gives that of the hidden states; needs a
/// [`forward`] on the same batch.
pub(crate) fn backward(
    pass: &Pass<'_>,
    activations: &mut HeadActivations,
    gradients: &mut Arena,
    backward: HeadBackward<'_>,
) {
    let HeadBackward { d_outputs, pooled } = backward;
    let HeadActivations { stages: saved, d, .. } = activations;
    d.output.reshape(d_outputs.rows, d_outputs.columns).view_mut().write(&d_outputs.values);
    for (index, stage) in pass.stages.iter().enumerate().rev() {
        if let HeadStage::Pool { modes, skip_prompt } = stage {
            let skip_prompt = *skip_prompt;
            return pooling_backward(
                pass,
                modes,
                skip_prompt,
                (d.output.view(), pooled),
                gradients,
            );
        }
        let input = saved[index - 1].output.view();
        d.input.reshape(input.rows(), input.columns());
        stage_backward(pass, SavedStage { index, input, saved: &saved[index] }, d, gradients);
        std::mem::swap(&mut d.output, &mut d.input);
    }
}

fn pool_forward(
    pass: &Pass<'_>,
    modes: &[Pooling],
    skip_prompt: bool,
    input: PoolSource<'_>,
    saved: &mut StageActivations,
) {
    let (ragged, prompt) = pass.head_input();
    let skip = prompt.filter(|_| skip_prompt);
    let (PoolSource::Hidden(rows) | PoolSource::Table(rows)) = input;
    let width = rows.columns();
    let output = saved.output.reshape(pass.batch.ragged.sequences(), modes.len() * width);
    for (column, &mode) in (0..).step_by(width.max(1)).zip(modes) {
        let config = Pool { mode, ragged, skip, column };
        match input {
            PoolSource::Hidden(x) => ops::pool(&config, x, output.view_mut()),
            PoolSource::Table(table) => {
                ops::pool_embeddings(&config, table, &pass.batch.ids, output.view_mut());
            }
        }
    }
}

/// Backward of [`pool_forward`], given the gradient of its output.
fn pooling_backward(
    pass: &Pass<'_>,
    modes: &[Pooling],
    skip_prompt: bool,
    (d_output, pooled): (View<'_>, Pooled<'_>),
    gradients: &mut Arena,
) {
    let (ragged, prompt) = pass.head_input();
    let skip = prompt.filter(|_| skip_prompt);
    let width = d_output.columns() / modes.len();
    let places = (0..).step_by(width.max(1)).zip(modes);
    let configs = places.map(|(column, &mode)| Pool { mode, ragged, skip, column });
    match pooled {
        Pooled::Hidden { hidden, d_hidden } => {
            d_hidden.reshape(hidden.rows(), hidden.columns()).view_mut().fill(0.0);
            for config in configs {
                ops::pool_backward(&config, d_output, hidden, d_hidden.view_mut());
            }
        }
        Pooled::Table(table) if gradients.has(table) => {
            for config in configs {
                let (ids, d_table) = (&pass.batch.ids, gradients.view_mut(table));
                ops::pool_embeddings_backward(&config, d_output, ids, d_table);
            }
        }
        Pooled::Table(_) => {}
    }
}

fn stage_forward(pass: &Pass<'_>, index: usize, input: View<'_>, saved: &mut StageActivations) {
    let (stage, parameters) = (&pass.stages[index], &pass.head[index]);
    let rows = pass.batch.ragged.sequences();
    let output = saved.output.reshape(rows, stage.output_columns(input.columns()));
    match *stage {
        HeadStage::Pool { .. } => unreachable!("pooled by `pool_forward`"),
        HeadStage::Dropout(probability) => {
            output.view_mut().fill(0.0);
            ops::add(input, output.view_mut());
            if let Some(dropout) = pass.dropout(probability, HEAD + index as u64) {
                ops::dropout(dropout, output.view_mut());
            }
        }
        HeadStage::Dense { outputs, activation, residual, .. } => {
            let residual = match parameters.residual {
                Some(projection) => {
                    let projected = saved.projected.reshape(rows, outputs);
                    let epilogue = Epilogue::default();
                    projection.forward(pass.rounded(), input, epilogue, projected.view_mut());
                    Some(projected.view())
                }
                None => residual.then_some(input),
            };
            let epilogue = Epilogue {
                pre_activation: Some(saved.saved.reshape(rows, outputs).view_mut()),
                activation: Some(activation),
                residual,
                ..Epilogue::default()
            };
            let linear = parameters.linear.expect("a dense stage has a linear layer");
            linear.forward(pass.rounded(), input, epilogue, output.view_mut());
        }
        HeadStage::LayerNorm { .. } => {
            let statistics = saved.saved.reshape(rows, 2).view_mut();
            let norm = parameters.norm.expect("a norm stage has a norm");
            norm.forward(pass.parameters, input, output.view_mut(), statistics);
        }
        HeadStage::Normalize => {
            let norms = saved.saved.reshape(rows, 1).view_mut();
            ops::normalize(input, output.view_mut(), norms);
        }
    }
}

/// A stage after its forward pass.
struct SavedStage<'a> {
    index: usize,
    input: View<'a>,
    saved: &'a StageActivations,
}

/// Backward of [`stage_forward`] for all stages but `Pool`: `d.input` from `d.output`.
fn stage_backward(
    pass: &Pass<'_>,
    stage: SavedStage<'_>,
    d: &mut HeadGradients,
    gradients: &mut Arena,
) {
    let SavedStage { index, input, saved } = stage;
    let (stage, parameters) = (&pass.stages[index], &pass.head[index]);
    let HeadGradients { output: d_output, input: d_input, sum: d_sum } = d;
    match *stage {
        HeadStage::Pool { .. } => unreachable!("pooling is the first stage"),
        HeadStage::Dropout(probability) => {
            if let Some(dropout) = pass.dropout(probability, HEAD + index as u64) {
                ops::dropout(dropout, d_output.view_mut());
            }
            std::mem::swap(d_input, d_output);
        }
        HeadStage::Dense { outputs, activation, residual, .. } => {
            let linear = parameters.linear.expect("a dense stage has a linear layer");
            let d_sum = d_sum.reshape(input.rows(), outputs);
            let d_output = d_output.view();
            ops::activate_backward(activation, d_output, saved.saved.view(), d_sum.view_mut());
            let (d_out, store, d_x) = (d_sum.view(), Store::Write, d_input.view_mut());
            let backward = LinearBackward { d_out, x: input, store, d_x };
            linear.backward(pass.rounded(), gradients, backward);
            if let Some(projection) = parameters.residual {
                let (store, d_x) = (Store::Add, d_input.view_mut());
                let backward = LinearBackward { d_out: d_output, x: input, store, d_x };
                projection.backward(pass.rounded(), gradients, backward);
            } else if residual {
                ops::add(d_output, d_input.view_mut());
            }
        }
        HeadStage::LayerNorm { .. } => {
            let norm = parameters.norm.expect("a norm stage has a norm");
            let backward = NormBackward {
                d_out: d_output.view(),
                x: input,
                statistics: saved.saved.view(),
                accumulate: false,
                d_x: d_input.view_mut(),
            };
            norm.backward(pass.parameters, gradients, backward);
        }
        HeadStage::Normalize => {
            let (output, norms) = (saved.output.view(), saved.saved.view());
            ops::normalize_backward(d_output.view(), output, norms, d_input.view_mut());
        }
    }
}
