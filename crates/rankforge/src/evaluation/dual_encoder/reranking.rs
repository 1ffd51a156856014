use crate::error::Error;
use crate::evaluation::details::{DetailCollector, EvaluationDetails, ScoreHistogram};
use crate::evaluation::dual_encoder::embeddings::{Distinct, Encoding, similarities};
use crate::evaluation::dual_encoder::truncated::Truncate;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::evaluation::rankings::Rankings;
use crate::evaluation::record;
use crate::evaluation::relevance::{RankingMetrics, mean, metrics, order};
use crate::evaluation::samples::{Candidates, RerankingSample};
use crate::metrics::Metrics;
use rankforge_encoder::{Embed, Side};
use rankforge_kernels::ops::Similarity;
use serde_json::json;

/// Average precision, MRR and NDCG of a dual encoder's rankings of the relevant and the other texts
/// of each query.
///
/// Keys: `map`, `mrr@k`, `ndcg@k`; the last is the primary one. Samples without a relevant or
/// without another text are left out. Of samples with `documents`, the other texts are those that
/// are not relevant; relevant texts that are not among the documents are ranked too.
#[derive(Clone, Debug)]
pub struct RerankingEvaluator {
    samples: Vec<Ranked>,
    name: String,
    /// Rank up to which MRR and NDCG look.
    pub at_k: usize,
    /// How queries and texts are compared. Default: by cosine, whatever the model's similarity.
    pub similarity_fct: Similarity,
    /// Number of leading dimensions of the embeddings; `None`: those of the model.
    pub truncate_dim: Option<usize>,
    /// Maximum number of texts in a batch; by default only the tokens are bounded.
    pub batch_size: usize,
    /// Whether to write the CSV file.
    pub write_csv: bool,
}

/// A query and the texts to rank: `relevant` relevant ones, then the others.
#[derive(Clone, Debug)]
struct Ranked {
    query: String,
    texts: Vec<String>,
    relevant: usize,
}

const NAME: &str = "RerankingEvaluator";

impl RerankingEvaluator {
    /// An evaluator of `samples`, with `name` before the keys of its metrics.
    ///
    /// # Errors
    /// When no sample has both a relevant and another text.
    pub fn new(
        samples: Vec<RerankingSample>,
        name: impl Into<String>,
    ) -> Result<RerankingEvaluator, Error> {
        let ranked = |sample: RerankingSample| {
            let RerankingSample { query, positive, candidates } = sample;
            let others = match candidates {
                Candidates::Negative(texts) => texts,
                Candidates::Documents(mut texts) => {
                    texts.retain(|text| !positive.contains(text));
                    texts
                }
            };
            let relevant = positive.len();
            let both = relevant > 0 && !others.is_empty();
            let texts = positive.into_iter().chain(others).collect();
            both.then_some(Ranked { query, texts, relevant })
        };
        let samples: Vec<Ranked> = samples.into_iter().filter_map(ranked).collect();
        if samples.is_empty() {
            let expected = "at least one sample with a relevant and another text";
            return Err(Error::rows(NAME, expected, "none"));
        }
        Ok(RerankingEvaluator {
            samples,
            name: name.into(),
            at_k: 10,
            similarity_fct: Similarity::Cosine,
            truncate_dim: None,
            batch_size: usize::MAX,
            write_csv: true,
        })
    }

    /// Scores, and the queries that changed most against the earlier evaluation.
    fn details(
        &self,
        scores: &[&[f32]],
        each: &[RankingMetrics],
        collector: &DetailCollector,
    ) -> EvaluationDetails {
        let flagged = self.samples.iter().zip(scores).flat_map(|(sample, scores)| {
            let flag = |(place, score): (usize, &f32)| (f64::from(*score), place < sample.relevant);
            scores.iter().enumerate().map(flag)
        });
        let rankings = Rankings {
            name: &self.name,
            metric: format!("ndcg@{}", self.at_k),
            values: each.iter().map(|metrics| metrics.ndcg).collect(),
            ranking: &|query| {
                order(scores[query], false).into_iter().map(|place| place as u32).collect()
            },
            first_stage: None,
            query: &|query| ("", &self.samples[query].query),
            document: &|query, place| {
                let Ranked { texts, relevant, .. } = &self.samples[query];
                let grade = f64::from(u8::from((place as usize) < *relevant));
                ("", &texts[place as usize], grade)
            },
        };
        rankings.details(collector, ScoreHistogram::of_flagged(flagged))
    }

