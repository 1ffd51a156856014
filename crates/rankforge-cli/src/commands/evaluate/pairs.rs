//! `rankforge evaluate similarity`, `binary`, `triplet`, `translation`, `mse` and
//! `paraphrase-mining`: evaluators of dual encoders on rows of texts.

use crate::commands::evaluate::dual_encoder::{EmbeddingArgs, SimilarityArgs, evaluate};
use crate::commands::evaluate::shared::SharedArgs;
use crate::console::Console;
use crate::dataset::{DatasetArgs, roles};
use crate::inference::at_least_one;
use rankforge::recipe::{
    BinaryClassificationSection, EmbeddingSimilaritySection, MSESection, Margins,
    ParaphraseMiningSection, TranslationSection, TripletSection,
};
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct SimilarityEvaluatorArgs {
    #[command(flatten)]
    dataset: DatasetArgs,

    #[command(flatten)]
    similarity: SimilarityArgs,

    /// Quantise the normalised embeddings: float32, int8, uint8, binary or ubinary [default: no]
    #[arg(long, value_name = "NAME")]
    embedding_precision: Option<String>,

    #[command(flatten)]
    embedding: EmbeddingArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct BinaryArgs {
    #[command(flatten)]
    dataset: DatasetArgs,

    #[command(flatten)]
    similarity: SimilarityArgs,

    #[command(flatten)]
    embedding: EmbeddingArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct TripletArgs {
    #[command(flatten)]
    dataset: DatasetArgs,

    #[command(flatten)]
    similarity: SimilarityArgs,

    /// By how much more similar the positive must be than the negative
    #[arg(long, value_name = "M", default_value_t = 0.0)]
    margin: f32,

    #[command(flatten)]
    embedding: EmbeddingArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct TranslationArgs {
    #[command(flatten)]
    dataset: DatasetArgs,

    #[command(flatten)]
    embedding: EmbeddingArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct MseArgs {
    #[command(flatten)]
    dataset: DatasetArgs,

    /// Directory of the teacher, whose embeddings are compared with
    #[arg(long, value_name = "DIR")]
    teacher_model: PathBuf,

    #[command(flatten)]
    embedding: EmbeddingArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ParaphraseArgs {
    #[command(flatten)]
    dataset: DatasetArgs,

    /// Data set whose first two columns are the ids of two paraphrases
    ///
    /// The first columns of --dataset are then ids and texts; without it, they are two texts that
    /// are paraphrases.
    #[arg(long, value_name = "PATH")]
    duplicates: Option<PathBuf>,

    /// Paraphrases of a paraphrase are paraphrases too
    #[arg(long)]
    add_transitive_closure: bool,

    /// Maximum number of pairs that are found
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = at_least_one)]
    max_pairs: usize,

    /// Number of nearest texts of each text that can be its paraphrases
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one)]
    top_k: usize,

    #[command(flatten)]
    embedding: EmbeddingArgs,
}

/// Fills the fields that all sections have from the flags, and checks the number of --columns.
macro_rules! fill {
    ($section:ident, $args:expr, $shared:expr, $roles:expr) => {{
        let selection = &$args.dataset.selection;
        if let Some(columns) = &selection.columns {
            roles(columns, $roles)?;
        }
        $section {
            path: $args.dataset.dataset.clone(),
            split: selection.split.clone(),
            columns: selection.columns.clone(),
            limit: selection.limit.and_then(NonZeroUsize::new),
            name: Some($shared.name.clone()),
            truncate_dim: $args.embedding.dimensions(),
            batch_size: $shared.batch_size.and_then(NonZeroUsize::new),
            ..$section::default()
        }
    }};
}

/// Evaluates correlations of similarities with gold scores.
///
/// # Errors
/// If the model or the data set cannot be read, or the CSV file cannot be written.
pub(super) fn similarity(
    args: &SimilarityEvaluatorArgs,
    shared: &SharedArgs,
    console: &Console,
) -> anyhow::Result<()> {
    let columns = &["first text", "second text", "score"];
    let section = EmbeddingSimilaritySection {
        similarity_fn_names: args.similarity.similarity_fn_names.clone(),
        precision: args.embedding_precision.clone(),
        ..fill!(EmbeddingSimilaritySection, args, shared, columns)
    };
    evaluate(&args.embedding, shared, console, |_| section.evaluator())
}

/// Evaluates how well similarities tell similar pairs from others.
///
/// # Errors
/// If the model or the data set cannot be read, or the CSV file cannot be written.
pub(super) fn binary(
    args: &BinaryArgs,
    shared: &SharedArgs,
    console: &Console,
) -> anyhow::Result<()> {
    let columns = &["first text", "second text", "label"];
    let section = BinaryClassificationSection {
        similarity_fn_names: args.similarity.similarity_fn_names.clone(),
        ..fill!(BinaryClassificationSection, args, shared, columns)
    };
    evaluate(&args.embedding, shared, console, |_| section.evaluator())
}

/// Evaluates whether positives are nearer than negatives.
///
/// # Errors
/// If the model or the data set cannot be read, or the CSV file cannot be written.
pub(super) fn triplet(
    args: &TripletArgs,
    shared: &SharedArgs,
    console: &Console,
) -> anyhow::Result<()> {
    let columns = &["anchor", "positive", "negative"];
    let section = TripletSection {
        similarity_fn_names: args.similarity.similarity_fn_names.clone(),
        margin: Margins([args.margin; 4]),
        ..fill!(TripletSection, args, shared, columns)
    };
    evaluate(&args.embedding, shared, console, |_| section.evaluator())
}

/// Evaluates whether translations are each other's nearest texts.
///
/// # Errors
/// If the model or the data set cannot be read, or the CSV file cannot be written.
pub(super) fn translation(
    args: &TranslationArgs,
    shared: &SharedArgs,
    console: &Console,
) -> anyhow::Result<()> {
    let section = fill!(TranslationSection, args, shared, &["source", "target"]);
    evaluate(&args.embedding, shared, console, |_| section.evaluator())
}

/// Evaluates how near embeddings are to those of a teacher.
///
/// # Errors
/// If a model or the data set cannot be read, or the CSV file cannot be written.
pub(super) fn mse(args: &MseArgs, shared: &SharedArgs, console: &Console) -> anyhow::Result<()> {
    let single = args.dataset.selection.columns.as_ref().is_some_and(|names| names.len() == 1);
    let columns: &[&str] = if single { &["text"] } else { &["source", "target"] };
    let section = MSESection {
        teacher_model: Some(args.teacher_model.clone()),
        ..fill!(MSESection, args, shared, columns)
    };
    evaluate(&args.embedding, shared, console, |options| section.evaluator(options))
}

/// Evaluates how many paraphrases among texts are found.
///
/// # Errors
/// If the model or a data set cannot be read, or the CSV file cannot be written.
pub(super) fn paraphrase_mining(
    args: &ParaphraseArgs,
    shared: &SharedArgs,
    console: &Console,
) -> anyhow::Result<()> {
    let columns = match args.duplicates {
        Some(_) => &["id", "text"],
        None => &["first text", "second text"],
    };
    let section = ParaphraseMiningSection {
        duplicates: args.duplicates.clone(),
        add_transitive_closure: args.add_transitive_closure,
        max_pairs: NonZeroUsize::new(args.max_pairs),
        top_k: NonZeroUsize::new(args.top_k),
        ..fill!(ParaphraseMiningSection, args, shared, columns)
    };
    evaluate(&args.embedding, shared, console, |_| section.evaluator())
}
