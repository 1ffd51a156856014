use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Parameters of [`mine_hard_negatives`](super::mine_hard_negatives), named and set as in
/// sentence-transformers; `seed` is our own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MiningOptions {
    /// Column of the anchors; `None` or unknown is the first.
    pub anchor_column_name: Option<String>,
    /// Column of the positives; `None` or unknown is the second.
    pub positive_column_name: Option<String>,
    /// Skip so many of the best candidates that pass all filters.
    pub range_min: i64,
    /// Keep so many candidates; `None` is `range_min + num_negatives` and the most rows of an anchor, with ten
    /// times as many negatives where a filter may drop some.
    pub range_max: Option<i64>,
    /// Drop candidates with a higher score.
    pub max_score: Option<f64>,
    /// Drop candidates with a lower score.
    pub min_score: Option<f64>,
    /// Drop a candidate when its score and this exceed the weakest positive's score.
    pub absolute_margin: Option<f64>,
    /// Drop a candidate when its score exceeds `pos - |pos| relative_margin`, `pos` the weakest positive's score.
    pub relative_margin: Option<f64>,
    /// Negatives for each anchor.
    pub num_negatives: i64,
    /// Which of the remaining candidates are taken.
    pub sampling_strategy: SamplingStrategy,
    /// Name of a prompt of the model for the anchors, when `query_prompt` is `None`.
    pub query_prompt_name: Option<String>,
    /// Prepended to each anchor.
    pub query_prompt: Option<String>,
    /// Name of a prompt of the model for the corpus, when `corpus_prompt` is `None`.
    pub corpus_prompt_name: Option<String>,
    /// Prepended to each text of the corpus.
    pub corpus_prompt: Option<String>,
    /// Leave an anchor's own positives in its ranking; forces the format `n-tuple`.
    pub include_positives: bool,
    /// Shape of the rows.
    pub output_format: OutputFormat,
    /// Add the scores, or put them in the place of the labels.
    pub output_scores: bool,
    /// Most texts or pairs in a batch of either encoder.
    pub batch_size: usize,
    /// Anchors in a search.
    pub faiss_batch_size: i64,
    /// The search is exact and blocked with or without; this only says so.
    pub use_faiss: bool,
    /// All cores are used with or without; this only says so.
    pub use_multi_process: bool,
    /// Send the statistics to the reporter.
    pub verbose: bool,
    /// Folder that keeps the embeddings for a later call.
    pub cache_folder: Option<PathBuf>,
    /// Deprecated: `true` is the format `triplet`, `false` is `n-tuple`.
    pub as_triplets: Option<bool>,
    /// Deprecated: `absolute_margin`.
    pub margin: Option<f64>,
    /// Names the draws of the sampling strategy `random`.
    pub seed: u64,
}

impl Default for MiningOptions {
    fn default() -> MiningOptions {
        MiningOptions {
            anchor_column_name: None,
            positive_column_name: None,
            range_min: 0,
            range_max: None,
            max_score: None,
            min_score: None,
            absolute_margin: None,
            relative_margin: None,
            num_negatives: 3,
            sampling_strategy: SamplingStrategy::Top,
            query_prompt_name: None,
            query_prompt: None,
            corpus_prompt_name: None,
            corpus_prompt: None,
            include_positives: false,
            output_format: OutputFormat::Triplet,
            output_scores: false,
            batch_size: 32,
            faiss_batch_size: 16384,
            use_faiss: false,
            use_multi_process: false,
            verbose: true,
            cache_folder: None,
            as_triplets: None,
            margin: None,
            seed: 42,
        }
    }
}

/// Which of the candidates left by the filters become negatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplingStrategy {
    /// The nearest.
    Top,
    /// Drawn by chance, without repetition.
    Random,
}

/// Shape of the mined rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// Anchor, positive, negative: a row for each negative found.
    Triplet,
    /// Anchor, positive, `negative_1` to `negative_n`: a row for each positive when all were found.
    NTuple,
    /// Anchor, text, label 1 or 0: a row for each positive and each negative found.
    LabeledPair,
    /// Anchor, list of the positive and the negatives found, list of labels.
    LabeledList,
    /// Deprecated: `n-tuple` with scores.
    NTupleScores,
}

impl SamplingStrategy {
    /// The name in sentence-transformers.
    pub fn as_str(self) -> &'static str {
        match self {
            SamplingStrategy::Top => "top",
            SamplingStrategy::Random => "random",
        }
    }
}

impl OutputFormat {
    /// The name in sentence-transformers.
    pub fn as_str(self) -> &'static str {
        match self {
            OutputFormat::Triplet => "triplet",
            OutputFormat::NTuple => "n-tuple",
            OutputFormat::LabeledPair => "labeled-pair",
            OutputFormat::LabeledList => "labeled-list",
            OutputFormat::NTupleScores => "n-tuple-scores",
        }
    }
}

impl FromStr for SamplingStrategy {
    type Err = String;

    fn from_str(name: &str) -> Result<SamplingStrategy, String> {
        match name {
            "top" => Ok(SamplingStrategy::Top),
            "random" => Ok(SamplingStrategy::Random),
            _ => {
                Err(format!("Invalid sampling_strategy: {name}. Must be one of 'top' or 'random'."))
            }
        }
    }
}

impl FromStr for OutputFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<OutputFormat, String> {
        match name {
            "triplet" => Ok(OutputFormat::Triplet),
            "n-tuple" => Ok(OutputFormat::NTuple),
            "labeled-pair" => Ok(OutputFormat::LabeledPair),
            "labeled-list" => Ok(OutputFormat::LabeledList),
            "n-tuple-scores" => Ok(OutputFormat::NTupleScores),
            _ => Err(format!(
                "Invalid output_format: {name}. Must be one of 'triplet', 'n-tuple', 'labeled-pair' or 'labeled-list'."
            )),
        }
    }
}

/// The names are the only form these take in files and on screens.
macro_rules! by_name {
    ($($kind:ty),*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$kind, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

by_name!(SamplingStrategy, OutputFormat);
