//! Models whose weights are packed for inference.

use crate::architecture::ParameterSpec;
use crate::error::EncoderError;
use crate::model::Model;
use crate::packed_weights::{PackedWeights, Packing};
use crate::stage_parameters::StageParameters;
use rankforge_kernels::{Arena, PackedWeight, ParameterId};
use std::sync::Arc;

impl Model {
    /// Packs the weights of all linear layers in the model's precision, as [`Packing`] says, or
    /// drops packed ones. A model without matrices stays as it is.
    pub fn pack(&mut self, packing: Packing) {
        if !self.has_matrices() {
            return;
        }
        if packing == Packing::None {
            self.packed = None;
            return;
        }
        let mut packed = PackedWeights::none(&self.parameters);
        for id in self.packable() {
            packed.set(id, PackedWeight::pack(self.parameters.view(id), self.precision));
        }
        if packing == Packing::Instead {
            let layout = self.parameters.layout().only(|id| packed.get(id).is_none());
            self.parameters = self.parameters.only(Arc::new(layout));
        }
        self.packed = Some(packed);
    }

    /// Gives a new model its parameters. `fill` writes those that an arena has memory for; weights
    /// that are packed in place of their matrices pass through memory one by one.
    ///
    /// # Errors
    /// Those of `fill`.
    pub(super) fn fill(
        &mut self,
        packing: Packing,
        fill: impl Fn(&[ParameterSpec], &mut Arena) -> Result<(), EncoderError>,
    ) -> Result<(), EncoderError> {
        let specs = &self.architecture.parameters;
        if packing != Packing::Instead {
            fill(specs, &mut self.parameters)?;
            self.pack(packing);
            return Ok(());
        }
        let (device, all) = (self.device().clone(), self.parameters.layout().clone());
        let mut packed = PackedWeights::none(&self.parameters);
        for id in self.packable() {
            let mut matrix = Arena::zeros(&device, Arc::new(all.only(|other| other == id)));
            fill(specs, &mut matrix)?;
            packed.set(id, PackedWeight::pack(matrix.view(id), self.precision));
        }
        let others = all.only(|id| packed.get(id).is_none());
        self.parameters = Arena::zeros(&device, Arc::new(others));
        fill(specs, &mut self.parameters)?;
        self.packed = Some(packed);
        Ok(())
    }

    /// The weights of linear layers that can be packed: not one that is used in parts which begin
    /// within a panel.
    fn packable(&self) -> Vec<ParameterId> {
        let blocks = self.transformer.weights(self.architecture.encoder.hidden_size);
        let head = self.head.iter().flat_map(StageParameters::linears);
        let weights = blocks.chain(head.map(|linear| (linear.weight_id(), 0)));
        let device = self.device();
        weights
            .filter(|&(_, part)| PackedWeight::can_begin_at(device, part))
            .map(|(id, _)| id)
            .collect()
    }

    /// Whether the model has the matrices of its linear layers, and not only their packed form.
    pub fn has_matrices(&self) -> bool {
        let layout = self.parameters.layout();
        (0..layout.entries().len()).all(|id| layout.has(ParameterId(id)))
    }

    /// Checks that the model has the matrices of its linear layers.
    ///
    /// # Errors
    /// When it was opened with [`Packing::Instead`].
    pub fn expect_matrices(&self) -> Result<(), EncoderError> {
        match self.has_matrices() {
            true => Ok(()),
            false => Err(EncoderError::argument(
                "model",
                "one with the matrices of its linear layers, to be trained, saved or hashed",
                "one opened for inference alone (Packing::Instead)",
            )),
        }
    }
}
