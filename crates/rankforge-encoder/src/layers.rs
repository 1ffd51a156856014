use crate::pass::Pass;
use crate::{EncoderConfig, NormPlace};
use rankforge_kernels::ops::{self, Epilogue, InputGradient, Rotary, Store, WeightGradient};
use rankforge_kernels::{Arena, ArenaLayout, Device, ParameterId, View, ViewMut};
use std::ops::Range;
use std::sync::Arc;

/// Where a linear layer's parameters are in the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    weight: ParameterId,
    bias: Option<ParameterId>,
    /// First and last but one of its outputs, where it has not all that the arena has.
    outputs: Option<[usize; 2]>,
}

impl Linear {
    /// The layer `name`, if the arena has it.
    pub(crate) fn find(layout: &ArenaLayout, name: &str) -> Option<Linear> {
        let weight = layout.find(&format!("{name}.weight"))?;
        Some(Linear { weight, bias: layout.find(&format!("{name}.bias")), outputs: None })
    }

    /// The layer that has only some of its outputs.
    pub(crate) fn part(self, outputs: Range<usize>) -> Linear {
        Linear { outputs: Some([outputs.start, outputs.end]), ..self }
    }

    /// Its outputs among `all` that the arena has.
    fn outputs(&self, all: usize) -> Range<usize> {
        let [start, end] = self.outputs.unwrap_or([0, all]);
        start..end
    }

    /// Its rows of the weight.
    fn weight<'a>(&self, parameters: &'a Arena) -> View<'a> {
        let weight = parameters.view(self.weight);
        weight.slice_rows(self.outputs(weight.rows()))
    }

    /// [`ops::linear`] with the layer's weight and bias.
    pub(crate) fn forward(
        &self,
        pass: &Pass<'_>,
        x: View<'_>,
        epilogue: Epilogue<'_>,
        out: ViewMut<'_>,
    ) {
        let parameters = pass.parameters;
        let weight = self.weight(parameters);
        // A fused bias has a row for each of its parts; the product wants one.
        let bias = self.bias.map(|bias| {
            let bias = parameters.view(bias);
            let count = bias.rows() * bias.columns();
            let bias = bias.with_shape(count, 1).slice_rows(self.outputs(count));
            bias.with_shape(1, weight.rows())
        });
        ops::linear(x, weight, pass.precision, Epilogue { bias, ..epilogue }, out);
    }

    /// Adds the layer's gradients and stores that of the input, `x`, in `d_x`.
    pub(crate) fn backward(
        &self,
        pass: &Pass<'_>,
        d_out: View<'_>,
        x: View<'_>,
        gradients: &mut Arena,
        store: Store<'_>,
        d_x: ViewMut<'_>,
    ) {
        let input = InputGradient { weight: self.weight(pass.parameters), store, d_x };
        let (d_weight, d_bias) = match self.bias {
            None => (gradients.view_mut(self.weight), None),
            Some(bias) => {
                let [d_weight, d_bias] = gradients.views_mut([self.weight, bias]);
                (d_weight, Some(d_bias))
            }
        };
        let (all, outputs) = (d_weight.rows(), self.outputs(d_weight.rows()));
        let d_weight = d_weight.slice_rows(outputs.clone());
        let d_bias = d_bias.map(|d_bias| {
            let d_bias = d_bias.with_shape(all, 1).slice_rows(outputs);
            d_bias.with_shape(1, d_weight.rows())
        });
        let weight = WeightGradient { x, d_weight, d_bias };
        ops::linear_backward(d_out, pass.precision, Some(input), Some(weight));
    }
}

/// Where a layer norm's parameters are in the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm {
    weight: ParameterId,
    bias: Option<ParameterId>,
    epsilon: f32,
}

