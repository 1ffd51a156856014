//! The layers of a model: which matrices of the arena they use, forward and backward.

use crate::adapter::{Adapter, AdapterBackward, AdapterSettings, MOST_ADAPTERS, find_adapters};
use crate::rounded_parameters::RoundedParameters;
use rankforge_kernels::ops::{
    self, Dropout, Epilogue, InputGradient, LayerNormBackward, Store, WeightGradient,
};
use rankforge_kernels::{Arena, ArenaLayout, Buffer, ParameterId, View, ViewMut, Weight};
use std::ops::Range;

/// A linear layer: the ids of its parameters in the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    weight: ParameterId,
    bias: Option<ParameterId>,
    /// Range `[start, end)` of output rows, when the layer is a slice of a fused weight (the
    /// queries of a fused query, key and value projection).
    outputs: Option<[usize; 2]>,
    /// Adapters of different rows of the weight.
    adapters: [Option<Adapter>; MOST_ADAPTERS],
}

/// What the backward pass of a linear layer reads, and where the gradient of its input goes.
pub(crate) struct LinearBackward<'a> {
    /// Gradient of the output, `T x N`.
    pub(crate) d_out: View<'a>,
    /// Input of the forward pass, `T x K`.
    pub(crate) x: View<'a>,
    /// How the gradient of the input is stored in `d_x`.
    pub(crate) store: Store<'a>,
    /// Gradient of the input, `T x K`.
    pub(crate) d_x: ViewMut<'a>,
}

impl Linear {
    /// The layer `name`, if the arena has it. `adapters` are the settings of its adapters.
    pub(crate) fn find(
        layout: &ArenaLayout,
        name: &str,
        adapters: AdapterSettings,
    ) -> Option<Linear> {
        let weight = layout.find(&format!("{name}.weight"))?;
        let bias = layout.find(&format!("{name}.bias"));
        let adapters = find_adapters(layout, name, adapters);
        Some(Linear { weight, bias, outputs: None, adapters })
    }

    /// The id of the weight.
    pub(crate) fn weight_id(&self) -> ParameterId {
        self.weight
    }

    /// The layer that has only some of the output rows.
    pub(crate) fn part(self, outputs: Range<usize>) -> Linear {
        Linear { outputs: Some([outputs.start, outputs.end]), ..self }
    }

    /// The adapters beside the weight.
    pub(crate) fn adapters(&self) -> impl Iterator<Item = &Adapter> {
        self.adapters.iter().flatten()
    }

    /// Whether there are adapters beside the weight.
    pub(crate) fn has_adapters(&self) -> bool {
        self.adapters().next().is_some()
    }

    /// The parameters, those of the adapters included.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ParameterId> + use<> {
        let adapters = self.adapters.into_iter().flatten().flat_map(|adapter| adapter.ids());
        [self.weight].into_iter().chain(self.bias).chain(adapters)
    }

    /// The range of output rows among `all`.
    fn outputs(&self, all: usize) -> Range<usize> {
        let [start, end] = self.outputs.unwrap_or([0, all]);
        start..end
    }

    /// The rows of the weight that belong to this layer.
    fn weight<'a>(&self, parameters: &'a Arena) -> View<'a> {
        let weight = parameters.view(self.weight);
        weight.slice_rows(self.outputs(weight.rows()))
    }

    /// [`ops::linear`] with the layer's weight and bias, and with the outputs of its adapters added
    /// to the product.
    pub(crate) fn forward(
        &self,
        rounded: RoundedParameters<'_>,
        x: View<'_>,
        epilogue: Epilogue<'_>,
        mut out: ViewMut<'_>,
    ) {
        let RoundedParameters { parameters, packed, precision, .. } = rounded;
        let weight: Weight<'_> = match packed.and_then(|packed| packed.get(self.weight)) {
            Some(packed) => packed.slice_rows(self.outputs(packed.rows())).into(),
            None => self.weight(parameters).into(),
        };
        // A fused bias has a row for each of its parts; the product takes a single row.
        let bias = self.bias.map(|bias| {
            let bias = parameters.view(bias);
            let count = bias.rows() * bias.columns();
            let bias = bias.with_shape(count, 1).slice_rows(self.outputs(count));
            bias.with_shape(1, weight.rows())
        });
        let accumulate = self.has_adapters();
        if accumulate {
            self.adapters_forward(rounded, x, out.reborrow());
        }
        ops::linear(x, weight, precision, Epilogue { accumulate, bias, ..epilogue }, out);
    }

    /// `out` is the sum of the outputs of the adapters.
    fn adapters_forward(&self, rounded: RoundedParameters<'_>, x: View<'_>, mut out: ViewMut<'_>) {
        let outputs = self.outputs(rounded.parameters.layout().entry(self.weight).rows);
        if !self.adapters().any(|adapter| adapter.covers(outputs.clone())) {
            out.reborrow().fill(0.0);
        }
        for adapter in self.adapters() {
            adapter.forward(rounded, outputs.clone(), x, out.reborrow());
        }
    }

    /// Adds the gradients of the parameters that are trained, and stores that of the input.
    ///
    /// # Panics
    /// When the slopes of an activation are requested and there are adapters: they belong to the
    /// whole gradient of the input.
    pub(crate) fn backward(
        &self,
        rounded: RoundedParameters<'_>,
        gradients: &mut Arena,
        backward: LinearBackward<'_>,
    ) {
        let LinearBackward { d_out, x, store, mut d_x } = backward;
        let base = LinearBackward { d_out, x, store, d_x: d_x.reborrow() };
        self.base_backward(rounded, gradients, base);
        if self.has_adapters() {
            let slopes = matches!(store, Store::Slopes(..));
            assert!(!slopes, "the slopes of an activation before a layer with adapters");
        }
        let all = rounded.parameters.layout().entry(self.weight).rows;
        for adapter in self.adapters() {
            let (outputs, d_x) = (self.outputs(all), d_x.reborrow());
            adapter.backward(rounded, gradients, AdapterBackward { outputs, d_out, x, d_x });
        }
    }

    /// The gradients of the weight, the bias and the input, without the adapters.
    fn base_backward(
        &self,
        rounded: RoundedParameters<'_>,
        gradients: &mut Arena,
        backward: LinearBackward<'_>,
    ) {
        let RoundedParameters { parameters, precision, .. } = rounded;
        let LinearBackward { d_out, x, store, d_x } = backward;
        let input = InputGradient { weight: self.weight(parameters), store, d_x };
        let bias = self.bias.filter(|&bias| gradients.has(bias));
        if !gradients.has(self.weight) {
            ops::linear_backward(d_out, precision, Some(input), None);
            if let Some(bias) = bias {
                ops::column_sums(d_out, self.bias_part(gradients.view_mut(bias)));
            }
            return;
        }
        let (d_weight, d_bias) = match bias {
            None => (gradients.view_mut(self.weight), None),
            Some(bias) => {
                let [d_weight, d_bias] = gradients.views_mut([self.weight, bias]);
                (d_weight, Some(self.bias_part(d_bias)))
            }
        };
        let outputs = self.outputs(d_weight.rows());
        let weight = WeightGradient { x, d_weight: d_weight.slice_rows(outputs), d_bias };
        ops::linear_backward(d_out, precision, Some(input), Some(weight));
    }

    /// The part of the gradient of a bias that belongs to this layer, as one row.
    fn bias_part<'a>(&self, d_bias: ViewMut<'a>) -> ViewMut<'a> {
        let count = d_bias.rows() * d_bias.columns();
        let part = d_bias.with_shape(count, 1).slice_rows(self.outputs(count));
        let length = part.rows();
        part.with_shape(1, length)
    }
}

