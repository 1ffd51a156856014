//! Low-rank adapters for the linear layers of a model's blocks.

use crate::adapter::{down_name, up_name};
use crate::architecture::{Architecture, Initializer, ParameterSpec, TensorPart};
use crate::error::EncoderError;
use crate::model::Model;

/// The module that the tensors of adapters belong to; no directory holds it.
pub const ADAPTER_MODULE: &str = "adapter";

/// Low-rank adapters: a layer with the weight `W`, `N x K`, also has `down`, `r x K`, and `up`,
/// `N x r`; it computes `W x + alpha / r * up (down x)`.
///
/// # Paper
/// Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterOptions {
    /// Rank `r` of the update.
    pub rank: usize,
    /// The update is scaled by `alpha / r`.
    pub alpha: f32,
    /// Which layers of every block get one.
    pub targets: Vec<AdapterTarget>,
    /// Seed of `down`; `up` starts at zero.
    pub seed: u64,
}

impl Default for AdapterOptions {
    /// Rank and alpha of peft's `LoraConfig`, on the attention layers.
    fn default() -> AdapterOptions {
        let targets = vec![AdapterTarget::QueryKeyValue, AdapterTarget::AttentionOutput];
        AdapterOptions { rank: 8, alpha: 8.0, targets, seed: 42 }
    }
}

/// A linear layer of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterTarget {
    /// The fused projection to queries, keys and values; they share `down`.
    QueryKeyValue,
    /// The projection of the attention's output.
    AttentionOutput,
    /// The first layer of the MLP.
    MlpInput,
    /// The second layer of the MLP.
    MlpOutput,
}

impl AdapterTarget {
    /// The layer's arena name within its block.
    fn layer(self) -> &'static str {
        match self {
            AdapterTarget::QueryKeyValue => "qkv",
            AdapterTarget::AttentionOutput => "attention_output",
            AdapterTarget::MlpInput => "mlp_input",
            AdapterTarget::MlpOutput => "mlp_output",
        }
    }
}

impl Model {
    /// Adds adapters, which change nothing until they are trained, and freezes every other
    /// parameter ([`Model::set_trainable`] can make some trainable again). A saved model has the
    /// adapters merged into its weights.
    ///
    /// # Errors
    /// A rank of 0 or beyond the smaller width of a target, no target or one that is named twice,
    /// an `alpha` that is not finite, a model without blocks, one that has adapters, or one without
    /// matrices ([`Packing::Instead`](crate::Packing::Instead)).
    pub fn add_adapters(&mut self, options: &AdapterOptions) -> Result<(), EncoderError> {
        self.expect_matrices()?;
        let AdapterOptions { rank, alpha, ref targets, seed } = *options;
        if rank == 0 {
            return Err(EncoderError::argument("rank", "at least 1", rank));
        }
        if !alpha.is_finite() {
            return Err(EncoderError::argument("alpha", "a finite number", alpha));
        }
        if targets.is_empty() {
            return Err(EncoderError::argument("targets", "at least one layer", "none"));
        }
        let twice = (1..targets.len()).find(|&index| targets[..index].contains(&targets[index]));
        if let Some(index) = twice {
            let got = format!("`{}` twice", targets[index].layer());
            return Err(EncoderError::argument("targets", "each layer at most once", got));
        }
        if self.architecture().encoder.blocks.is_empty() {
            let got = "a static embedding model";
            return Err(EncoderError::argument("adapters", "a model with linear layers", got));
        }
        if self.has_adapters() {
            let got = "a model that has adapters";
            return Err(EncoderError::argument("adapters", "a model without adapters", got));
        }
        let mut architecture = self.architecture().clone();
        for block in 0..architecture.encoder.blocks.len() {
            for target in targets {
                let name = format!("blocks.{block}.{}", target.layer());
                push_adapter(&mut architecture, &name, rank)?;
            }
        }
        *self = self.grown(architecture, alpha / rank as f32, seed);
        self.set_trainable(|name| name.starts_with(ADAPTER_MODULE))
    }
}

/// Adds the parameters of an adapter beside the layer `name`.
///
/// # Errors
/// A rank beyond that of the layer's weight.
fn push_adapter(
    architecture: &mut Architecture,
    name: &str,
    rank: usize,
) -> Result<(), EncoderError> {
    let weight = format!("{name}.weight");
    let weight = architecture.parameters.iter().find(|spec| spec.name == weight);
    let weight = weight.expect("every block has its linear layers");
    let (outputs, inputs) = (weight.rows, weight.columns);
    let most = inputs.min(outputs);
    if rank > most {
        let expected = format!("at most {most}, the smaller width of the layer {name}");
        return Err(EncoderError::argument("rank", expected, rank));
    }
    // As peft draws them: PyTorch's default for a `Linear`, and zeros.
    let uniform = Initializer::Uniform(1.0 / (inputs as f32).sqrt());
    let mut push = |name: String, rows: usize, columns: usize, initializer: Initializer| {
        let part = TensorPart {
            module: ADAPTER_MODULE.to_owned(),
            name: format!("{name}.weight"),
            shape: vec![rows, columns],
            rows: 0..rows,
        };
        let parts = vec![part];
        let spec = ParameterSpec { name, rows, columns, parts, initializer };
        architecture.parameters.push(spec);
    };
    push(down_name(name), rank, inputs, uniform);
    push(up_name(name), outputs, rank, Initializer::Zeros);
    Ok(())
}
