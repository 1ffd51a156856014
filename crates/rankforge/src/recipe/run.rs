//! From a recipe to a trained model.

use crate::error::Error;
use crate::losses::Loss;
use crate::model_card::{DatasetName, ModelCardData, adapter_in_words};
use crate::recipe::document::Document;
use crate::recipe::evaluators::{EvaluatorSection, build_evaluators};
use crate::recipe::lora::add_adapter;
use crate::recipe::mined_cache::mined_rows;
use crate::recipe::model::ModelSection;
use crate::recipe::parse::Recipe;
use crate::recipe::resolved::resolved;
use crate::recipe::sets::{LossSection, SetSection};
use crate::recipe::trained::{RecipeTrainer, Trained};
use crate::training::{Origin, TrainOutput, Trainer, TrainingSet, check_destination};
use rankforge_base::Stop;
use rankforge_data::RowSource;
use rankforge_encoder::{LoadOptions, TextModel};
use std::path::PathBuf;
use std::sync::Arc;

/// A recipe whose models and data sets are open: a trainer that is ready, and where its model goes.
pub struct RecipeRun {
    /// The trainer; callbacks can be added before [`RecipeRun::run`].
    pub trainer: RecipeTrainer,
    /// Directory of the trained model: `final` in the output directory.
    pub destination: PathBuf,
    document: Document,
}

impl Recipe {
    /// Opens the model, the evaluators and the data sets, mines where the recipe says so, and
    /// checks every row against the loss.
    ///
    /// `options` give the device, the reporter, and the precision of first stages and of mining;
    /// what `[model]` and `[arguments]` say goes before them. A request to `stop` ends mining and,
    /// with a checkpoint, training.
    ///
    /// # Errors
    /// A model, a data set or a row that cannot be used; says which section names it.
    pub fn prepare(self, options: &LoadOptions, stop: &Stop) -> Result<RecipeRun, Error> {
        let destination = self.arguments.output_dir.join("final");
        check_destination(&destination)
            .map_err(|error| Error::unusable("arguments.output_dir", error))?;
        let trained = self.trained.clone();
        let (trainer, document) = match &trained {
            Trained::CrossEncoder { model, evaluators } => {
                let (trainer, document) = self.trainer(model, evaluators, options, stop)?;
                (RecipeTrainer::CrossEncoder(trainer), document)
            }
            Trained::DualEncoder { model, evaluators } => {
                let (trainer, document) = self.trainer(model, evaluators, options, stop)?;
                (RecipeTrainer::DualEncoder(trainer), document)
            }
        };
        Ok(RecipeRun { trainer, destination, document })
    }

    /// Opens everything that the recipe names, and checks every row against the loss.
    fn trainer<S, E>(
        mut self,
        model: &S,
        evaluators: &[E],
        options: &LoadOptions,
        stop: &Stop,
    ) -> Result<(Trainer<S::Model>, Document), Error>
    where
        S: ModelSection,
        E: EvaluatorSection<Model = S::Model>,
    {
        let seed = self.arguments.seed;
        let mut model =
            model.open(seed, options).map_err(|error| Error::unusable("[model]", error))?;
        if let Some(lora) = &self.lora {
            add_adapter(&self.document, &mut model, lora, seed)?;
        }
        let evaluators = build_evaluators(evaluators, options)?;
        for LossSection { section, loss } in &mut self.losses {
            loss.open(options).map_err(|error| Error::unusable(format!("[{section}]"), error))?;
        }
        let train_rows = self.load_rows(&self.train_sets, "train", options, stop)?;
        let eval_rows = self.load_rows(&self.eval_sets, "eval", options, stop)?;
        let card = self.card();
        let origin = Origin {
            recipe: Some(resolved(&self)),
            repeats: self.document.repeated_run()?,
            working_directory: self.working_directory,
        };
        let tracking = std::mem::take(&mut self.tracking);
        let losses: Vec<Arc<dyn Loss>> =
            self.losses.into_iter().map(|section| section.loss.into()).collect();
        let with_losses =
            |sets: Vec<SetSection>, rows: Vec<Arc<dyn RowSource>>| -> Vec<TrainingSet> {
                let set = |(set, rows): (SetSection, Arc<dyn RowSource>)| TrainingSet {
                    name: set.name,
                    rows,
                    loss: losses[set.loss].clone(),
                    prompts: set.prompts,
                    columns: None,
                };
                sets.into_iter().zip(rows).map(set).collect()
            };
        let train_sets = with_losses(self.train_sets, train_rows);
        let mut trainer = Trainer::on_sets(model, self.arguments, train_sets);
        trainer.eval_sets = with_losses(self.eval_sets, eval_rows);
        trainer.evaluators = evaluators;
        trainer.card = card;
        trainer.origin = origin;
        trainer.tracking = tracking;
        trainer.stop = stop.clone();
        trainer.reporter = options.reporter.clone();
        trainer.check_rows().map_err(|error| self.document.locate(error))?;
        describe(&trainer);
        Ok((trainer, self.document))
    }

