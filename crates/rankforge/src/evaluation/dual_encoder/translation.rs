use crate::error::Error;
use crate::evaluation::dual_encoder::embeddings::{Distinct, Encoding};
use crate::evaluation::dual_encoder::truncated::Truncate;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::evaluation::record;
use crate::metrics::Metrics;
use crate::retrieval::gather_rows;
use rankforge_base::Task;
use rankforge_data::Rows;
use rankforge_encoder::{Embed, Side};
use rankforge_kernels::Buffer;
use rankforge_kernels::ops::{Corpus, Similarity};
use serde_json::json;

/// The share of texts whose nearest text in the other language, by cosine, is their translation.
///
/// Keys: `src2trg_accuracy`, `trg2src_accuracy`, and their mean `mean_accuracy`, which is the
/// primary one.
#[derive(Clone, Debug)]
pub struct TranslationEvaluator {
    source_sentences: Vec<String>,
    target_sentences: Vec<String>,
    name: String,
    /// Number of leading dimensions of the embeddings; `None`: those of the model.
    pub truncate_dim: Option<usize>,
    /// Maximum number of texts in a batch; by default only the tokens are bounded.
    pub batch_size: usize,
    /// Whether to write the CSV file.
    pub write_csv: bool,
}

const NAME: &str = "TranslationEvaluator";
const KEYS: [&str; 3] = ["src2trg_accuracy", "trg2src_accuracy", "mean_accuracy"];

impl TranslationEvaluator {
    /// An evaluator of texts and their translations, with `name` before the keys of its metrics.
    ///
    /// # Errors
    /// Other numbers of texts, or none.
    pub fn new(
        source_sentences: Vec<String>,
        target_sentences: Vec<String>,
        name: impl Into<String>,
    ) -> Result<TranslationEvaluator, Error> {
        if source_sentences.len() != target_sentences.len() {
            let got = format!("{} and {}", source_sentences.len(), target_sentences.len());
            return Err(Error::rows(NAME, "as many target sentences as source sentences", got));
        }
        if source_sentences.is_empty() {
            return Err(Error::rows(NAME, "at least one pair", "none"));
        }
        Ok(TranslationEvaluator {
            source_sentences,
            target_sentences,
            name: name.into(),
            truncate_dim: None,
            batch_size: usize::MAX,
            write_csv: true,
        })
    }

    /// [`TranslationEvaluator::new`] with the columns of a table: source and target.
    ///
    /// # Errors
    /// A missing column, a cell that is not text, or no row.
    pub fn from_rows(
        rows: &Rows,
        columns: [&str; 2],
        name: impl Into<String>,
    ) -> Result<TranslationEvaluator, Error> {
        let [sources, targets] = columns;
        TranslationEvaluator::new(rows.owned_texts(sources)?, rows.owned_texts(targets)?, name)
    }
}

/// The share of rows of `queries` whose nearest row of `corpus` is the text `expected` of the same
/// place; of several nearest ones, the first counts.
fn accuracy(queries: &Buffer, corpus: &Buffer, expected: &[u32], task: &Task<'_>) -> f64 {
    let corpus = Corpus::prepare(Similarity::Cosine, corpus.view());
    let found = corpus.top_k(queries.view(), 1, &|done| task.advance(done));
    let right = found.iter().zip(expected).filter(|(found, place)| found[0].index == **place);
    right.count() as f64 / expected.len() as f64
}

impl Truncate for TranslationEvaluator {
    fn truncate(&mut self, dimension: usize) {
        self.truncate_dim = Some(dimension);
    }

    fn rename(&mut self, name: String) {
        self.name = name;
    }
}

impl<E: Embed + ?Sized> Evaluator<E> for TranslationEvaluator {
    fn class_name(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn primary_metric(&self, _: &Metrics) -> String {
        with_name(&self.name, KEYS[2])
    }

    fn metric_names(&self, _: &E) -> Vec<String> {
        KEYS.map(|key| with_name(&self.name, key)).to_vec()
    }

    fn config(&self) -> serde_json::Value {
        record::config([("truncate_dim", self.truncate_dim.map(|dimension| json!(dimension)))])
    }

    fn evaluate(&self, model: &E, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let reporter = &context.reporter;
        reporter.message(&format!(
            "Evaluating translation matching Accuracy of the model on the {} dataset{}:",
            self.name,
            record::when_truncated(context, self.truncate_dim)
        ));
        let (batch_size, truncate_dim) = (self.batch_size, self.truncate_dim);
        let encoding = Encoding { batch_size, truncate_dim, normalize: false, reporter };
        // Equal texts are one row, so a translation is right wherever it stands.
        let side = |sentences: &[String]| -> Result<(Vec<u32>, Buffer), Error> {
            let mut distinct = Distinct::default();
            let places = distinct.places(sentences.iter().map(String::as_str));
            Ok((places, encoding.on_device(model, Side::Text, &distinct.list())?))
        };
        let (sources, source) = side(&self.source_sentences)?;
        let (targets, target) = side(&self.target_sentences)?;
        let task = Task::begin(&**reporter, "Searching", 2 * sources.len(), "texts");
        let forth = gather_rows(source.view(), &sources);
        let src2trg = accuracy(&forth, &target, &targets, &task);
        let back = gather_rows(target.view(), &targets);
        let trg2src = accuracy(&back, &source, &sources, &task);
        drop(task);
        reporter.message(&format!("Accuracy src2trg: {:.2}", src2trg * 100.0));
        reporter.message(&format!("Accuracy trg2src: {:.2}", trg2src * 100.0));
        if self.write_csv {
            let headers = ["src2trg", "trg2src"].map(str::to_owned);
            let file = record::csv_file("translation_evaluation", &[&self.name]);
            record::append_row(context, &file, &headers, &[src2trg, trg2src])?;
        }
        let mut metrics = Metrics::new();
        for (key, value) in KEYS.iter().zip([src2trg, trg2src, (src2trg + trg2src) / 2.0]) {
            metrics.insert(*key, value);
        }
        Ok(metrics.with_prefix(&self.name))
    }
}
