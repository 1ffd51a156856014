use crate::error::Error;
use crate::evaluation::cascade::bootstrap::{BootstrapOptions, Resampled, quantile};
use crate::evaluation::cascade::collection::Collection;
use crate::evaluation::cascade::stage::Stage;
use crate::evaluation::changes::{Change, Describe, passages};
use crate::metrics::Metrics;
use indexmap::IndexMap;
use rankforge_data::UnknownJudgements;
use serde::Serialize;

/// What is measured.
#[derive(Clone, Debug)]
pub struct CascadeOptions {
    /// Rank up to which NDCG and MRR look.
    pub at_k: usize,
    /// Ranks up to which recall looks, ascending; average precision looks up to the last one.
    pub depths: Vec<usize>,
    /// How sure differences between stages are.
    pub bootstrap: BootstrapOptions,
    /// Number of queries that gained most by reranking, and of those that lost most, to describe.
    pub changes: usize,
}

impl Default for CascadeOptions {
    /// Rank 10; depths 10, 30 and 100; 5 queries of either kind.
    fn default() -> CascadeOptions {
        CascadeOptions {
            at_k: 10,
            depths: vec![10, 30, 100],
            bootstrap: BootstrapOptions::default(),
            changes: 5,
        }
    }
}

/// The stages of a cascade, measured on a collection.
#[derive(Clone, Debug, Serialize)]
pub struct CascadeReport {
    /// Number of queries, all with a relevant document.
    pub queries: usize,
    /// Number of queries without one, which no figure knows of.
    pub queries_without_judgements: usize,
    /// Number of documents of the corpus.
    pub documents: usize,
    /// Number of relevant documents that the corpus lacks, which count as missed.
    pub missing_documents: usize,
    /// Number of judgements above 0 that name them.
    pub missing_document_judgements: usize,
    /// Names of the metrics: `ndcg@k`, `mrr@k`, `map@depth`, and `recall@depth` of each depth.
    pub metrics: Vec<String>,
    /// The stages: each first stage, then what the reranker made of it at each depth.
    pub stages: Vec<StageReport>,
    /// How the intervals of `differences` were computed.
    pub bootstrap: BootstrapOptions,
    /// Each reranked stage against its first stage and against the next smaller depth, and stages
    /// of the same depth behind different first stages against each other.
    pub differences: Vec<Difference>,
    /// Of each first stage that was reranked, at the largest depth: the queries that gained and
    /// lost most.
    pub changes: Vec<Change>,
}

/// A stage, measured.
#[derive(Clone, Debug, Serialize)]
pub struct StageReport {
    /// [`Stage::name`].
    pub name: String,
    /// Name of its first stage.
    pub first_stage: String,
    /// Number of documents that were reranked, 0 for the first stage alone.
    pub depth: usize,
    /// Means over all queries.
    pub metrics: Metrics,
    /// From the text of a query to its ranking, one query at a time.
    pub seconds_per_query: TimePerQuery,
}

/// Seconds that the queries took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TimePerQuery {
    /// Their mean.
    pub mean: f64,
    /// Their median.
    pub p50: f64,
    /// What 95 % of the queries stay below.
    pub p95: f64,
}

/// A stage compared with another, query by query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The stage.
    pub stage: String,
    /// The stage that it is compared with.
    pub against: String,
    /// Of each metric: mean of the stage minus mean of the other.
    pub metrics: IndexMap<String, Interval>,
}

/// A difference and its bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The difference of the means.
    pub difference: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end of its interval.
    pub high: f64,
}

