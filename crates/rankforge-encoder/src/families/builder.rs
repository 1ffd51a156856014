use crate::architecture::{
    Architecture, Initializer, ParameterSpec, StageTensors, TensorPart, WORD_EMBEDDINGS,
    stage_parameters,
};
use crate::config::{EncoderConfig, NormPlace, Positions};
use crate::stages::HeadStage;

/// Collects the head stages and the parameters of an architecture.
///
/// In its methods, `name` is the name of a parameter in the arena and `file_name` that of its
/// tensor in the checkpoint, without the prefix of the family.
pub(super) struct Builder {
    /// What the names of the transformer's tensors begin with in the checkpoint.
    prefix: &'static str,
    head: Vec<HeadStage>,
    parameters: Vec<ParameterSpec>,
}

/// Names of the linear layers and layer norms of a BERT-like block in the checkpoint:
/// `{blocks}.{index of the block}.{name}`.
pub(super) struct BlockNames {
    /// Name of the list of blocks.
    pub(super) blocks: &'static str,
    pub(super) qkv: [&'static str; 3],
    pub(super) attention_output: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) mlp_input: &'static str,
    pub(super) mlp_output: &'static str,
    pub(super) mlp_norm: &'static str,
}

/// Widths of a linear layer, and whether it has a bias.
pub(super) struct LinearShape {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) bias: bool,
}

impl Builder {
    /// An empty architecture; `prefix` is what the names of the transformer's tensors begin with.
    pub(super) fn new(prefix: &'static str) -> Builder {
        Builder { prefix, head: Vec::new(), parameters: Vec::new() }
    }

    /// The collected architecture.
    pub(super) fn finish(self, encoder: EncoderConfig) -> Architecture {
        Architecture { encoder, head: self.head, parameters: self.parameters }
    }

