use crate::Outputs;
use crate::layers::{Linear, Norm};
use crate::pass::{HEAD, Pass};
use crate::workspace::buffers;
use rankforge_kernels::ops::{self, Activation, Epilogue, Pooling, Store};
use rankforge_kernels::{Arena, ArenaLayout, Buffer, Device, View};

/// One step from hidden states to outputs; classification heads and sentence-transformers modules
/// are chains of these. The first is always `Pool`.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadStage {
    /// `T x H` to `B x (modes · H)`, modes side by side.
    Pool {
        /// Which, in the order of their columns.
        modes: Vec<Pooling>,
        /// Leave the prompt's tokens out (`include_prompt = false`).
        skip_prompt: bool,
    },
    /// Dropout in training.
    Dropout(f32),
    /// `activation(W x + b)`, plus `x` when `residual` (projected where the widths differ).
    Dense {
        /// Width of the input.
        inputs: usize,
        /// Width of the output.
        outputs: usize,
        /// Whether there is a `b`.
        bias: bool,
        /// Applied to the sum.
        activation: Activation,
        /// Whether the input is added to the result.
        residual: bool,
    },
    /// Layer norm.
    LayerNorm {
        /// Width.
        width: usize,
        /// Epsilon.
        epsilon: f32,
        /// Whether it has a bias.
        bias: bool,
    },
    /// To unit length.
    Normalize,
}

impl HeadStage {
    /// Width of the output, given the width of the input.
    pub(crate) fn output_columns(&self, input: usize) -> usize {
        match *self {
            HeadStage::Pool { ref modes, .. } => modes.len() * input,
            HeadStage::Dense { outputs, .. } => outputs,
            HeadStage::Dropout(_) | HeadStage::LayerNorm { .. } | HeadStage::Normalize => input,
        }
    }
}

/// Where a stage's parameters are in the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StageParameters {
    linear: Option<Linear>,
    norm: Option<Norm>,
    residual: Option<Linear>,
}

/// Finds the parameters of `stages` in an arena laid out for them.
pub(crate) fn parameters(stages: &[HeadStage], layout: &ArenaLayout) -> Vec<StageParameters> {
    let find = |(index, stage): (usize, &HeadStage)| {
        let name = format!("head.{index}");
        let (mut linear, mut norm, mut residual) = (None, None, None);
        match *stage {
            HeadStage::Dense { .. } => {
                linear = Linear::find(layout, &name);
                residual = Linear::find(layout, &format!("{name}.residual"));
            }
            HeadStage::LayerNorm { epsilon, .. } => norm = Norm::find(layout, &name, epsilon),
            HeadStage::Pool { .. } | HeadStage::Dropout(_) | HeadStage::Normalize => {}
        }
        StageParameters { linear, norm, residual }
    };
    stages.iter().enumerate().map(find).collect()
}

/// What the head keeps: `B` rows, so small that nothing is shared.
pub(crate) struct HeadActivations {
    device: Device,
    stages: Vec<StageActivations>,
    d_output: Buffer,
    d_input: Buffer,
    d_sum: Buffer,
}

buffers! {
    /// What one stage keeps.
    StageActivations {
        output,
        /// Sum before the activation, norms, or statistics.
        saved,
        /// Projected residual.
        projected,
    }
}

impl HeadActivations {
    pub(crate) fn new(device: &Device) -> HeadActivations {
        let empty = || Buffer::empty(device);
        let (d_output, d_input, d_sum) = (empty(), empty(), empty());
        HeadActivations { device: device.clone(), stages: Vec::new(), d_output, d_input, d_sum }
    }

    pub(crate) fn buffers(&self) -> impl Iterator<Item = &Buffer> {
        let gradients = [&self.d_output, &self.d_input, &self.d_sum];
        gradients.into_iter().chain(self.stages.iter().flat_map(StageActivations::buffers))
    }
}

/// What the first stage pools.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    /// Hidden states, a row for each token.
    Hidden(View<'a>),
    /// A table that has a row for each id, where hidden states would be copies of its rows.
    Table(View<'a>),
}

/// Outputs of the head, `B x output_columns`, given the last hidden states.
///
/// # Panics
/// When there is no stage: hidden states of tokens are no outputs.
pub(crate) fn forward<'w>(
    pass: &Pass<'_>,
    stages: &[HeadStage],
    parameters: &[StageParameters],
    input: Input<'_>,
    activations: &'w mut HeadActivations,
) -> View<'w> {
    assert!(!stages.is_empty(), "a model without a pooling stage has no outputs");
    while activations.stages.len() < stages.len() {
        activations.stages.push(StageActivations::new(&activations.device));
    }
    for (index, stage) in stages.iter().enumerate() {
        let (before, rest) = activations.stages.split_at_mut(index);
        let input = before.last().map_or(input, |stage| Input::Hidden(stage.output.view()));
        let saved = &mut rest[0];
        match (stage, input) {
            (HeadStage::Pool { modes, skip_prompt }, input) => {
                pool_forward(pass, modes, *skip_prompt, input, saved);
            }
            (_, Input::Hidden(input)) => {
                stage_forward(pass, index, stage, &parameters[index], input, saved);
            }
            (_, Input::Table(_)) => unreachable!("the first stage pools"),
        }
    }
    activations.stages[stages.len() - 1].output.view()
}

