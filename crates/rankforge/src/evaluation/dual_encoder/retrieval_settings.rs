//! What an evaluation of retrieval computes, and the keys and columns of its metrics.

use crate::error::Error;
use crate::evaluation::dual_encoder::at_k::RetrievalAtK;
use crate::evaluation::dual_encoder::embeddings::functions;
use crate::evaluation::evaluator::with_name;
use crate::metrics::Metrics;
use rankforge_encoder::Embed;
use rankforge_kernels::ops::Similarity;

/// What an [`InformationRetrievalEvaluator`] computes, and how.
///
/// [`InformationRetrievalEvaluator`]: crate::evaluation::InformationRetrievalEvaluator
#[derive(Clone, Debug)]
pub struct RetrievalSettings {
    /// Ranks up to which the metrics look.
    pub at_k: RetrievalAtK,
    /// Number of documents that are embedded and searched at a time, which bounds memory. Default:
    /// 50,000.
    pub corpus_chunk_size: usize,
    /// Maximum number of texts in a batch; by default only the tokens are bounded.
    pub batch_size: usize,
    /// Number of leading dimensions of the embeddings; `None`: those of the model.
    pub truncate_dim: Option<usize>,
    /// How queries and documents are compared; as the model says when there is none.
    pub score_functions: Vec<Similarity>,
    /// The score function of the primary metric; `None`: the one with the largest NDCG.
    pub main_score_function: Option<Similarity>,
    /// Prompt of the queries; `None`: that of the model.
    pub query_prompt: Option<String>,
    /// Name of one of the model's prompts, for queries.
    pub query_prompt_name: Option<String>,
    /// Prompt of the documents; `None`: that of the model.
    pub corpus_prompt: Option<String>,
    /// Name of one of the model's prompts, for documents.
    pub corpus_prompt_name: Option<String>,
    /// Whether to write the CSV file.
    pub write_csv: bool,
    /// Whether to write the retrieved documents, for each score function to a file
    /// `Information-Retrieval_evaluation_{name}_predictions_{function}.jsonl`.
    pub write_predictions: bool,
}

impl Default for RetrievalSettings {
    fn default() -> RetrievalSettings {
        RetrievalSettings {
            at_k: RetrievalAtK::default(),
            corpus_chunk_size: 50_000,
            batch_size: usize::MAX,
            truncate_dim: None,
            score_functions: Vec::new(),
            main_score_function: None,
            query_prompt: None,
            query_prompt_name: None,
            corpus_prompt: None,
            corpus_prompt_name: None,
            write_csv: true,
            write_predictions: false,
        }
    }
}

/// The score functions of the settings or of the model, in the order of their names.
pub(super) fn score_functions<E: Embed + ?Sized>(
    settings: &RetrievalSettings,
    model: &E,
) -> Vec<Similarity> {
    let mut functions = functions(&settings.score_functions, None, model);
    functions.sort_by_key(|function| function.name());
    functions.dedup();
    functions
}

/// The key of the primary metric: the NDCG of the main score function, or the largest.
pub(super) fn primary_metric(
    settings: &RetrievalSettings,
    name: &str,
    metrics: &Metrics,
) -> String {
    let k = settings.at_k.primary();
    let key = |function: Similarity| with_name(name, &format!("{}_ndcg@{k}", function.name()));
    if let Some(main) = settings.main_score_function {
        return key(main);
    }
    let found = Similarity::ALL.into_iter().map(key).filter_map(|key| {
        let value = metrics.get(&key)?;
        Some((key, value))
    });
    let best = found.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or_else(|| key(Similarity::Cosine), |(key, _)| key)
}

/// Checks what an evaluation would stumble over.
///
/// # Errors
/// Ranks or a chunk size of 0, or a main score function that is not one of the score functions.
pub(super) fn check(settings: &RetrievalSettings, functions: &[Similarity]) -> Result<(), Error> {
    settings.at_k.check()?;
    if settings.corpus_chunk_size == 0 {
        return Err(Error::argument("corpus_chunk_size", "at least 1", 0));
    }
    match settings.main_score_function {
        Some(main) if !functions.contains(&main) => {
            let names: Vec<&str> = functions.iter().map(|function| function.name()).collect();
            let expected = format!("one of the score functions ({})", names.join(", "));
            Err(Error::argument("main_score_function", expected, main.name()))
        }
        _ => Ok(()),
    }
}

/// The names and values of the columns of a CSV file. `metrics` has keys without a name.
pub(super) fn csv_columns(
    settings: &RetrievalSettings,
    functions: &[Similarity],
    metrics: &Metrics,
) -> (Vec<String>, Vec<f64>) {
    let columns = functions.iter().flat_map(|function| {
        let column = |(label, key): (String, String)| {
            let value = metrics.0[&format!("{}_{key}", function.name())];
            (format!("{}-{label}", function.name()), value)
        };
        settings.at_k.columns().into_iter().map(column)
    });
    columns.unzip()
}

/// The keys of all metrics, without a name.
pub(super) fn keys(settings: &RetrievalSettings, functions: &[Similarity]) -> Vec<String> {
    let of = |function: &Similarity| {
        let name = function.name();
        settings.at_k.keys().into_iter().map(move |key| format!("{name}_{key}"))
    };
    functions.iter().flat_map(of).collect()
}
