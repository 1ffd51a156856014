use crate::config::{EncoderConfig, Mlp, NormPlace, Positions};
use crate::stages::HeadStage;
use rankforge_kernels::ops::Activation;
use std::ops::Range;

/// What a transformers checkpoint is loaded as.
#[derive(Clone, Debug, PartialEq)]
pub enum TransformerTask {
    /// The transformer without a head, as with transformers' `AutoModel`.
    FeatureExtraction,
    /// The transformer with its family's classification head, as with transformers'
    /// `AutoModelForSequenceClassification`.
    SequenceClassification {
        /// Number of logits per input.
        num_labels: usize,
    },
}

/// Distribution of the initial values of a parameter that the checkpoint lacks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initializer {
    /// All zeros (biases).
    Zeros,
    /// All ones (weights of layer norms).
    Ones,
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Normal with mean 0, without the values beyond `cutoff * deviation` on either side.
    TruncatedNormal {
        /// Standard deviation of the normal distribution before it is truncated.
        deviation: f32,
        /// Largest magnitude, in units of `deviation`.
        cutoff: f32,
    },
    /// Uniform in `[-bound, bound)`, as PyTorch initialises a `Linear`.
    Uniform(f32),
}

/// A tensor of a checkpoint, and the rows of an arena matrix that contain its elements.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorPart {
    /// Subdirectory of the module whose file contains the tensor; `""` for the transformer itself.
    pub module: String,
    /// Name in `model.safetensors`.
    pub name: String,
    /// Shape in the file. It has as many elements as the rows.
    pub shape: Vec<usize>,
    /// Rows of the matrix. A fused projection of queries, keys and values consists of three
    /// tensors.
    pub rows: Range<usize>,
}

impl TensorPart {
    /// The module and the name, with a point between them; the name alone for the transformer.
    pub fn full_name(&self) -> String {
        match self.module.as_str() {
            "" => self.name.clone(),
            module => format!("{module}.{}", self.name),
        }
    }

    /// Whether it is of an adapter, and not of the model beside it.
    pub(crate) fn is_of_adapter(&self) -> bool {
        self.module == ADAPTER_MODULE
    }
}

/// The module that the tensors of adapters belong to; their names in it are those of the layers
/// they are beside, with `lora_A.weight` and `lora_B.weight`.
pub const ADAPTER_MODULE: &str = "adapter";

/// Name of the parameter with the word embeddings, which every model has.
pub(crate) const WORD_EMBEDDINGS: &str = "embeddings.word";

/// Name, shape and origin of one matrix of the parameter arena.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// Name in the arena, such as `blocks.0.qkv.weight`.
    pub name: String,
    /// Number of rows; 1 for a vector.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// The checkpoint tensors that the matrix consists of.
    pub parts: Vec<TensorPart>,
    /// Initial values of the tensors that the checkpoint lacks.
    pub initializer: Initializer,
}

impl ParameterSpec {
    /// Index of the stage of the head that the parameter is of; `None` in the transformer.
    pub(crate) fn head_stage(&self) -> Option<&str> {
        self.name.strip_prefix(HEAD)?.split('.').next()
    }
}

/// What the names of the head's parameters begin with.
const HEAD: &str = "head.";

/// The structure of a model: transformer, head, and the names and shapes of all parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// The transformer.
    pub encoder: EncoderConfig,
    /// The stages that turn hidden states into outputs, in order.
    pub head: Vec<HeadStage>,
    /// All parameters, in the order of the arena.
    pub parameters: Vec<ParameterSpec>,
}

impl Architecture {
    /// A static embedding model: an embedding table and no transformer block.
    ///
    /// The table is the tensor `tensor` of the module `module`. The head is empty.
    ///
    /// # Shapes
    /// The table is `vocab_size x width`.
    pub fn static_embedding(
        vocab_size: usize,
        width: usize,
        module: &str,
        tensor: &str,
    ) -> Architecture {
        let encoder = EncoderConfig {
            model_type: "static".to_owned(),
            vocab_size,
            embedding_size: width,
            hidden_size: width,
            heads: 1,
            intermediate_size: 0,
            type_vocab_size: 0,
            positions: Positions::None,
            embedding_norm: false,
            final_norm: false,
            norm_epsilon: 0.0,
            norm_bias: false,
            attention_bias: false,
            mlp_bias: false,
            norm_place: NormPlace::Post,
            mlp: Mlp::Plain(Activation::Identity),
            blocks: Vec::new(),
            embedding_dropout: 0.0,
            attention_dropout: 0.0,
            attention_output_dropout: 0.0,
            mlp_dropout: 0.0,
            mlp_output_dropout: 0.0,
            max_positions: usize::MAX,
        };
        let table = ParameterSpec {
            name: WORD_EMBEDDINGS.to_owned(),
            rows: vocab_size,
            columns: width,
            parts: vec![TensorPart {
                module: module.to_owned(),
                name: tensor.to_owned(),
                shape: vec![vocab_size, width],
                rows: 0..vocab_size,
            }],
            initializer: Initializer::Normal(1.0 / (width as f32).sqrt()),
        };
        Architecture { encoder, head: Vec::new(), parameters: vec![table] }
    }