    /// Adds a matrix of `shape` `[rows, columns]` that is one tensor.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        file_name: &str,
        shape: [usize; 2],
        initializer: Initializer,
    ) {
        let tensor = (file_name.to_owned(), shape.to_vec());
        self.push(name, shape, initializer, vec![tensor]);
    }

    /// Adds a vector that is one tensor; in the arena it is a matrix of one row.
    pub(super) fn vector(
        &mut self,
        name: &str,
        file_name: &str,
        length: usize,
        initializer: Initializer,
    ) {
        self.push(name, [1, length], initializer, vec![(file_name.to_owned(), vec![length])]);
    }

    /// Adds a linear layer: `name.weight` and, where it has a bias, `name.bias`.
    pub(super) fn linear(
        &mut self,
        name: &str,
        file_name: &str,
        shape: LinearShape,
        initializer: Initializer,
    ) {
        let LinearShape { outputs, inputs, bias } = shape;
        let (weight, file_weight) = (format!("{name}.weight"), format!("{file_name}.weight"));
        self.matrix(&weight, &file_weight, [outputs, inputs], initializer);
        if bias {
            let (bias, file_bias) = (format!("{name}.bias"), format!("{file_name}.bias"));
            self.vector(&bias, &file_bias, outputs, Initializer::Zeros);
        }
    }

    /// Adds linear layers that read the same input as one fused layer. `shape` is `[outputs,
    /// inputs]` of each. The weights are stacked in one matrix; the bias has one row per layer.
    pub(super) fn fused_linear(
        &mut self,
        name: &str,
        file_names: &[String],
        shape: [usize; 2],
        initializer: Initializer,
    ) {
        let [outputs, inputs] = shape;
        let weights =
            file_names.iter().map(|file| (format!("{file}.weight"), vec![outputs, inputs]));
        let rows = outputs * file_names.len();
        self.push(&format!("{name}.weight"), [rows, inputs], initializer, weights.collect());
        let biases = file_names.iter().map(|file| (format!("{file}.bias"), vec![outputs]));
        let rows = file_names.len();
        self.push(&format!("{name}.bias"), [rows, outputs], Initializer::Zeros, biases.collect());
    }

    /// Adds a layer norm: `name.weight` and, with `bias`, `name.bias`.
    pub(super) fn norm(&mut self, name: &str, file_name: &str, width: usize, bias: bool) {
        let (weight, file_weight) = (format!("{name}.weight"), format!("{file_name}.weight"));
        self.vector(&weight, &file_weight, width, Initializer::Ones);
        if bias {
            let (bias, file_bias) = (format!("{name}.bias"), format!("{file_name}.bias"));
            self.vector(&bias, &file_bias, width, Initializer::Zeros);
        }
    }

    /// Adds a head stage whose tensors are `{file_name}.weight` and `{file_name}.bias`. This
    /// `file_name` includes the prefix: some families have their head inside it, others outside.
    pub(super) fn stage(
        &mut self,
        stage: HeadStage,
        file_name: &str,
        weight: Initializer,
        bias: Initializer,
    ) {
        let index = self.head.len();
        let tensors = StageTensors { module: "", file_name, weight, bias };
        self.parameters.extend(stage_parameters(index, &stage, tensors));
        self.head.push(stage);
    }

    /// Adds a head stage without parameters.
    pub(super) fn bare_stage(&mut self, stage: HeadStage) {
        self.stage(stage, "", Initializer::Zeros, Initializer::Zeros);
    }

    /// Adds the embeddings and blocks of a BERT-like family: post-norm, with separate projections
    /// of queries, keys and values, and a bias in every linear layer and layer norm.
    pub(super) fn bert_like(&mut self, config: &EncoderConfig, names: &BlockNames, deviation: f32) {
        assert_eq!(config.norm_place, NormPlace::Post, "a BERT-like family is post-norm");
        let normal = Initializer::Normal(deviation);
        let biased = |[outputs, inputs]: [usize; 2]| LinearShape { outputs, inputs, bias: true };
        let (e, h, f) = (config.embedding_size, config.hidden_size, config.intermediate_size);
        let file = |name: &str| format!("embeddings.{name}");
        let (word, position) = (file("word_embeddings.weight"), file("position_embeddings.weight"));
        self.matrix(WORD_EMBEDDINGS, &word, [config.vocab_size, e], normal);
        if let Some(rows) = config.positions.rows() {
            self.matrix("embeddings.position", &position, [rows, e], normal);
        }
        if config.type_vocab_size > 0 {
            let file = file("token_type_embeddings.weight");
            self.matrix("embeddings.type", &file, [config.type_vocab_size, e], normal);
        }
        self.norm("embeddings.norm", &file("LayerNorm"), e, true);
        if e != h {
            self.linear("embeddings.projection", "embeddings_project", biased([h, e]), normal);
        }
        if let Positions::LearnedWithRelativeBias { buckets, .. } = config.positions {
            let file = "encoder.relative_attention_bias.weight";
            self.matrix("relative_bias", file, [buckets, config.heads], normal);
        }
        for index in 0..config.blocks.len() {
            let name = |part: &str| format!("blocks.{index}.{part}");
            let file = |part: &str| format!("{}.{index}.{part}", names.blocks);
            self.fused_linear(&name("qkv"), &names.qkv.map(file), [h, h], normal);
            let output = file(names.attention_output);
            self.linear(&name("attention_output"), &output, biased([h, h]), normal);
            self.norm(&name("attention_norm"), &file(names.attention_norm), h, true);
            self.linear(&name("mlp_input"), &file(names.mlp_input), biased([f, h]), normal);
            self.linear(&name("mlp_output"), &file(names.mlp_output), biased([h, f]), normal);
            self.norm(&name("mlp_norm"), &file(names.mlp_norm), h, true);
        }
    }

    /// Adds a matrix of `shape` `[rows, columns]` whose rows are divided equally between tensors;
    /// these are pairs (name in the checkpoint, shape).
    fn push(
        &mut self,
        name: &str,
        shape: [usize; 2],
        initializer: Initializer,
        tensors: Vec<(String, Vec<usize>)>,
    ) {
        let [rows, columns] = shape;
        let rows_per_tensor = rows / tensors.len();
        let part = |(index, (file_name, shape)): (usize, (String, Vec<usize>))| TensorPart {
            module: String::new(),
            name: format!("{}{file_name}", self.prefix),
            shape,
            rows: index * rows_per_tensor..(index + 1) * rows_per_tensor,
        };
        let parts = tensors.into_iter().enumerate().map(part).collect();
        self.parameters.push(ParameterSpec {
            name: name.to_owned(),
            rows,
            columns,
            parts,
            initializer,
        });
    }
}
