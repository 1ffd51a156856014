use crate::error::Error;
use crate::evaluation::dual_encoder::embeddings::Encoding;
use crate::evaluation::dual_encoder::truncated::Truncate;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::evaluation::record;
use crate::metrics::Metrics;
use crate::util::{ParaphraseOptions, ParaphrasePair, paraphrase_mining};
use indexmap::IndexMap;
use rankforge_encoder::{Embed, Side};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;

/// How many of the paraphrases among texts are found by
/// [`paraphrase_mining`](crate::util::paraphrase_mining), by cosine.
///
/// Keys: `average_precision`, which is the primary one; `f1`, `precision` and `recall` at the
/// `threshold` where F1 is largest.
#[derive(Clone, Debug)]
pub struct ParaphraseMiningEvaluator {
    texts: Arc<Vec<String>>,
    duplicates: Arc<Duplicates>,
    name: String,
    add_transitive_closure: bool,
    /// Number of texts whose neighbours are searched at a time. Default: 5,000.
    pub query_chunk_size: usize,
    /// Maximum number of pairs that are found. Default: 500,000.
    pub max_pairs: usize,
    /// Number of nearest texts of each text that can be its paraphrases. Default: 100.
    pub top_k: usize,
    /// Number of leading dimensions of the embeddings; `None`: those of the model.
    pub truncate_dim: Option<usize>,
    /// Maximum number of texts in a batch; by default only the tokens are bounded.
    pub batch_size: usize,
    /// Whether to write the CSV file.
    pub write_csv: bool,
}

/// Which pairs of texts are paraphrases.
#[derive(Debug)]
struct Duplicates {
    /// Pairs of places, lower place first.
    pairs: HashSet<(u32, u32)>,
    /// Number of pairs that name a text that is not there.
    unknown: usize,
}

const NAME: &str = "ParaphraseMiningEvaluator";
const KEYS: [&str; 5] = ["average_precision", "f1", "precision", "recall", "threshold"];
/// The order in the CSV file.
const COLUMNS: [&str; 5] = ["precision", "recall", "f1", "threshold", "average_precision"];

impl ParaphraseMiningEvaluator {
    /// An evaluator of texts by id and pairs of ids of paraphrases, with `name` before the keys of
    /// its metrics. With `add_transitive_closure`, paraphrases of a paraphrase are paraphrases too.
    /// Pairs with an unknown id are left out, and an evaluation warns of them.
    ///
    /// # Errors
    /// No text, a pair of a text and itself, or no pair of known texts.
    pub fn new(
        sentences_map: IndexMap<String, String>,
        duplicates_list: &[(String, String)],
        add_transitive_closure: bool,
        name: impl Into<String>,
    ) -> Result<ParaphraseMiningEvaluator, Error> {
        let mut pairs = HashSet::new();
        let mut unknown = 0;
        for (row, (first, second)) in duplicates_list.iter().enumerate() {
            if first == second {
                let expected = "two different texts";
                return Err(Error::cell(NAME, row, "", expected, format!("`{first}` twice")));
            }
            let place = |id| sentences_map.get_index_of(id).map(|place| place as u32);
            match (place(first), place(second)) {
                (Some(a), Some(b)) => drop(pairs.insert((a.min(b), a.max(b)))),
                _ => unknown += 1,
            }
        }
        if add_transitive_closure {
            pairs = closure(&pairs, sentences_map.len());
        }
        if pairs.is_empty() {
            let got = format!("{} texts, and {unknown} pairs of others", sentences_map.len());
            return Err(Error::rows(NAME, "a pair of paraphrases among the texts", got));
        }
        let defaults = ParaphraseOptions::default();
        Ok(ParaphraseMiningEvaluator {
            texts: Arc::new(sentences_map.into_values().collect()),
            duplicates: Arc::new(Duplicates { pairs, unknown }),
            name: name.into(),
            add_transitive_closure,
            query_chunk_size: defaults.query_chunk_size,
            max_pairs: defaults.max_pairs,
            top_k: defaults.top_k,
            truncate_dim: None,
            batch_size: usize::MAX,
            write_csv: true,
        })
    }

    /// The metrics of pairs, best first, in the order of [`KEYS`].
    fn measure(&self, pairs: &[ParaphrasePair]) -> [f64; KEYS.len()] {
        let total = self.duplicates.pairs.len() as f64;
        let (mut seen, mut found, mut sum) = (0, 0, 0.0);
        let mut best = [0.0; 4];
        for group in pairs.chunk_by(|a, b| a.score == b.score) {
            let is_right =
                |pair: &&ParaphrasePair| self.duplicates.pairs.contains(&(pair.first, pair.second));
            let right = group.iter().filter(is_right).count();
            seen += group.len();
            found += right;
            if right == 0 {
                continue;
            }
            let (precision, recall) = (found as f64 / seen as f64, found as f64 / total);
            let f1 = 2.0 * precision * recall / (precision + recall);
            sum += precision * right as f64;
            if f1 > best[0] {
                let score = f64::from(group[0].score);
                let next = pairs.get(seen).map_or(score, |pair| f64::from(pair.score));
                best = [f1, precision, recall, (score + next) / 2.0];
            }
        }
        let [f1, precision, recall, threshold] = best;
        [sum / total, f1, precision, recall, threshold]
    }
}

