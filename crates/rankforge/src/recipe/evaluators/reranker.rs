//! Evaluators of cross-encoders on labeled pairs and on NanoBEIR.

use crate::error::Error;
use crate::evaluation::{
    CrossEncoderClassificationEvaluator, CrossEncoderCorrelationEvaluator,
    CrossEncoderNanoBEIREvaluator, NANO_BEIR_NAMES, nano_beir_samples,
};
use crate::recipe::evaluators::collections::nano_beir_collections;
use crate::recipe::evaluators::fields::count;
use crate::recipe::evaluators::location::{NO_NAME, first_columns, location};
use rankforge_data::{Rows, load_nano_beir_ranking, load_rows};
use rankforge_encoder::LoadOptions;
use serde::Deserialize;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// A `CrossEncoderCorrelationEvaluator` or a `CrossEncoderClassificationEvaluator`: pairs with gold
/// scores or classes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabeledPairsSection {
    /// Data set.
    pub path: PathBuf,
    /// Split of a folder.
    #[serde(default)]
    pub split: Option<String>,
    /// The columns of the first text, the second text and the score or class; else the first three.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// The first rows only.
    #[serde(default)]
    pub limit: Option<NonZeroUsize>,
    /// Prefix of the metrics' keys.
    #[serde(default)]
    pub name: Option<String>,
    /// Maximum number of pairs in a batch.
    #[serde(default)]
    pub batch_size: Option<NonZeroUsize>,
    /// Whether the CSV file is written.
    #[serde(default)]
    pub write_csv: Option<bool>,
}

impl LabeledPairsSection {
    /// Reads the rows and builds the evaluator of correlation.
    ///
    /// # Errors
    /// A missing column, or a cell of another type.
    pub fn correlation(&self) -> Result<CrossEncoderCorrelationEvaluator, Error> {
        let rows = self.rows()?;
        let columns = first_columns(&rows, &self.path, ["first text", "second text", "score"])?;
        let mut built = CrossEncoderCorrelationEvaluator::from_rows(&rows, columns, self.name())?;
        built.batch_size = count(self.batch_size, built.batch_size);
        built.write_csv = self.write_csv.unwrap_or(built.write_csv);
        Ok(built)
    }

    /// Reads the rows and builds the evaluator of classification.
    ///
    /// # Errors
    /// A missing column, or a cell of another type.
    pub fn classification(&self) -> Result<CrossEncoderClassificationEvaluator, Error> {
        let rows = self.rows()?;
        let columns = first_columns(&rows, &self.path, ["first text", "second text", "label"])?;
        let name = self.name();
        let mut built = CrossEncoderClassificationEvaluator::from_rows(&rows, columns, name)?;
        built.batch_size = count(self.batch_size, built.batch_size);
        built.write_csv = self.write_csv.unwrap_or(built.write_csv);
        Ok(built)
    }

    fn rows(&self) -> Result<Rows, Error> {
        Ok(load_rows(&location(&self.path, &self.split, &self.columns, self.limit))?)
    }

    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(NO_NAME)
    }
}

/// A `CrossEncoderNanoBEIREvaluator`: a folder of collections with their rankings by BM25.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NanoBEIRRerankingSection {
    /// Folder of the collections.
    pub path: PathBuf,
    /// Names of the collections. As in sentence-transformers, all that the folder has but arguana
    /// and touche2020 when there is none, as their task is another one.
    #[serde(default)]
    pub dataset_names: Option<Vec<String>>,
    /// Number of documents that are reranked for each query; 100 by default.
    #[serde(default)]
    pub rerank_k: Option<NonZeroUsize>,
    /// Rank up to which MRR and NDCG look.
    #[serde(default)]
    pub at_k: Option<NonZeroUsize>,
    /// Whether positives that BM25 missed are ranked together with its documents.
    #[serde(default)]
    pub always_rerank_positives: Option<bool>,
    /// The first queries of each collection only.
    #[serde(default)]
    pub limit: Option<NonZeroUsize>,
    /// Maximum number of pairs in a batch.
    #[serde(default)]
    pub batch_size: Option<NonZeroUsize>,
    /// Whether the CSV files are written.
    #[serde(default)]
    pub write_csv: Option<bool>,
}

/// The collections that are left out where none are named.
const OTHER_TASKS: [&str; 2] = ["arguana", "touche2020"];

impl NanoBEIRRerankingSection {
    /// Reads the collections and builds the evaluator.
    ///
    /// # Errors
    /// A folder without collections, or one that is malformed.
    pub fn evaluator(&self, options: &LoadOptions) -> Result<CrossEncoderNanoBEIREvaluator, Error> {
        let own = |(name, _): &&(&str, &str)| !OTHER_TASKS.contains(name);
        let known: Vec<&str> =
            NANO_BEIR_NAMES.iter().filter(own).map(|(_, readable)| *readable).collect();
        let names = self.dataset_names.as_deref();
        let rerank_k = count(self.rerank_k, 100);
        let mut datasets = Vec::new();
        for found in nano_beir_collections(&self.path, names, &known, self.limit, options)? {
            let ranking = load_nano_beir_ranking(&self.path, &found.split)?;
            datasets.push((found.name, nano_beir_samples(&found.beir, &ranking, rerank_k)));
        }
        let mut built = CrossEncoderNanoBEIREvaluator::new(datasets, rerank_k)?;
        built.at_k = count(self.at_k, built.at_k);
        built.always_rerank_positives =
            self.always_rerank_positives.unwrap_or(built.always_rerank_positives);
        built.batch_size = count(self.batch_size, built.batch_size);
        built.write_csv = self.write_csv.unwrap_or(built.write_csv);
        Ok(built)
    }
}
