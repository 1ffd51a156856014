//! `rankforge evaluate`: evaluates a model.

mod cascade;
mod classification;
mod correlation;
mod dual_encoder;
mod nano_beir;
mod pairs;
mod reranker;
mod reranking;
mod retrieval;
mod shared;

use crate::commands::evaluate::cascade::CascadeArgs;
use crate::commands::evaluate::classification::ClassificationArgs;
use crate::commands::evaluate::correlation::CorrelationArgs;
use crate::commands::evaluate::nano_beir::NanoBeirArgs;
use crate::commands::evaluate::pairs::{
    BinaryArgs, MseArgs, ParaphraseArgs, SimilarityEvaluatorArgs, TranslationArgs, TripletArgs,
};
use crate::commands::evaluate::reranking::RerankingArgs;
use crate::commands::evaluate::retrieval::RetrievalArgs;
use crate::commands::evaluate::shared::SharedArgs;
use crate::console::Console;

/// Evaluate a reranker or a dual encoder
///
/// `correlation` and `classification` are for rerankers, `reranking` and `nanobeir` for either kind
/// of model, `cascade` for both together, and the others are for dual encoders. For those of either
/// kind, a transformer without a scoring head is a dual encoder with mean pooling.
///
/// Computes the metrics of the evaluators of sentence-transformers, with the same names and the
/// same CSV files.
#[derive(Debug, clap::Args)]
#[command(
    next_help_heading = "Evaluation options",
    after_help = "\
Examples:
  rankforge evaluate correlation --model models/stsb --dataset data/stsb --split validation \\
      --columns sentence1,sentence2,score --name sts_dev
  rankforge evaluate reranking --model models/reranker --dataset data/scifact \\
      --first-stage models/static --depth 30 --always-rerank-positives false
  rankforge evaluate retrieval --model models/encoder --dataset data/scifact
  rankforge evaluate similarity --model models/encoder --dataset data/stsb --split validation \\
      --truncate-dim 256,128,64"
)]
pub(crate) struct EvaluateArgs {
    #[command(flatten)]
    shared: SharedArgs,

    #[command(subcommand)]
    evaluator: EvaluatorCommand,
}

#[derive(Debug, clap::Subcommand)]
enum EvaluatorCommand {
    /// Pearson and Spearman correlation of the scores with gold scores
    ///
    /// The first three columns of the data set are two texts and their gold score, or those that
    /// --columns names.
    #[command(after_help = "\
Examples:
  rankforge evaluate correlation --model models/stsb --dataset data/stsb/validation.jsonl \\
      --columns sentence1,sentence2,score --name sts_dev
  rankforge evaluate correlation --model models/stsb --dataset pairs.csv --limit 500 --json")]
    Correlation(CorrelationArgs),

    /// How well the scores of a reranker tell the classes of pairs
    ///
    /// The first three columns of the data set are two texts and a class, a whole number from 0, or
    /// those that --columns names. A model with one label has accuracy, F1, precision and recall at
    /// the best thresholds, and average precision; one with several labels has the macro, micro and
    /// weighted F1 of its largest scores.
    #[command(after_help = "\
Examples:
  rankforge evaluate classification --model models/nli --dataset nli.jsonl \\
      --columns premise,hypothesis,label
  rankforge evaluate classification --model models/duplicates --dataset quora.parquet --json")]
    Classification(ClassificationArgs),

    /// MAP, MRR and NDCG of reranked candidates, compared with their order before reranking
    ///
    /// A dual encoder orders the texts of samples by the cosine of their embeddings with that of
    /// the query; it has neither a BEIR directory nor an order before reranking.
    ///
    /// For a reranker the data set is a file of samples with the columns query, positive, and
    /// negative or documents; or a BEIR directory (corpus.jsonl, queries.jsonl, qrels), whose
    /// documents a dual encoder retrieves for each query. Documents with the id of the query are
    /// left out.
    ///
    /// The evaluator knows relevant and other texts, as that of sentence-transformers does. For a
    /// BEIR directory a second table has the figures of BEIR: measured against all relevant
    /// documents of the collection, with the grade of a document as its gain in NDCG. Documents of
    /// equal scores keep the order of the corpus, or after reranking that of the first stage.
    #[command(after_help = "\
Examples:
  rankforge evaluate reranking --model models/reranker --dataset samples.jsonl --at-k 10
  rankforge evaluate reranking --model models/reranker --dataset data/scifact --split test \\
      --first-stage models/static --depth 30 --always-rerank-positives false --output results")]
    Reranking(RerankingArgs),

    /// First stages and a reranker at several depths: quality, and time per query
    ///
    /// Each first stage retrieves the largest depth; the reranker orders the best of each depth
    /// again, and the others follow in the order of the first stage. Metrics are those of trec_eval
    /// and BEIR: the gain of NDCG is the grade of a document. Times are of one query at a time,
    /// from its text to its ranking. Queries without a relevant document are left out.
    #[command(after_help = "\
Examples:
  rankforge evaluate cascade --dataset data/scifact --first-stage models/static \\
      --rerank models/reranker --depth 10,30,100
  rankforge evaluate cascade --dataset data/scifact --first-stage bm25,models/static,hybrid \\
      --rerank models/reranker --report scifact.html --trec runs/scifact")]
    Cascade(CascadeArgs),

