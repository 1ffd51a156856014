//! Adapters of models from directories: which base model they are of, and their files in the layout
//! of peft.

use crate::checkpoint::ModuleTensors;
use crate::error::EncoderError;
use crate::json;
use crate::lora::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, LoraConfig, stored_name};
use crate::parts::Parts;
use crate::weights::Weights;
use rankforge_base::FileError;
use serde_json::{Value, json};
use std::path::Path;

/// The version of peft whose fields are written.
const PEFT_VERSION: &str = "0.21.2";

impl Parts {
    /// Adds adapters to a model that is as the files of its base model are, and freezes the rest of
    /// its transformer, except for the modules that are saved as a whole. Modules after the
    /// transformer are trained, as in sentence-transformers.
    ///
    /// A classification head, and what the base model lacks of it, is saved as a whole.
    ///
    /// # Errors
    /// As [`Model::add_adapter`]; a model that is not as it was opened, or that was opened with an
    /// adapter: files of an adapter name the directory of its base model.
    pub(crate) fn add_adapter(
        &mut self,
        config: &LoraConfig,
        seed: u64,
    ) -> Result<(), EncoderError> {
        self.model.expect_matrices()?;
        let missing = self.missing_in_base()?;
        let is_classifier = self.task == "sequence-classification";
        self.model.add_adapter_beside(config, seed, is_classifier, &missing)
    }

    /// The tensors of the transformer and its head that the files of the base model lack.
    ///
    /// # Errors
    /// No such files, or a model with other parameters.
    fn missing_in_base(&self) -> Result<Vec<String>, EncoderError> {
        const EXPECTED: &str = "a model whose transformer is as it was opened from a directory \
                                without an adapter, as files of adapters name this directory";
        let refuse = |got: &str| Err(EncoderError::argument("adapter", EXPECTED, got));
        let Some(base) = &self.base else {
            return refuse("one without such a directory (an adapter can be merged and saved)");
        };
        let weights = Weights::open(base)?;
        let tensors = ModuleTensors::find(self.model.architecture(), "", &weights)?;
        if let Some(name) = tensors.first_changed(self.model.parameters())? {
            return refuse(&format!("another {name} than in {}; save it first", base.display()));
        }
        Ok(tensors.report.missing)
    }

    /// Writes the adapters of the model, and the modules that are saved as a whole.
    ///
    /// # Errors
    /// When a file cannot be written, or the base model is no longer there.
    pub(crate) fn write_adapter(
        &self,
        directory: &Path,
        lora: &LoraConfig,
    ) -> Result<(), EncoderError> {
        let base = self.base.as_ref().expect("adapters are added to a model from a directory");
        let base = std::fs::canonicalize(base).map_err(FileError::io(base))?;
        let config = adapter_config(lora, &base, self.task == "sequence-classification");
        json::write_json(&directory.join(ADAPTER_CONFIG), &config)?;
        let name = |part: &_| stored_name(part, &lora.modules_to_save);
        self.model.save_parts(&directory.join(ADAPTER_WEIGHTS), name)
    }
}

/// The content of `adapter_config.json`.
fn adapter_config(lora: &LoraConfig, base: &Path, is_classifier: bool) -> Value {
    let mut config = json!({
        "alpha_pattern": {},
        "auto_mapping": null,
        "base_model_name_or_path": base.display().to_string(),
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "layers_pattern": null,
        "layers_to_transform": null,
        "peft_type": "LORA",
        "peft_version": PEFT_VERSION,
        "rank_pattern": {},
        "revision": null,
        "task_type": if is_classifier { "SEQ_CLS" } else { "FEATURE_EXTRACTION" },
        "use_dora": false,
    });
    for (name, value) in lora.to_json().as_object().into_iter().flatten() {
        config[name] = value.clone();
    }
    config
}
