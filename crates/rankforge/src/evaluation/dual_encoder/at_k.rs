use crate::error::Error;
use crate::evaluation::relevance::discount;
use crate::metrics::Metrics;

/// Ranks up to which the metrics of a retrieval look. The defaults are those of
/// sentence-transformers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrievalAtK {
    /// Of MRR. Default: 10.
    pub mrr_at_k: Vec<usize>,
    /// Of NDCG. Default: 10.
    pub ndcg_at_k: Vec<usize>,
    /// Of accuracy, the share of queries with a relevant document. Default: 1, 3, 5, 10.
    pub accuracy_at_k: Vec<usize>,
    /// Of precision and recall. Default: 1, 3, 5, 10.
    pub precision_recall_at_k: Vec<usize>,
    /// Of MAP. Default: 100.
    pub map_at_k: Vec<usize>,
}

impl Default for RetrievalAtK {
    fn default() -> RetrievalAtK {
        RetrievalAtK {
            mrr_at_k: vec![10],
            ndcg_at_k: vec![10],
            accuracy_at_k: vec![1, 3, 5, 10],
            precision_recall_at_k: vec![1, 3, 5, 10],
            map_at_k: vec![100],
        }
    }
}

/// Which documents of a query's ranking are relevant, best first, and how many there are in all.
pub(super) struct Ranking {
    pub(super) relevant: Vec<bool>,
    pub(super) total: usize,
}

impl RetrievalAtK {
    fn lists(&self) -> [(&'static str, &[usize]); 5] {
        [
            ("mrr_at_k", &self.mrr_at_k),
            ("ndcg_at_k", &self.ndcg_at_k),
            ("accuracy_at_k", &self.accuracy_at_k),
            ("precision_recall_at_k", &self.precision_recall_at_k),
            ("map_at_k", &self.map_at_k),
        ]
    }

    /// Checks that each metric has a rank.
    ///
    /// # Errors
    /// An empty list, or a rank of 0.
    pub(super) fn check(&self) -> Result<(), Error> {
        for (field, ranks) in self.lists() {
            if ranks.is_empty() || ranks.contains(&0) {
                let got = if ranks.is_empty() { "none" } else { "0" };
                return Err(Error::argument(field, "ranks of at least 1", got));
            }
        }
        Ok(())
    }

    /// The lowest rank that any metric looks at.
    pub(super) fn deepest(&self) -> usize {
        let ranks = self.lists().into_iter().flat_map(|(_, ranks)| ranks);
        ranks.copied().max().unwrap_or(0)
    }

    /// The rank of the NDCG that is the primary metric.
    pub(super) fn primary(&self) -> usize {
        self.ndcg_at_k.iter().copied().max().unwrap_or(0)
    }

    /// The keys of all metrics, in the order of sentence-transformers.
    pub(super) fn keys(&self) -> Vec<String> {
        let lists = [
            ("accuracy", &self.accuracy_at_k),
            ("precision", &self.precision_recall_at_k),
            ("recall", &self.precision_recall_at_k),
            ("ndcg", &self.ndcg_at_k),
            ("mrr", &self.mrr_at_k),
            ("map", &self.map_at_k),
        ];
        let keys = lists.iter().flat_map(|(metric, ranks)| keys(metric, ranks));
        keys.collect()
    }

    /// The names of the columns of a CSV file and the keys of their metrics, in the order of
    /// sentence-transformers.
    pub(super) fn columns(&self) -> Vec<(String, String)> {
        let column = |label: &str, k: &usize| {
            (format!("{label}@{k}"), format!("{}@{k}", label.to_lowercase()))
        };
        let mut columns: Vec<(String, String)> =
            self.accuracy_at_k.iter().map(|k| column("Accuracy", k)).collect();
        for k in &self.precision_recall_at_k {
            columns.extend(["Precision", "Recall"].map(|label| column(label, k)));
        }
        columns.extend(self.mrr_at_k.iter().map(|k| column("MRR", k)));
        columns.extend(self.ndcg_at_k.iter().map(|k| column("NDCG", k)));
        columns.extend(self.map_at_k.iter().map(|k| column("MAP", k)));
        columns
    }

    /// The lines of a log for metrics by key.
    pub(super) fn lines(&self, value: &dyn Fn(&str) -> f64) -> Vec<String> {
        let line = |(label, key): (String, String)| match label.split('@').next() {
            Some("Accuracy" | "Precision" | "Recall") => {
                format!("{label}: {:.2}%", value(&key) * 100.0)
            }
            _ => format!("{label}: {:.4}", value(&key)),
        };
        self.columns().into_iter().map(line).collect()
    }

    /// The means over rankings, with the keys of [`RetrievalAtK::keys`].
    pub(super) fn measure(&self, rankings: &[Ranking]) -> Metrics {
        let mean = |metric: &dyn Fn(&Ranking) -> f64| {
            rankings.iter().map(metric).sum::<f64>() / rankings.len() as f64
        };
        let mut metrics = Metrics::new();
        for k in &self.accuracy_at_k {
            let value = mean(&|ranking| f64::from(u8::from(ranking.hits(*k) > 0)));
            metrics.insert(format!("accuracy@{k}"), value);
        }
        for k in &self.precision_recall_at_k {
            let value = mean(&|ranking| ranking.hits(*k) as f64 / *k as f64);
            metrics.insert(format!("precision@{k}"), value);
        }
        for k in &self.precision_recall_at_k {
            let value = mean(&|ranking| ranking.hits(*k) as f64 / ranking.total as f64);
            metrics.insert(format!("recall@{k}"), value);
        }
        for k in &self.ndcg_at_k {
            metrics.insert(format!("ndcg@{k}"), mean(&|ranking| ranking.ndcg(*k)));
        }
        for k in &self.mrr_at_k {
            metrics.insert(format!("mrr@{k}"), mean(&|ranking| ranking.reciprocal_rank(*k)));
        }
        for k in &self.map_at_k {
            metrics.insert(format!("map@{k}"), mean(&|ranking| ranking.average_precision(*k)));
        }
        metrics
    }
}

fn keys(metric: &str, ranks: &[usize]) -> Vec<String> {
    ranks.iter().map(|k| format!("{metric}@{k}")).collect()
}

impl Ranking {
    /// The ranks of relevant documents, from 1, up to `k`.
    fn ranks(&self, k: usize) -> impl Iterator<Item = usize> {
        let first = self.relevant.iter().take(k).enumerate();
        first.filter(|(_, relevant)| **relevant).map(|(place, _)| place + 1)
    }

    fn hits(&self, k: usize) -> usize {
        self.ranks(k).count()
    }

    fn reciprocal_rank(&self, k: usize) -> f64 {
        self.ranks(k).next().map_or(0.0, |rank| 1.0 / rank as f64)
    }

    fn ndcg(&self, k: usize) -> f64 {
        let ideal: f64 = (1..=self.total.min(k)).map(discount).sum();
        self.ranks(k).map(discount).sum::<f64>() / ideal
    }

    fn average_precision(&self, k: usize) -> f64 {
        let ranks = self.ranks(k).enumerate();
        let sum: f64 = ranks.map(|(before, rank)| (before + 1) as f64 / rank as f64).sum();
        sum / self.total.min(k) as f64
    }
}
