use crate::error::Error;
use crate::evaluation::details::{DetailCollector, EvaluationDetails, ScoreHistogram};
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::evaluation::rankings::Rankings;
use crate::evaluation::record;
use crate::evaluation::relevance::{RankingMetrics, mean, metrics, order};
use crate::evaluation::samples::{Candidates, RerankingSample};
use crate::finite_scores::finite_scores;
use crate::metrics::Metrics;
use rankforge_encoder::Score;
use serde_json::json;

/// Average precision, MRR and NDCG of a model's rankings of the candidates of each query, and those
/// of the first stage where the samples have its `documents`.
///
/// Keys: `map`, `mrr@k`, `ndcg@k`, and `base_map`, `base_mrr@k`, `base_ndcg@k` of the first stage;
/// `ndcg@k` is the primary one. A query without a relevant text among those that are ranked counts
/// as 0 and is not scored.
#[derive(Clone, Debug)]
pub struct CrossEncoderRerankingEvaluator {
    samples: Vec<RerankingSample>,
    name: String,
    /// Rank up to which MRR and NDCG look.
    pub at_k: usize,
    /// Whether positives that the first stage missed are ranked together with its documents;
    /// otherwise only the documents are.
    pub always_rerank_positives: bool,
    /// Maximum number of pairs in a batch; by default only the tokens are bounded.
    pub batch_size: usize,
    /// Whether to write the CSV file.
    pub write_csv: bool,
}

const NAME: &str = "CrossEncoderRerankingEvaluator";

impl CrossEncoderRerankingEvaluator {
    /// An evaluator of `samples`, with `name` before the keys of its metrics.
    ///
    /// # Errors
    /// When there is no sample.
    pub fn new(
        samples: Vec<RerankingSample>,
        name: impl Into<String>,
    ) -> Result<CrossEncoderRerankingEvaluator, Error> {
        if samples.is_empty() {
            return Err(Error::rows(NAME, "at least one sample", "none"));
        }
        Ok(CrossEncoderRerankingEvaluator {
            samples,
            name: name.into(),
            at_k: 10,
            always_rerank_positives: true,
            batch_size: usize::MAX,
            write_csv: true,
        })
    }

    /// How the figures are computed: what counts as relevant, the depth of the first stage, and the
    /// order of documents with equal scores.
    pub fn rules(&self) -> String {
        let depths = self.samples.iter().filter_map(|sample| match &sample.candidates {
            Candidates::Documents(documents) => Some(documents.len()),
            Candidates::Negative(_) => None,
        });
        let depth = match depths.max() {
            Some(depth) if self.always_rerank_positives => {
                format!("up to {depth} documents of the first stage, and the positives it missed")
            }
            Some(depth) => format!("up to {depth} documents of the first stage"),
            None => "positives and negatives, without a first stage".to_owned(),
        };
        format!(
            "Binary gain; {depth}.\nOf equal scores, MRR ranks the later document first; MAP and \
             NDCG take the mean of the group."
        )
    }

    /// The texts to rank for a sample, and which of them are relevant.
    fn ranked<'a>(&self, sample: &'a RerankingSample) -> (Vec<&'a str>, Vec<bool>) {
        let positive = || sample.positive.iter().map(String::as_str);
        match &sample.candidates {
            Candidates::Documents(documents) if !self.always_rerank_positives => {
                let relevant = documents.iter().map(|text| sample.positive.contains(text));
                (documents.iter().map(String::as_str).collect(), relevant.collect())
            }
            candidates => {
                let others: Vec<&str> = match candidates {
                    Candidates::Negative(texts) => texts.iter().map(String::as_str).collect(),
                    Candidates::Documents(texts) => texts
                        .iter()
                        .filter(|text| !sample.positive.contains(text))
                        .map(String::as_str)
                        .collect(),
                };
                let relevant = [vec![true; sample.positive.len()], vec![false; others.len()]];
                (positive().chain(others).collect(), relevant.concat())
            }
        }
    }

    /// The first stage's metrics for a sample. Positives that it missed rank last, unless it missed
    /// all of them.
    fn base(&self, sample: &RerankingSample) -> Option<RankingMetrics> {
        let Candidates::Documents(documents) = &sample.candidates else { return None };
        let mut relevant: Vec<bool> =
            documents.iter().map(|text| sample.positive.contains(text)).collect();
        let found = relevant.iter().filter(|flag| **flag).count();
        if found == 0 {
            return Some(RankingMetrics::default());
        }
        relevant.resize(documents.len() + sample.positive.len().saturating_sub(found), true);
        let scores: Vec<f32> = (0..relevant.len()).rev().map(|score| score as f32).collect();
        Some(metrics(&relevant, &scores, self.at_k, true))
    }

    /// Scores, and the queries that changed most: against the first stage where all samples have
    /// one, else against the earlier evaluation.
    fn details(
        &self,
        rankings: &[(Vec<&str>, Vec<bool>)],
        scores: &[&[f32]],
        base: &[Option<RankingMetrics>],
        each: &[RankingMetrics],
        collector: &DetailCollector,
    ) -> EvaluationDetails {
        let flagged = rankings.iter().zip(scores).flat_map(|((_, relevant), scores)| {
            scores.iter().zip(relevant).map(|(score, flag)| (f64::from(*score), *flag))
        });
        let ranking = |query: usize| -> Vec<u32> {
            order(scores[query], true).into_iter().map(|place| place as u32).collect()
        };
        let of_first_stage = |query: usize| -> Vec<u32> {
            let Candidates::Documents(documents) = &self.samples[query].candidates else {
                return Vec::new();
            };
            let texts = &rankings[query].0;
            let place = |document: &String| texts.iter().position(|text| text == document);
            documents.iter().filter_map(place).map(|place| place as u32).collect()
        };
        let first: Option<Vec<f64>> = base.iter().map(|base| Some((*base)?.ndcg)).collect();
        let rankings = Rankings {
            name: &self.name,
            metric: format!("ndcg@{}", self.at_k),
            values: each.iter().map(|metrics| metrics.ndcg).collect(),
            ranking: &ranking,
            first_stage: first.map(|values| (values, &of_first_stage as &dyn Fn(usize) -> _)),
            query: &|query| ("", &self.samples[query].query),
            document: &|query, place| {
                let (texts, relevant) = &rankings[query];
                let grade = f64::from(u8::from(relevant[place as usize]));
                ("", texts[place as usize], grade)
            },
        };
        rankings.details(collector, ScoreHistogram::of_flagged(flagged))
    }
}