impl Interval {
    /// Whether the interval lies on one side of 0.
    pub fn is_clear(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

impl CascadeReport {
    /// Measures stages of a collection.
    ///
    /// # Errors
    /// No stage; an `at_k` of 0, or no depth; settings of the bootstrap out of range.
    pub fn new(
        collection: &Collection<'_>,
        stages: &[Stage],
        options: &CascadeOptions,
    ) -> Result<CascadeReport, Error> {
        let at_k = options.at_k;
        if at_k == 0 {
            return Err(Error::argument("at_k", "at least 1", 0));
        }
        let Some(deepest) = options.depths.last() else {
            return Err(Error::argument("depths", "at least one", "none"));
        };
        if stages.is_empty() {
            return Err(Error::argument("stages", "at least one", "none"));
        }
        let mut metrics =
            vec![format!("ndcg@{at_k}"), format!("mrr@{at_k}"), format!("map@{deepest}")];
        metrics.extend(options.depths.iter().map(|depth| format!("recall@{depth}")));
        let values = values(collection, stages, options);
        let columns = stages.len() * metrics.len();
        let mean = |column: usize| {
            let of_queries = values.chunks(columns).map(|row| row[column]);
            of_queries.sum::<f64>() / collection.queries.len() as f64
        };
        let means: Vec<f64> = (0..columns).map(mean).collect();
        let described = stages.iter().zip(means.chunks(metrics.len()));
        let UnknownJudgements { document_judgements, documents, .. } = collection.beir.unknown;
        Ok(CascadeReport {
            queries: collection.queries.len(),
            queries_without_judgements: collection.beir.unjudged,
            documents: collection.beir.corpus.len(),
            missing_documents: documents,
            missing_document_judgements: document_judgements,
            stages: described.map(|(stage, means)| describe(stage, &metrics, means)).collect(),
            bootstrap: options.bootstrap,
            differences: differences(stages, &metrics, &means, &values, &options.bootstrap)?,
            changes: changes(collection, stages, options),
            metrics,
        })
    }
}

/// The metrics of each query, `queries x (stages x metrics)`.
fn values(collection: &Collection<'_>, stages: &[Stage], options: &CascadeOptions) -> Vec<f64> {
    let mut values = Vec::new();
    for (index, query) in collection.queries.iter().enumerate() {
        for stage in stages {
            let grades = collection.grades(index, &stage.rankings[index]);
            let metrics = query.judged.best.metrics(&grades, options.at_k);
            values.extend([metrics.ndcg, metrics.mrr, metrics.map]);
            let recall = |depth: &usize| query.judged.best.recall(&grades, *depth);
            values.extend(options.depths.iter().map(recall));
        }
    }
    values
}

fn describe(stage: &Stage, names: &[String], means: &[f64]) -> StageReport {
    let mut metrics = Metrics::new();
    names.iter().zip(means).for_each(|(name, mean)| metrics.insert(name, *mean));
    let mut sorted = stage.seconds.clone();
    sorted.sort_by(f64::total_cmp);
    StageReport {
        name: stage.name(),
        first_stage: stage.first_stage.clone(),
        depth: stage.depth.unwrap_or(0),
        metrics,
        seconds_per_query: TimePerQuery {
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            p50: quantile(&sorted, 0.5),
            p95: quantile(&sorted, 0.95),
        },
    }
}

/// The comparisons of [`CascadeReport::differences`].
fn differences(
    stages: &[Stage],
    names: &[String],
    means: &[f64],
    values: &[f64],
    options: &BootstrapOptions,
) -> Result<Vec<Difference>, Error> {
    let resampled = Resampled::new(values, means.len(), options)?;
    let compare = |(index, other): (usize, usize)| {
        let metrics = names.iter().enumerate().map(|(metric, name)| {
            let [column, against] = [index, other].map(|stage| stage * names.len() + metric);
            let [low, high] = resampled.interval(column, against);
            (name.clone(), Interval { difference: means[column] - means[against], low, high })
        });
        Difference {
            stage: stages[index].name(),
            against: stages[other].name(),
            metrics: metrics.collect(),
        }
    };
    Ok(pairs(stages).into_iter().map(compare).collect())
}

/// Indices of a stage and of the one that it is compared with.
fn pairs(stages: &[Stage]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        let earlier = || stages[..index].iter().enumerate();
        let same = |other: &Stage| other.first_stage == stage.first_stage;
        let first = earlier().find(|(_, other)| same(other)).map(|(other, _)| other);
        let smaller = earlier().rfind(|(_, other)| same(other)).map(|(other, _)| other);
        pairs.extend(first.map(|other| (index, other)));
        pairs.extend(smaller.filter(|_| smaller != first).map(|other| (index, other)));
    }
    for (index, stage) in stages.iter().enumerate() {
        let other = stages[..index].iter().enumerate();
        let equal = other.filter(|(_, other)| other.depth == stage.depth);
        pairs.extend(equal.map(|(other, _)| (index, other)));
    }
    pairs
}

/// The queries that gained and lost most between each first stage and its deepest reranking.
fn changes(collection: &Collection<'_>, stages: &[Stage], options: &CascadeOptions) -> Vec<Change> {
    let first_stages = stages.iter().filter(|stage| stage.depth.is_none());
    let changes = first_stages.filter_map(|before| {
        let same = |stage: &&Stage| stage.first_stage == before.first_stage;
        let after = stages.iter().filter(same).max_by_key(|stage| stage.depth)?;
        after.depth.map(|_| change(collection, before, after, options.at_k, options.changes))
    });
    changes.collect()
}

fn change(
    collection: &Collection<'_>,
    before: &Stage,
    after: &Stage,
    at_k: usize,
    count: usize,
) -> Change {
    let ndcg = |query: usize, stage: &Stage| {
        let grades = collection.grades(query, &stage.rankings[query]);
        collection.queries[query].judged.best.metrics(&grades, at_k).ndcg
    };
    let queries = 0..collection.queries.len();
    let values: Vec<(f64, f64)> =
        queries.map(|query| (ndcg(query, before), ndcg(query, after))).collect();
    let ranking = |query: usize, stage: &Stage| -> Vec<u32> {
        stage.rankings[query].iter().map(|candidate| candidate.index).collect()
    };
    let query = |index: usize| {
        let query = &collection.queries[index];
        let document = |place| {
            let (id, text) = collection.document(place);
            (id, text, query.judged.grade(id))
        };
        let passages = passages(&ranking(index, before), &ranking(index, after), document);
        (query.id.to_owned(), query.text.to_owned(), passages)
    };
    let (before, after) = (&before.name(), &after.name());
    let metric = format!("ndcg@{at_k}");
    Describe { before, after, metric, count, query: &query }.change(&values)
}
