use crate::error::Error;
use crate::evaluation::dual_encoder::readable;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::evaluation::nano_beir_means::evaluate_each;
use crate::evaluation::record;
use crate::evaluation::reranking::CrossEncoderRerankingEvaluator;
use crate::evaluation::samples::{Candidates, RerankingSample};
use crate::metrics::Metrics;
use indexmap::IndexMap;
use rankforge_data::Beir;
use rankforge_encoder::Score;
use serde_json::json;

/// A [`CrossEncoderRerankingEvaluator`] for each collection of NanoBEIR, whose documents BM25
/// ranks first, and the means of their metrics.
///
/// Keys: those of each collection with the name `Nano{Collection}_R{rerank_k}`, such as
/// `NanoMSMARCO_R100_ndcg@10`, and the means with the name `NanoBEIR_R{rerank_k}_mean`, of which
/// `ndcg@k` is the primary metric.
#[derive(Clone, Debug)]
pub struct CrossEncoderNanoBEIREvaluator {
    samples: Vec<(String, Vec<RerankingSample>)>,
    dataset_names: Vec<String>,
    rerank_k: usize,
    name: String,
    /// Rank up to which MRR and NDCG look.
    pub at_k: usize,
    /// Whether positives that BM25 missed are ranked together with its documents; otherwise only
    /// the documents are.
    pub always_rerank_positives: bool,
    /// Maximum number of pairs in a batch; by default only the tokens are bounded.
    pub batch_size: usize,
    /// Whether to write the CSV files.
    pub write_csv: bool,
}

const NAME: &str = "CrossEncoderNanoBEIREvaluator";

/// The queries of a collection as samples: their relevant texts, and the first `rerank_k` documents
/// of a ranking by ids. Queries without a ranking, and documents that the corpus lacks, are left
/// out.
pub fn nano_beir_samples(
    beir: &Beir,
    ranking: &IndexMap<String, Vec<String>>,
    rerank_k: usize,
) -> Vec<RerankingSample> {
    let text = |id: &String| beir.corpus.get(id).cloned();
    let sample = |(id, query): (&String, &String)| {
        let ranked = ranking.get(id)?.iter().take(rerank_k);
        Some(RerankingSample {
            query: query.clone(),
            positive: beir.relevant[id].iter().filter_map(|(id, _)| text(id)).collect(),
            candidates: Candidates::Documents(ranked.filter_map(text).collect()),
        })
    };
    beir.queries.iter().filter_map(sample).collect()
}

impl CrossEncoderNanoBEIREvaluator {
    /// An evaluator of collections with the names of
    /// [`NANO_BEIR_NAMES`](crate::evaluation::NANO_BEIR_NAMES), in any case, and their
    /// [samples](nano_beir_samples) of `rerank_k` documents.
    ///
    /// # Errors
    /// No collection, an unknown name, or a collection without samples.
    pub fn new(
        datasets: Vec<(String, Vec<RerankingSample>)>,
        rerank_k: usize,
    ) -> Result<CrossEncoderNanoBEIREvaluator, Error> {
        if datasets.is_empty() {
            return Err(Error::rows(NAME, "at least one collection", "none"));
        }
        let dataset_names = datasets.iter().map(|(name, _)| name.clone()).collect();
        let mut samples = Vec::new();
        for (name, own) in datasets {
            if own.is_empty() {
                return Err(Error::rows(NAME, "at least one query with a ranking", name));
            }
            samples.push((format!("Nano{}_R{rerank_k}", readable(&name)?), own));
        }
        Ok(CrossEncoderNanoBEIREvaluator {
            samples,
            dataset_names,
            rerank_k,
            name: format!("NanoBEIR_R{rerank_k}_mean"),
            at_k: 10,
            always_rerank_positives: true,
            batch_size: usize::MAX,
            write_csv: true,
        })
    }

    /// The keys of the metrics without names, in their order.
    fn keys(&self) -> [String; 6] {
        let k = self.at_k;
        let of = |base: &str| {
            [format!("{base}map"), format!("{base}mrr@{k}"), format!("{base}ndcg@{k}")]
        };
        let ([a, b, c], [d, e, f]) = (of(""), of("base_"));
        [a, b, c, d, e, f]
    }

    /// The evaluators of the collections, with the settings of this one.
    fn each(&self) -> Result<Vec<CrossEncoderRerankingEvaluator>, Error> {
        let evaluator = |(name, samples): &(String, Vec<RerankingSample>)| {
            let mut own = CrossEncoderRerankingEvaluator::new(samples.clone(), name)?;
            own.at_k = self.at_k;
            own.always_rerank_positives = self.always_rerank_positives;
            own.batch_size = self.batch_size;
            own.write_csv = self.write_csv;
            Ok(own)
        };
        self.samples.iter().map(evaluator).collect()
    }
}

impl<S: Score + ?Sized> Evaluator<S> for CrossEncoderNanoBEIREvaluator {
    fn class_name(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn primary_metric(&self, _: &Metrics) -> String {
        with_name(&self.name, &format!("ndcg@{}", self.at_k))
    }

    fn metric_names(&self, _: &S) -> Vec<String> {
        let names = self.samples.iter().map(|(name, _)| name).chain([&self.name]);
        names.flat_map(|name| self.keys().map(|key| with_name(name, &key))).collect()
    }

    fn config(&self) -> serde_json::Value {
        json!({
            "dataset_names": self.dataset_names,
            "rerank_k": self.rerank_k,
            "at_k": self.at_k,
            "always_rerank_positives": self.always_rerank_positives,
        })
    }

    fn evaluate(&self, model: &S, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let reporter = &context.reporter;
        reporter.message(&format!(
            "NanoBEIR Evaluation of the model on {} dataset{}:",
            self.dataset_names.join(", "),
            record::when(context)
        ));
        let keys = self.keys();
        let (mut all, means) = evaluate_each(&self.each()?, &keys, model, context)?;
        if self.write_csv {
            let headers =
                ["MAP".to_owned(), format!("MRR@{}", self.at_k), { format!("NDCG@{}", self.at_k) }];
            let file = record::csv_file("NanoBEIR_evaluation_mean", &[]);
            record::append_row(context, &file, &headers, &means[..3])?;
        }
        reporter.message(&format!("{NAME}: Aggregated Results:"));
        let [before, after] = [&means[3..], &means[..3]];
        record::before_and_after(self.at_k, Some(before), after, &**reporter);
        let means = Metrics(keys.into_iter().zip(means).collect());
        all.0.extend(means.with_prefix(&self.name).0);
        Ok(all)
    }
}