impl Norm {
    /// The norm `name`, if the arena has it.
    pub(crate) fn find(layout: &ArenaLayout, name: &str, epsilon: f32) -> Option<Norm> {
        let weight = layout.find(&format!("{name}.weight"))?;
        Some(Norm { weight, bias: layout.find(&format!("{name}.bias")), epsilon })
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

    /// Adds the norm's gradients and gives that of the input, added to `d_x` when `accumulate`;
    /// needs the input and its statistics.
    pub(crate) fn backward(
        &self,
        parameters: &Arena,
        d_out: View<'_>,
        x: View<'_>,
        statistics: View<'_>,
        accumulate: bool,
        d_x: ViewMut<'_>,
        gradients: &mut Arena,
    ) {
        let weight = parameters.view(self.weight);
        let (d_weight, d_bias) = match self.bias {
            None => (gradients.view_mut(self.weight), None),
            Some(bias) => {
                let [d_weight, d_bias] = gradients.views_mut([self.weight, bias]);
                (d_weight, Some(d_bias))
            }
        };
        ops::layer_norm_backward(d_out, x, weight, statistics, accumulate, d_x, d_weight, d_bias);
    }
}

/// Where the transformer's parameters are in the arena, and its rotary tables.
#[derive(Clone)]
pub(crate) struct Transformer {
    pub(crate) word: ParameterId,
    pub(crate) position: Option<ParameterId>,
    pub(crate) segment: Option<ParameterId>,
    pub(crate) embedding_norm: Option<Norm>,
    pub(crate) projection: Option<Linear>,
    pub(crate) relative_bias: Option<ParameterId>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) final_norm: Option<Norm>,
}

/// Where a block's parameters are.
#[derive(Clone)]
pub(crate) struct Block {
    pub(crate) first_norm: Option<Norm>,
    pub(crate) qkv: Linear,
    pub(crate) attention_output: Linear,
    pub(crate) middle_norm: Norm,
    pub(crate) mlp_input: Linear,
    pub(crate) mlp_output: Linear,
    pub(crate) last_norm: Option<Norm>,
    pub(crate) rotary: Option<Arc<Rotary>>,
}

impl Transformer {
    /// Finds the parameters of `config` in an arena laid out for it.
    pub(crate) fn new(device: &Device, config: &EncoderConfig, layout: &ArenaLayout) -> Self {
        let norm = |name: &str| Norm::find(layout, name, config.norm_epsilon);
        let mut tables: Vec<(f64, Arc<Rotary>)> = Vec::new();
        let mut rotary = |theta: f64| {
            if let Some((_, table)) = tables.iter().find(|(known, _)| *known == theta) {
                return table.clone();
            }
            let head_dim = config.hidden_size / config.heads;
            let table = Arc::new(Rotary::new(device, config.max_positions, head_dim, theta));
            tables.push((theta, table.clone()));
            table
        };
        let mut block = |index: usize| {
            let name = |part: &str| format!("blocks.{index}.{part}");
            let linear = |part: &str| Linear::find(layout, &name(part)).expect("in the arena");
            let (attention, mlp) = (norm(&name("attention_norm")), norm(&name("mlp_norm")));
            let (first_norm, middle_norm, last_norm) = match config.norm_place {
                NormPlace::Post => (None, attention, mlp),
                NormPlace::Pre => (attention, mlp, None),
            };
            Block {
                first_norm,
                qkv: linear("qkv"),
                attention_output: linear("attention_output"),
                middle_norm: middle_norm.expect("every block has a norm between its halves"),
                mlp_input: linear("mlp_input"),
                mlp_output: linear("mlp_output"),
                last_norm,
                rotary: config.blocks[index].rotary_theta.map(&mut rotary),
            }
        };
        Transformer {
            blocks: (0..config.blocks.len()).map(&mut block).collect(),
            word: layout.find("embeddings.word").expect("every model embeds words"),
            position: layout.find("embeddings.position"),
            segment: layout.find("embeddings.type"),
            embedding_norm: norm("embeddings.norm"),
            projection: Linear::find(layout, "embeddings.projection"),
            relative_bias: layout.find("relative_bias"),
            final_norm: norm("final_norm"),
        }
    }
}