/// Adds the gradients of the head's parameters and gives that of the hidden states; needs a
/// [`forward`] on the same batch.
pub(crate) fn backward(
    pass: &Pass<'_>,
    stages: &[HeadStage],
    parameters: &[StageParameters],
    d_outputs: &Outputs,
    hidden: View<'_>,
    activations: &mut HeadActivations,
    d_hidden: &mut Buffer,
    gradients: &mut Arena,
) {
    d_hidden.reshape(hidden.rows(), hidden.columns()).view_mut().fill(0.0);
    let HeadActivations { stages: saved, d_output, d_input, d_sum, .. } = activations;
    d_output.reshape(d_outputs.rows, d_outputs.columns).view_mut().write(&d_outputs.values);
    for (index, stage) in stages.iter().enumerate().rev() {
        if let HeadStage::Pool { modes, skip_prompt } = stage {
            let ((ragged, prompt), d_output) = (pass.head_input(), d_output.view());
            let skip = prompt.as_ref().filter(|_| *skip_prompt);
            for (place, &mode) in modes.iter().enumerate() {
                let column = place * hidden.columns();
                let d_hidden = d_hidden.view_mut();
                ops::pool_backward(mode, d_output, hidden, ragged, skip, column, d_hidden);
            }
            return;
        }
        let input = saved[index - 1].output.view();
        d_input.reshape(input.rows(), input.columns());
        let (parameters, saved) = (&parameters[index], &saved[index]);
        stage_backward(
            pass, index, stage, parameters, d_output, input, saved, d_input, d_sum, gradients,
        );
        std::mem::swap(d_output, d_input);
    }
}

fn pool_forward(
    pass: &Pass<'_>,
    modes: &[Pooling],
    skip_prompt: bool,
    input: Input<'_>,
    saved: &mut StageActivations,
) {
    let (ragged, prompt) = pass.head_input();
    let skip = prompt.as_ref().filter(|_| skip_prompt);
    let (Input::Hidden(rows) | Input::Table(rows)) = input;
    let width = rows.columns();
    let output = saved.output.reshape(pass.batch.ragged.sequences(), modes.len() * width);
    for (column, &mode) in (0..).step_by(width.max(1)).zip(modes) {
        match input {
            Input::Hidden(x) => ops::pool(mode, x, ragged, skip, column, output.view_mut()),
            Input::Table(table) => {
                let ids = &pass.batch.ids;
                ops::pool_embeddings(mode, table, ids, ragged, skip, column, output.view_mut());
            }
        }
    }
}

fn stage_forward(
    pass: &Pass<'_>,
    index: usize,
    stage: &HeadStage,
    parameters: &StageParameters,
    input: View<'_>,
    saved: &mut StageActivations,
) {
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
                    projection.forward(pass, input, epilogue, projected.view_mut());
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
            linear.forward(pass, input, epilogue, output.view_mut());
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

/// Backward of [`stage_forward`] for all stages but `Pool`: `d_input` from `d_output`.
#[expect(clippy::too_many_arguments, reason = "names what is read and what is written")]
fn stage_backward(
    pass: &Pass<'_>,
    index: usize,
    stage: &HeadStage,
    parameters: &StageParameters,
    d_output: &mut Buffer,
    input: View<'_>,
    saved: &StageActivations,
    d_input: &mut Buffer,
    d_sum: &mut Buffer,
    gradients: &mut Arena,
) {
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
            let d_x = d_input.view_mut();
            linear.backward(pass, d_sum.view(), input, gradients, Store::Write, d_x);
            if let Some(projection) = parameters.residual {
                let d_x = d_input.view_mut();
                projection.backward(pass, d_output, input, gradients, Store::Add, d_x);
            } else if residual {
                ops::add(d_output, d_input.view_mut());
            }
        }
        HeadStage::LayerNorm { .. } => {
            let norm = parameters.norm.expect("a norm stage has a norm");
            let (d_output, statistics) = (d_output.view(), saved.saved.view());
            let d_x = d_input.view_mut();
            norm.backward(pass.parameters, d_output, input, statistics, false, d_x, gradients);
        }
        HeadStage::Normalize => {
            let (output, norms) = (saved.output.view(), saved.saved.view());
            ops::normalize_backward(d_output.view(), output, norms, d_input.view_mut());
        }
    }
}