    /// Appends a stage to the head.
    ///
    /// The parameters of the stage, if it has any, are tensors of the module `module` under the
    /// names of sentence-transformers: `linear.weight`, `linear.bias`, `residual.weight`,
    /// `norm.weight` and `norm.bias`.
    ///
    /// # Panics
    /// When the input width of the stage is not the output width of the model so far, when the
    /// first stage is not [`HeadStage::Pool`], or when a later one is.
    pub fn push_stage(&mut self, stage: HeadStage, module: &str) {
        let width = self.output_columns();
        match stage {
            HeadStage::Dense { inputs, .. } => {
                assert_eq!(inputs, width, "input width of {stage:?}");
            }
            HeadStage::LayerNorm { width: own, .. } => {
                assert_eq!(own, width, "input width of {stage:?}");
            }
            HeadStage::Pool { .. } | HeadStage::Dropout(_) | HeadStage::Normalize => {}
        }
        let pools = matches!(stage, HeadStage::Pool { .. });
        assert_eq!(
            pools,
            self.head.is_empty(),
            "pooling must be the first stage and no other: {stage:?} at index {}",
            self.head.len()
        );
        let (file_name, weight, bias) = match stage {
            // PyTorch's default for a `Linear`.
            HeadStage::Dense { inputs, .. } => {
                let uniform = Initializer::Uniform(1.0 / (inputs as f32).sqrt());
                ("linear", uniform, uniform)
            }
            _ => ("norm", Initializer::Ones, Initializer::Zeros),
        };
        let index = self.head.len();
        let tensors = StageTensors { module, file_name, weight, bias };
        self.parameters.extend(stage_parameters(index, &stage, tensors));
        self.head.push(stage);
    }

    /// Width of the outputs: the number of labels, or the embedding dimension.
    pub fn output_columns(&self) -> usize {
        let hidden = self.encoder.hidden_size;
        self.head.iter().fold(hidden, |width, stage| stage.output_columns(width))
    }

    /// Whether the model has a linear layer. Without one, as in most static embedding models, the
    /// [`Precision`](rankforge_kernels::Precision) has no effect.
    pub fn has_linear_layers(&self) -> bool {
        let dense = |stage: &HeadStage| matches!(stage, HeadStage::Dense { .. });
        !self.encoder.blocks.is_empty() || self.head.iter().any(dense)
    }
}

/// The tensors of a head stage: `{file_name}.weight` and `{file_name}.bias` of the module `module`,
/// and their initial values.
pub(crate) struct StageTensors<'a> {
    pub(crate) module: &'a str,
    pub(crate) file_name: &'a str,
    pub(crate) weight: Initializer,
    pub(crate) bias: Initializer,
}

/// The parameters of the head stage at `index`.
pub(crate) fn stage_parameters(
    index: usize,
    stage: &HeadStage,
    tensors: StageTensors<'_>,
) -> Vec<ParameterSpec> {
    let StageTensors { module, file_name, weight, bias } = tensors;
    let spec = |what: &str, file: String, shape: Vec<usize>, initializer| {
        let (rows, columns) =
            if let [rows, columns] = shape[..] { (rows, columns) } else { (1, shape[0]) };
        ParameterSpec {
            name: format!("{HEAD}{index}.{what}"),
            rows,
            columns,
            parts: vec![TensorPart { module: module.to_owned(), name: file, shape, rows: 0..rows }],
            initializer,
        }
    };
    let (weight_shape, bias_shape) = match *stage {
        HeadStage::Dense { inputs, outputs, bias, .. } => {
            (vec![outputs, inputs], bias.then_some(vec![outputs]))
        }
        HeadStage::LayerNorm { width, bias, .. } => (vec![width], bias.then_some(vec![width])),
        HeadStage::Pool { .. } | HeadStage::Dropout(_) | HeadStage::Normalize => return Vec::new(),
    };
    let mut specs = vec![spec("weight", format!("{file_name}.weight"), weight_shape, weight)];
    if let Some(shape) = bias_shape {
        specs.push(spec("bias", format!("{file_name}.bias"), shape, bias));
    }
    if let HeadStage::Dense { inputs, outputs, residual: true, .. } = *stage
        && inputs != outputs
    {
        // Where the widths differ, sentence-transformers projects the residual.
        let file = "residual.weight".to_owned();
        specs.push(spec("residual.weight", file, vec![outputs, inputs], weight));
    }
    specs
}
