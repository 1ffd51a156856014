//! A low-rank adapter beside the weight of a linear layer (Hu et al. 2021, LoRA: Low-Rank
//! Adaptation of Large Language Models, arXiv:2106.09685).

use crate::rounded_parameters::RoundedParameters;
use rankforge_kernels::ops::{self, Epilogue, InputGradient, Store, WeightGradient};
use rankforge_kernels::{Arena, ArenaLayout, Buffer, ParameterId, View, ViewMut};
use std::ops::Range;

/// `scale * up (down x)`, added to the output of a linear layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adapter {
    /// `r x K`.
    down: ParameterId,
    /// `N x r`.
    up: ParameterId,
    scale: f32,
}

/// What the backward pass of an adapter reads, and where the gradient of its input goes.
pub(crate) struct AdapterBackward<'a> {
    /// The rows of `up`.
    pub(crate) outputs: Range<usize>,
    /// Gradient of the output, `T x outputs`.
    pub(crate) d_out: View<'a>,
    /// Input of the forward pass, `T x K`.
    pub(crate) x: View<'a>,
    /// Gradient of the input, `T x K`; that of the adapter is added.
    pub(crate) d_x: ViewMut<'a>,
}

impl Adapter {
    /// The adapter of the layer `name`, if the arena has one.
    pub(crate) fn find(layout: &ArenaLayout, name: &str, scale: f32) -> Option<Adapter> {
        let down = layout.find(&down_name(name))?;
        let up = layout.find(&up_name(name))?;
        Some(Adapter { down, up, scale })
    }

    /// The parameters.
    pub(crate) fn ids(&self) -> [ParameterId; 2] {
        [self.down, self.up]
    }

    /// `out = scale * up (down x)`, for the rows of `up` that are `outputs`.
    ///
    /// # Shapes
    /// `x`: `T x K`; `out`: `T x outputs`.
    pub(crate) fn forward(
        &self,
        rounded: RoundedParameters<'_>,
        outputs: Range<usize>,
        x: View<'_>,
        out: ViewMut<'_>,
    ) {
        let RoundedParameters { parameters, precision, .. } = rounded;
        let hidden = self.hidden(rounded, x);
        let up = parameters.view(self.up).slice_rows(outputs);
        ops::linear(hidden.view(), up, precision, Epilogue::default(), out);
    }

    /// Adds the gradients of `up` and `down` where they are trained, and that of the input.
    pub(crate) fn backward(
        &self,
        rounded: RoundedParameters<'_>,
        gradients: &mut Arena,
        backward: AdapterBackward<'_>,
    ) {
        let AdapterBackward { outputs, d_out, x, d_x } = backward;
        let RoundedParameters { parameters, precision, .. } = rounded;
        let hidden = self.hidden(rounded, x);
        let mut d_hidden = Buffer::zeros(x.device(), x.rows(), hidden.columns());
        let weight = parameters.view(self.up).slice_rows(outputs.clone());
        let input = InputGradient { weight, store: Store::Write, d_x: d_hidden.view_mut() };
        let up = gradients.has(self.up).then(|| WeightGradient {
            x: hidden.view(),
            d_weight: gradients.view_mut(self.up).slice_rows(outputs),
            d_bias: None,
        });
        ops::linear_backward(d_out, precision, Some(input), up);
        ops::scale(self.scale, d_hidden.view_mut());
        let weight = parameters.view(self.down);
        let input = InputGradient { weight, store: Store::Add, d_x };
        let down = gradients.has(self.down).then(|| WeightGradient {
            x,
            d_weight: gradients.view_mut(self.down),
            d_bias: None,
        });
        ops::linear_backward(d_hidden.view(), precision, Some(input), down);
    }

    /// `scale * down x`, `T x r`.
    fn hidden(&self, rounded: RoundedParameters<'_>, x: View<'_>) -> Buffer {
        let down = rounded.parameters.view(self.down);
        let mut hidden = Buffer::zeros(x.device(), x.rows(), down.rows());
        let epilogue = Epilogue::default();
        ops::linear(x, down, rounded.precision, epilogue, hidden.view_mut());
        ops::scale(self.scale, hidden.view_mut());
        hidden
    }

    /// Adds `scale * up down` to `rows` of the weight, `rows x K`, on the host: the weight of a
    /// layer that computes the same without an adapter.
    pub(crate) fn merge(&self, parameters: &Arena, rows: Range<usize>, weight: &mut [f32]) {
        let (down, up) = (parameters.view(self.down), parameters.view(self.up));
        let (rank, inputs) = (down.rows(), down.columns());
        let (down, up) = (down.to_vec(), up.slice_rows(rows).to_vec());
        let mut sums = vec![0.0_f64; inputs];
        for (weight, up) in weight.chunks_exact_mut(inputs).zip(up.chunks_exact(rank)) {
            sums.fill(0.0);
            for (factor, down) in up.iter().zip(down.chunks_exact(inputs)) {
                let factor = f64::from(*factor) * f64::from(self.scale);
                for (sum, down) in sums.iter_mut().zip(down) {
                    *sum += factor * f64::from(*down);
                }
            }
            for (weight, sum) in weight.iter_mut().zip(&sums) {
                *weight = (f64::from(*weight) + sum) as f32;
            }
        }
    }
}

/// The arena name of `down` beside the layer `name`.
pub(crate) fn down_name(name: &str) -> String {
    format!("{name}.adapter.down")
}

/// The arena name of `up` beside the layer `name`.
pub(crate) fn up_name(name: &str) -> String {
    format!("{name}.adapter.up")
}
