use crate::error::Error;
use crate::recipe::evaluators::{CrossEncoderEvaluator, DualEncoderEvaluator};
use crate::recipe::model::{CrossEncoderSection, DualEncoderSection};
use crate::training::{Callback, TrainOutput, Trainer};
use rankforge_base::Stop;
use rankforge_encoder::{CrossEncoder, DualEncoder};
use std::path::Path;

/// What a recipe trains, and what measures it.
#[derive(Clone, Debug, PartialEq)]
pub enum Trained {
    /// A reranker.
    CrossEncoder {
        /// `[model]`.
        model: CrossEncoderSection,
        /// `[[evaluators]]`.
        evaluators: Vec<CrossEncoderEvaluator>,
    },
    /// A dual encoder.
    DualEncoder {
        /// `[model]`.
        model: DualEncoderSection,
        /// `[[evaluators]]`.
        evaluators: Vec<DualEncoderEvaluator>,
    },
}

/// The trainer of a recipe, of either kind of model.
pub enum RecipeTrainer {
    /// It trains a reranker.
    CrossEncoder(Trainer<CrossEncoder>),
    /// It trains a dual encoder.
    DualEncoder(Trainer<DualEncoder>),
}

impl RecipeTrainer {
    /// [`Trainer::callbacks`].
    pub fn callbacks(&mut self) -> &mut Vec<Box<dyn Callback>> {
        match self {
            RecipeTrainer::CrossEncoder(trainer) => &mut trainer.callbacks,
            RecipeTrainer::DualEncoder(trainer) => &mut trainer.callbacks,
        }
    }

    /// [`Trainer::stop`].
    pub fn stop(&self) -> &Stop {
        match self {
            RecipeTrainer::CrossEncoder(trainer) => &trainer.stop,
            RecipeTrainer::DualEncoder(trainer) => &trainer.stop,
        }
    }

    /// [`Trainer::train`].
    ///
    /// # Errors
    /// As [`Trainer::train`].
    pub fn train(&mut self) -> Result<TrainOutput, Error> {
        match self {
            RecipeTrainer::CrossEncoder(trainer) => trainer.train(),
            RecipeTrainer::DualEncoder(trainer) => trainer.train(),
        }
    }

    /// [`Trainer::save_model`].
    ///
    /// # Errors
    /// As [`Trainer::save_model`].
    pub fn save_model(&self, directory: &Path) -> Result<(), Error> {
        match self {
            RecipeTrainer::CrossEncoder(trainer) => trainer.save_model(directory),
            RecipeTrainer::DualEncoder(trainer) => trainer.save_model(directory),
        }
    }
}
