//! The dual encoder that is evaluated, and its metrics.

use crate::commands::evaluate::shared::{SharedArgs, metrics_table};
use crate::console::Console;
use crate::failure::CliError;
use crate::inference::at_least_one;
use crate::table::Table;
use rankforge::base::Reporter;
use rankforge::encoder::{DualEncoder, LoadOptions, ModelKind, Packing, TextModel};
use rankforge::evaluation::Evaluator;
use rankforge::recipe::{Dimensions, SimilarityName};
use rankforge::{Error, Metrics};
use std::path::Path;

/// The flags of all evaluators of dual encoders.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct EmbeddingArgs {
    /// Truncate the embeddings to the first N dimensions [default: the model's truncate_dim]
    ///
    /// Of several numbers, separated by commas, each has metrics of its own, named NAME_N. The
    /// texts are embedded once.
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = at_least_one)]
    truncate_dim: Vec<usize>,
}

/// Similarity functions.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SimilarityArgs {
    /// Similarity functions: cosine, dot, euclidean, manhattan [default: that of the model]
    #[arg(
        long,
        visible_alias = "score-functions",
        value_name = "NAME,...",
        value_delimiter = ',',
        value_parser = similarity
    )]
    pub(super) similarity_fn_names: Vec<SimilarityName>,
}

impl EmbeddingArgs {
    pub(super) fn dimensions(&self) -> Dimensions {
        Dimensions(self.truncate_dim.clone())
    }
}

/// Parses the name of a similarity function.
///
/// # Errors
/// If the name is unknown.
pub(super) fn similarity(name: &str) -> Result<SimilarityName, String> {
    SimilarityName::try_from(name.to_owned())
}

/// Builds an evaluator, opens the dual encoder, evaluates it, and prints the metrics.
///
/// # Errors
/// If --model is missing or names a reranker, the model or the data set cannot be read, or the CSV
/// file cannot be written.
pub(super) fn evaluate(
    embedding: &EmbeddingArgs,
    shared: &SharedArgs,
    console: &Console,
    build: impl FnOnce(&LoadOptions) -> Result<Box<dyn Evaluator<DualEncoder>>, Error>,
) -> anyhow::Result<()> {
    let path = shared.model("the directory of the dual encoder")?;
    if shared.activation_fn.is_some() {
        let message = "--activation-fn: a dual encoder has no output activation";
        return Err(CliError::usage(message).hint("remove --activation-fn").into());
    }
    if path.is_dir() && ModelKind::of_directory(path)? == ModelKind::CrossEncoder {
        let message = format!(
            "{}: expected a dual encoder, got a reranker, which scores pairs",
            path.display()
        );
        let hint = "`evaluate correlation` and `evaluate reranking` evaluate rerankers";
        return Err(CliError::input(message).hint(hint).into());
    }
    let base = LoadOptions { precision: shared.precision.precision, ..console.load_options()? };
    let evaluator = build(&base)?;
    let options = LoadOptions { max_length: shared.max_length, packing: Packing::Instead, ..base };
    let model = DualEncoder::open_with(path, &options)?;
    shared.precision.check(&[model.model()])?;
    shared.precision.report(model.model(), console);
    let columns = model.model().architecture().output_columns();
    if let Some(wide) = embedding.truncate_dim.iter().find(|dimension| **dimension > columns) {
        let message =
            format!("--truncate-dim {wide}: the embeddings of the model have {columns} dimensions");
        return Err(CliError::usage(message).into());
    }
    let metrics = evaluator.evaluate(&model, &shared.context(console))?;
    console.result(|| table(&metrics, &shared.name, &embedding.truncate_dim), &metrics)
}

/// A table of metrics; of several dimensions, with a column for each where all metrics have one.
fn table(metrics: &Metrics, name: &str, dimensions: &[usize]) -> String {
    let separator = if name.is_empty() { "" } else { "_" };
    let prefix = |dimension: usize| format!("{name}{separator}{dimension}_");
    let first = dimensions.first().map(|dimension| prefix(*dimension)).unwrap_or_default();
    let bare: Vec<&str> = metrics.0.keys().filter_map(|key| key.strip_prefix(&first)).collect();
    if dimensions.len() < 2 || bare.len() * dimensions.len() != metrics.0.len() {
        return metrics_table(metrics);
    }
    let numbers: Vec<String> = dimensions.iter().map(usize::to_string).collect();
    let header: Vec<&str> =
        ["metric"].into_iter().chain(numbers.iter().map(String::as_str)).collect();
    let mut table = Table::new(&header);
    for key in bare {
        let value = |dimension: &usize| {
            let value = metrics.get(&format!("{}{key}", prefix(*dimension)));
            format!("{:.4}", value.unwrap_or(f64::NAN))
        };
        table.row([key.to_owned()].into_iter().chain(dimensions.iter().map(value)));
    }
    table.to_string()
}

/// Whether the model of a command that takes either kind is a dual encoder. A transformer that says
/// of itself neither that it is one nor that it scores pairs is one with mean pooling, as in
/// sentence-transformers, with a warning: the scores of a new head would be random.
///
/// # Errors
/// If its files cannot be read.
pub(super) fn is_evaluated_as_dual_encoder(path: &Path, console: &Console) -> anyhow::Result<bool> {
    if !path.is_dir() || ModelKind::of_directory(path)? == ModelKind::CrossEncoder {
        return Ok(false);
    }
    if !is_dual_encoder(path)? {
        console.progress.warning(&format!(
            "{}: a transformer without a scoring head, evaluated as a dual encoder with mean \
             pooling",
            path.display()
        ));
    }
    Ok(true)
}

/// Whether a directory is that of a dual encoder by its own account. A transformers checkpoint
/// without a head, which can become either kind, is not.
///
/// # Errors
/// If its files cannot be read.
pub(super) fn is_dual_encoder(path: &Path) -> anyhow::Result<bool> {
    let says = path.join("modules.json").exists() || !path.join("config.json").exists();
    let model2vec = || {
        let config = std::fs::read_to_string(path.join("config.json")).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap_or_default();
        config["model_type"] == "model2vec"
    };
    Ok(path.is_dir()
        && ModelKind::of_directory(path)? == ModelKind::SentenceTransformer
        && (says || model2vec()))
}
