//! From the text of a recipe to [`Recipe`].

use crate::arguments::TrainingArguments;
use crate::error::Error;
use crate::mining::MiningOptions;
use crate::model_card::ModelCardData;
use crate::recipe::document::Document;
use crate::recipe::evaluators::read_evaluators;
use crate::recipe::lora::read_lora;
use crate::recipe::model::{EitherModel, read_model};
use crate::recipe::nones::{nulls_for_nones, without_nones};
use crate::recipe::overrides::Override;
use crate::recipe::sections::{DatasetSection, MiningSection, MiningSources};
use crate::recipe::sets::{LossSection, SetSection, SetTables, Sets, read_sets, to_json};
use crate::recipe::trained::Trained;
use crate::training::Tracking;
use rankforge_encoder::LoraConfig;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// What a training run is made of. Everything is checked as far as that is possible without opening
/// the models and data sets that it names.
pub struct Recipe {
    /// `[model]` and `[[evaluators]]`, which depend on the kind of the model.
    pub trained: Trained,
    /// `[dataset]`, or each `[datasets.NAME]`.
    pub train_sets: Vec<SetSection>,
    /// `[eval_dataset]`, or each `[eval_datasets.NAME]`.
    pub eval_sets: Vec<SetSection>,
    /// `[mining]`.
    pub mining: Option<MiningSection>,
    /// `[loss]` and the losses of single sets. One that has no name is, as in
    /// sentence-transformers, BinaryCrossEntropyLoss for a cross-encoder with one label,
    /// CrossEntropyLoss for one with several, and CoSENTLoss for a dual encoder.
    pub losses: Vec<LossSection>,
    /// `[lora]`.
    pub lora: Option<LoraConfig>,
    /// `[arguments]`.
    pub arguments: TrainingArguments,
    /// `[model_card]`.
    pub model_card: ModelCardData,
    /// What the user should know of renamed arguments and arguments without effect.
    pub warnings: Vec<String>,
    /// The directory that relative paths start from, for the record of the run.
    pub working_directory: Option<PathBuf>,
    /// What the trackers of `report_to` need.
    pub tracking: Tracking,
    pub(super) document: Document,
}

/// The sections as they stand in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sections {
    model: Table,
    #[serde(default)]
    dataset: Option<DatasetSection>,
    #[serde(default)]
    datasets: Table,
    #[serde(default)]
    eval_dataset: Option<DatasetSection>,
    #[serde(default)]
    eval_datasets: Table,
    #[serde(default)]
    mining: Option<Table>,
    #[serde(default)]
    loss: Table,
    #[serde(default)]
    lora: Option<Table>,
    #[serde(default)]
    arguments: Table,
    #[serde(default)]
    evaluators: Vec<Table>,
    #[serde(default)]
    model_card: ModelCardData,
}

/// The fields of `[mining]` that are not parameters of `mine_hard_negatives`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MiningFiles {
    model: PathBuf,
    #[serde(default)]
    cross_encoder: Option<PathBuf>,
    #[serde(default)]
    corpus: Option<PathBuf>,
    #[serde(default)]
    corpus_column: Option<String>,
    #[serde(default)]
    mine_eval_dataset: bool,
}

/// The fields of [`MiningFiles`].
const MINING_FILES: [&str; 5] =
    ["model", "cross_encoder", "corpus", "corpus_column", "mine_eval_dataset"];

impl Recipe {
    /// Reads a recipe file and applies overrides in order.
    ///
    /// # Errors
    /// A file that cannot be read, or as [`Recipe::parse`].
    pub fn read(path: impl AsRef<Path>, overrides: &[Override]) -> Result<Recipe, Error> {
        Recipe::from_document(Document::read(path.as_ref(), overrides)?)
    }

    /// [`Recipe::read`] for text that was read from `path`, which errors name.
    ///
    /// # Errors
    /// Text that is not TOML, unknown fields (with the nearest known one), values of the wrong type
    /// or out of range; all with file and line, or with the override at fault.
    pub fn parse(
        path: impl AsRef<Path>,
        text: &str,
        overrides: &[Override],
    ) -> Result<Recipe, Error> {
        Recipe::from_document(Document::parse(path.as_ref(), text, overrides)?)
    }

    fn from_document(whole: Document) -> Result<Recipe, Error> {
        let document = &whole;
        let sections: Sections =
            document.read_as(without_nones(document.table(), &MINING_FILES), "")?;
        let (arguments, warnings) = read_arguments(document, sections.arguments)?;
        let mining = sections.mining.map(|table| read_mining(document, table)).transpose()?;
        let lora = sections.lora.map(|table| read_lora(document, table)).transpose()?;
        let tables = SetTables {
            dataset: sections.dataset,
            eval_dataset: sections.eval_dataset,
            datasets: sections.datasets,
            eval_datasets: sections.eval_datasets,
            loss: sections.loss,
        };
        let (trained, sets) = match read_model(document, sections.model)? {
            EitherModel::CrossEncoder(model) => {
                let sets = read_sets(document, tables, mining.as_ref(), &model)?;
                let evaluators = read_evaluators(document, sections.evaluators)?;
                (Trained::CrossEncoder { model, evaluators }, sets)
            }
            EitherModel::DualEncoder(model) => {
                let sets = read_sets(document, tables, mining.as_ref(), &model)?;
                let evaluators = read_evaluators(document, sections.evaluators)?;
                (Trained::DualEncoder { model, evaluators }, sets)
            }
        };
        let Sets { train, eval, losses } = sets;
        Ok(Recipe {
            trained,
            train_sets: train,
            eval_sets: eval,
            mining,
            losses,
            lora,
            arguments,
            model_card: sections.model_card,
            warnings,
            working_directory: None,
            tracking: Tracking::default(),
            document: whole,
        })
    }
}

