use crate::error::Error;
use crate::evaluation::judgements::{BestGrades, Judged};
use crate::evaluation::relevance::{RankingMetrics, order};
use crate::evaluation::samples::{Candidates, RerankingSample};
use crate::finite_scores::finite_scores;
use crate::metrics::Metrics;
use crate::retrieval::Retriever;
use indexmap::IndexMap;
use rankforge_base::Reporter;
use rankforge_data::Beir;
use rankforge_encoder::{Embed, EncodeOptions, Score};
use std::sync::Arc;

/// What a dual encoder retrieved from a collection, ready for a reranker.
#[derive(Clone, Debug)]
pub struct FirstStage {
    /// One for each query of the collection: its relevant texts, and the documents retrieved, best
    /// first.
    pub samples: Vec<RerankingSample>,
    /// Metrics of the ranking over all queries, measured against all relevant documents of the
    /// collection: `ndcg@k`, `mrr@k`, `map@depth`, `recall@depth`, `accuracy@1`.
    ///
    /// They are those of BEIR, which trec_eval computes: the gain of NDCG is the grade of a
    /// document, the others count every grade above 0 as relevant, and what no ranking can find, as
    /// the corpus lacks it, counts as missed. In one point they differ: documents of equal scores
    /// keep the order of the corpus, or after reranking that of the first stage, where trec_eval
    /// sorts them by id, descending.
    pub metrics: Metrics,
    /// Of each query: grades of the documents retrieved, best first, 0 for those not relevant.
    grades: Vec<Vec<f64>>,
    judged: Vec<BestGrades>,
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
/// documents.
///
/// A document with the id of the query is the query itself and is left out, as BEIR does
/// (`ignore_identical_ids`). The evaluators of sentence-transformers know texts only and leave
/// nothing out; nor do ranking and mining.
///
/// # Errors
/// A `depth` or `at_k` of 0, a collection without queries or documents, or a text that the encoder
/// cannot read.
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
    // One more where a query may find itself.
    let spare = usize::from(beir.queries.keys().any(|id| beir.corpus.contains_key(id)));
    let retrieved = retriever.search(&queries, depth.saturating_add(spare), &options.encode)?;
    let (mut samples, mut grades, mut judged) = (Vec::new(), Vec::new(), Vec::new());
    for ((id, query), found) in beir.queries.iter().zip(&retrieved) {
        let query_judgements = Judged::of(beir, id);
        let documents = found.iter().map(|neighbour| {
            beir.corpus.get_index(neighbour.index as usize).expect("a row of the corpus")
        });
        let documents: Vec<_> = documents.filter(|(other, _)| *other != id).take(depth).collect();
        let grade = |(document, _): &(&String, _)| query_judgements.grade(document);
        grades.push(documents.iter().map(grade).collect());
        samples.push(RerankingSample {
            query: query.clone(),
            positive: texts(beir, id, &query_judgements.relevant),
            candidates: Candidates::Documents(
                documents.into_iter().map(|(_, text)| text.clone()).collect(),
            ),
        });
        judged.push(query_judgements.best);
    }
    let metrics = measure(&grades, &judged, at_k, depth);
    Ok(FirstStage { samples, metrics, grades, judged, depth, at_k })
}

/// The texts of relevant documents, without repetition. Those that the corpus lacks have none, and
/// the query itself is not among them.
fn texts(beir: &Beir, query: &str, relevant: &IndexMap<&str, f64>) -> Vec<String> {
    let mut texts: Vec<String> = Vec::with_capacity(relevant.len());
    let others = relevant.keys().filter(|document| **document != query);
    for text in others.filter_map(|document| beir.corpus.get(*document)) {
        if !texts.contains(text) {
            texts.push(text.clone());
        }
    }
    texts
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
        let reranked: Vec<Vec<f64>> = self
            .grades
            .iter()
            .map(|grades| {
                offset += grades.len();
                let order = order(&scores[offset - grades.len()..offset], false);
                order.into_iter().map(|index| grades[index]).collect()
            })
            .collect();
        Ok(measure(&reranked, &self.judged, self.at_k, self.depth))
    }
}

fn measure(grades: &[Vec<f64>], judged: &[BestGrades], at_k: usize, depth: usize) -> Metrics {
    let queries = grades.len() as f64;
    let mut sum = RankingMetrics::default();
    let (mut recall, mut accuracy) = (0.0, 0.0);
    for (grades, judged) in grades.iter().zip(judged) {
        let metrics = judged.metrics(grades, at_k);
        sum.map += metrics.map;
        sum.mrr += metrics.mrr;
        sum.ndcg += metrics.ndcg;
        recall += judged.recall(grades, depth);
        accuracy += f64::from(u8::from(grades.first().is_some_and(|grade| *grade > 0.0)));
    }
    let mut metrics = Metrics::new();
    metrics.insert(format!("ndcg@{at_k}"), sum.ndcg / queries);
    metrics.insert(format!("mrr@{at_k}"), sum.mrr / queries);
    metrics.insert(format!("map@{depth}"), sum.map / queries);
    metrics.insert(format!("recall@{depth}"), recall / queries);
    metrics.insert("accuracy@1", accuracy / queries);
    metrics
}
