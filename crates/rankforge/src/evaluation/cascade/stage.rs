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
