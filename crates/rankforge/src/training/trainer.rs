use crate::arguments::TrainingArguments;
use crate::error::Error;
use crate::evaluation::Evaluator;
use crate::losses::Loss;
use crate::model_card::{self, ModelCardData, TrainingReport};
use crate::training::batches::Preparer;
use crate::training::callbacks::Callback;
use crate::training::loss_scaler::LossScaler;
use crate::training::run::{Run, TrainOutput, reported};
use crate::training::setup::{Parts, Setup, names, preparers};
use crate::training::training_set::TrainingSet;
use rankforge_base::{Reporter, Stop, replace_directory, silent};
use rankforge_data::RowSource;
use rankforge_encoder::{MODEL_DIRECTORY, TextModel};
use std::path::Path;
use std::sync::Arc;

/// Trains a model on rows: what a run needs, and afterwards what it found.
pub struct Trainer<M: TextModel> {
    /// The model; its parameters change.
    pub model: M,
    /// How it is trained.
    pub arguments: TrainingArguments,
    /// What it is trained on.
    pub train_sets: Vec<TrainingSet>,
    /// What the evaluation loss is computed on.
    pub eval_sets: Vec<TrainingSet>,
    /// What measures it during training.
    pub evaluators: Vec<Box<dyn Evaluator<M>>>,
    /// Called on the events of a run.
    pub callbacks: Vec<Box<dyn Callback>>,
    /// What the model card says besides what the run knows.
    pub card: ModelCardData,
    /// The loss scale that an fp16 run begins with, and how it changes.
    pub loss_scaler: LossScaler,
    /// Requested by another thread, ends the run after the current step with a checkpoint.
    pub stop: Stop,
    /// Receives progress, messages and warnings.
    pub reporter: Arc<dyn Reporter>,
    /// The result of the last run, for the model card.
    pub output: Option<TrainOutput>,
}

impl<M: TextModel> Trainer<M> {
    /// A trainer on one set of rows, without evaluation; the other fields can be set before
    /// [`Trainer::train`].
    pub fn new(
        model: M,
        arguments: TrainingArguments,
        rows: impl RowSource + 'static,
        loss: impl Loss + 'static,
    ) -> Trainer<M> {
        Trainer::on_sets(model, arguments, vec![TrainingSet::new(rows, loss)])
    }

    /// A trainer on several sets, each with a loss and prompts of its own.
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
            stop: Stop::default(),
            reporter: silent(),
            output: None,
        }
    }

    /// Trains to the end, from the beginning or from the checkpoint that the arguments name. The
    /// model is not saved, apart from checkpoints; see [`Trainer::save_model`].
    ///
    /// While this runs, the model has the arguments' precision; then its own again.
    ///
    /// # Errors
    /// Arguments, rows or a checkpoint that cannot be used; a loss or gradient that is not finite
    /// (in fp16: at any loss scale); a file that cannot be written; an interruption.
    pub fn train(&mut self) -> Result<TrainOutput, Error> {
        let before = self.model.model().precision();
        self.model.model_mut().set_precision(self.arguments.precision());
        let result = self.train_as_set();
        self.model.model_mut().set_precision(before);
        let output = result?;
        self.output = Some(output.clone());
        Ok(output)
    }

    fn train_as_set(&mut self) -> Result<TrainOutput, Error> {
        let _guard = self.stop.guard();
        self.loss_scaler.validate()?;
        self.output = None;
        let parts = Parts {
            arguments: &self.arguments,
            train_sets: &self.train_sets,
            eval_sets: &self.eval_sets,
            evaluators: &self.evaluators,
            card: &self.card,
            stop: &self.stop,
            reporter: &self.reporter,
        };
        let setup = Setup::new(&self.model, parts)?;
        let mut run = Run::begin(&setup, &mut self.model, &mut self.callbacks, &self.loss_scaler)?;
        run.train()?;
        run.finish()
    }

    /// Shows all rows of all sets to their losses, so that a bad one is found before the training.
    ///
    /// # Errors
    /// The first row that does not fit.
    pub fn check_rows(&self) -> Result<(), Error> {
        let names = names(&self.train_sets, &self.eval_sets);
        for (sets, what) in
            [(&self.train_sets, "training data"), (&self.eval_sets, "evaluation data")]
        {
            let preparers = preparers(&self.model, &self.arguments, sets, &names, what)?;
            preparers.iter().try_for_each(Preparer::check_rows)?;
        }
        Ok(())
    }

    /// Checks before the training that [`Trainer::save_model`] may write to `directory` after it.
    ///
    /// # Errors
    /// When `directory` holds something else than a model.
    pub fn check_destination(&self, directory: &Path) -> Result<(), Error> {
        Ok(MODEL_DIRECTORY.check_replaceable(directory)?)
    }

    /// Writes the model with its card to `directory`, in place of an earlier model there.
    ///
    /// # Errors
    /// When `directory` holds something else than a model, or a file cannot be written.
    pub fn save_model(&self, directory: impl AsRef<Path>) -> Result<(), Error> {
        let card = self.model_card()?;
        replace_directory(directory.as_ref(), &MODEL_DIRECTORY, |folder| {
            Ok(self.model.save_files(folder, Some(&card))?)
        })
    }

    /// The model card as it is now.
    ///
    /// # Errors
    /// When the examples cannot be scored or the tokenizer cannot read a text.
    pub fn model_card(&self) -> Result<String, Error> {
        let fresh = TrainOutput::default();
        let output = self.output.as_ref().unwrap_or(&fresh);
        let report = TrainingReport {
            arguments: &self.arguments,
            state: &output.state,
            train_sets: reported(&self.train_sets),
            eval_sets: reported(&self.eval_sets),
            evaluations: &output.evaluations,
            timing: output.timing,
        };
        model_card::render(&self.model, &self.card, Some(&report))
    }
}
