use crate::error::Error;
use crate::evaluation::dual_encoder::at_k::{Ranking, RetrievalAtK};
use crate::evaluation::dual_encoder::embeddings::functions;
use crate::evaluation::dual_encoder::retrieved::Search;
use crate::evaluation::dual_encoder::truncated::Truncate;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::evaluation::record;
use crate::metrics::Metrics;
use indexmap::IndexMap;
use rankforge_base::{FileError, Reporter, write_atomically};
use rankforge_data::Beir;
use rankforge_encoder::{Embed, EncodeOptions};
use rankforge_kernels::ops::{Neighbour, Similarity};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;

/// How well a dual encoder retrieves the relevant documents of queries from a corpus.
///
/// Keys for each score function `f`: `f_accuracy@k`, `f_precision@k`, `f_recall@k`, `f_ndcg@k`,
/// `f_mrr@k` and `f_map@k`, for the ranks of [`RetrievalAtK`]. A document is relevant or not;
/// grades are for [`samples_from_first_stage`](crate::evaluation::samples_from_first_stage). The
/// primary metric is the NDCG at the lowest rank: that of `main_score_function`, else the largest
/// of all functions.
///
/// Documents of equal scores are ranked by id, ascending. A document with the id of the query is
/// ranked like any other. Queries without a relevant document are left out; a relevant document
/// that the corpus lacks counts as missed.
#[derive(Clone, Debug)]
pub struct InformationRetrievalEvaluator {
    collection: Arc<Collection>,
    name: String,
    /// What is computed, and how.
    pub settings: RetrievalSettings,
}

/// What an [`InformationRetrievalEvaluator`] computes, and how.
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

/// Queries, documents in the order of their ids, and which are relevant.
#[derive(Debug)]
struct Collection {
    /// Id, text, and the places of the relevant documents.
    queries: Vec<Query>,
    /// Id and text.
    corpus: Vec<(String, String)>,
}

#[derive(Debug)]
struct Query {
    id: String,
    text: String,
    relevant: HashSet<u32>,
    /// Number of relevant documents, with those that the corpus lacks.
    total: usize,
}

const NAME: &str = "InformationRetrievalEvaluator";
const FILE: &str = "Information-Retrieval_evaluation";

impl InformationRetrievalEvaluator {
    /// An evaluator of `queries` and `corpus`, ids to texts, with the ids of the relevant documents
    /// of each query, and with `name` before the keys of its metrics.
    ///
    /// # Errors
    /// No document, or no query with a relevant document.
    pub fn new(
        queries: IndexMap<String, String>,
        corpus: IndexMap<String, String>,
        relevant_docs: &IndexMap<String, HashSet<String>>,
        name: impl Into<String>,
    ) -> Result<InformationRetrievalEvaluator, Error> {
        if corpus.is_empty() {
            return Err(Error::rows(NAME, "at least one document", "none"));
        }
        let mut corpus: Vec<(String, String)> = corpus.into_iter().collect();
        corpus.sort_by(|a, b| a.0.cmp(&b.0));
        let place = |id: &String| corpus.binary_search_by(|(other, _)| other.cmp(id)).ok();
        let query = |(id, text): (String, String)| {
            let all = relevant_docs.get(&id).filter(|all| !all.is_empty())?;
            let relevant = all.iter().filter_map(place).map(|place| place as u32).collect();
            Some(Query { id, text, relevant, total: all.len() })
        };
        let total = queries.len();
        let queries: Vec<Query> = queries.into_iter().filter_map(query).collect();
        if queries.is_empty() {
            let got = format!("none of {total}");
            return Err(Error::rows(NAME, "at least one query with a relevant document", got));
        }
        Ok(InformationRetrievalEvaluator {
            collection: Arc::new(Collection { queries, corpus }),
            name: name.into(),
            settings: RetrievalSettings::default(),
        })
    }

    /// [`InformationRetrievalEvaluator::new`] with a BEIR collection.
    ///
    /// # Errors
    /// As [`InformationRetrievalEvaluator::new`].
    pub fn from_beir(
        beir: Beir,
        name: impl Into<String>,
    ) -> Result<InformationRetrievalEvaluator, Error> {
        let Beir { corpus, queries, relevant, .. } = beir;
        let ids = |judged: Vec<(String, f64)>| judged.into_iter().map(|(id, _)| id).collect();
        let relevant = relevant.into_iter().map(|(query, judged)| (query, ids(judged))).collect();
        InformationRetrievalEvaluator::new(queries, corpus, &relevant, name)
    }

    /// Number of queries with a relevant document.
    pub fn queries(&self) -> usize {
        self.collection.queries.len()
    }

    /// Number of documents.
    pub fn documents(&self) -> usize {
        self.collection.corpus.len()
    }

