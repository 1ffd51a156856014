use crate::error::Error;
use crate::evaluation::dual_encoder::embeddings::{
    Distinct, Encoding, capitalized, functions, key_names, primary_key, similarities,
};
use crate::evaluation::dual_encoder::truncated::Truncate;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::evaluation::record;
use crate::metrics::Metrics;
use rankforge_data::Rows;
use rankforge_encoder::{Embed, Side};
use rankforge_kernels::ops::Similarity;
use serde_json::json;

/// The share of triplets with `similarity(anchor, positive) > similarity(anchor, negative) +
/// margin`.
///
/// Keys: `f_accuracy` for each similarity function `f`, and `max_accuracy` of several. The primary
/// metric is that of `main_similarity_function`, else `max_accuracy`, else the only one. Anchors
/// are embedded as queries, the others as documents.
#[derive(Clone, Debug)]
pub struct TripletEvaluator {
    anchors: Vec<String>,
    positives: Vec<String>,
    negatives: Vec<String>,
    name: String,
    /// The similarity function of the primary metric; it is the only one when
    /// `similarity_fn_names` has none.
    pub main_similarity_function: Option<Similarity>,
    /// Similarity functions; `main_similarity_function`, else that of the model, when there is
    /// none.
    pub similarity_fn_names: Vec<Similarity>,
    /// The margin of each similarity function, in the order of [`Similarity::ALL`]. Default: 0.
    pub margin: [f32; Similarity::ALL.len()],
    /// Number of leading dimensions of the embeddings; `None`: those of the model.
    pub truncate_dim: Option<usize>,
    /// Maximum number of texts in a batch; by default only the tokens are bounded.
    pub batch_size: usize,
    /// Whether to write the CSV file.
    pub write_csv: bool,
}

const NAME: &str = "TripletEvaluator";

impl TripletEvaluator {
    /// An evaluator of triplets, with `name` before the keys of its metrics.
    ///
    /// # Errors
    /// Other numbers of texts, or none.
    pub fn new(
        anchors: Vec<String>,
        positives: Vec<String>,
        negatives: Vec<String>,
        name: impl Into<String>,
    ) -> Result<TripletEvaluator, Error> {
        let counts = [anchors.len(), positives.len(), negatives.len()];
        if counts != [counts[0]; 3] {
            let got = format!("{}, {} and {}", counts[0], counts[1], counts[2]);
            return Err(Error::rows(NAME, "as many positives and negatives as anchors", got));
        }
        if anchors.is_empty() {
            return Err(Error::rows(NAME, "at least one triplet", "none"));
        }
        Ok(TripletEvaluator {
            anchors,
            positives,
            negatives,
            name: name.into(),
            main_similarity_function: None,
            similarity_fn_names: Vec::new(),
            margin: [0.0; Similarity::ALL.len()],
            truncate_dim: None,
            batch_size: usize::MAX,
            write_csv: true,
        })
    }

    /// [`TripletEvaluator::new`] with the columns of a table: anchor, positive, negative.
    ///
    /// # Errors
    /// A missing column, a cell that is not text, or no row.
    pub fn from_rows(
        rows: &Rows,
        columns: [&str; 3],
        name: impl Into<String>,
    ) -> Result<TripletEvaluator, Error> {
        let [anchors, positives, negatives] = columns;
        TripletEvaluator::new(
            rows.owned_texts(anchors)?,
            rows.owned_texts(positives)?,
            rows.owned_texts(negatives)?,
            name,
        )
    }

    fn functions<E: Embed + ?Sized>(&self, model: &E) -> Vec<Similarity> {
        functions(&self.similarity_fn_names, self.main_similarity_function, model)
    }

    fn margin_of(&self, function: Similarity) -> f32 {
        let place = Similarity::ALL.iter().position(|known| *known == function);
        self.margin[place.expect("ALL lists every similarity")]
    }
}

impl Truncate for TripletEvaluator {
    fn truncate(&mut self, dimension: usize) {
        self.truncate_dim = Some(dimension);
    }

    fn rename(&mut self, name: String) {
        self.name = name;
    }
}

impl<E: Embed + ?Sized> Evaluator<E> for TripletEvaluator {
    fn class_name(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn primary_metric(&self, metrics: &Metrics) -> String {
        let key = |name: &str| with_name(&self.name, &format!("{name}_accuracy"));
        primary_key(self.main_similarity_function, metrics, key)
    }

    fn metric_names(&self, model: &E) -> Vec<String> {
        let names = key_names(&self.functions(model));
        names.iter().map(|name| with_name(&self.name, &format!("{name}_accuracy"))).collect()
    }

    fn config(&self) -> serde_json::Value {
        let margins = Similarity::ALL.iter().zip(self.margin);
        let margin: serde_json::Map<_, _> =
            margins.map(|(function, margin)| (function.name().to_owned(), json!(margin))).collect();
        let is_set = self.margin.iter().any(|margin| *margin != 0.0);
        record::config([
            ("margin", is_set.then_some(margin.into())),
            ("truncate_dim", self.truncate_dim.map(|dimension| json!(dimension))),
        ])
    }

    fn evaluate(&self, model: &E, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let reporter = &context.reporter;
        reporter.message(&format!(
            "{NAME}: Evaluating the model on the {} dataset{}:",
            self.name,
            record::when_truncated(context, self.truncate_dim)
        ));
        let (mut queries, mut documents) = (Distinct::default(), Distinct::default());
        let anchors = queries.places(self.anchors.iter().map(String::as_str));
        let positives = documents.places(self.positives.iter().map(String::as_str));
        let negatives = documents.places(self.negatives.iter().map(String::as_str));
        let (batch_size, truncate_dim) = (self.batch_size, self.truncate_dim);
        let encoding = Encoding { batch_size, truncate_dim, normalize: false, reporter };
        let queries = encoding.on_device(model, Side::Query, &queries.list())?;
        let documents = encoding.on_device(model, Side::Document, &documents.list())?;
        let functions = self.functions(model);
        let (mut metrics, mut headers, mut row) = (Metrics::new(), Vec::new(), Vec::new());
        for function in &functions {
            let to =
                |others: &[u32]| similarities(*function, &queries, &documents, (&anchors, others));
            let (margin, positive, negative) =
                (self.margin_of(*function), to(&positives), to(&negatives));
            if let (Some(collector), true) = (context.details, row.is_empty()) {
                let flagged = |scores: &[f32], flag: bool| -> Vec<(f64, bool)> {
                    scores.iter().map(|score| (f64::from(*score), flag)).collect()
                };
                let both = [flagged(&positive, true), flagged(&negative, false)].concat();
                collector.add_scores(&self.name, both.into_iter());
            }
            let pairs = positive.iter().zip(&negative);
            let right = pairs.filter(|(positive, negative)| **positive > **negative + margin);
            let accuracy = right.count() as f64 / self.anchors.len() as f64;
            metrics.insert(format!("{}_accuracy", function.name()), accuracy);
            headers.push(format!("accuracy_{}", function.name()));
            row.push(accuracy);
            reporter.message(&format!(
                "Accuracy {} Similarity:\t{:.2}%",
                capitalized(*function),
                accuracy * 100.0
            ));
        }
        if self.write_csv {
            let file = record::csv_file("triplet_evaluation", &[&self.name]);
            record::append_row(context, &file, &headers, &row)?;
        }
        if functions.len() > 1 {
            metrics.insert("max_accuracy", row.iter().copied().fold(0.0, f64::max));
        }
        Ok(metrics.with_prefix(&self.name))
    }
}
