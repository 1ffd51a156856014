use crate::error::Error;
use crate::evaluation::relevance::{RankingMetrics, order, retrieval_metrics};
use crate::evaluation::samples::{Candidates, RerankingSample};
use crate::finite_scores::finite_scores;
use crate::metrics::Metrics;
use crate::retrieval::Retriever;
use rankforge_base::Reporter;
use rankforge_data::Beir;
use rankforge_encoder::{Embed, EncodeOptions, Score};
use std::collections::HashSet;
use std::sync::Arc;

/// What a dual encoder retrieved from a collection, ready for a reranker.
#[derive(Clone, Debug)]
pub struct FirstStage {
    /// One for each query of the collection: its relevant texts, and the documents retrieved, best
    /// first.
    pub samples: Vec<RerankingSample>,
    /// Metrics of the ranking over all queries, measured against all relevant documents of the
    /// collection: `ndcg@k`, `mrr@k`, `map@depth`, `recall@depth`, `accuracy@1`.
    pub metrics: Metrics,
    relevant: Vec<Vec<bool>>,
    totals: Vec<usize>,
    depth: usize,
    at_k: usize,
}

/// How the first stage retrieves and is measured.
#[derive(Clone, Debug)]
pub struct FirstStageOptions {
    /// Number of documents that are retrieved for each query.
    pub depth: usize,
    /// Rank up to which NDCG and MRR look, at most `depth`.
    pub at_k: usize,
    /// How texts are embedded.
    pub encode: EncodeOptions,
}

impl Default for FirstStageOptions {
    fn default() -> FirstStageOptions {
        FirstStageOptions { depth: 30, at_k: 10, encode: EncodeOptions::default() }
    }
}

/// Ranks the corpus of a collection for each of its queries by a dual encoder and keeps the best
/// documents. Any relevance above 0 counts as relevant.
///
/// # Errors
/// A `depth` or `at_k` of 0, a collection without queries or documents, a judgment of a document
/// that is not in it, or a text that the encoder cannot read.
pub fn samples_from_first_stage(
    beir: &Beir,
    encoder: &dyn Embed,
    options: &FirstStageOptions,
) -> Result<FirstStage, Error> {
    let FirstStageOptions { depth, at_k, .. } = *options;
    for (field, value) in [("depth", depth), ("at_k", at_k)] {
        if value == 0 {
            return Err(Error::argument(field, "at least 1", 0));
        }
    }
    if beir.queries.is_empty() || beir.corpus.is_empty() {
        let got = format!("{} and {}", beir.queries.len(), beir.corpus.len());
        return Err(Error::rows("retrieval collection", "queries and documents", got));
    }
    let documents: Vec<&str> = beir.corpus.values().map(String::as_str).collect();
    let retriever = Retriever::new(encoder, &documents, &options.encode)?;
    let queries: Vec<&str> = beir.queries.values().map(String::as_str).collect();
    let retrieved = retriever.search(&queries, depth, &options.encode)?;
    let (mut samples, mut relevant, mut totals) = (Vec::new(), Vec::new(), Vec::new());
    for ((id, query), found) in beir.queries.iter().zip(&retrieved) {
        let judged = beir.relevant.get(id).map_or(&[][..], Vec::as_slice);
        let ids: HashSet<&str> = judged.iter().map(|(document, _)| document.as_str()).collect();
        let found = found.iter().map(|neighbour| {
            let row = neighbour.index as usize;
            let (document, text) = beir.corpus.get_index(row).expect("a row of the corpus");
            (ids.contains(document.as_str()), text.clone())
        });
        let (flags, texts): (Vec<bool>, Vec<String>) = found.unzip();
        samples.push(RerankingSample {
            query: query.clone(),
            positive: relevant_texts(beir, id, judged)?,
            candidates: Candidates::Documents(texts),
        });
        totals.push(ids.len());
        relevant.push(flags);
    }
    let metrics = measure(&relevant, &totals, at_k, depth);
    Ok(FirstStage { samples, metrics, relevant, totals, depth, at_k })
}

/// The texts of the documents that are relevant for a query, without repetition.
fn relevant_texts<T>(
    beir: &Beir,
    query: &str,
    judged: &[(String, T)],
) -> Result<Vec<String>, Error> {
    let mut texts: Vec<String> = Vec::with_capacity(judged.len());
    for (document, _) in judged {
        let text = beir.corpus.get(document).ok_or_else(|| {
            let expected = "judgments of documents that are in the corpus";
            let got = format!("{document:?} for query {query:?}");
            Error::rows("retrieval collection", expected, got)
        })?;
        if !texts.contains(text) {
            texts.push(text.clone());
        }
    }
    Ok(texts)
}

impl FirstStage {
    /// The metrics of [`FirstStage::metrics`] after a model has ranked the documents of each query
    /// again; equal scores keep the first stage's order.
    ///
    /// # Errors
    /// When the model cannot read a text, or a score is not finite.
    pub fn rerank<S: Score + ?Sized>(
        &self,
        model: &S,
        batch_size: usize,
        reporter: &Arc<dyn Reporter>,
    ) -> Result<Metrics, Error> {
        let mut pairs = Vec::new();
        for sample in &self.samples {
            let Candidates::Documents(documents) = &sample.candidates else { unreachable!() };
            pairs.extend(documents.iter().map(|text| (sample.query.as_str(), text.as_str())));
        }
        let scores = finite_scores(model, &pairs, batch_size, reporter)?;
        let mut offset = 0;
        let reranked: Vec<Vec<bool>> = self
            .relevant
            .iter()
            .map(|flags| {
                offset += flags.len();
                let order = order(&scores[offset - flags.len()..offset], false);
                order.into_iter().map(|index| flags[index]).collect()
            })
            .collect();
        Ok(measure(&reranked, &self.totals, self.at_k, self.depth))
    }
}

fn measure(relevant: &[Vec<bool>], totals: &[usize], at_k: usize, depth: usize) -> Metrics {
    let queries = relevant.len() as f64;
    let mut sum = RankingMetrics::default();
    let (mut recall, mut accuracy) = (0.0, 0.0);
    for (flags, total) in relevant.iter().zip(totals) {
        let metrics = retrieval_metrics(flags, *total, at_k);
        sum.map += metrics.map;
        sum.mrr += metrics.mrr;
        sum.ndcg += metrics.ndcg;
        let found = flags.iter().filter(|flag| **flag).count();
        recall += found as f64 / (*total).max(1) as f64;
        accuracy += f64::from(u8::from(flags.first() == Some(&true)));
    }
    let mut metrics = Metrics::new();
    metrics.insert(format!("ndcg@{at_k}"), sum.ndcg / queries);
    metrics.insert(format!("mrr@{at_k}"), sum.mrr / queries);
    metrics.insert(format!("map@{depth}"), sum.map / queries);
    metrics.insert(format!("recall@{depth}"), recall / queries);
    metrics.insert("accuracy@1", accuracy / queries);
    metrics
}
