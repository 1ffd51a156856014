//! From a recipe to a trained model.

use crate::error::Error;
use crate::model_card::{DatasetName, ModelCardData};
use crate::recipe::document::Document;
use crate::recipe::evaluators::{EvaluatorSection, build_evaluators};
use crate::recipe::mined_cache::mined_rows;
use crate::recipe::model::ModelSection;
use crate::recipe::parse::Recipe;
use crate::recipe::sections::DatasetSection;
use crate::recipe::trained::{RecipeTrainer, Trained};
use crate::training::{TrainOutput, Trainer, TrainingSet, check_destination};
use rankforge_base::Stop;
use rankforge_data::{Rows, load_rows};
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
        let model = model
            .open(self.arguments.seed, options)
            .map_err(|error| Error::unusable("[model]", error))?;
        let evaluators = build_evaluators(evaluators, options)?;
        self.loss.open(options).map_err(|error| Error::unusable("[loss]", error))?;
        let (train, eval) = self.load_rows(options, stop)?;
        let card = self.card();
        let set = TrainingSet::new(train, self.loss);
        let eval_set = eval.map(|rows| TrainingSet { rows: Arc::new(rows), ..set.clone() });
        let mut trainer = Trainer::on_sets(model, self.arguments, vec![set]);
        trainer.eval_sets = eval_set.into_iter().collect();
        trainer.evaluators = evaluators;
        trainer.card = card;
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

    /// Training rows and evaluation rows, mined where the recipe says so.
    fn load_rows(&self, options: &LoadOptions, stop: &Stop) -> Result<(Rows, Option<Rows>), Error> {
        let folder = self.arguments.output_dir.join("mined");
        let keep = self.arguments.resumes() && !self.arguments.ignore_data_skip;
        let load = |section: &DatasetSection, mined: bool, name: &str| match &self.mining {
            Some(mining) if mined => {
                mined_rows(section, mining, &folder.join(name), keep, options, stop)
            }
            _ => Ok(load_rows(&section.location())?),
        };
        let train = load(&self.dataset, true, "train.jsonl")
            .map_err(|error| Error::unusable("[dataset]", error))?;
        let mine_eval = self.mining.as_ref().is_some_and(|mining| mining.mine_eval_dataset);
        let eval = self.eval_dataset.as_ref();
        let eval = eval
            .map(|section| load(section, mine_eval, "eval.jsonl"))
            .transpose()
            .map_err(|error| Error::unusable("[eval_dataset]", error))?;
        Ok((train, eval))
    }

    /// What the recipe says of the card, and the data sets' names where it says none.
    fn card(&self) -> ModelCardData {
        let mut card = self.model_card.clone();
        let named = |section: &DatasetSection| {
            let name = section.path.file_stem().map(|name| name.to_string_lossy().into_owned());
            vec![DatasetName { name, ..DatasetName::default() }]
        };
        if card.train_datasets.is_empty() {
            card.train_datasets = named(&self.dataset);
        }
        if let (true, Some(eval)) = (card.eval_datasets.is_empty(), &self.eval_dataset) {
            card.eval_datasets = named(eval);
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
            reporter.message(&format!("{what}: {rows} rows ({columns})"));
        }
    }
    let device = trainer.model.model().device();
    let products = device.product_path(trainer.arguments.precision());
    reporter.message(&format!("matrix products: {products}"));
}
