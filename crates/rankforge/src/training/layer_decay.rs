//! Learning rates that decrease with the depth of a parameter.

use crate::arguments::TrainingArguments;

/// The factor on the learning rate of each block: `decay^(n + 1 - k)` for block `k` of `n`, from 1,
/// and `decay^(n + 1)` for the embeddings. What follows the blocks has its full rate.
pub(super) struct LayerDecay {
    decay: Option<f64>,
    blocks: usize,
}

impl LayerDecay {
    /// The factors for a model with tensors of these names. The highest block of which a tensor is
    /// trained counts as the last.
    pub(super) fn new<'a>(
        names: impl Iterator<Item = &'a String>,
        arguments: &TrainingArguments,
    ) -> LayerDecay {
        let blocks = names.filter_map(|name| block(name)).max().map_or(0, |last| last + 1);
        LayerDecay { decay: arguments.layerwise_lr_decay, blocks }
    }

    /// The factor for a tensor.
    pub(super) fn factor(&self, name: &str) -> f64 {
        let Some(decay) = self.decay else { return 1.0 };
        let below = match block(name) {
            Some(block) => self.blocks.saturating_sub(block),
            None if name.contains("embedding") => self.blocks + 1,
            None => 0,
        };
        decay.powi(below as i32)
    }
}

/// The index of a tensor's block, from 0: `encoder.layer.3.` or `layers.3.` in its name.
fn block(name: &str) -> Option<usize> {
    let parts: Vec<&str> = name.split('.').collect();
    let layer = |pair: &[&str]| matches!(pair[0], "layer" | "layers").then(|| pair[1].parse().ok());
    parts.windows(2).find_map(|pair| layer(pair).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_fall_with_depth_from_the_head_to_the_embeddings() {
        let names = [
            "bert.embeddings.word_embeddings.weight",
            "bert.encoder.layer.0.attention.self.query.weight",
            "bert.encoder.layer.2.output.dense.bias",
            "classifier.weight",
        ]
        .map(str::to_owned);
        let arguments =
            TrainingArguments { layerwise_lr_decay: Some(0.5), ..TrainingArguments::default() };
        let layers = LayerDecay::new(names.iter(), &arguments);
        assert_eq!(names.each_ref().map(|name| layers.factor(name)), [0.0625, 0.125, 0.5, 1.0]);
        assert_eq!(layers.factor("model.layers.1.mlp.Wi.weight"), 0.25);
        let without = LayerDecay::new(names.iter(), &TrainingArguments::default());
        assert!(names.iter().all(|name| without.factor(name) == 1.0));
    }
}
