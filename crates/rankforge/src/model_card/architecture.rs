use crate::words::thousands;
use rankforge_encoder::{ADAPTER_MODULE, HeadStage, Mlp, Positions, TargetModules, TextModel};

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
    let count = |of_adapter: bool| {
        let specs = architecture.parameters.iter();
        let chosen = specs.filter(|spec| (spec.parts[0].module == ADAPTER_MODULE) == of_adapter);
        thousands(chosen.map(|spec| spec.rows * spec.columns).sum())
    };
    let adapter = match model.model().has_adapters() {
        true => format!(" and {} of the adapter", count(true)),
        false => String::new(),
    };
    lines.push(format!(")  # {} parameters{adapter}", count(false)));
    lines.join("\n")
}

/// The adapter of a model in a line: rank, scale, dropout, layers, and what is trained beside it;
/// `None` for a model without one.
pub fn adapter_in_words(model: &dyn TextModel) -> Option<String> {
    let lora = model.model().lora()?;
    let (layers, mut kinds): (usize, Vec<&str>) = match &lora.target_modules {
        Some(TargetModules::Names(names)) => {
            (names.len(), names.iter().map(|name| last_part(name)).collect())
        }
        _ => (0, Vec::new()),
    };
    kinds.sort_unstable();
    kinds.dedup();
    let mut words = format!("LoRA, r = {}, lora_alpha = {}", lora.r, lora.lora_alpha);
    if lora.lora_dropout > 0.0 {
        words.push_str(&format!(", lora_dropout = {}", lora.lora_dropout));
    }
    if lora.use_rslora {
        words.push_str(", use_rslora");
    }
    let trained = thousands(model.model().trainable_layout().len());
    words.push_str(&format!(
        ", beside {layers} linear layers ({}); {trained} trained parameters",
        kinds.join(", ")
    ));
    Some(words)
}

/// The last part of a name.
fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
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