    fn keys(&self) -> [String; 3] {
        let k = self.at_k;
        ["map".to_owned(), format!("mrr@{k}"), format!("ndcg@{k}")]
    }
}

impl Truncate for RerankingEvaluator {
    fn truncate(&mut self, dimension: usize) {
        self.truncate_dim = Some(dimension);
    }

    fn rename(&mut self, name: String) {
        self.name = name;
    }
}

impl<E: Embed + ?Sized> Evaluator<E> for RerankingEvaluator {
    fn class_name(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn primary_metric(&self, _: &Metrics) -> String {
        with_name(&self.name, &self.keys()[2])
    }

    fn metric_names(&self, _: &E) -> Vec<String> {
        self.keys().map(|key| with_name(&self.name, &key)).to_vec()
    }

    fn config(&self) -> serde_json::Value {
        record::config([
            ("at_k", Some(json!(self.at_k))),
            ("truncate_dim", self.truncate_dim.map(|dimension| json!(dimension))),
        ])
    }

    fn evaluate(&self, model: &E, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        if self.at_k == 0 {
            return Err(Error::argument(format!("{NAME}.at_k"), "at least 1", 0));
        }
        let reporter = &context.reporter;
        reporter.message(&format!(
            "{NAME}: Evaluating the model on the {} dataset{}:",
            self.name,
            record::when_truncated(context, self.truncate_dim)
        ));
        let (mut queries, mut documents) = (Distinct::default(), Distinct::default());
        let (mut of_query, mut of_text) = (Vec::new(), Vec::new());
        for Ranked { query, texts, .. } in &self.samples {
            let place = queries.places([query.as_str()])[0];
            of_query.extend(texts.iter().map(|_| place));
            of_text.extend(documents.places(texts.iter().map(String::as_str)));
        }
        let (batch_size, truncate_dim) = (self.batch_size, self.truncate_dim);
        let encoding = Encoding { batch_size, truncate_dim, normalize: false, reporter };
        let queries = encoding.on_device(model, Side::Query, &queries.list())?;
        let documents = encoding.on_device(model, Side::Document, &documents.list())?;
        let pairs = (&of_query[..], &of_text[..]);
        let scores = similarities(self.similarity_fct, &queries, &documents, pairs);
        let mut rest = scores.as_slice();
        let scores = self.samples.iter().map(|sample| {
            let own;
            (own, rest) = rest.split_at(sample.texts.len());
            own
        });
        let scores: Vec<&[f32]> = scores.collect();
        let each = self.samples.iter().zip(&scores).map(|(sample, own)| {
            let relevant: Vec<bool> =
                (0..sample.texts.len()).map(|text| text < sample.relevant).collect();
            metrics(&relevant, own, self.at_k, false)
        });
        let each: Vec<RankingMetrics> = each.collect();
        if let Some(collector) = context.details {
            collector.add(self.details(&scores, &each, collector));
        }
        let RankingMetrics { map, mrr, ndcg } = mean(&each);
        let positives: Vec<usize> = self.samples.iter().map(|sample| sample.relevant).collect();
        let negatives: Vec<usize> =
            self.samples.iter().map(|sample| sample.texts.len() - sample.relevant).collect();
        reporter.message(&record::counts(&positives, &negatives));
        for (what, value) in
            ["MAP".to_owned(), format!("MRR@{}", self.at_k), format!("NDCG@{}", self.at_k)]
                .iter()
                .zip([map, mrr, ndcg])
        {
            reporter.message(&format!("{what}: {:.2}", value * 100.0));
        }
        if self.write_csv {
            let k = self.at_k;
            let headers = ["MAP".to_owned(), format!("MRR@{k}"), format!("NDCG@{k}")];
            let file = record::csv_file_at(NAME, &self.name, k);
            record::append_row(context, &file, &headers, &[map, mrr, ndcg])?;
        }
        let mut metrics = Metrics::new();
        for (key, value) in self.keys().into_iter().zip([map, mrr, ndcg]) {
            metrics.insert(key, value);
        }
        Ok(metrics.with_prefix(&self.name))
    }
}
