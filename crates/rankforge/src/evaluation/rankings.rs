//! Rankings of an evaluation, compared with a first stage or with an earlier evaluation.

use crate::evaluation::changes::{Change, Describe, passages};
use crate::evaluation::details::{
    DetailCollector, EvaluationDetails, RankedQueries, ScoreHistogram,
};

/// Number of documents of each query that a later evaluation knows the ranks of.
const RANKED: usize = 10;

/// How many of the queries that gained most, and of those that lost most, are described.
const CHANGED: usize = 5;

/// The documents of a query, best first, as the evaluator numbers them.
type Ranking<'a> = &'a dyn Fn(usize) -> Vec<u32>;

/// How a model ranks the documents of queries.
pub(crate) struct Rankings<'a> {
    /// Name of the evaluation data.
    pub(crate) name: &'a str,
    /// Name of the metric.
    pub(crate) metric: String,
    /// The metric of each query.
    pub(crate) values: Vec<f64>,
    pub(crate) ranking: Ranking<'a>,
    /// The same of a first stage.
    pub(crate) first_stage: Option<(Vec<f64>, Ranking<'a>)>,
    /// Id and text of a query.
    pub(crate) query: &'a dyn Fn(usize) -> (&'a str, &'a str),
    /// Id, text and grade of a document of a query.
    pub(crate) document: &'a dyn Fn(usize, u32) -> (&'a str, &'a str, f64),
}

impl Rankings<'_> {
    /// What changed most, and what later evaluations compare with if there is no first stage.
    pub(crate) fn details(
        &self,
        collector: &DetailCollector,
        scores: Option<ScoreHistogram>,
    ) -> EvaluationDetails {
        let earlier = collector.earlier(self.name, self.values.len());
        let changes = match (&self.first_stage, earlier) {
            (Some((values, ranking)), _) => Some(self.change("first stage", values, *ranking)),
            (None, Some(earlier)) => {
                let before = |query: usize| earlier.best[query].clone();
                Some(self.change(&earlier.when, &earlier.values, &before))
            }
            (None, None) => None,
        };
        let ranked = || RankedQueries {
            when: collector.when().to_owned(),
            values: self.values.clone(),
            best: (0..self.values.len())
                .map(|query| (self.ranking)(query).into_iter().take(RANKED).collect())
                .collect(),
        };
        EvaluationDetails {
            name: self.name.to_owned(),
            scores,
            changes,
            ranked: self.first_stage.is_none().then(ranked),
        }
    }

    fn change(&self, name: &str, values: &[f64], before: Ranking<'_>) -> Change {
        let query = |index: usize| {
            let (id, text) = (self.query)(index);
            let document = |place| (self.document)(index, place);
            let passages = passages(&before(index), &(self.ranking)(index), document);
            (id.to_owned(), text.to_owned(), passages)
        };
        let metric = self.metric.clone();
        let describe =
            Describe { before: name, after: "model", metric, count: CHANGED, query: &query };
        let pairs = values.iter().copied().zip(self.values.iter().copied());
        describe.change(&pairs.collect::<Vec<_>>())
    }
}