impl Document {
    /// An error of a run about a training argument, with the place where the recipe gives it.
    pub(super) fn locate(&self, error: Error) -> Error {
        match &error {
            // A caller may have set where to resume from.
            Error::Argument { field, .. } if field == "resume_from_checkpoint" => error,
            Error::Argument { field, .. } if self.gives(&format!("arguments.{field}")) => {
                refused(self, "arguments", error)
            }
            _ => error,
        }
    }
}

fn read_arguments(
    document: &Document,
    table: Table,
) -> Result<(TrainingArguments, Vec<String>), Error> {
    let mut map = to_json(document, "arguments", table)?;
    nulls_for_nones(&mut map);
    TrainingArguments::from_map(&map).map_err(|error| match error {
        Error::Argument { field, got, .. } if field == "arguments" => {
            let known = TrainingArguments::names();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            document.unknown_field("arguments", &got, &known)
        }
        error => refused(document, "arguments", error),
    })
}

/// An error for the value of a field of a section, with its line.
fn refused(document: &Document, section: &str, error: Error) -> Error {
    match error {
        Error::Argument { field, expected, got } => document
            .refuse(&format!("{section}.{field}"), format!("expected {expected}, got {got}")),
        other => other,
    }
}

fn read_mining(document: &Document, table: Table) -> Result<MiningSection, Error> {
    let (files, options): (Table, Table) =
        table.into_iter().partition(|(name, _)| MINING_FILES.contains(&name.as_str()));
    let files: MiningFiles = document.read_as(Value::Table(files), "mining")?;
    let MiningFiles { model, cross_encoder, corpus, corpus_column, mine_eval_dataset } = files;
    let options: MiningOptions = document.read_as(Value::Table(options), "mining")?;
    options.validate().map_err(|error| refused(document, "mining", error))?;
    let sources = MiningSources { model, cross_encoder, corpus, corpus_column };
    Ok(MiningSection { sources, mine_eval_dataset, options })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Steps;

    #[test]
    fn every_recipe_of_the_repository_is_understood() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
        let mut read = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let recipe = Recipe::read(&path, &[]);
                assert!(recipe.is_ok(), "{}: {:?}", path.display(), recipe.err());
                read += 1;
            }
        }
        assert!(read >= 4, "only {read} recipes");
    }

    #[test]
    fn the_notebook_recipe_holds_the_values_of_its_cells() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/notebook.toml");
        let recipe = Recipe::read(&path, &[]).unwrap();
        let (arguments, mining) = (&recipe.arguments, &recipe.mining.unwrap().options);
        assert_eq!((mining.num_negatives, mining.range_min, mining.range_max), (5, 0, Some(20)));
        assert_eq!((mining.absolute_margin, mining.batch_size), (Some(0.0), 4096));
        assert_eq!(mining.output_format.as_str(), "labeled-pair");
        assert_eq!(recipe.losses[0].loss.name(), "BinaryCrossEntropyLoss");
        assert_eq!(arguments.learning_rate, 2e-5);
        assert_eq!(arguments.warmup_steps, Steps::Ratio(0.1));
        assert_eq!(arguments.per_device_train_batch_size, 16);
        assert_eq!(arguments.save_total_limit, Some(2));
        assert_eq!(arguments.run_name.as_deref(), Some("reranker-MiniLM-msmarco-v1"));
    }

    fn refused(text: &str) -> String {
        let whole = format!("model.path = \"m\"\ndataset.path = \"d\"\n{text}");
        Recipe::parse("r.toml", &whole, &[]).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_line_the_field_and_what_was_expected() {
        for (text, start, rest) in [
            ("[loss]\nname = \"BinaryCrosEntropyLoss\"", "r.toml, line 4", "did you mean `Binary"),
            ("[loss]\npos_wieght = 2", "r.toml, line 4", "did you mean `pos_weight`?"),
            (
                "[loss]\npos_weight = [1, 2]",
                "r.toml, line 4: `loss.pos_weight`: expected a number, got a list",
                "",
            ),
            ("[loss]\nname = 3", "r.toml, line 4: `loss.name`: expected the name of a loss", "3"),
            (
                "[arguments]\nseed = [1]",
                "r.toml, line 4: `arguments.seed`: expected a whole number, got [1]",
                "",
            ),
            (
                "[mining]\nmodel = \"m\"\nnum_negatives = \"x\"",
                "r.toml, line 5: `mining.num_negatives`: expected a whole number, got \"x\"",
                "",
            ),
            (
                "[model_card]\nlanguage = 3",
                "r.toml, line 4: `model_card.language`: expected a list, got 3",
                "",
            ),
            ("[loss]\npos_weight = -2", "r.toml, line 4: `loss.pos_weight`", "got -2"),
            (
                "[loss]\npos_weight = inf",
                "r.toml, line 4: `loss.pos_weight`",
                "finite number, got inf",
            ),
            ("[arguments]\nseed = 1\nlogging_steps = nan", "r.toml, line 5", "got NaN"),
            (
                "[arguments]\nlogging_steps = \"x\"",
                "r.toml, line 4: `arguments.logging_steps`: expected a number of steps",
                "\"x\"",
            ),
            ("[arguments]\nlearning_rate = -1", "r.toml, line 4: `arguments.learning_rate`", "-1"),
            ("[mining]\nmodel = \"m\"\nrange_mim = 2", "r.toml, line 5", "`range_min`"),
            ("[mining]\nrange_min = 2", "r.toml, line 3", "`model`"),
            (
                "[mining]\nmodel = \"m\"\nnum_negatives = 0",
                "r.toml, line 5: `mining.num_negatives`: expected at least 1, got 0",
                "",
            ),
            (
                "[mining]\nmodel = \"m\"\nmine_eval_dataset = true",
                "r.toml, line 5: `mining.mine_eval_dataset`",
                "no [eval_dataset]",
            ),
            ("[[evaluators]]\npath = \"x\"", "r.toml, line 3", "`type`"),
            ("[[evaluators]]\ntype = \"Rerank\"\npath = \"x\"", "r.toml, line 4", "cannot be"),
            (
                "[[evaluators]]\ntype = \"CrossEncoderCorrelationEvaluator\"\npath = \"x\"\n\
                 at_k = 3",
                "r.toml, line 6: unknown field `at_k` in [evaluators[0]]",
                "",
            ),
            ("[model_card]\nlicence = \"mit\"", "r.toml, line 4", "did you mean `license`?"),
        ] {
            let message = refused(text);
            assert!(message.starts_with(start) && message.contains(rest), "{text}: {message}");
        }
    }

    #[test]
    fn an_override_at_fault_is_named_also_where_the_recipe_lacks_its_section() {
        let whole = "model.path = \"m\"\ndataset.path = \"d\"\ndataset.columns = [\"a\"]";
        for (change, rest) in [
            ("loss.pos_weight=[1,2]", "`loss.pos_weight`: expected a number, got a list"),
            (
                "loss.pos_wieght=1",
                "unknown field `pos_wieght` in [loss]; did you mean `pos_weight`?",
            ),
            ("foo.bar=1", "unknown section `foo`"),
            ("model_card.language=3", "`model_card.language`: expected a list, got 3"),
            ("dataset.columns=[3]", "`dataset.columns[0]`: expected a text in quotes, got 3"),
            ("mining.num_negatives=2", "`mining`: missing field `model`"),
        ] {
            let error = Recipe::parse("r.toml", whole, &[change.parse().unwrap()]).map(drop);
            assert_eq!(error.unwrap_err().to_string(), format!("override {change}: {rest}"));
        }
    }

    #[test]
    fn none_is_spelled_as_a_text() {
        let text = "[model]\npath = \"m\"\nmax_length = \"none\"\n[dataset]\npath = \"d\"\n\
                    split = \"None\"\n[mining]\nmodel = \"s\"\nrange_max = \"none\"\n\
                    cross_encoder = \"none\"\n[loss]\nname = \"MultipleNegativesRankingLoss\"\n\
                    num_negatives = \"none\"\n[arguments]\nsave_total_limit = \"none\"\n\
                    report_to = \"none\"\n[[evaluators]]\n\
                    type = \"CrossEncoderCorrelationEvaluator\"\npath = \"e\"\n\
                    batch_size = \"none\"\n";
        let recipe = Recipe::parse("r.toml", text, &[]).unwrap();
        assert_eq!(recipe.train_sets[0].rows.split, None);
        assert_eq!(recipe.mining.unwrap().options.range_max, None);
        assert_eq!(recipe.losses[0].loss.config()["num_negatives"], serde_json::Value::Null);
        assert_eq!(recipe.arguments.save_total_limit, None);
        for (field, expected) in [
            ("mining.num_negatives=None", "expected a whole number, got \"None\""),
            ("arguments.seed=none", "expected a whole number, got \"none\""),
        ] {
            let error = Recipe::parse("r.toml", text, &[field.parse().unwrap()]).err().unwrap();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn the_default_loss_of_several_labels_is_cross_entropy() {
        let loss = |model: &str| {
            let text = format!("[model]\npath = \"m\"\n{model}\n[dataset]\npath = \"d\"\n");
            Recipe::parse("r.toml", &text, &[]).unwrap().losses[0].loss.name()
        };
        assert_eq!(loss(""), "BinaryCrossEntropyLoss");
        assert_eq!(loss("num_labels = 1"), "BinaryCrossEntropyLoss");
        assert_eq!(loss("num_labels = 3"), "CrossEntropyLoss");
    }
}