/// A layer norm: the ids of its parameters in the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm {
    weight: ParameterId,
    bias: Option<ParameterId>,
    epsilon: f32,
}

/// What the backward pass of a norm reads, and where the gradient of its input goes.
pub(crate) struct NormBackward<'a> {
    /// Gradient of the output, `T x H`.
    pub(crate) d_out: View<'a>,
    /// Input of the forward pass, `T x H`.
    pub(crate) x: View<'a>,
    /// Statistics of the forward pass, `T x 2`.
    pub(crate) statistics: View<'a>,
    /// Whether the gradient is added to `d_x` or stored there.
    pub(crate) accumulate: bool,
    /// Gradient of the input, `T x H`.
    pub(crate) d_x: ViewMut<'a>,
}

impl Norm {
    /// The norm `name`, if the arena has it.
    pub(crate) fn find(layout: &ArenaLayout, name: &str, epsilon: f32) -> Option<Norm> {
        let weight = layout.find(&format!("{name}.weight"))?;
        Some(Norm { weight, bias: layout.find(&format!("{name}.bias")), epsilon })
    }

    /// The parameters.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ParameterId> + use<> {
        [self.weight].into_iter().chain(self.bias)
    }

    /// [`ops::layer_norm`] with the norm's weight and bias.
    pub(crate) fn forward(
        &self,
        parameters: &Arena,
        x: View<'_>,
        out: ViewMut<'_>,
        statistics: ViewMut<'_>,
    ) {
        let bias = self.bias.map(|bias| parameters.view(bias));
        ops::layer_norm(x, parameters.view(self.weight), bias, self.epsilon, out, statistics);
    }

    /// Adds the gradients of the parameters that are trained, and gives that of the input.
    pub(crate) fn backward(
        &self,
        parameters: &Arena,
        gradients: &mut Arena,
        backward: NormBackward<'_>,
    ) {
        let NormBackward { d_out, x, statistics, accumulate, d_x } = backward;
        let weight = parameters.view(self.weight);
        let trained = |id: &ParameterId| gradients.has(*id);
        let ids = (Some(self.weight).filter(trained), self.bias.filter(trained));
        let (d_weight, d_bias) = match ids {
            (Some(weight), Some(bias)) => {
                let [d_weight, d_bias] = gradients.views_mut([weight, bias]);
                (Some(d_weight), Some(d_bias))
            }
            (Some(weight), None) => (Some(gradients.view_mut(weight)), None),
            (None, Some(bias)) => (None, Some(gradients.view_mut(bias))),
            (None, None) => (None, None),
        };
        let inputs = LayerNormBackward { d_out, x, weight, statistics };
        ops::layer_norm_backward(inputs, accumulate, d_x, d_weight, d_bias);
    }
}

/// The gradient of the input of a dropout, written to `copy`; `d_out` itself where dropout is off.
pub(crate) fn dropped<'a>(
    dropout: Option<Dropout>,
    d_out: &'a Buffer,
    copy: &'a mut Buffer,
) -> View<'a> {
    let Some(dropout) = dropout else { return d_out.view() };
    let target = copy.reshape(d_out.rows(), d_out.columns()).view_mut();
    ops::dropout_to(dropout, d_out.view(), target);
    copy.view()
}
