use crate::architecture::{Architecture, TransformerTask};
use crate::error::EncoderError;
use crate::families::bert::{
    BERT_BLOCKS, TwoLayerHead, bert_config, classifier_dropout, initializer_range, two_layer_head,
};
use crate::families::builder::Builder;
use crate::families::fields::Fields;
use rankforge_kernels::ops::Activation;

/// RoBERTa: BERT's encoder with positions that begin at the padding id + 1. Its classification head
/// has two layers; see [`two_layer_head`].
///
/// # Paper
/// Liu et al. 2019, arXiv:1907.11692.
pub(super) fn roberta(
    fields: &Fields<'_>,
    task: &TransformerTask,
    builder: Builder,
) -> Result<Architecture, EncoderError> {
    read("roberta", fields, task, builder)
}

/// XLM-RoBERTa: RoBERTa with another vocabulary. Its tensors have RoBERTa's names.
///
/// # Paper
/// Conneau et al. 2019, arXiv:1911.02116.
pub(super) fn xlm_roberta(
    fields: &Fields<'_>,
    task: &TransformerTask,
    builder: Builder,
) -> Result<Architecture, EncoderError> {
    read("xlm-roberta", fields, task, builder)
}

fn read(
    model_type: &str,
    fields: &Fields<'_>,
    task: &TransformerTask,
    mut builder: Builder,
) -> Result<Architecture, EncoderError> {
    let mut config = bert_config(fields, model_type, fields.index("pad_token_id", 1)? + 1)?;
    if model_type == "roberta" {
        config.vocab_size = fields.size("vocab_size", 50265)?;
    }
    let deviation = initializer_range(fields)?;
    builder.bert_like(&config, &BERT_BLOCKS, deviation);
    if let TransformerTask::SequenceClassification { num_labels } = *task {
        let dropout = classifier_dropout(fields)?;
        let activation = Activation::Tanh;
        let head = TwoLayerHead { activation, dropout, num_labels, deviation };
        two_layer_head(&mut builder, &config, head);
    }
    Ok(builder.finish(config))
}