/// All pairs of texts that are connected by `pairs`.
fn closure(pairs: &HashSet<(u32, u32)>, texts: usize) -> HashSet<(u32, u32)> {
    fn root(parents: &mut [u32], mut of: u32) -> u32 {
        while parents[of as usize] != of {
            parents[of as usize] = parents[parents[of as usize] as usize];
            of = parents[of as usize];
        }
        of
    }
    let mut parents: Vec<u32> = (0..texts as u32).collect();
    for (first, second) in pairs {
        let roots = (root(&mut parents, *first), root(&mut parents, *second));
        parents[roots.0.max(roots.1) as usize] = roots.0.min(roots.1);
    }
    let mut groups: IndexMap<u32, Vec<u32>> = IndexMap::new();
    for text in 0..texts as u32 {
        groups.entry(root(&mut parents, text)).or_default().push(text);
    }
    let of_group = |members: &Vec<u32>| {
        let members = members.clone();
        let after = |place: usize| members[place + 1..].to_vec();
        let pairs = (0..members.len()).flat_map(|place| {
            let first = members[place];
            after(place).into_iter().map(move |second| (first, second))
        });
        pairs.collect::<Vec<_>>()
    };
    groups.values().flat_map(of_group).collect()
}

impl Truncate for ParaphraseMiningEvaluator {
    fn truncate(&mut self, dimension: usize) {
        self.truncate_dim = Some(dimension);
    }

    fn rename(&mut self, name: String) {
        self.name = name;
    }
}

impl<E: Embed + ?Sized> Evaluator<E> for ParaphraseMiningEvaluator {
    fn class_name(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn primary_metric(&self, _: &Metrics) -> String {
        with_name(&self.name, KEYS[0])
    }

    fn metric_names(&self, _: &E) -> Vec<String> {
        KEYS.map(|key| with_name(&self.name, key)).to_vec()
    }

    fn config(&self) -> serde_json::Value {
        record::config([
            ("add_transitive_closure", Some(json!(self.add_transitive_closure))),
            ("max_pairs", Some(json!(self.max_pairs))),
            ("top_k", Some(json!(self.top_k))),
            ("truncate_dim", self.truncate_dim.map(|dimension| json!(dimension))),
        ])
    }

    fn evaluate(&self, model: &E, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let reporter = &context.reporter;
        reporter.message(&format!(
            "Paraphrase Mining Evaluation of the model on the {} dataset{}:",
            self.name,
            record::when_truncated(context, self.truncate_dim)
        ));
        if self.duplicates.unknown > 0 {
            reporter.warning(&format!(
                "{NAME}: pairs that name a text that is not there, which are left out: {}",
                self.duplicates.unknown
            ));
        }
        let (batch_size, truncate_dim) = (self.batch_size, self.truncate_dim);
        let encoding = Encoding { batch_size, truncate_dim, normalize: false, reporter };
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        let embeddings = encoding.embed(model, Side::Text, &texts)?;
        let options = ParaphraseOptions {
            query_chunk_size: self.query_chunk_size,
            max_pairs: self.max_pairs,
            top_k: self.top_k,
            reporter: reporter.clone(),
            ..ParaphraseOptions::default()
        };
        let pairs = paraphrase_mining(model.device(), &embeddings, &options)?;
        reporter.message(&format!("Number of candidate pairs: {}", pairs.len()));
        let values = self.measure(&pairs);
        let metrics = Metrics(KEYS.map(str::to_owned).into_iter().zip(values).collect());
        let [average_precision, f1, precision, recall, threshold] = values;
        for line in [
            format!("Average Precision: {:.2}", average_precision * 100.0),
            format!("Optimal threshold: {threshold:.4}"),
            format!("Precision: {:.2}", precision * 100.0),
            format!("Recall: {:.2}", recall * 100.0),
            format!("F1: {:.2}", f1 * 100.0),
        ] {
            reporter.message(&line);
        }
        if self.write_csv {
            let file = record::csv_file("paraphrase_mining_evaluation", &[&self.name]);
            let row = COLUMNS.map(|column| metrics.0[column]);
            record::append_row(context, &file, &COLUMNS.map(str::to_owned), &row)?;
        }
        Ok(metrics.with_prefix(&self.name))
    }
}
