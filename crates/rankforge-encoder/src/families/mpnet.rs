use crate::architecture::{Architecture, TransformerTask};
use crate::config::Positions;
use crate::error::EncoderError;
use crate::families::bert::{TwoLayerHead, bert_config, initializer_range, two_layer_head};
use crate::families::builder::{BlockNames, Builder};
use crate::families::fields::Fields;
use rankforge_kernels::ops::Activation;
use serde_json::Value;

const BLOCKS: BlockNames = BlockNames {
    blocks: "encoder.layer",
    qkv: ["attention.attn.q", "attention.attn.k", "attention.attn.v"],
    attention_output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    mlp_input: "intermediate.dense",
    mlp_output: "output.dense",
    mlp_norm: "output.LayerNorm",
};

/// Row of the first token in the position table: the padding id + 1. transformers fixes MPNet's
/// padding id at 1 and ignores the config.
const OFFSET: usize = 2;

/// Number of buckets of relative distances, and the distance from which on the last one is used.
/// transformers computes buckets for these values only.
const BUCKETS: usize = 32;
const MAX_DISTANCE: usize = 128;

/// MPNet: BERT's encoder without segments and with biases of the attention scores by relative
/// distance, which all blocks share. Its classification head is RoBERTa's.
///
/// # Paper
/// Song et al. 2020, arXiv:2004.09297.
pub(super) fn mpnet(
    fields: &Fields<'_>,
    task: &TransformerTask,
    mut builder: Builder,
) -> Result<Architecture, EncoderError> {
    fields.only("relative_attention_num_buckets", Value::from(BUCKETS))?;
    let mut config = bert_config(fields, "mpnet", OFFSET)?;
    config.vocab_size = fields.size("vocab_size", 30527)?;
    config.type_vocab_size = 0;
    config.positions = Positions::LearnedWithRelativeBias {
        rows: config.max_positions + OFFSET,
        offset: OFFSET,
        buckets: BUCKETS,
        max_distance: MAX_DISTANCE,
    };
    let deviation = initializer_range(fields)?;
    builder.bert_like(&config, &BLOCKS, deviation);
    if let TransformerTask::SequenceClassification { num_labels } = *task {
        let dropout = fields.probability("hidden_dropout_prob", 0.1)?;
        let activation = Activation::Tanh;
        let head = TwoLayerHead { activation, dropout, num_labels, deviation };
        two_layer_head(&mut builder, &config, head);
    }
    Ok(builder.finish(config))
}
