use crate::bm25::part::{Part, schema};
use crate::bm25::ranking::Ranking;
use crate::error::IndexError;
use rankforge_kernels::ops::Neighbour;
use std::collections::HashMap;
use tantivy::Term;
use tantivy::query::{
    Bm25StatisticsProvider, BooleanQuery, EnableScoring, Occur, Query, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::tokenizer::TextAnalyzer;

/// The statistics of all parts, so that a score does not depend on how texts are divided.
pub(super) struct Statistics {
    documents: u64,
    tokens: u64,
}

/// The statistics that the scores of one query use.
struct QueryStatistics<'a> {
    whole: &'a Statistics,
    frequencies: HashMap<&'a Term, u64>,
}

impl Statistics {
    pub(super) fn of(parts: &[Part]) -> Result<Statistics, IndexError> {
        let (_, field) = schema();
        let (mut documents, mut tokens) = (0, 0);
        for part in parts {
            documents += u64::from(part.len());
            let inverted = part.reader().inverted_index(field).map_err(IndexError::bm25)?;
            tokens += inverted.total_num_tokens();
        }
        Ok(Statistics { documents, tokens })
    }
}

impl Bm25StatisticsProvider for QueryStatistics<'_> {
    fn total_num_tokens(&self, _field: Field) -> tantivy::Result<u64> {
        Ok(self.whole.tokens)
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.whole.documents)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        Ok(self.frequencies.get(term).copied().unwrap_or(0))
    }
}

/// The `k` best texts of `parts` for a query; only texts with one of its terms, and only those that
/// are `wanted`. A term that the query has twice counts twice.
pub(super) fn search(
    parts: &[Part],
    statistics: &Statistics,
    terms: &[Term],
    k: usize,
    wanted: &(dyn Fn(u32) -> bool + Sync),
) -> tantivy::Result<Vec<Neighbour>> {
    if terms.is_empty() || parts.is_empty() || k == 0 {
        return Ok(Vec::new());
    }
    let mut frequencies = HashMap::new();
    for term in terms {
        if !frequencies.contains_key(term) {
            let found = parts.iter().map(|part| part.searcher().doc_freq(term));
            frequencies.insert(term, found.sum::<tantivy::Result<u64>>()?);
        }
    }
    let known = terms.iter().filter(|&term| frequencies[term] > 0);
    let clauses: Vec<(Occur, Box<dyn Query>)> = known
        .map(|term| {
            let query = TermQuery::new(term.clone(), IndexRecordOption::WithFreqs);
            (Occur::Should, Box::new(query) as Box<dyn Query>)
        })
        .collect();
    if clauses.is_empty() {
        return Ok(Vec::new());
    }
    let statistics = QueryStatistics { whole: statistics, frequencies };
    let scoring = EnableScoring::enabled_from_statistics_provider(&statistics, parts[0].searcher());
    let weight = BooleanQuery::new(clauses).weight(scoring)?;
    let mut ranking = Ranking::new(k);
    let mut first = 0;
    for part in parts {
        weight.for_each_pruning(ranking.threshold(), part.reader(), &mut |document, score| {
            let index = first + document;
            if wanted(index) {
                ranking.add(Neighbour { index, score });
            }
            ranking.threshold()
        })?;
        first += part.len();
    }
    Ok(ranking.finish())
}

/// The terms of a query, in order.
pub(super) fn terms(analyzer: &mut TextAnalyzer, query: &str) -> Vec<Term> {
    let (_, field) = schema();
    let mut terms = Vec::new();
    let mut stream = analyzer.token_stream(query);
    stream.process(&mut |token| terms.push(Term::from_field_text(field, &token.text)));
    terms
}
