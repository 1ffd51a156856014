use crate::error::Error;
use crate::evaluation::{
    CrossEncoderRerankingEvaluator, Evaluator, FirstStage, FirstStageOptions, reranking_samples,
    samples_from_first_stage,
};
use crate::recipe::document::Document;
use crate::recipe::evaluators::collections::first_queries;
use crate::recipe::evaluators::fields::count;
use crate::recipe::evaluators::location::{NO_NAME, is_beir, location};
use crate::recipe::evaluators::reranker::{LabeledPairsSection, NanoBEIRRerankingSection};
use crate::recipe::evaluators::section::EvaluatorSection;
use rankforge_base::FileError;
use rankforge_data::{Location, load_beir, load_rows};
use rankforge_encoder::{CrossEncoder, DualEncoder, EncodeOptions, LoadOptions, Packing};
use serde::Deserialize;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use toml::Value;

/// One of `[[evaluators]]` of a cross-encoder; `type` is the name of the class in
/// sentence-transformers.
#[derive(Clone, Debug, PartialEq)]
pub enum CrossEncoderEvaluator {
    /// `CrossEncoderCorrelationEvaluator`.
    Correlation(LabeledPairsSection),
    /// `CrossEncoderRerankingEvaluator`.
    Reranking(RerankingSection),
    /// `CrossEncoderClassificationEvaluator`.
    Classification(LabeledPairsSection),
    /// `CrossEncoderNanoBEIREvaluator`.
    NanoBEIR(NanoBEIRRerankingSection),
}

impl EvaluatorSection for CrossEncoderEvaluator {
    type Model = CrossEncoder;

    const TYPES: &'static [&'static str] = &[
        "CrossEncoderCorrelationEvaluator",
        "CrossEncoderRerankingEvaluator",
        "CrossEncoderClassificationEvaluator",
        "CrossEncoderNanoBEIREvaluator",
    ];

    fn read(
        document: &Document,
        name: &str,
        fields: Value,
        at: &str,
    ) -> Result<CrossEncoderEvaluator, Error> {
        match name {
            "CrossEncoderCorrelationEvaluator" => {
                Ok(CrossEncoderEvaluator::Correlation(document.read_as(fields, at)?))
            }
            "CrossEncoderClassificationEvaluator" => {
                Ok(CrossEncoderEvaluator::Classification(document.read_as(fields, at)?))
            }
            "CrossEncoderNanoBEIREvaluator" => {
                Ok(CrossEncoderEvaluator::NanoBEIR(document.read_as(fields, at)?))
            }
            _ => Ok(CrossEncoderEvaluator::Reranking(document.read_as(fields, at)?)),
        }
    }

    fn build(&self, options: &LoadOptions) -> Result<Box<dyn Evaluator<CrossEncoder>>, Error> {
        match self {
            CrossEncoderEvaluator::Correlation(section) => Ok(Box::new(section.correlation()?)),
            CrossEncoderEvaluator::Reranking(section) => {
                Ok(Box::new(section.evaluator(options)?.0))
            }
            CrossEncoderEvaluator::Classification(section) => {
                Ok(Box::new(section.classification()?))
            }
            CrossEncoderEvaluator::NanoBEIR(section) => Ok(Box::new(section.evaluator(options)?)),
        }
    }
}

/// A `CrossEncoderRerankingEvaluator`: samples, or a BEIR folder whose documents a dual encoder
/// ranks first.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankingSection {
    /// Data set of samples, or BEIR folder.
    pub path: PathBuf,
    /// Split of a folder.
    #[serde(default)]
    pub split: Option<String>,
    /// Columns of the samples to read.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// The first samples, or queries, only.
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
    /// Rank up to which MRR and NDCG look.
    #[serde(default)]
    pub at_k: Option<NonZeroUsize>,
    /// Whether positives that the first stage missed are ranked together with its documents.
    #[serde(default)]
    pub always_rerank_positives: Option<bool>,
    /// Directory of the dual encoder, for a BEIR folder.
    #[serde(default)]
    pub first_stage: Option<PathBuf>,
    /// Number of documents that it retrieves for each query.
    #[serde(default)]
    pub depth: Option<NonZeroUsize>,
}

impl RerankingSection {
    /// Reads samples, or retrieves them from a BEIR folder, and builds the evaluator. The first
    /// stage is there for a BEIR folder.
    ///
    /// # Errors
    /// Data or a first stage that cannot be used, or fields that do not go with the data.
    pub fn evaluator(
        &self,
        options: &LoadOptions,
    ) -> Result<(CrossEncoderRerankingEvaluator, Option<FirstStage>), Error> {
        let is_beir = is_beir(&self.path);
        let first_stage = match &self.first_stage {
            Some(first_stage) if is_beir => Some(self.retrieve(first_stage, options)?),
            Some(_) => {
                let message = "expected a BEIR folder (corpus.jsonl, queries.jsonl and \
                               qrels/SPLIT.tsv), as there is a first_stage; got something else";
                return Err(FileError::content(&self.path, message).into());
            }
            None if is_beir => {
                let expected = format!(
                    "the directory of the dual encoder that retrieves from the BEIR folder {}",
                    self.path.display()
                );
                return Err(Error::argument("first_stage", expected, "none"));
            }
            None => None,
        };
        if let (None, Some(depth)) = (&first_stage, self.depth) {
            let expected = format!("none, as {} is not a BEIR folder", self.path.display());
            return Err(Error::argument("depth", expected, depth));
        }
        let samples = match &first_stage {
            Some(stage) => stage.samples.clone(),
            None => reranking_samples(&load_rows(&self.location())?)?,
        };
        let name = self.name.as_deref().unwrap_or(NO_NAME);
        let mut evaluator = CrossEncoderRerankingEvaluator::new(samples, name)?;
        evaluator.at_k = count(self.at_k, evaluator.at_k);
        evaluator.always_rerank_positives =
            self.always_rerank_positives.unwrap_or(evaluator.always_rerank_positives);
        evaluator.batch_size = count(self.batch_size, evaluator.batch_size);
        evaluator.write_csv = self.write_csv.unwrap_or(evaluator.write_csv);
        Ok((evaluator, first_stage))
    }

    fn location(&self) -> Location {
        location(&self.path, &self.split, &self.columns, self.limit)
    }

    fn retrieve(&self, model: &Path, options: &LoadOptions) -> Result<FirstStage, Error> {
        if let Some(columns) = &self.columns {
            let expected = "none, as a BEIR folder has no columns to choose";
            return Err(Error::argument("columns", expected, columns.join(", ")));
        }
        let beir = load_beir(&self.path, self.split.as_deref())?;
        let beir = first_queries(beir, self.limit, &self.path.display().to_string(), options);
        let defaults = FirstStageOptions::default();
        let retrieval = FirstStageOptions {
            depth: count(self.depth, defaults.depth),
            at_k: count(self.at_k, defaults.at_k),
            encode: EncodeOptions { reporter: options.reporter.clone(), ..defaults.encode },
        };
        let options = LoadOptions { packing: Packing::Instead, ..options.clone() };
        let encoder = DualEncoder::open_with(model, &options)?;
        samples_from_first_stage(&beir, &encoder, &retrieval)
    }
}
