//! The sections of a recipe that name data, and models for mining.

use crate::arguments::path_text;
use crate::error::Error;
use crate::mining::{HardNegativeMiner, MiningOptions};
use crate::recipe::train_test_split::TrainTestSplit;
use rankforge_base::Reporter;
use rankforge_data::{Condition, Location, RowSource, StreamedRows, load_texts};
use rankforge_encoder::{CrossEncoder, DualEncoder, Embed, LoadOptions, Packing, Score};
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

/// `[dataset]` and `[eval_dataset]`: rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSection {
    /// File or folder.
    #[serde(serialize_with = "path_text")]
    pub path: PathBuf,
    /// Split of a folder.
    #[serde(default)]
    pub split: Option<String>,
    /// Columns, in the order of their roles.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// The first rows only, of those that are left.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Names of the columns of csv and tsv files that have no header row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Vec<String>>,
    /// Whether the rows stay in their jsonl or parquet files, but for those of a shuffle buffer.
    // Written only where it is given, as the keys of rows that were mined before lack it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub streaming: bool,
    /// Number of rows that a set with `streaming` has in memory, 10,000 by default. They are
    /// shuffled together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffle_buffer: Option<NonZeroUsize>,
    /// Conditions on columns, which need not be among `columns`; rows must fulfil all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<Condition>,
    /// Columns by which rows are the same; of those only the first is kept. An empty list stands
    /// for all columns that are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<Vec<String>>,
    /// Seed of a random order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffle_seed: Option<u64>,
    /// One of two parts of the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_test_split: Option<TrainTestSplit>,
}

/// Rows of a shuffle buffer by default.
const SHUFFLE_BUFFER: usize = 10_000;

impl DatasetSection {
    /// Opens the rows: in memory, or in their files.
    ///
    /// # Errors
    /// Files that cannot be read, or cannot be streamed.
    pub fn open(&self) -> Result<Arc<dyn RowSource>, Error> {
        if !self.streaming {
            return Ok(Arc::new(self.load()?));
        }
        let buffer = self.shuffle_buffer.map_or(SHUFFLE_BUFFER, NonZeroUsize::get);
        Ok(Arc::new(StreamedRows::open(&self.location(), buffer)?))
    }

    /// Where the rows are.
    pub fn location(&self) -> Location {
        Location {
            path: self.path.clone(),
            split: self.split.clone(),
            columns: self.columns.clone(),
            limit: self.limit,
            header: self.header.clone(),
        }
    }
}

/// `[mining]`: how pairs become training rows.
#[derive(Clone, Debug, PartialEq)]
pub struct MiningSection {
    /// The models and the corpus.
    pub sources: MiningSources,
    /// Whether `[eval_dataset]` is mined too.
    pub mine_eval_dataset: bool,
    /// The parameters of `mine_hard_negatives`.
    pub options: MiningOptions,
}

/// What hard negatives are mined with: paths of models and of a corpus.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MiningSources {
    /// Directory of the dual encoder.
    pub model: PathBuf,
    /// Directory of the reranker that scores candidates again.
    pub cross_encoder: Option<PathBuf>,
    /// Data set of texts that can become negatives besides the positives.
    pub corpus: Option<PathBuf>,
    /// Its column; by default `text`, or else the first.
    pub corpus_column: Option<String>,
}

/// What [`MiningSources`] name, opened.
pub struct MiningModels {
    /// Finds the candidates.
    pub encoder: DualEncoder,
    /// Scores them again.
    pub cross_encoder: Option<CrossEncoder>,
    /// Texts that can become negatives besides the positives.
    pub corpus: Option<Vec<String>>,
}

impl MiningSources {
    /// Opens the models and reads the corpus.
    ///
    /// # Errors
    /// A path that cannot be used; says which of the three it is.
    pub fn open(&self, options: &LoadOptions) -> Result<MiningModels, Error> {
        // Matrices are hashed for the cache of embeddings.
        let beside = LoadOptions { packing: Packing::Beside, ..options.clone() };
        let encoder = DualEncoder::open_with(&self.model, &beside)
            .map_err(|error| Error::unusable("the dual encoder for mining", error))?;
        let instead = LoadOptions { packing: Packing::Instead, ..options.clone() };
        let open = |path: &PathBuf| CrossEncoder::open_with(path, &instead);
        let cross_encoder = self.cross_encoder.as_ref().map(open).transpose();
        let cross_encoder = cross_encoder
            .map_err(|error| Error::unusable("the cross-encoder for mining", error))?;
        let read = |path: &PathBuf| load_texts(path, self.corpus_column.as_deref());
        let corpus = self.corpus.as_ref().map(read).transpose();
        let corpus = corpus.map_err(|error| Error::unusable("the corpus for mining", error))?;
        Ok(MiningModels { encoder, cross_encoder, corpus })
    }
}

impl MiningModels {
    /// A miner with these models.
    pub fn miner(
        &self,
        options: MiningOptions,
        reporter: Arc<dyn Reporter>,
    ) -> HardNegativeMiner<'_> {
        HardNegativeMiner {
            encoder: &self.encoder as &dyn Embed,
            cross_encoder: self.cross_encoder.as_ref().map(|model| model as &dyn Score),
            corpus: self.corpus.as_deref(),
            options,
            reporter,
        }
    }
}