    /// Retrieval from a corpus by a dual encoder: accuracy, precision, recall, NDCG, MRR and MAP
    ///
    /// The data set is a BEIR directory (corpus.jsonl, queries.jsonl, qrels); a document is its
    /// title and its text. A document is relevant or not, whatever its grade. Documents of equal
    /// scores are ranked by id; one with the id of the query is ranked like any other.
    #[command(after_help = "\
Examples:
  rankforge evaluate retrieval --model models/encoder --dataset data/scifact --output results
  rankforge evaluate retrieval --model models/encoder --dataset data/scifact \\
      --truncate-dim 256,128,64 --score-functions cosine,dot --query-prompt-name query")]
    Retrieval(Box<RetrievalArgs>),

    /// Retrieval from the collections of NanoBEIR, and the means of their metrics
    ///
    /// A dual encoder retrieves from the corpus. A reranker orders the first documents of a ranking
    /// by BM25 again, which the collections have as `bm25` beside corpus, queries and qrels.
    ///
    /// The directory is a copy of the data set NanoBEIR-en, with the directories corpus, queries
    /// and qrels; or it has a directory for each collection, such as NanoMSMARCO, which is a BEIR
    /// directory or has the directories corpus, queries and qrels.
    #[command(
        name = "nanobeir",
        after_help = "\
Examples:
  rankforge evaluate nanobeir --model models/encoder --dataset data/NanoBEIR-en
  rankforge evaluate nanobeir --model models/encoder --dataset data/NanoBEIR-en \\
      --dataset-names msmarco,nq --json
  rankforge evaluate nanobeir --model models/reranker --dataset data/NanoBEIR-en --rerank-k 50"
    )]
    NanoBeir(Box<NanoBeirArgs>),

    /// Pearson and Spearman correlation of the similarities of two texts with gold scores
    ///
    /// The first three columns of the data set are two texts and their gold score, or those that
    /// --columns names.
    #[command(after_help = "\
Examples:
  rankforge evaluate similarity --model models/encoder --dataset data/stsb --split validation \\
      --columns sentence1,sentence2,score --name sts_dev
  rankforge evaluate similarity --model models/encoder --dataset pairs.csv \\
      --similarity-fn-names cosine,dot,euclidean,manhattan --embedding-precision int8")]
    Similarity(SimilarityEvaluatorArgs),

    /// How well the similarity of two texts tells similar pairs from others
    ///
    /// The first three columns of the data set are two texts and a label, 1 or 0, or those that
    /// --columns names. Thresholds of euclidean and manhattan are distances.
    #[command(after_help = "\
Examples:
  rankforge evaluate binary --model models/encoder --dataset quora.parquet \\
      --columns sentence1,sentence2,label")]
    Binary(BinaryArgs),

    /// The share of triplets whose positive is nearer to the anchor than the negative
    ///
    /// The first three columns of the data set are anchor, positive and negative, or those that
    /// --columns names.
    #[command(after_help = "\
Examples:
  rankforge evaluate triplet --model models/encoder --dataset triplets.jsonl --margin 0.1")]
    Triplet(TripletArgs),

    /// How many of the paraphrases among texts are found
    ///
    /// The data set are pairs of texts that are paraphrases; or ids and texts, with the pairs of
    /// ids in --duplicates.
    #[command(after_help = "\
Examples:
  rankforge evaluate paraphrase-mining --model models/encoder --dataset pairs.csv
  rankforge evaluate paraphrase-mining --model models/encoder --dataset questions.jsonl \\
      --columns qid,question --duplicates duplicates.jsonl")]
    ParaphraseMining(ParaphraseArgs),

    /// The share of texts whose nearest text in the other language is their translation
    ///
    /// The first two columns of the data set are texts and their translations, or those that
    /// --columns names.
    #[command(after_help = "\
Examples:
  rankforge evaluate translation --model models/encoder --dataset en-de.tsv --columns en,de")]
    Translation(TranslationArgs),

    /// The mean squared difference of embeddings from those of a teacher
    ///
    /// The teacher embeds the first column of the data set and the model the second, or those that
    /// --columns names; of a single column, both embed its texts.
    #[command(after_help = "\
Examples:
  rankforge evaluate mse --model models/student --teacher-model models/teacher \\
      --dataset texts.jsonl --columns text")]
    Mse(MseArgs),
}

/// Runs the command.
///
/// # Errors
/// If --model is missing, the model or the data set cannot be read, or the CSV file cannot be
/// written.
pub(crate) fn run(args: &EvaluateArgs, console: &Console) -> anyhow::Result<()> {
    let shared = &args.shared;
    match &args.evaluator {
        EvaluatorCommand::Correlation(args) => correlation::run(args, shared, console),
        EvaluatorCommand::Classification(args) => classification::run(args, shared, console),
        EvaluatorCommand::Reranking(args) => reranking::run(args, shared, console),
        EvaluatorCommand::Cascade(args) => cascade::run(args, shared, console),
        EvaluatorCommand::Retrieval(args) => retrieval::run(args, shared, console),
        EvaluatorCommand::NanoBeir(args) => nano_beir::run(args, shared, console),
        EvaluatorCommand::Similarity(args) => pairs::similarity(args, shared, console),
        EvaluatorCommand::Binary(args) => pairs::binary(args, shared, console),
        EvaluatorCommand::Triplet(args) => pairs::triplet(args, shared, console),
        EvaluatorCommand::ParaphraseMining(args) => pairs::paraphrase_mining(args, shared, console),
        EvaluatorCommand::Translation(args) => pairs::translation(args, shared, console),
        EvaluatorCommand::Mse(args) => pairs::mse(args, shared, console),
    }
}
