use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A field of [`MiningOptions`], as the command line needs it for a flag.
#[derive(Clone, Debug, PartialEq)]
pub struct MiningField {
    /// Name of the field.
    pub name: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Placeholder of its value in help texts; empty for a switch that is off by default.
    pub value_name: &'static str,
    /// Its default, as JSON; null for an optional field.
    pub default: Value,
}

/// Declares [`MiningOptions`]: each field once, with type, default, placeholder and help.
macro_rules! mining_options {
    ($($name:ident: $type:ty = $default:expr, $value:literal, $help:literal;)*) => {
        /// The parameters of `mine_hard_negatives`, with the names and defaults of
        /// sentence-transformers; `seed` is our own.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct MiningOptions {
            $(#[doc = $help] pub $name: $type,)*
        }

        impl Default for MiningOptions {
            fn default() -> MiningOptions {
                MiningOptions { $($name: $default,)* }
            }
        }

        impl MiningOptions {
            /// Every field, in order.
            pub fn fields() -> Vec<MiningField> {
                let defaults = MiningOptions::default();
                vec![$(MiningField {
                    name: stringify!($name),
                    help: $help,
                    value_name: $value,
                    default: serde_json::to_value(&defaults.$name).expect("plain data is JSON"),
                },)*]
            }
        }
    };
}

mining_options! {
    anchor_column_name: Option<String> = None, "NAME",
        "Column of the anchors [default: the first]";
    positive_column_name: Option<String> = None, "NAME",
        "Column of the positives [default: the second]";
    range_min: i64 = 0, "N",
        "Skip the N best candidates that pass the filters";
    range_max: Option<i64> = None, "N",
        "Keep N candidates for each anchor [default: enough for num_negatives]";
    max_score: Option<f64> = None, "SCORE",
        "Drop candidates with a higher score";
    min_score: Option<f64> = None, "SCORE",
        "Drop candidates with a lower score";
    absolute_margin: Option<f64> = None, "MARGIN",
        "Drop candidates with a score above s - MARGIN, where s is that of the weakest positive";
    relative_margin: Option<f64> = None, "SHARE",
        "Drop candidates with a score above s - |s| SHARE, where s is that of the weakest positive";
    num_negatives: i64 = 3, "N",
        "Number of negatives for each anchor";
    sampling_strategy: SamplingStrategy = SamplingStrategy::Top, "NAME",
        "Which remaining candidates become negatives: top or random";
    query_prompt_name: Option<String> = None, "NAME",
        "Name of the model's prompt for the anchors, unless query_prompt is given";
    query_prompt: Option<String> = None, "TEXT",
        "Prepended to each anchor";
    corpus_prompt_name: Option<String> = None, "NAME",
        "Name of the model's prompt for the corpus, unless corpus_prompt is given";
    corpus_prompt: Option<String> = None, "TEXT",
        "Prepended to each text of the corpus";
    include_positives: bool = false, "",
        "Keep an anchor's own positives in its ranking; the format becomes n-tuple";
    output_format: OutputFormat = OutputFormat::Triplet, "NAME",
        "Shape of the rows: triplet, n-tuple, labeled-pair or labeled-list";
    output_scores: bool = false, "",
        "Write scores, in place of the labels where there are labels";
    batch_size: usize = 32, "N",
        "Maximum number of texts or pairs in a batch";
    faiss_batch_size: i64 = 16384, "N",
        "Number of anchors in a search";
    use_faiss: bool = false, "",
        "No effect; accepted for compatibility with sentence-transformers (the search is exact)";
    use_multi_process: bool = false, "",
        "No effect; accepted for compatibility with sentence-transformers (all threads work)";
    verbose: bool = true, "BOOL",
        "Print statistics of the scores";
    cache_folder: Option<PathBuf> = None, "DIR",
        "Keep the embeddings in DIR for later runs";
    as_triplets: Option<bool> = None, "BOOL",
        "Deprecated: true sets output_format to triplet, false to n-tuple";
    margin: Option<f64> = None, "MARGIN",
        "Deprecated: use absolute_margin";
    seed: u64 = 42, "N",
        "Seed of the random sampling strategy";
}

/// Which of the candidates left by the filters become negatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplingStrategy {
    /// The nearest.
    Top,
    /// A random sample without repetition.
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
                "Invalid output_format: {name}. Must be one of 'triplet', 'n-tuple', \
                 'labeled-pair' or 'labeled-list'."
            )),
        }
    }
}

/// Reads and writes these types as their names.
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
