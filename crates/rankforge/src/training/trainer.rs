use crate::arguments::TrainingArguments;
use crate::error::Error;
use crate::evaluation::Evaluator;
use crate::losses::Loss;
use crate::model_card::{self, ModelCardData, TrainingReport};
use crate::training::batches::Preparer;
use crate::training::callbacks::Callback;
use crate::training::loss_scaler::LossScaler;
use crate::training::record::Origin;
use crate::training::run::{Run, TrainOutput, reported};
use crate::training::setup::{Parts, Setup, all_preparers};
use crate::training::tracking::Tracking;
use crate::training::training_set::TrainingSet;
use rankforge_base::{Reporter, Stop, replace_directory, silent};
use rankforge_data::RowSource;
use rankforge_encoder::{MODEL_DIRECTORY, Packing, TextModel};
use std::path::Path;
use std::sync::Arc;

/// Trains a model on data sets. Holds the inputs of a run, and its output afterwards.
pub struct Trainer<M: TextModel> {
    /// The model to train.
    pub model: M,
    /// Training arguments.
    pub arguments: TrainingArguments,
    /// Training sets, each with a loss.
    pub train_sets: Vec<TrainingSet>,
    /// Evaluation sets, on which the evaluation loss is computed.
    pub eval_sets: Vec<TrainingSet>,
    /// Evaluators that measure the model during training.
    pub evaluators: Vec<Box<dyn Evaluator<M>>>,
    /// Callbacks for the events of a run.
    pub callbacks: Vec<Box<dyn Callback>>,
    /// Fields of the model card that do not follow from the run.
    pub card: ModelCardData,
    /// Initial loss scale of an fp16 run, and how it changes.
    pub loss_scaler: LossScaler,
    /// What the run came from, which its output directory tells.
    pub origin: Origin,
    /// What the trackers of `report_to` need.
    pub tracking: Tracking,
    /// A request by another thread to write a checkpoint and end the run after the current step.
    pub stop: Stop,
    /// Receives progress, messages and warnings.
    pub reporter: Arc<dyn Reporter>,
    /// Output of the last run, for the model card; `None` if it failed.
    pub output: Option<TrainOutput>,
}

impl<M: TextModel> Trainer<M> {
    /// A trainer on one training set, without evaluation. The other fields can be set before
    /// [`Trainer::train`].
    pub fn new(
        model: M,
        arguments: TrainingArguments,
        rows: impl RowSource + 'static,
        loss: impl Loss + 'static,
    ) -> Trainer<M> {
        Trainer::on_sets(model, arguments, vec![TrainingSet::new(rows, loss)])
    }

    /// A trainer on several training sets, each with its own loss and prompts.
    pub fn on_sets(
        model: M,
        arguments: TrainingArguments,
        train_sets: Vec<TrainingSet>,
    ) -> Trainer<M> {
        Trainer {
            model,
            arguments,
            train_sets,
            eval_sets: Vec::new(),
            evaluators: Vec::new(),
            callbacks: Vec::new(),
            card: ModelCardData::default(),
            loss_scaler: LossScaler::default(),
            origin: Origin::default(),
            tracking: Tracking::default(),
            stop: Stop::default(),
            reporter: silent(),
            output: None,
        }
    }

    /// Trains until the last step, from the beginning or from the checkpoint that the arguments
    /// name. This writes checkpoints, but not the final model; see [`Trainer::save_model`].
    ///
    /// During training, the model has the precision of the arguments. Its previous precision is
    /// restored afterwards.
    ///
    /// # Errors
    /// Arguments, rows, a model or a checkpoint that cannot be used; a loss or gradient that is not
    /// finite (in fp16, at any loss scale); a file that cannot be written; a run that was
    /// interrupted.
    pub fn train(&mut self) -> Result<TrainOutput, Error> {
        self.model.model().expect_matrices()?;
        self.model.model_mut().pack(Packing::None);
        self.model.model().device().keep_freed_memory();
        let before = self.model.model().precision();
        self.model.model_mut().set_precision(self.arguments.precision());
        let result = self.train_in_precision();
        self.model.model_mut().set_precision(before);
        let output = result?;
        self.output = Some(output.clone());
        Ok(output)
    }

    /// Trains in the precision that the model has now.
    fn train_in_precision(&mut self) -> Result<TrainOutput, Error> {
        let _guard = self.stop.guard();
        self.loss_scaler.validate()?;
        self.output = None;
        let parts = Parts {
            arguments: &self.arguments,
            train_sets: &self.train_sets,
            eval_sets: &self.eval_sets,
            evaluators: &self.evaluators,
            card: &self.card,
            origin: &self.origin,
            tracking: &self.tracking,
            stop: &self.stop,
            reporter: &self.reporter,
        };
        let setup = Setup::new(&self.model, parts)?;
        let mut run = Run::begin(&setup, &mut self.model, &mut self.callbacks, &self.loss_scaler)?;
        match run.train() {
            Ok(()) => run.finish(),
            Err(error) => {
                run.end_trackers(Err(&error));
                Err(error)
            }
        }
    }

    /// Passes all rows of all sets to their losses, so that an invalid row is found before
    /// training.
    ///
    /// # Errors
    /// The first row that its loss cannot use.
    pub fn check_rows(&self) -> Result<(), Error> {
        let (training, evaluation) =
            all_preparers(&self.model, &self.arguments, &self.train_sets, &self.eval_sets)?;
        training.iter().chain(&evaluation).try_for_each(Preparer::check_rows)?;
        Ok(())
    }

    /// Writes the model and its card to `directory`, and replaces an earlier model in it.
    ///
    /// # Errors
    /// `directory` contains something other than a model, or a file cannot be written.
    pub fn save_model(&self, directory: impl AsRef<Path>) -> Result<(), Error> {
        let card = self.model_card()?;
        replace_directory(directory.as_ref(), &MODEL_DIRECTORY, |folder| {
            Ok(self.model.save_files(folder, Some(&card))?)
        })
    }

    /// Renders the model card.
    ///
    /// # Errors
    /// A row that cannot be read, a text that the tokenizer cannot encode, or examples that the
    /// model cannot score.
    pub fn model_card(&self) -> Result<String, Error> {
        let fresh = TrainOutput::default();
        let output = self.output.as_ref().unwrap_or(&fresh);
        let report = TrainingReport {
            arguments: &self.arguments,
            state: &output.state,
            best_step: self.arguments.load_best_model_at_end.then_some(output.model_step),
            train_sets: reported(&self.train_sets),
            eval_sets: reported(&self.eval_sets),
            evaluations: &output.evaluations,
            timing: output.timing,
        };
        model_card::render(&self.model, &self.card, Some(&report))
    }
}

/// Checks, before training, that [`Trainer::save_model`] can replace `directory`.
///
/// # Errors
/// `directory` contains something other than a model.
pub fn check_destination(directory: impl AsRef<Path>) -> Result<(), Error> {
    Ok(MODEL_DIRECTORY.check_replaceable(directory.as_ref())?)
}
