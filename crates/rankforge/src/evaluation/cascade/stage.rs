use crate::evaluation::cascade::collection::Collection;
use crate::evaluation::relevance::order;
use rankforge_kernels::ops::Neighbour;
use std::time::Duration;

/// The time since a moment that never changes. The library reads no clock: its caller gives one,
/// which is read before and after each piece of work that is measured.
pub type Clock<'a> = &'a dyn Fn() -> Duration;

/// The rankings of one stage of the cascade: a first stage, or one whose best documents a reranker
/// has ordered again.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Name of the first stage.
    pub first_stage: String,
    /// Number of documents of each query that were reranked; `None` is the first stage alone.
    pub depth: Option<usize>,
    /// Of each query of the collection: documents by their index in the corpus, best first.
    pub rankings: Vec<Vec<Neighbour>>,
    /// Of each query: seconds from the text of the query to its ranking, for this query alone.
    pub seconds: Vec<f64>,
}

impl Stage {
    /// `bm25`, or `bm25+rerank@30`.
    pub fn name(&self) -> String {
        match self.depth {
            None => self.first_stage.clone(),
            Some(depth) => format!("{}+rerank@{depth}", self.first_stage),
        }
    }

    /// Of each query: its id, and ids and scores of documents, best first, as run files have them.
    /// The scores of a reranked stage need not descend below its depth, where those of the first
    /// stage follow.
    pub fn by_id(&self, collection: &Collection<'_>) -> Vec<(String, Vec<(String, f32)>)> {
        let queries = collection.queries.iter().zip(&self.rankings);
        let ids = |ranking: &Vec<Neighbour>| {
            let id = |index| collection.document(index).0.to_owned();
            ranking.iter().map(|found| (id(found.index), found.score)).collect()
        };
        queries.map(|(query, ranking)| (query.id.to_owned(), ids(ranking))).collect()
    }

    /// This first stage with its best documents in the order of `scores`, which are those of the
    /// first `depth` documents of each query or of more; equal scores keep the order of the first
    /// stage. The other documents follow in their old order, with their old scores.
    pub(super) fn reranked(&self, depth: usize, scores: &[Vec<f32>], seconds: Vec<f64>) -> Stage {
        let rankings = self.rankings.iter().zip(scores).map(|(ranking, scores)| {
            let depth = depth.min(ranking.len());
            let best = order(&scores[..depth], false).into_iter();
            let best = best.map(|place| Neighbour { score: scores[place], ..ranking[place] });
            best.chain(ranking[depth..].iter().copied()).collect()
        });
        Stage {
            first_stage: self.first_stage.clone(),
            depth: Some(depth),
            rankings: rankings.collect(),
            seconds,
        }
    }
}