    /// [`Recipe::prepare`] and [`RecipeRun::run`].
    ///
    /// # Errors
    /// As both.
    pub fn run(self, options: &LoadOptions, stop: &Stop) -> Result<TrainOutput, Error> {
        self.prepare(options, stop)?.run()
    }

    /// The rows of training or evaluation sets, which is what `kind` says, mined where the recipe
    /// says so.
    fn load_rows(
        &self,
        sets: &[SetSection],
        kind: &str,
        options: &LoadOptions,
        stop: &Stop,
    ) -> Result<Vec<Arc<dyn RowSource>>, Error> {
        let folder = self.arguments.output_dir.join("mined");
        let keep = self.arguments.resumes() && !self.arguments.ignore_data_skip;
        let load = |set: &SetSection| -> Result<Arc<dyn RowSource>, Error> {
            match &self.mining {
                Some(mining) if set.mined => {
                    let file = match set.name.as_str() {
                        "" => format!("{kind}.jsonl"),
                        name => format!("{kind}-{name}.jsonl"),
                    };
                    let file = folder.join(file);
                    Ok(Arc::new(mined_rows(&set.rows, mining, &file, keep, options, stop)?))
                }
                _ => set.rows.open(),
            }
        };
        let named = |set| load(set).map_err(|error| Error::unusable(&*set.section, error));
        sets.iter().map(named).collect()
    }

    /// What the recipe says of the card, and the data sets' names where it says none.
    fn card(&self) -> ModelCardData {
        let mut card = self.model_card.clone();
        let named = |set: &SetSection| {
            let file = set.rows.path.file_stem().map(|name| name.to_string_lossy().into_owned());
            let name = if set.name.is_empty() { file } else { Some(set.name.clone()) };
            DatasetName { name, ..DatasetName::default() }
        };
        if card.train_datasets.is_empty() {
            card.train_datasets = self.train_sets.iter().map(named).collect();
        }
        if card.eval_datasets.is_empty() {
            card.eval_datasets = self.eval_sets.iter().map(named).collect();
        }
        card
    }
}

impl RecipeRun {
    /// Trains, and saves the model with its card.
    ///
    /// # Errors
    /// As [`Trainer::train`] and [`Trainer::save_model`].
    pub fn run(&mut self) -> Result<TrainOutput, Error> {
        // A request that comes while the model is saved must not end the process.
        let _guard = self.trainer.stop().guard();
        let output = self.trainer.train().map_err(|error| self.document.locate(error))?;
        self.trainer.save_model(&self.destination)?;
        Ok(output)
    }
}

/// Tells what is trained on and how matrix products are computed.
fn describe(trainer: &Trainer<impl TextModel>) {
    let reporter = &trainer.reporter;
    let sets = [(&trainer.train_sets, "training data"), (&trainer.eval_sets, "evaluation data")];
    for (sets, what) in sets {
        for set in sets {
            let (rows, columns) = (set.rows.len(), set.rows.column_names().join(", "));
            let of_set = if set.name.is_empty() { "" } else { &format!(" `{}`", set.name) };
            reporter.message(&format!("{what}{of_set}: {rows} rows ({columns})"));
        }
    }
    let device = trainer.model.model().device();
    let products = device.product_path(trainer.arguments.precision());
    reporter.message(&format!("matrix products: {products}"));
    if let Some(adapter) = adapter_in_words(&trainer.model) {
        reporter.message(&format!("adapter: {adapter}"));
    }
}
