//! Training recipes: what `rankforge train` reads.

mod document;
mod evaluators;

pub(crate) use document::Document;
pub(crate) use evaluators::{EvaluatorSection, correlation_evaluator};

use crate::inference::ActivationName;
use anyhow::Context;
use rankforge::Error;
use rankforge::data::Location;
use rankforge::losses::{CROSS_ENCODER_LOSSES, Loss, cross_encoder_loss};
use rankforge::mining::MiningOptions;
use rankforge::model_card::ModelCardData;
use rankforge::training::TrainingArguments;
use serde::Deserialize;
use serde_json::Map;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A recipe, understood and checked as far as it can be without opening what it names.
pub(crate) struct Recipe {
    /// `[model]`.
    pub(crate) model: ModelSection,
    /// `[dataset]`.
    pub(crate) dataset: DatasetSection,
    /// `[eval_dataset]`.
    pub(crate) eval_dataset: Option<DatasetSection>,
    /// `[mining]`.
    pub(crate) mining: Option<MiningSection>,
    /// `[loss]`.
    pub(crate) loss: Box<dyn Loss>,
    /// `[arguments]`.
    pub(crate) arguments: TrainingArguments,
    /// `[[evaluators]]`.
    pub(crate) evaluators: Vec<EvaluatorSection>,
    /// `[model_card]`.
    pub(crate) model_card: ModelCardData,
    /// What the user should know of old names and arguments without effect.
    pub(crate) warnings: Vec<String>,
}

/// `[model]`: the model that is trained.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelSection {
    /// Folder of a cross-encoder, or of an encoder that is to become one.
    pub(crate) path: PathBuf,
    /// Scores for each pair; 1 for rerankers.
    #[serde(default)]
    pub(crate) num_labels: Option<usize>,
    /// Longest input in tokens.
    #[serde(default)]
    pub(crate) max_length: Option<usize>,
    /// Applied to the logits when the trained model predicts.
    #[serde(default)]
    pub(crate) activation_fn: Option<ActivationName>,
    /// Dropout before the classifier.
    #[serde(default)]
    pub(crate) classifier_dropout: Option<f32>,
}

/// `[dataset]` and `[eval_dataset]`: rows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatasetSection {
    /// File or folder.
    pub(crate) path: PathBuf,
    /// Split of a folder.
    #[serde(default)]
    pub(crate) split: Option<String>,
    /// Columns by role.
    #[serde(default)]
    pub(crate) columns: Option<Vec<String>>,
    /// First rows only.
    #[serde(default)]
    pub(crate) limit: Option<usize>,
}

impl DatasetSection {
    /// Where the rows are.
    pub(crate) fn location(&self) -> Location {
        Location {
            path: self.path.clone(),
            split: self.split.clone(),
            columns: self.columns.clone(),
            limit: self.limit,
        }
    }
}

/// `[mining]`: how pairs become training rows.
#[derive(Clone, Debug)]
pub(crate) struct MiningSection {
    /// Models and texts.
    pub(crate) sources: MiningFiles,
    /// The parameters of mine_hard_negatives.
    pub(crate) options: MiningOptions,
}

/// The fields of `[mining]` that name files.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MiningFiles {
    /// Folder of the dual encoder.
    pub(crate) model: PathBuf,
    /// Folder of the reranker that scores candidates again.
    #[serde(default)]
    pub(crate) cross_encoder: Option<PathBuf>,
    /// Data set of more passages.
    #[serde(default)]
    pub(crate) corpus: Option<PathBuf>,
    /// Its column.
    #[serde(default)]
    pub(crate) corpus_column: Option<String>,
    /// Whether `[eval_dataset]` is mined too.
    #[serde(default)]
    pub(crate) mine_eval_dataset: bool,
}

/// Fields of [`MiningFiles`], to part them from those of `MiningOptions`.
const MINING_FILES: [&str; 5] =
    ["model", "cross_encoder", "corpus", "corpus_column", "mine_eval_dataset"];

