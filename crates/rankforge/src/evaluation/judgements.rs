//! Judgements of a collection's queries, and the metrics of rankings by them.

use crate::evaluation::relevance::{RankingMetrics, retrieval_metrics};
use indexmap::IndexMap;
use rankforge_data::Beir;

/// What is relevant for a query.
#[derive(Clone, Debug)]
pub(super) struct Judged<'a> {
    /// Id to grade of the relevant documents, in the order of the judgements.
    pub(super) relevant: IndexMap<&'a str, f64>,
    /// Their grades, best first.
    pub(super) best: BestGrades,
}

impl<'a> Judged<'a> {
    /// The judgements above 0 of the query with this id.
    pub(super) fn of(beir: &'a Beir, query: &str) -> Judged<'a> {
        let judged = beir.relevant.get(query).into_iter().flatten();
        let relevant: IndexMap<&str, f64> = judged
            .filter(|(_, grade)| *grade > 0.0)
            .map(|(document, grade)| (document.as_str(), *grade))
            .collect();
        let mut grades: Vec<f64> = relevant.values().copied().collect();
        grades.sort_by(|a, b| b.total_cmp(a));
        Judged { relevant, best: BestGrades(grades) }
    }

    /// The grade of a document; 0 if it is not relevant.
    pub(super) fn grade(&self, document: &str) -> f64 {
        self.relevant.get(document).copied().unwrap_or(0.0)
    }
}

/// Grades of all relevant documents of a query, in descending order: the best possible ranking.
#[derive(Clone, Debug)]
pub(super) struct BestGrades(Vec<f64>);

impl BestGrades {
    /// NDCG and MRR up to rank `k`, and average precision, of a ranking of documents with these
    /// grades.
    pub(super) fn metrics(&self, grades: &[f64], k: usize) -> RankingMetrics {
        retrieval_metrics(grades, &self.0, k)
    }

    /// Share of the relevant documents that are among the first `k` of a ranking with these
    /// grades; 0 where nothing is relevant.
    pub(super) fn recall(&self, grades: &[f64], k: usize) -> f64 {
        let found = grades.iter().take(k).filter(|grade| **grade > 0.0).count();
        found as f64 / self.0.len().max(1) as f64
    }
}
