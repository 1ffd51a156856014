use crate::architecture::{Architecture, Initializer, TransformerTask};
use crate::config::{BlockConfig, EncoderConfig, Mlp, NormPlace, Positions};
use crate::error::EncoderError;
use crate::families::builder::{BlockNames, Builder};
use crate::families::fields::Fields;
use crate::stages::HeadStage;
use rankforge_kernels::ops::{Activation, Pooling};
use serde_json::Value;

/// Tensor names of the blocks of BERT, ELECTRA and RoBERTa.
pub(super) const BERT_BLOCKS: BlockNames = BlockNames {
    blocks: "encoder.layer",
    qkv: ["attention.self.query", "attention.self.key", "attention.self.value"],
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    mlp_input: "intermediate.dense",
    mlp_output: "output.dense",
    mlp_norm: "output.LayerNorm",
};

/// Every block of a post-norm family.
pub(super) const POST_NORM_BLOCK: BlockConfig =
    BlockConfig { window: None, rotary_theta: None, attention_norm: true };

/// BERT: post-norm blocks, learned positions, segments. Its classification head is a dense layer
/// with tanh (the pooler) on the first token, dropout and a linear layer.
///
/// # Paper
/// Devlin et al. 2018, arXiv:1810.04805.
pub(super) fn bert(
    fields: &Fields<'_>,
    task: &TransformerTask,
    mut builder: Builder,
) -> Result<Architecture, EncoderError> {
    let config = bert_config(fields, "bert", 0)?;
    let deviation = initializer_range(fields)?;
    builder.bert_like(&config, &BERT_BLOCKS, deviation);
    if let TransformerTask::SequenceClassification { num_labels } = *task {
        let (normal, zeros) = (Initializer::Normal(deviation), Initializer::Zeros);
        let h = config.hidden_size;
        builder.bare_stage(first_token());
        builder.stage(dense(h, h, Activation::Tanh), "bert.pooler.dense", normal, zeros);
        builder.bare_stage(HeadStage::Dropout(classifier_dropout(fields)?));
        let classifier = dense(h, num_labels, Activation::Identity);
        builder.stage(classifier, "classifier", normal, zeros);
    }
    Ok(builder.finish(config))
}

/// ELECTRA: BERT's encoder with embeddings that may be narrower than its hidden states. Its
/// classification head is RoBERTa's with gelu.
///
/// # Paper
/// Clark et al. 2020, arXiv:2003.10555.
pub(super) fn electra(
    fields: &Fields<'_>,
    task: &TransformerTask,
    mut builder: Builder,
) -> Result<Architecture, EncoderError> {
    let mut config = bert_config(fields, "electra", 0)?;
    config.embedding_size = fields.size("embedding_size", 128)?;
    let deviation = initializer_range(fields)?;
    builder.bert_like(&config, &BERT_BLOCKS, deviation);
    if let TransformerTask::SequenceClassification { num_labels } = *task {
        let dropout = classifier_dropout(fields)?;
        let activation = Activation::Gelu;
        let head = TwoLayerHead { activation, dropout, num_labels, deviation };
        two_layer_head(&mut builder, &config, head);
    }
    Ok(builder.finish(config))
}

/// Reads the fields that BERT, ELECTRA, RoBERTa and MPNet share; `offset` is the row of the first
/// token in the position table. Defaults are those of the families' configs in transformers.
pub(super) fn bert_config(
    fields: &Fields<'_>,
    model_type: &str,
    offset: usize,
) -> Result<EncoderConfig, EncoderError> {
    for name in ["is_decoder", "add_cross_attention"] {
        fields.only(name, Value::Bool(false))?;
    }
    fields.only("position_embedding_type", Value::from("absolute"))?;
    let electra = model_type == "electra";
    let hidden_size = fields.size("hidden_size", if electra { 256 } else { 768 })?;
    let rows = fields.size("max_position_embeddings", 512)?;
    if rows <= offset {
        return Err(fields.error("max_position_embeddings", &format!("more than {offset}")));
    }
    let blocks = fields.blocks("num_hidden_layers", 12)?;
    let hidden_dropout = fields.probability("hidden_dropout_prob", 0.1)?;
    Ok(EncoderConfig {
        model_type: model_type.to_owned(),
        vocab_size: fields.size("vocab_size", 30522)?,
        embedding_size: hidden_size,
        hidden_size,
        heads: fields.heads("num_attention_heads", if electra { 4 } else { 12 }, hidden_size)?,
        intermediate_size: fields.size("intermediate_size", if electra { 1024 } else { 3072 })?,
        type_vocab_size: fields.size("type_vocab_size", 2)?,
        positions: Positions::Learned { rows, offset },
        embedding_norm: true,
        final_norm: false,
        norm_epsilon: fields.not_negative("layer_norm_eps", 1e-12)? as f32,
        norm_bias: true,
        attention_bias: true,
        mlp_bias: true,
        norm_place: NormPlace::Post,
        mlp: Mlp::Plain(fields.activation("hidden_act")?),
        blocks: vec![POST_NORM_BLOCK; blocks],
        embedding_dropout: hidden_dropout,
        attention_dropout: fields.probability("attention_probs_dropout_prob", 0.1)?,
        attention_output_dropout: hidden_dropout,
        mlp_dropout: 0.0,
        mlp_output_dropout: hidden_dropout,
        max_positions: rows - offset,
    })
}

/// Standard deviation of newly initialised weights.
pub(super) fn initializer_range(fields: &Fields<'_>) -> Result<f32, EncoderError> {
    Ok(fields.not_negative("initializer_range", 0.02)? as f32)
}

/// Dropout probability of the classification head: `classifier_dropout`, or `hidden_dropout_prob`
/// when that is absent or null.
pub(super) fn classifier_dropout(fields: &Fields<'_>) -> Result<f32, EncoderError> {
    match fields.get("classifier_dropout") {
        Some(_) => fields.probability("classifier_dropout", 0.0),
        None => fields.probability("hidden_dropout_prob", 0.1),
    }
}

/// RoBERTa's classification head.
pub(super) struct TwoLayerHead {
    /// Activation of the first layer.
    pub(super) activation: Activation,
    /// Probability of dropout before each layer.
    pub(super) dropout: f32,
    pub(super) num_labels: usize,
    /// Standard deviation of newly initialised weights.
    pub(super) deviation: f32,
}

/// Appends RoBERTa's classification head: `W2 dropout(activation(W1 dropout(x) + b1)) + b2`, where
/// `x` is the hidden state of the first token.
pub(super) fn two_layer_head(builder: &mut Builder, config: &EncoderConfig, head: TwoLayerHead) {
    let TwoLayerHead { activation, dropout, num_labels, deviation } = head;
    let (normal, zeros) = (Initializer::Normal(deviation), Initializer::Zeros);
    let h = config.hidden_size;
    builder.bare_stage(first_token());
    builder.bare_stage(HeadStage::Dropout(dropout));
    builder.stage(dense(h, h, activation), "classifier.dense", normal, zeros);
    builder.bare_stage(HeadStage::Dropout(dropout));
    let projection = dense(h, num_labels, Activation::Identity);
    builder.stage(projection, "classifier.out_proj", normal, zeros);
}

/// Pooling that takes the hidden state of the first token.
pub(super) fn first_token() -> HeadStage {
    HeadStage::Pool { modes: vec![Pooling::Cls], skip_prompt: false }
}

/// A dense layer with bias.
pub(super) fn dense(inputs: usize, outputs: usize, activation: Activation) -> HeadStage {
    HeadStage::Dense { inputs, outputs, bias: true, activation, residual: false }
}
