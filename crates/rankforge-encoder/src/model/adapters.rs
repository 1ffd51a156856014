//! Models with low-rank adapters beside their weights.

use crate::adapter::Adapter;
use crate::architecture::{Architecture, TensorPart};
use crate::error::EncoderError;
use crate::initialization::initialize;
use crate::lora::{LoraConfig, Selected, TargetModules, adapter_specs, is_saved, select};
use crate::model::Model;
use crate::stage_parameters::StageParameters;
use rankforge_kernels::ParameterId;
use std::collections::HashSet;

impl Model {
    /// The adapters beside the weights, if there are any; `target_modules` are the names of the
    /// layers that have one.
    pub fn lora(&self) -> Option<&LoraConfig> {
        self.lora.as_ref()
    }

    /// Whether there are adapters beside the weights.
    pub fn has_adapters(&self) -> bool {
        self.lora.is_some()
    }

    /// Whether the gradient of a parameter is zero until another parameter has changed: that of
    /// `lora_A`, where `lora_B` starts at zero.
    pub fn gradient_starts_at_zero(&self, id: ParameterId) -> bool {
        let zero = self.lora.as_ref().is_some_and(|lora| lora.init_lora_weights);
        zero && self.adapters().any(|(_, adapter)| adapter.ids()[0] == id)
    }

    /// The adapters, with the weights of their layers.
    pub(super) fn adapters(&self) -> impl Iterator<Item = (ParameterId, &Adapter)> {
        let head = self.head.iter().flat_map(StageParameters::linears);
        let linears = self.transformer.linears().chain(head);
        linears
            .flat_map(|linear| linear.adapters().map(move |adapter| (linear.weight_id(), adapter)))
    }

    /// Adds adapters, which change nothing until they are trained, and freezes all parameters of
    /// the transformer but those of modules that are saved as a whole. The head of a classifier is
    /// saved only where `modules_to_save` names it;
    /// [`TextModel::add_adapter`](crate::TextModel::add_adapter) adds it.
    ///
    /// # Errors
    /// Numbers as in [`LoraConfig::validate`], a rank beyond the smaller width of a target, names
    /// that find no module, a family without default targets, a model that has adapters, or one
    /// without matrices ([`Packing::Instead`](crate::Packing::Instead)).
    pub fn add_adapter(&mut self, config: &LoraConfig, seed: u64) -> Result<(), EncoderError> {
        self.add_adapter_beside(config, seed, false, &[])
    }

    /// [`Model::add_adapter`], with the head of a classifier among the modules that are saved, and
    /// with the tensors that the base model lacks.
    ///
    /// # Errors
    /// As [`Model::add_adapter`].
    pub(crate) fn add_adapter_beside(
        &mut self,
        config: &LoraConfig,
        seed: u64,
        is_classifier: bool,
        missing: &[String],
    ) -> Result<(), EncoderError> {
        self.expect_matrices()?;
        config.validate()?;
        if self.has_adapters() {
            let got = "a model that has one";
            return Err(EncoderError::argument("adapter", "a model without adapters", got));
        }
        let Selected { targets, modules_to_save } =
            select(self.architecture(), config, is_classifier, missing)?;
        let mut architecture = self.architecture().clone();
        for target in &targets {
            architecture.parameters.extend(adapter_specs(target, config)?);
        }
        let names = targets.into_iter().map(|target| target.name).collect();
        let saved = modules_to_save.clone();
        let lora = LoraConfig {
            target_modules: Some(TargetModules::Names(names)),
            modules_to_save,
            ..config.clone()
        };
        *self = self.with_adapters(architecture, lora, seed, |part| {
            !part.module.is_empty() || is_saved(&part.name, &saved)
        })?;
        Ok(())
    }

    /// Merges the adapters into their weights: a model that computes the same without them, all of
    /// whose parameters are trained. Nothing changes in a model without adapters.
    ///
    /// # Errors
    /// A model without matrices ([`Packing::Instead`](crate::Packing::Instead)).
    pub fn merge_adapter(&mut self) -> Result<(), EncoderError> {
        self.expect_matrices()?;
        if !self.has_adapters() {
            return Ok(());
        }
        let mut architecture = self.architecture.clone();
        architecture.parameters.retain(|spec| !spec.parts.iter().any(TensorPart::is_of_adapter));
        let rows: Vec<usize> = architecture.parameters.iter().map(|spec| spec.rows).collect();
        let merged =
            (0..).map(ParameterId).zip(rows).map(|(id, rows)| self.merged_rows(id, 0..rows));
        *self = self.with_values(architecture, None, merged);
        Ok(())
    }

    /// The same parameters with those of adapters, by which `architecture` is larger; these are
    /// drawn by `seed`. Trained are the adapters and the tensors that `saved` chooses.
    ///
    /// # Errors
    /// When only some of the tensors are chosen that are one matrix here.
    fn with_adapters(
        &self,
        architecture: Architecture,
        lora: LoraConfig,
        seed: u64,
        saved: impl Fn(&TensorPart) -> bool,
    ) -> Result<Model, EncoderError> {
        let known = (0..self.architecture.parameters.len()).map(ParameterId);
        let values = known.map(|id| self.parameters.view(id).to_vec());
        let mut model = self.with_values(architecture, Some(lora), values);
        let old: HashSet<String> = self.parts().map(|(.., part)| part.full_name()).collect();
        let is_new = |part: &TensorPart| !old.contains(&part.full_name());
        initialize(&model.architecture.parameters, &mut model.parameters, seed, is_new);
        model.train_parts(|part| part.is_of_adapter() || saved(part))?;
        Ok(model)
    }
}
