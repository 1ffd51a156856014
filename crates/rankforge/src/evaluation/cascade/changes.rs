//! The queries that gained and lost most by reranking.

use crate::evaluation::cascade::collection::Collection;
use crate::evaluation::cascade::stage::Stage;
use rankforge_kernels::ops::Neighbour;
use serde::Serialize;

/// Number of documents at the top of each ranking that are described.
const TOP: usize = 3;

/// Number of relevant documents below the top that are described.
const RELEVANT: usize = 3;

/// Greatest number of characters of a passage.
const CHARACTERS: usize = 600;

/// What reranking changed.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// The first stage.
    pub before: String,
    /// The reranked stage.
    pub after: String,
    /// The metric that gains and losses are measured by.
    pub metric: String,
    /// Number of queries that gained.
    pub gained: usize,
    /// Number of queries that lost.
    pub lost: usize,
    /// Number of queries that stayed as they were.
    pub unchanged: usize,
    /// Those that gained most, the most first.
    pub most_gained: Vec<ChangedQuery>,
    /// Those that lost most, the most first.
    pub most_lost: Vec<ChangedQuery>,
}

/// A query before and after reranking.
#[derive(Clone, Debug, Serialize)]
pub struct ChangedQuery {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
    /// The metric before.
    pub before: f64,
    /// The metric after.
    pub after: f64,
    /// The best documents of both rankings, and the best relevant ones below them, in the order
    /// after reranking.
    pub passages: Vec<Passage>,
}

/// A document of the rankings of a query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Passage {
    /// Its id.
    pub id: String,
    /// Its text, at most 600 characters.
    pub text: String,
    /// Its grade; 0 if it is not relevant.
    pub grade: f64,
    /// Its rank before, from 1.
    pub rank_before: usize,
    /// Its rank after, from 1.
    pub rank_after: usize,
}

/// The `count` queries that gained most in NDCG between two stages, and those that lost most.
pub(super) fn change(
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
    let all = (0..collection.queries.len()).map(|query| {
        let (before, after) = (ndcg(query, before), ndcg(query, after));
        (query, before, after)
    });
    let mut gained: Vec<_> = all.clone().filter(|(_, before, after)| after > before).collect();
    let mut lost: Vec<_> = all.filter(|(_, before, after)| after < before).collect();
    // Sorting is stable: queries that changed alike keep the order of the collection.
    gained.sort_by(|a, b| (b.2 - b.1).total_cmp(&(a.2 - a.1)));
    lost.sort_by(|a, b| (a.2 - a.1).total_cmp(&(b.2 - b.1)));
    let describe = |queries: &[(usize, f64, f64)]| {
        let described = queries.iter().take(count).map(|&(query, from, to)| ChangedQuery {
            id: collection.queries[query].id.to_owned(),
            text: collection.queries[query].text.to_owned(),
            before: from,
            after: to,
            passages: passages(collection, query, &before.rankings[query], &after.rankings[query]),
        });
        described.collect()
    };
    Change {
        before: before.name(),
        after: after.name(),
        metric: format!("ndcg@{at_k}"),
        gained: gained.len(),
        lost: lost.len(),
        unchanged: collection.queries.len() - gained.len() - lost.len(),
        most_gained: describe(&gained),
        most_lost: describe(&lost),
    }
}

fn passages(
    collection: &Collection<'_>,
    query: usize,
    before: &[Neighbour],
    after: &[Neighbour],
) -> Vec<Passage> {
    let mut relevant_below = 0;
    let mut passages = Vec::new();
    for (place, candidate) in after.iter().enumerate() {
        let was = before.iter().position(|other| other.index == candidate.index);
        let was = was.expect("reranking keeps the documents");
        let (id, text) = collection.document(candidate.index);
        let grade = collection.queries[query].judged.grade(id);
        let is_top = place < TOP || was < TOP;
        if !is_top && (grade == 0.0 || relevant_below == RELEVANT) {
            continue;
        }
        relevant_below += usize::from(!is_top);
        passages.push(Passage {
            id: id.to_owned(),
            text: shortened(text),
            grade,
            rank_before: was + 1,
            rank_after: place + 1,
        });
    }
    passages
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
    }
}