    fn search(&self, reporter: &Arc<dyn Reporter>) -> Search<'_> {
        let settings = &self.settings;
        let encode = |prompt: &Option<String>, prompt_name: &Option<String>| EncodeOptions {
            batch_size: settings.batch_size,
            truncate_dim: settings.truncate_dim,
            prompt: prompt.clone(),
            prompt_name: prompt_name.clone(),
            reporter: reporter.clone(),
            ..EncodeOptions::default()
        };
        Search {
            queries: self.collection.queries.iter().map(|query| query.text.as_str()).collect(),
            corpus: self.collection.corpus.iter().map(|(_, text)| text.as_str()).collect(),
            top_k: settings.at_k.deepest(),
            corpus_chunk_size: settings.corpus_chunk_size,
            of_queries: encode(&settings.query_prompt, &settings.query_prompt_name),
            of_corpus: encode(&settings.corpus_prompt, &settings.corpus_prompt_name),
        }
    }

    fn measure(&self, hits: &[Vec<Neighbour>]) -> Metrics {
        let rankings = self.collection.queries.iter().zip(hits).map(|(query, hits)| Ranking {
            relevant: hits.iter().map(|hit| query.relevant.contains(&hit.index)).collect(),
            total: query.total,
        });
        self.settings.at_k.measure(&rankings.collect::<Vec<_>>())
    }

    /// Writes the documents that were retrieved by one score function.
    fn write_predictions(
        &self,
        context: &EvaluationContext<'_>,
        function: Similarity,
        hits: &[Vec<Neighbour>],
    ) -> Result<(), Error> {
        let Some(folder) = context.output_path else { return Ok(()) };
        let mut lines = String::new();
        for (query, hits) in self.collection.queries.iter().zip(hits) {
            let result = |hit: &Neighbour| {
                let id = &self.collection.corpus[hit.index as usize].0;
                json!({ "corpus_id": id, "score": hit.score })
            };
            let results: Vec<_> = hits.iter().map(result).collect();
            let line = json!({ "query_id": query.id, "query": query.text, "results": results });
            lines.push_str(&format!("{line}\n"));
        }
        let separator = if self.name.is_empty() { "" } else { "_" };
        let file = format!("{FILE}{separator}{}_predictions_{}.jsonl", self.name, function.name());
        std::fs::create_dir_all(folder).map_err(FileError::io(folder))?;
        Ok(write_atomically(&folder.join(file), lines.as_bytes())?)
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

impl Truncate for InformationRetrievalEvaluator {
    fn truncate(&mut self, dimension: usize) {
        self.settings.truncate_dim = Some(dimension);
    }

    fn rename(&mut self, name: String) {
        self.name = name;
    }
}

impl<E: Embed + ?Sized> Evaluator<E> for InformationRetrievalEvaluator {
    fn class_name(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn primary_metric(&self, metrics: &Metrics) -> String {
        primary_metric(&self.settings, &self.name, metrics)
    }

    fn metric_names(&self, model: &E) -> Vec<String> {
        let functions = score_functions(&self.settings, model);
        let keys = keys(&self.settings, &functions).into_iter();
        keys.map(|key| with_name(&self.name, &key)).collect()
    }

    fn config(&self) -> serde_json::Value {
        let settings = &self.settings;
        let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
        record::config([
            ("truncate_dim", settings.truncate_dim.map(|dimension| json!(dimension))),
            ("query_prompt", text(&settings.query_prompt)),
            ("query_prompt_name", text(&settings.query_prompt_name)),
            ("corpus_prompt", text(&settings.corpus_prompt)),
            ("corpus_prompt_name", text(&settings.corpus_prompt_name)),
        ])
    }

    fn evaluate(&self, model: &E, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let settings = &self.settings;
        let functions = score_functions(settings, model);
        check(settings, &functions)?;
        let reporter = &context.reporter;
        reporter.message(&format!(
            "Information Retrieval Evaluation of the model on the {} dataset{}:",
            self.name,
            record::when_truncated(context, settings.truncate_dim)
        ));
        let hits = self.search(reporter).run(model, &functions)?;
        reporter.message(&format!("Queries: {}", self.queries()));
        reporter.message(&format!("Corpus: {}", self.documents()));
        let mut metrics = Metrics::new();
        for (function, hits) in functions.iter().zip(&hits) {
            if settings.write_predictions {
                self.write_predictions(context, *function, hits)?;
            }
            let found = self.measure(hits);
            reporter.message(&format!("Score-Function: {}", function.name()));
            for line in settings.at_k.lines(&|key| found.0[key]) {
                reporter.message(&line);
            }
            metrics.0.extend(found.with_prefix(function.name()).0);
        }
        if settings.write_csv {
            let (headers, row) = csv_columns(settings, &functions, &metrics);
            let file = record::csv_file(FILE, &[&self.name]);
            record::append_row(context, &file, &headers, &row)?;
        }
        Ok(metrics.with_prefix(&self.name))
    }
}
