use super::bert::{bert_config, initializer_range, two_layer_head};
use super::builder::{BlockNames, Builder};
use super::fields::Fields;
use crate::{Architecture, EncoderError, Positions, Task};
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

/// Number of the first position: transformers fixes MPNet's padding id at 1, whatever the config says.
const OFFSET: usize = 2;

/// Buckets and largest distance; transformers computes bucket numbers for these only.
const BUCKETS: usize = 32;
const MAX_DISTANCE: usize = 128;

/// MPNet: no segments, score offsets by relative distance shared by all blocks, RoBERTa's head.
pub(super) fn mpnet(
    fields: &Fields<'_>,
    task: &Task,
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
    if let Task::SequenceClassification { num_labels } = *task {
        let dropout = fields.probability("hidden_dropout_prob", 0.1)?;
        two_layer_head(&mut builder, &config, Activation::Tanh, dropout, num_labels, deviation);
    }
    Ok(builder.finish(config))
}
