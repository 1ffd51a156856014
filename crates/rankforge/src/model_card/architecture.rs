use crate::model_card::names::with_thousands;
use rankforge_encoder::{ADAPTER_MODULE, HeadStage, Mlp, Positions, TextModel};

/// The modules of the model as a tree: the encoder with its dimensions, then the modules of the
/// head.
pub(super) fn tree(model: &dyn TextModel) -> String {
    let architecture = model.model().architecture();
    let encoder = &architecture.encoder;
    let mut lines = vec![format!("{}(", model.kind())];
    let name = &encoder.model_type;
    if encoder.blocks.is_empty() {
        let (rows, width) = (encoder.vocab_size, encoder.embedding_size);
        lines.push(format!("  (0): StaticEmbedding({name}, {rows} x {width})"));
    } else {
        let positions = match &encoder.positions {
            Positions::None => "no positions".to_owned(),
            Positions::Learned { rows, .. } => format!("{rows} learned positions"),
            Positions::LearnedWithRelativeBias { rows, buckets, .. } => {
                format!("{rows} learned positions, {buckets} relative distances")
            }
            Positions::Rotary => "rotary positions".to_owned(),
        };
        let local = encoder.blocks.iter().filter(|block| block.window.is_some()).count();
        let mlp = match encoder.mlp {
            Mlp::Plain(activation) => format!("{activation:?}"),
            Mlp::Gated(gate) => format!("{gate:?}"),
        };
        lines.push(format!("  (0): Transformer({name},"));
        lines.push(format!(
            "    {} blocks ({local} with local attention), hidden size {}, {} heads,",
            encoder.blocks.len(),
            encoder.hidden_size,
            encoder.heads
        ));
        lines.push(format!(
            "    MLP size {} ({mlp}), {positions}, vocabulary of {})",
            encoder.intermediate_size, encoder.vocab_size
        ));
    }
    for (index, stage) in architecture.head.iter().enumerate() {
        lines.push(format!("  ({}): {}", index + 1, stage_name(stage)));
    }
    // A saved model has its adapters merged into the weights.
    let saved =
        architecture.parameters.iter().filter(|spec| spec.parts[0].module != ADAPTER_MODULE);
    let parameters = with_thousands(saved.map(|spec| spec.rows * spec.columns).sum());
    lines.push(format!(")  # {parameters} parameters"));
    lines.join("\n")
}

fn stage_name(stage: &HeadStage) -> String {
    match stage {
        HeadStage::Pool { modes, .. } => {
            let modes: Vec<String> = modes.iter().map(|mode| format!("{mode:?}")).collect();
            format!("Pooling({})", modes.join(", "))
        }
        HeadStage::Dropout(probability) => format!("Dropout({probability})"),
        HeadStage::Dense { inputs, outputs, bias, activation, residual } => {
            let residual = if *residual { ", residual" } else { "" };
            let bias = if *bias { "" } else { ", no bias" };
            format!("Dense({inputs} -> {outputs}, {activation:?}{bias}{residual})")
        }
        HeadStage::LayerNorm { width, .. } => format!("LayerNorm({width})"),
        HeadStage::Normalize => "Normalize()".to_owned(),
    }
}
