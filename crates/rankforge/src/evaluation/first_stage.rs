use super::relevance::{Figures, order, retrieval_figures};
use super::{Candidates, PairScorer, RerankingSample};
use crate::mining::TextEncoder;
use crate::{Error, Metrics};
use rankforge_data::Beir;
use rankforge_encoder::{EncodeOptions, Reporter};
use rankforge_kernels::Buffer;
use rankforge_kernels::ops::{Corpus, Neighbour};
use std::collections::HashSet;

/// What a dual encoder retrieved from a collection, ready for a reranker.
#[derive(Clone, Debug)]
pub struct FirstStage {
    /// One for each query of the collection: its relevant texts, and the documents retrieved, best first.
    pub samples: Vec<RerankingSample>,
    /// Figures of the ranking over all queries, measured against all relevant documents of the collection:
    /// `ndcg@k`, `mrr@k`, `map@depth`, `recall@depth`, `accuracy@1`.
    pub metrics: Metrics,
    relevant: Vec<Vec<bool>>,
    totals: Vec<usize>,
    depth: usize,
    at_k: usize,
}

/// Ranks the corpus of a collection for each of its queries by a dual encoder and keeps the best `depth` documents.
///
/// Any relevance above 0 counts as relevant. NDCG and MRR are cut at `at_k`, and at `depth` when that is less.
///
/// # Errors
/// A depth or cut of 0, a collection without queries, or what the encoder refuses.
pub fn samples_from_first_stage(
    beir: &Beir,
    encoder: &dyn TextEncoder,
    depth: usize,
    at_k: usize,
    batch_size: usize,
    reporter: &dyn Reporter,
) -> Result<FirstStage, Error> {
    for (field, value) in [("depth", depth), ("at_k", at_k)] {
        if value == 0 {
            let (field, expected) = (field.to_owned(), "at least 1".to_owned());
            return Err(Error::Argument { field, expected, got: "0".to_owned() });
        }
    }
    if beir.queries.is_empty() || beir.corpus.is_empty() {
        return Err(Error::Input(format!(
            "a retrieval collection needs queries and documents, got {} and {}",
            beir.queries.len(),
            beir.corpus.len()
        )));
    }
    let retrieved = retrieve(beir, encoder, depth, batch_size, reporter)?;
    let (mut samples, mut relevant, mut totals) = (Vec::new(), Vec::new(), Vec::new());
    for ((id, query), documents) in beir.queries.iter().zip(&retrieved) {
        let judged = beir.relevant.get(id).map_or(&[][..], Vec::as_slice);
        let ids: HashSet<&str> = judged.iter().map(|(document, _)| document.as_str()).collect();
        let found = documents.iter().map(|index| {
            let (document, text) = beir.corpus.get_index(*index).expect("a row of the corpus");
            (ids.contains(document.as_str()), text.clone())
        });
        let (flags, texts): (Vec<bool>, Vec<String>) = found.unzip();
        let mut positive: Vec<String> = Vec::with_capacity(judged.len());
        for (document, _) in judged {
            let text = beir.corpus.get(document).ok_or_else(|| {
                Error::Input(format!(
                    "query {id:?} has a judgement of the unknown document {document:?}"
                ))
            })?;
            if !positive.contains(text) {
                positive.push(text.clone());
            }
        }
        totals.push(ids.len());
        relevant.push(flags);
        let candidates = Candidates::Documents(texts);
        samples.push(RerankingSample { query: query.clone(), positive, candidates });
    }
    let metrics = measure(&relevant, &totals, at_k, depth);
    Ok(FirstStage { samples, metrics, relevant, totals, depth, at_k })
}

impl FirstStage {
    /// The figures of [`FirstStage::metrics`] after a model has ordered the documents of each query anew; equal
    /// scores keep the first stage's order.
    ///
    /// # Errors
    /// What the model refuses, or a score that is not finite.
    pub fn rerank<S: PairScorer + ?Sized>(
        &self,
        model: &S,
        batch_size: usize,
        reporter: &dyn Reporter,
    ) -> Result<Metrics, Error> {
        let mut pairs = Vec::new();
        for sample in &self.samples {
            let Candidates::Documents(documents) = &sample.candidates else { unreachable!() };
            pairs.extend(documents.iter().map(|text| (sample.query.as_str(), text.as_str())));
        }
        let scores = super::finite_scores(model, &pairs, batch_size, reporter)?;
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

/// For each query, the rows of the corpus, best first.
fn retrieve(
    beir: &Beir,
    encoder: &dyn TextEncoder,
    depth: usize,
    batch_size: usize,
    reporter: &dyn Reporter,
) -> Result<Vec<Vec<usize>>, Error> {
    let options = EncodeOptions { batch_size, ..EncodeOptions::default() };
    let texts: Vec<&str> = beir.corpus.values().map(String::as_str).collect();
    let corpus = encoder.encode_documents(&texts, &options, reporter)?;
    let texts: Vec<&str> = beir.queries.values().map(String::as_str).collect();
    let queries = encoder.encode_queries(&texts, &options, reporter)?;
    let upload = |outputs: rankforge_encoder::Outputs| {
        Buffer::from_vec(encoder.device(), outputs.rows, outputs.columns, outputs.values)
    };
    let (queries, corpus) = (upload(queries), upload(corpus));
    let corpus = Corpus::prepare(encoder.similarity(), corpus);
    reporter.begin("Searching", Some(queries.rows() as u64), "queries");
    let done = |count: usize| reporter.advance(count as u64);
    let found = corpus.top_k(queries.view(), depth, &done);
    reporter.end();
    let rows = |found: Vec<Neighbour>| {
        found.into_iter().map(|neighbour| neighbour.index as usize).collect()
    };
    Ok(found.into_iter().map(rows).collect())
}

fn measure(relevant: &[Vec<bool>], totals: &[usize], at_k: usize, depth: usize) -> Metrics {
    let queries = relevant.len() as f64;
    let mut sum = Figures::default();
    let (mut recall, mut accuracy) = (0.0, 0.0);
    for (flags, total) in relevant.iter().zip(totals) {
        let figures = retrieval_figures(flags, *total, at_k);
        sum.map += figures.map;
        sum.mrr += figures.mrr;
        sum.ndcg += figures.ndcg;
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
