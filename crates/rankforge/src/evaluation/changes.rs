//! The queries that gained and lost most between two rankings, such as that of a first stage and
//! that of a reranker.

use serde::{Deserialize, Serialize};

/// Number of documents at the top of each ranking that are described.
const TOP: usize = 3;

/// Number of relevant documents below the top that are described.
const RELEVANT: usize = 3;

/// Greatest number of characters of a passage.
const CHARACTERS: usize = 600;

/// What became of queries between two rankings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The ranking before: a first stage, or an earlier state of the model.
    pub before: String,
    /// The ranking after.
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

/// A query before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangedQuery {
    /// Its id; empty if it has none.
    pub id: String,
    /// Its text.
    pub text: String,
    /// The metric before.
    pub before: f64,
    /// The metric after.
    pub after: f64,
    /// The best documents of both rankings, and the best relevant ones below them, in the order
    /// after.
    pub passages: Vec<Passage>,
}

/// A document of the rankings of a query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// Its id; empty if it has none.
    pub id: String,
    /// Its text, at most 600 characters.
    pub text: String,
    /// Its grade; 0 if it is not relevant.
    pub grade: f64,
    /// Its rank before, from 1; `None` if it was not in that ranking.
    pub rank_before: Option<usize>,
    /// Its rank after, from 1; `None` if it is not in that ranking.
    pub rank_after: Option<usize>,
}

/// What describes the queries of a [`Change`].
pub(crate) struct Describe<'a> {
    /// Name of the ranking before.
    pub(crate) before: &'a str,
    /// Name of the ranking after.
    pub(crate) after: &'a str,
    /// Name of the metric.
    pub(crate) metric: String,
    /// How many queries of either kind to describe.
    pub(crate) count: usize,
    /// Id, text and passages of the query at an index.
    pub(crate) query: &'a dyn Fn(usize) -> (String, String, Vec<Passage>),
}

impl Describe<'_> {
    /// The queries that changed most. `values` are those of the metric of each query, before and
    /// after.
    pub(crate) fn change(&self, values: &[(f64, f64)]) -> Change {
        let all = values.iter().enumerate().map(|(query, (before, after))| (query, before, after));
        let mut gained: Vec<_> = all.clone().filter(|(_, before, after)| after > before).collect();
        let mut lost: Vec<_> = all.filter(|(_, before, after)| after < before).collect();
        // Sorting is stable: queries that changed alike keep the order of the collection.
        gained.sort_by(|a, b| (b.2 - b.1).total_cmp(&(a.2 - a.1)));
        lost.sort_by(|a, b| (a.2 - a.1).total_cmp(&(b.2 - b.1)));
        let describe = |queries: &[(usize, &f64, &f64)]| {
            let described = queries.iter().take(self.count).map(|&(query, &before, &after)| {
                let (id, text, passages) = (self.query)(query);
                ChangedQuery { id, text, before, after, passages }
            });
            described.collect()
        };
        Change {
            before: self.before.to_owned(),
            after: self.after.to_owned(),
            metric: self.metric.clone(),
            gained: gained.len(),
            lost: lost.len(),
            unchanged: values.len() - gained.len() - lost.len(),
            most_gained: describe(&gained),
            most_lost: describe(&lost),
        }
    }
}

/// The passages to describe of two rankings of one query, documents by index, best first: the best
/// of both, and the best relevant ones below them. `document` has id, text and grade of one.
pub(crate) fn passages<'a>(
    before: &[u32],
    after: &[u32],
    document: impl Fn(u32) -> (&'a str, &'a str, f64),
) -> Vec<Passage> {
    let rank = |ranking: &[u32], index: u32| ranking.iter().position(|other| *other == index);
    let lost = before.iter().take(TOP).filter(|index| !after.contains(index));
    let mut relevant_below = 0;
    let mut passages = Vec::new();
    for &index in after.iter().chain(lost) {
        let (rank_before, rank_after) = (rank(before, index), rank(after, index));
        let (id, text, grade) = document(index);
        let is_top = [rank_before, rank_after].iter().flatten().any(|place| *place < TOP);
        if !is_top && (grade == 0.0 || relevant_below == RELEVANT) {
            continue;
        }
        relevant_below += usize::from(!is_top);
        passages.push(Passage {
            id: id.to_owned(),
            text: shortened(text),
            grade,
            rank_before: rank_before.map(|place| place + 1),
            rank_after: rank_after.map(|place| place + 1),
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