/// The sections as they stand in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sections {
    model: ModelSection,
    dataset: DatasetSection,
    #[serde(default)]
    eval_dataset: Option<DatasetSection>,
    #[serde(default)]
    mining: Option<Table>,
    #[serde(default)]
    loss: Table,
    #[serde(default)]
    arguments: Table,
    #[serde(default)]
    evaluators: Vec<Table>,
    #[serde(default)]
    model_card: ModelCardData,
}

impl Recipe {
    /// Reads a recipe file with `--set` values over it.
    ///
    /// # Errors
    /// Text that is not TOML, unknown fields (with the nearest known one), values of the wrong type
    /// or out of range; all with file and line.
    pub(crate) fn read(path: &Path, sets: &[String]) -> anyhow::Result<Recipe> {
        let document = Document::read(path, sets)?;
        let sections: Sections = document.read_as(document.table(), "")?;
        let (arguments, warnings) = read_arguments(&document, sections.arguments)?;
        let mining = sections.mining.map(|table| read_mining(&document, table)).transpose()?;
        let evaluators = sections
            .evaluators
            .into_iter()
            .enumerate()
            .map(|(index, table)| {
                document.read_as(Value::Table(table), &format!("evaluators[{index}]"))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Recipe {
            model: sections.model,
            dataset: sections.dataset,
            eval_dataset: sections.eval_dataset,
            mining,
            loss: read_loss(&document, sections.loss)?,
            arguments,
            evaluators,
            model_card: sections.model_card,
            warnings,
        })
    }
}

fn read_arguments(
    document: &Document,
    table: Table,
) -> anyhow::Result<(TrainingArguments, Vec<String>)> {
    TrainingArguments::from_map(&to_json(table)?).map_err(|error| match error {
        Error::Argument { field, expected, got } if field == "arguments" => {
            // The name itself is what is wrong.
            let name = got.trim_matches('"');
            document.complaint(&format!("arguments.{name}"), format!("expected {expected}")).into()
        }
        Error::Argument { field, expected, got } => document
            .complaint(&format!("arguments.{field}"), format!("expected {expected}, got {got}"))
            .into(),
        other => other.into(),
    })
}

fn read_mining(document: &Document, table: Table) -> anyhow::Result<MiningSection> {
    let (files, options): (Table, Table) =
        table.into_iter().partition(|(name, _)| MINING_FILES.contains(&name.as_str()));
    Ok(MiningSection {
        sources: document.read_as(Value::Table(files), "mining")?,
        options: document.read_as(Value::Table(options), "mining")?,
    })
}

/// `[loss]`: BinaryCrossEntropyLoss unless named, as the trainer of sentence-transformers has it.
fn read_loss(document: &Document, mut table: Table) -> anyhow::Result<Box<dyn Loss>> {
    let name = match table.remove("name") {
        None => CROSS_ENCODER_LOSSES[0].to_owned(),
        Some(Value::String(name)) => name,
        Some(other) => {
            let message = format!("expected the name of a loss, got {other}");
            return Err(document.complaint("loss.name", message).into());
        }
    };
    if !CROSS_ENCODER_LOSSES.contains(&name.as_str()) {
        return Err(document.unknown_name("loss.name", &name, &CROSS_ENCODER_LOSSES).into());
    }
    let options = to_json(table)?;
    cross_encoder_loss(&name, &options).map_err(|error| match error {
        Error::Argument { field, expected, got } => document
            .complaint(&format!("loss.{field}"), format!("expected {expected}, got {got}"))
            .into(),
        Error::Input(message) => document.explain_within("loss", &message).into(),
        other => other.into(),
    })
}

fn to_json(table: Table) -> anyhow::Result<Map<String, serde_json::Value>> {
    match serde_json::to_value(table).context("a value has no form in JSON")? {
        serde_json::Value::Object(map) => Ok(map),
        _ => unreachable!("a table is an object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(recipe.loss.name(), "BinaryCrossEntropyLoss");
        assert_eq!(arguments.learning_rate, 2e-5);
        assert_eq!(arguments.warmup_steps, rankforge::training::Steps::Ratio(0.1));
        assert_eq!(arguments.per_device_train_batch_size, 16);
        assert_eq!(arguments.save_total_limit, Some(2));
        assert_eq!(arguments.run_name.as_deref(), Some("reranker-MiniLM-msmarco-v1"));
    }
}
