use crate::architecture::{Architecture, Initializer, TransformerTask};
use crate::config::{EncoderConfig, Mlp, NormPlace, Positions};
use crate::error::EncoderError;
use crate::families::bert::{POST_NORM_BLOCK, dense, first_token, initializer_range};
use crate::families::builder::{BlockNames, Builder};
use crate::families::fields::Fields;
use crate::stages::HeadStage;
use rankforge_kernels::ops::Activation;
use serde_json::Value;

const BLOCKS: BlockNames = BlockNames {
    blocks: "transformer.layer",
    qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    mlp_input: "ffn.lin1",
    mlp_output: "ffn.lin2",
    mlp_norm: "output_layer_norm",
};

/// DistilBERT: BERT without segments and without dropout of the attention output. Its
/// classification head is a dense layer with relu on the first token, dropout and a linear layer.
///
/// # Paper
/// Sanh et al. 2019, arXiv:1910.01108.
pub(super) fn distilbert(
    fields: &Fields<'_>,
    task: &TransformerTask,
    mut builder: Builder,
) -> Result<Architecture, EncoderError> {
    fields.only("sinusoidal_pos_embds", Value::Bool(false))?;
    let hidden_size = fields.size(fields.either("dim", "hidden_size"), 768)?;
    let rows = fields.size("max_position_embeddings", 512)?;
    let dropout = fields.probability("dropout", 0.1)?;
    let config = EncoderConfig {
        model_type: "distilbert".to_owned(),
        vocab_size: fields.size("vocab_size", 30522)?,
        embedding_size: hidden_size,
        hidden_size,
        heads: fields.heads(fields.either("n_heads", "num_attention_heads"), 12, hidden_size)?,
        intermediate_size: fields.size("hidden_dim", 3072)?,
        type_vocab_size: 0,
        positions: Positions::Learned { rows, offset: 0 },
        embedding_norm: true,
        final_norm: false,
        norm_epsilon: 1e-12,
        norm_bias: true,
        attention_bias: true,
        mlp_bias: true,
        norm_place: NormPlace::Post,
        mlp: Mlp::Plain(fields.activation("activation")?),
        blocks: vec![
            POST_NORM_BLOCK;
            fields.blocks(fields.either("n_layers", "num_hidden_layers"), 6)?
        ],
        embedding_dropout: dropout,
        attention_dropout: fields.probability("attention_dropout", 0.1)?,
        attention_output_dropout: 0.0,
        mlp_dropout: 0.0,
        mlp_output_dropout: dropout,
        max_positions: rows,
    };
    let deviation = initializer_range(fields)?;
    builder.bert_like(&config, &BLOCKS, deviation);
    if let TransformerTask::SequenceClassification { num_labels } = *task {
        let (normal, zeros) = (Initializer::Normal(deviation), Initializer::Zeros);
        builder.bare_stage(first_token());
        let hidden = dense(hidden_size, hidden_size, Activation::Relu);
        builder.stage(hidden, "pre_classifier", normal, zeros);
        builder.bare_stage(HeadStage::Dropout(fields.probability("seq_classif_dropout", 0.2)?));
        let classifier = dense(hidden_size, num_labels, Activation::Identity);
        builder.stage(classifier, "classifier", normal, zeros);
    }
    Ok(builder.finish(config))
}