impl<S: Score + ?Sized> Evaluator<S> for CrossEncoderRerankingEvaluator {
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
        let has_base =
            |sample: &RerankingSample| matches!(sample.candidates, Candidates::Documents(_));
        let prefixes = if self.samples.iter().any(has_base) { &["", "base_"][..] } else { &[""] };
        let k = self.at_k;
        let keys = |prefix: &&str| {
            [format!("{prefix}map"), format!("{prefix}mrr@{k}"), format!("{prefix}ndcg@{k}")]
        };
        let keys = prefixes.iter().flat_map(keys);
        keys.map(|key| with_name(&self.name, &key)).collect()
    }

    fn config(&self) -> serde_json::Value {
        let mut config = json!({ "at_k": self.at_k });
        if matches!(self.samples[0].candidates, Candidates::Documents(_)) {
            config["always_rerank_positives"] = self.always_rerank_positives.into();
        }
        config
    }

    fn evaluate(&self, model: &S, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        if self.at_k == 0 {
            return Err(Error::argument(format!("{NAME}.at_k"), "at least 1", 0));
        }
        let reporter = &context.reporter;
        reporter.message(&format!(
            "{NAME}: Evaluating the model on the {} dataset{}:",
            self.name,
            record::when(context)
        ));
        let rankings: Vec<_> = self.samples.iter().map(|sample| self.ranked(sample)).collect();
        let pairs: Vec<(&str, &str)> = self
            .samples
            .iter()
            .zip(&rankings)
            .filter(|(_, (_, relevant))| relevant.contains(&true))
            .flat_map(|(sample, (texts, _))| {
                texts.iter().map(|text| (sample.query.as_str(), *text))
            })
            .collect();
        let scores = if pairs.is_empty() {
            Vec::new()
        } else {
            finite_scores(model, &pairs, self.batch_size, reporter)?
        };
        let mut rest = scores.as_slice();
        let scores = rankings.iter().map(|(_, relevant)| {
            let scored = if relevant.contains(&true) { relevant.len() } else { 0 };
            let own;
            (own, rest) = rest.split_at(scored);
            own
        });
        let scores: Vec<&[f32]> = scores.collect();
        let each = rankings.iter().zip(&scores).map(|((_, relevant), scores)| match scores {
            [] => RankingMetrics::default(),
            scores => metrics(relevant, scores, self.at_k, true),
        });
        let each: Vec<RankingMetrics> = each.collect();
        let base = self.samples.iter().map(|sample| self.base(sample));
        let base: Vec<Option<RankingMetrics>> = base.collect();
        if let Some(collector) = context.details {
            collector.add(self.details(&rankings, &scores, &base, &each, collector));
        }
        let reranked = mean(&each);
        let base: Vec<RankingMetrics> = base.into_iter().flatten().collect();
        let base = (!base.is_empty()).then(|| mean(&base));

        let positives: Vec<usize> =
            self.samples.iter().map(|sample| sample.positive.len()).collect();
        let negatives: Vec<usize> = rankings
            .iter()
            .map(|(_, relevant)| relevant.iter().filter(|flag| !**flag).count())
            .collect();
        reporter.message(&record::counts(&positives, &negatives));
        self.rules().lines().for_each(|line| reporter.message(line));
        let columns = |metrics: RankingMetrics| [metrics.map, metrics.mrr, metrics.ndcg];
        let before = base.map(columns);
        let before = before.as_ref().map(|before| &before[..]);
        record::before_and_after(self.at_k, before, &columns(reranked), &**reporter);
        let k = self.at_k;
        if self.write_csv {
            let headers = ["MAP".to_owned(), format!("MRR@{k}"), format!("NDCG@{k}")];
            let metrics = [reranked.map, reranked.mrr, reranked.ndcg];
            let file = record::csv_file_at(NAME, &self.name, k);
            record::append_row(context, &file, &headers, &metrics)?;
        }
        let mut metrics = Metrics::new();
        for (prefix, means) in [("", Some(reranked)), ("base_", base)] {
            if let Some(means) = means {
                metrics.insert(format!("{prefix}map"), means.map);
                metrics.insert(format!("{prefix}mrr@{k}"), means.mrr);
                metrics.insert(format!("{prefix}ndcg@{k}"), means.ndcg);
            }
        }
        Ok(metrics.with_prefix(&self.name))
    }
}
