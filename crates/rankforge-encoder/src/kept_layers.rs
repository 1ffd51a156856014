//! Models that start with some of the blocks of a larger one, as students of distillation do.

use crate::error::EncoderError;
use crate::parts::Parts;
use serde_json::{Value, json};

impl Parts {
    /// Drops the blocks of the transformer that are not among `layers`, which count from 0 and
    /// ascend. The others keep their parameters and are numbered anew, also in the files that are
    /// saved.
    ///
    /// # Errors
    /// No layers, layers that the model lacks or that do not ascend, ModernBERT without its first
    /// layer, whose normalisation the others lack, or a model with adapters or without matrices
    /// ([`Packing::Instead`](crate::Packing::Instead)).
    pub fn keep_layers(&mut self, layers: &[usize]) -> Result<(), EncoderError> {
        self.model.expect_matrices()?;
        let refused = |expected: String| {
            let numbers: Vec<String> = layers.iter().map(usize::to_string).collect();
            let got = format!("[{}]", numbers.join(", "));
            Err(EncoderError::argument("layers_to_keep", expected, got))
        };
        let blocks = &self.model.architecture().encoder.blocks;
        let Some(last) = blocks.len().checked_sub(1) else {
            return refused("none, as a static embedding model has no layers".to_owned());
        };
        let ascend = layers.windows(2).all(|pair| pair[0] < pair[1]);
        if layers.is_empty() || !ascend || layers.iter().any(|layer| *layer > last) {
            return refused(format!("ascending numbers of layers from 0 to {last}"));
        }
        if !blocks[0].attention_norm && layers[0] != 0 {
            return refused("layer 0 among them, as it differs from the others".to_owned());
        }
        if self.model.has_adapters() {
            return refused("none, as the model has adapters".to_owned());
        }
        let local: Vec<bool> = blocks.iter().map(|block| block.window.is_some()).collect();
        self.model = self.model.with_layers(layers);
        // Files of an adapter would refer to the model with all layers.
        self.base = None;
        if let Some(config) = &mut self.config {
            rewrite(config, layers, &local);
        }
        Ok(())
    }
}

/// Describes the layers that are kept in a `config.json`; `local` says of each layer whether its
/// attention has a window.
fn rewrite(config: &mut Value, layers: &[usize], local: &[bool]) {
    // DistilBERT has its own name for the number of layers.
    if config.get("n_layers").is_some() {
        config["n_layers"] = json!(layers.len());
    }
    if config.get("n_layers").is_none() || config.get("num_hidden_layers").is_some() {
        config["num_hidden_layers"] = json!(layers.len());
    }
    if config["model_type"] == "modernbert" {
        let kind = |layer: &usize| match local[*layer] {
            true => "sliding_attention",
            false => "full_attention",
        };
        config["layer_types"] = layers.iter().map(kind).collect();
    }
}
