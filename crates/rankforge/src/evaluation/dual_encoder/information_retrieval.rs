use crate::error::Error;
use crate::evaluation::details::{DetailCollector, EvaluationDetails, ScoreHistogram};
use crate::evaluation::dual_encoder::at_k::Ranking;
use crate::evaluation::dual_encoder::retrieval_settings::{
    RetrievalSettings, check, csv_columns, keys, primary_metric, score_functions,
};
use crate::evaluation::dual_encoder::retrieved::Search;
use crate::evaluation::dual_encoder::truncated::Truncate;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::evaluation::rankings::Rankings;
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
/// `f_mrr@k` and `f_map@k`, for the ranks of [`RetrievalAtK`](crate::evaluation::RetrievalAtK). A
/// document is relevant or not; grades are for
/// [`samples_from_first_stage`](crate::evaluation::samples_from_first_stage). The primary metric is
/// the NDCG at the lowest rank: that of `main_score_function`, else the largest of all functions.
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
        self.settings.at_k.measure(&self.rankings(hits))
    }

    fn rankings(&self, hits: &[Vec<Neighbour>]) -> Vec<Ranking> {
        let rankings = self.collection.queries.iter().zip(hits).map(|(query, hits)| Ranking {
            relevant: hits.iter().map(|hit| query.relevant.contains(&hit.index)).collect(),
            total: query.total,
        });
        rankings.collect()
    }

    /// Scores of what was retrieved, and the queries that changed most against the earlier
    /// evaluation.
    fn details(&self, hits: &[Vec<Neighbour>], collector: &DetailCollector) -> EvaluationDetails {
        let Collection { queries, corpus } = &*self.collection;
        let flagged = queries.iter().zip(hits).flat_map(|(query, hits)| {
            let flag =
                |hit: &Neighbour| (f64::from(hit.score), query.relevant.contains(&hit.index));
            hits.iter().map(flag)
        });
        let metric = format!("ndcg@{}", self.settings.at_k.primary());
        let rankings = self.rankings(hits);
        let values = rankings.iter().map(|ranking| {
            let own = self.settings.at_k.measure(std::slice::from_ref(ranking));
            own.get(&metric).unwrap_or_default()
        });
        let rankings = Rankings {
            name: &self.name,
            values: values.collect(),
            metric,
            ranking: &|query| hits[query].iter().map(|hit| hit.index).collect(),
            first_stage: None,
            query: &|query| (&queries[query].id, &queries[query].text),
            document: &|query, place| {
                let (id, text) = &corpus[place as usize];
                let grade = f64::from(u8::from(queries[query].relevant.contains(&place)));
                (id, text, grade)
            },
        };
        rankings.details(collector, ScoreHistogram::of_flagged(flagged))
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
            if let (Some(collector), true) = (context.details, metrics.0.is_empty()) {
                collector.add(self.details(hits, collector));
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
