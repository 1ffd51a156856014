use crate::{EncoderConfig, EncoderError, HeadStage, Mlp, NormPlace, Positions, families};
use rankforge_kernels::ops::Activation;
use std::ops::Range;
use std::path::Path;

/// What the transformer directory's weights are read as.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Hidden states only, as transformers' `AutoModel`.
    FeatureExtraction,
    /// With the family's classification head, as `AutoModelForSequenceClassification`.
    SequenceClassification {
        /// Scores for each input.
        num_labels: usize,
    },
}

/// How a fresh parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initializer {
    /// Zeros (biases).
    Zeros,
    /// Ones (norm weights).
    Ones,
    /// Normal with this standard deviation.
    Normal(f32),
    /// Normal with this standard deviation, cut at so many of them.
    TruncatedNormal {
        /// Standard deviation before the cut.
        deviation: f32,
        /// Where it is cut, in standard deviations.
        cutoff: f32,
    },
    /// Uniform in `-bound..bound` (PyTorch's `Linear`).
    Uniform(f32),
}

/// A tensor of a checkpoint and the rows of an arena matrix that hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorPart {
    /// Folder of the module that holds it, `""` for the transformer itself.
    pub module: String,
    /// Name in `model.safetensors`.
    pub name: String,
    /// Shape in the file; its count of numbers is that of the rows.
    pub shape: Vec<usize>,
    /// Rows of the matrix (fused query, key and value projections hold three tensors).
    pub rows: Range<usize>,
}

/// One matrix of the parameter arena.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// Arena name.
    pub name: String,
    /// Rows; vectors are one row.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// The checkpoint tensors it is made of.
    pub parts: Vec<TensorPart>,
    /// How it starts when the checkpoint has none.
    pub initializer: Initializer,
}

/// A model without its numbers: the encoder, what follows it, and every parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// The transformer.
    pub encoder: EncoderConfig,
    /// What turns hidden states into outputs, in order.
    pub head: Vec<HeadStage>,
    /// Every parameter, in arena order.
    pub parameters: Vec<ParameterSpec>,
}

impl Architecture {
    /// Reads a Hugging Face `config.json`; `path` is for errors.
    ///
    /// # Errors
    /// An unknown `model_type` (the message lists the known ones), or a field that is missing,
    /// of the wrong type or not supported.
    pub fn from_config(
        config: &serde_json::Value,
        path: &Path,
        task: &Task,
    ) -> Result<Architecture, EncoderError> {
        families::read(config, path, task)
    }

    /// A static embedding model: a table of `vocab_size x width` and no block.
    /// `tensor` is its name in `module`'s safetensors file.
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
            name: "embeddings.word".to_owned(),
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

    /// Appends a stage to the head; a stage with parameters takes them from `module`'s
    /// safetensors file under the names of sentence-transformers (`linear.weight`, `norm.weight`, ...).
    ///
    /// # Panics
    /// When the stage does not take the width that comes, or is the first and not `Pool`.
    pub fn push_stage(&mut self, stage: HeadStage, module: &str) {
        let width = self.output_columns();
        match stage {
            HeadStage::Dense { inputs, .. } => assert_eq!(inputs, width, "width into {stage:?}"),
            HeadStage::LayerNorm { width: own, .. } => {
                assert_eq!(own, width, "width into {stage:?}");
            }
            HeadStage::Pool { .. } | HeadStage::Dropout(_) | HeadStage::Normalize => {}
        }
        let first = matches!(stage, HeadStage::Pool { .. });
        assert_eq!(first, self.head.is_empty(), "pooling comes first, and once: {stage:?}");
        let (file_name, weight, bias) = match stage {
            // PyTorch's default for a `Linear`.
            HeadStage::Dense { inputs, .. } => {
                let uniform = Initializer::Uniform(1.0 / (inputs as f32).sqrt());
                ("linear", uniform, uniform)
            }
            _ => ("norm", Initializer::Ones, Initializer::Zeros),
        };
        let index = self.head.len();
        self.parameters.extend(stage_parameters(index, &stage, module, file_name, weight, bias));
        self.head.push(stage);
    }

    /// Width of the outputs: number of labels, or embedding dimension.
    pub fn output_columns(&self) -> usize {
        let hidden = self.encoder.hidden_size;
        self.head.iter().fold(hidden, |width, stage| stage.output_columns(width))
    }

    /// Whether there is a linear layer: without one, as in most static embedding models, no
    /// [`Precision`](rankforge_kernels::Precision) changes anything.
    pub fn has_linear_layers(&self) -> bool {
        let dense = |stage: &HeadStage| matches!(stage, HeadStage::Dense { .. });
        !self.encoder.blocks.is_empty() || self.head.iter().any(dense)
    }
}

/// The parameters of head stage `index`: `file_name` is its submodule in `module`'s file.
pub(crate) fn stage_parameters(
    index: usize,
    stage: &HeadStage,
    module: &str,
    file_name: &str,
    weight: Initializer,
    bias: Initializer,
) -> Vec<ParameterSpec> {
    let spec = |what: &str, file: String, shape: Vec<usize>, initializer| {
        let (rows, columns) =
            if let [rows, columns] = shape[..] { (rows, columns) } else { (1, shape[0]) };
        ParameterSpec {
            name: format!("head.{index}.{what}"),
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
        // sentence-transformers projects the residual where the widths differ.
        let file = "residual.weight".to_owned();
        specs.push(spec("residual.weight", file, vec![outputs, inputs], weight));
    }
    specs
}
