use crate::error::Error;
use crate::evaluation::dual_encoder::information_retrieval::InformationRetrievalEvaluator;
use crate::evaluation::dual_encoder::retrieval_settings::{
    RetrievalSettings, check, csv_columns, keys, primary_metric, score_functions,
};
use crate::evaluation::dual_encoder::truncated::Truncate;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::evaluation::nano_beir_means::evaluate_each;
use crate::evaluation::record;
use crate::metrics::Metrics;
use rankforge_base::quoted_list;
use rankforge_data::Beir;
use rankforge_encoder::Embed;
use serde_json::json;

/// The names of the collections, as an argument and as part of a metric's name.
pub const NANO_BEIR_NAMES: [(&str, &str); 13] = [
    ("climatefever", "ClimateFEVER"),
    ("dbpedia", "DBPedia"),
    ("fever", "FEVER"),
    ("fiqa2018", "FiQA2018"),
    ("hotpotqa", "HotpotQA"),
    ("msmarco", "MSMARCO"),
    ("nfcorpus", "NFCorpus"),
    ("nq", "NQ"),
    ("quoraretrieval", "QuoraRetrieval"),
    ("scidocs", "SCIDOCS"),
    ("arguana", "ArguAna"),
    ("scifact", "SciFact"),
    ("touche2020", "Touche2020"),
];

/// An [`InformationRetrievalEvaluator`] for each collection of NanoBEIR, and the means of their
/// metrics.
///
/// Keys: those of each collection with the name `Nano{Collection}`, such as
/// `NanoMSMARCO_cosine_ndcg@10`, and the means with the name `NanoBEIR_mean`, one of which is the
/// primary metric. With `truncate_dim` it follows both names.
#[derive(Clone, Debug)]
pub struct NanoBEIREvaluator {
    evaluators: Vec<InformationRetrievalEvaluator>,
    dataset_names: Vec<String>,
    /// Whether the name of the CSV file has the dimension, as there is one for each.
    names_dimension: bool,
    name: String,
    /// What is computed for each collection, and how.
    pub settings: RetrievalSettings,
}

const NAME: &str = "NanoBEIREvaluator";
const AGGREGATE: &str = "NanoBEIR_mean";

impl NanoBEIREvaluator {
    /// An evaluator of collections with the names of [`NANO_BEIR_NAMES`], in any case.
    ///
    /// # Errors
    /// No collection, an unknown name, or a collection that cannot be evaluated.
    pub fn new(datasets: Vec<(String, Beir)>) -> Result<NanoBEIREvaluator, Error> {
        if datasets.is_empty() {
            return Err(Error::rows(NAME, "at least one collection", "none"));
        }
        let (mut evaluators, mut dataset_names) = (Vec::new(), Vec::new());
        for (name, beir) in datasets {
            let nano = format!("Nano{}", readable(&name)?);
            evaluators.push(InformationRetrievalEvaluator::from_beir(beir, nano)?);
            dataset_names.push(name);
        }
        Ok(NanoBEIREvaluator {
            evaluators,
            dataset_names,
            names_dimension: false,
            name: AGGREGATE.to_owned(),
            settings: RetrievalSettings::default(),
        })
    }

    /// The evaluators of the collections, with the settings of this one.
    fn each(&self) -> impl Iterator<Item = InformationRetrievalEvaluator> {
        self.evaluators.iter().map(|evaluator| {
            let mut evaluator = evaluator.clone();
            if let Some(dimension) = self.settings.truncate_dim {
                let name = format!("{}_{dimension}", Evaluator::<dyn Embed>::name(&evaluator));
                evaluator.rename(name);
            }
            evaluator.settings = self.settings.clone();
            evaluator
        })
    }

    /// The name of the means: with the dimension where there is one.
    fn aggregate(&self) -> String {
        match self.settings.truncate_dim {
            Some(dimension) => format!("{AGGREGATE}_{dimension}"),
            None => AGGREGATE.to_owned(),
        }
    }
}

/// The name of a collection as a metric has it.
///
/// # Errors
/// An unknown name.
pub(in crate::evaluation) fn readable(name: &str) -> Result<&'static str, Error> {
    let known = NANO_BEIR_NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
    known.map(|(_, readable)| *readable).ok_or_else(|| {
        let names = NANO_BEIR_NAMES.map(|(name, _)| name);
        Error::argument("dataset_names", format!("names among {}", quoted_list(names)), name)
    })
}

impl Truncate for NanoBEIREvaluator {
    fn truncate(&mut self, dimension: usize) {
        self.settings.truncate_dim = Some(dimension);
    }

    fn rename(&mut self, name: String) {
        self.name = name;
        self.names_dimension = true;
    }
}

impl<E: Embed + ?Sized> Evaluator<E> for NanoBEIREvaluator {
    fn class_name(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn primary_metric(&self, metrics: &Metrics) -> String {
        primary_metric(&self.settings, &self.aggregate(), metrics)
    }

    fn metric_names(&self, model: &E) -> Vec<String> {
        let each = self.each().flat_map(|evaluator| evaluator.metric_names(model));
        let means = keys(&self.settings, &score_functions(&self.settings, model)).into_iter();
        each.chain(means.map(|key| with_name(&self.aggregate(), &key))).collect()
    }

    fn config(&self) -> serde_json::Value {
        let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
        record::config([
            ("dataset_names", Some(json!(self.dataset_names))),
            ("truncate_dim", self.settings.truncate_dim.map(|dimension| json!(dimension))),
            ("query_prompts", text(&self.settings.query_prompt)),
            ("corpus_prompts", text(&self.settings.corpus_prompt)),
        ])
    }

    fn evaluate(&self, model: &E, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let settings = &self.settings;
        let functions = score_functions(settings, model);
        check(settings, &functions)?;
        let reporter = &context.reporter;
        reporter.message(&format!(
            "NanoBEIR Evaluation of the model on {} dataset{}:",
            self.dataset_names.join(", "),
            record::when_truncated(context, settings.truncate_dim)
        ));
        let keys = keys(settings, &functions);
        let evaluators: Vec<InformationRetrievalEvaluator> = self.each().collect();
        let (mut all, means) = evaluate_each(&evaluators, &keys, model, context)?;
        let means = Metrics(keys.into_iter().zip(means).collect());
        let average = |count: fn(&InformationRetrievalEvaluator) -> usize| {
            let sum: usize = self.evaluators.iter().map(count).sum();
            record::number(sum as f64 / self.evaluators.len() as f64)
        };
        let (queries, documents) = (
            average(InformationRetrievalEvaluator::queries),
            average(InformationRetrievalEvaluator::documents),
        );
        reporter.message(&format!("Average Queries: {queries}"));
        reporter.message(&format!("Average Corpus: {documents}"));
        for function in &functions {
            let name = function.name();
            reporter.message(&format!("Aggregated for Score Function: {name}"));
            for line in settings.at_k.lines(&|key| means.0[&format!("{name}_{key}")]) {
                reporter.message(&line);
            }
        }
        if settings.write_csv {
            let (headers, row) = csv_columns(settings, &functions, &means);
            let dimension = settings.truncate_dim.filter(|_| self.names_dimension);
            let dimension = dimension.map(|dimension| dimension.to_string()).unwrap_or_default();
            let file = record::csv_file("NanoBEIR_evaluation_mean", &[&dimension]);
            record::append_row(context, &file, &headers, &row)?;
        }
        all.0.extend(means.with_prefix(&self.aggregate()).0);
        Ok(all)
    }
}
