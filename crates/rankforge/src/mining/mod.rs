//! Hard negative mining: for each query of a table of pairs, the nearest texts that are not its answers.

mod cache;
mod encoder;
mod log;
mod options;
mod outcome;
mod pairs;
mod report;
mod rows;
mod search;
mod settings;

pub use encoder::TextEncoder;
pub use options::{MiningOptions, OutputFormat, SamplingStrategy};
pub use outcome::{Mined, Skipped, Statistics, Summary};

use crate::Error;
use crate::evaluation::PairScorer;
use cache::Entry;
use log::Log;
use pairs::Pairs;
use rankforge_data::Rows;
use rankforge_encoder::{EncodeOptions, Outputs, Reporter};
use rankforge_kernels::Buffer;
use search::Embeddings;

/// Anchors whose rows are handed over at a time.
const PIECE: usize = 1024;

/// Adds hard negatives to a table of (anchor, positive) pairs; several rows of one anchor are several
/// positives of it.
///
/// Candidates are the texts of `corpus` (the positives, when there is none) and all positives.
/// `cross_encoder` scores them again where a margin or a score bound is set. The printed text of
/// sentence-transformers goes to `reporter` and comes back in [`Mined`].
///
/// Memory holds the pairs, the embeddings, the negatives of each anchor, and the candidates of `faiss_batch_size` anchors,
/// never a score for each anchor and text. [`mine_hard_negatives_to`] does not hold the mined rows.
///
/// # Errors
/// An empty table, fewer than two columns, cells that are not texts, options that cannot be met, or
/// what the encoders refuse.
pub fn mine_hard_negatives(
    pairs: &Rows,
    encoder: &dyn TextEncoder,
    options: &MiningOptions,
    cross_encoder: Option<&dyn PairScorer>,
    corpus: Option<&[String]>,
    reporter: &dyn Reporter,
) -> Result<Mined, Error> {
    let mut rows = Rows::default();
    let append = |piece| Ok::<(), Error>(rows.append(piece)?);
    let (summary, lines) =
        mine_hard_negatives_to(pairs, encoder, options, cross_encoder, corpus, reporter, append)?;
    Ok(Mined { rows, summary, lines })
}

/// [`mine_hard_negatives`] that hands the rows to `write` in pieces, all of the same columns, and gives the numbers
/// and the lines of the printed text.
///
/// # Errors
/// As [`mine_hard_negatives`], and those of `write`.
pub fn mine_hard_negatives_to<E: From<Error>>(
    rows: &Rows,
    encoder: &dyn TextEncoder,
    options: &MiningOptions,
    cross_encoder: Option<&dyn PairScorer>,
    corpus: Option<&[String]>,
    reporter: &dyn Reporter,
    mut write: impl FnMut(Rows) -> Result<(), E>,
) -> Result<(Summary, Vec<String>), E> {
    let mut log = Log { lines: Vec::new(), reporter, verbose: options.verbose };
    settings::check(options)?;
    let pairs = Pairs::new(rows, corpus, options, reporter)?;
    let settings =
        settings::resolve(options, pairs.max_positives, cross_encoder.is_some(), &mut log)?;
    let filtered = settings.absolute_margin.is_some()
        || settings.relative_margin.is_some()
        || settings.max_score.is_some()
        || settings.min_score.is_some();
    let rescorer = cross_encoder.filter(|_| filtered);
    if cross_encoder.is_some() && rescorer.is_none() {
        reporter.warning(
            "the cross-encoder is not used: it scores candidates for absolute_margin, relative_margin, max_score \
             and min_score, and none of them is set",
        );
    }
    if pairs.queries.len() != pairs.rows {
        log.say(format!(
            "Found {} unique queries out of {} total queries.",
            pairs.queries.len(),
            pairs.rows
        ));
    }
    if pairs.max_positives > 1 {
        log.say(format!(
            "Found an average of {:.3} positives per query.",
            report::average_positives(&pairs)
        ));
    }
    let embeddings = embed(&pairs, encoder, options, &mut log)?;
    let (found, dropped) =
        search::search(&pairs, &embeddings, encoder, rescorer, &settings, reporter)?;
    drop(embeddings);
    log.say("Negative candidates mined, preparing dataset...".to_owned());
    let mut written = 0;
    for start in (0..found.len()).step_by(PIECE) {
        let piece = rows::emit(&pairs, start..(start + PIECE).min(found.len()), &found, &settings)?;
        written += piece.len();
        write(piece)?;
    }
    let scores = rows::scores(&pairs, &found, &settings);
    let summary = report::summarize(&pairs, &scores, written, &dropped, &settings);
    report::print(&summary, &settings, &mut log);
    Ok((summary, log.lines))
}

/// Embeds the corpus and the queries, or takes them from the cache.
fn embed(
    pairs: &Pairs<'_>,
    encoder: &dyn TextEncoder,
    options: &MiningOptions,
    log: &mut Log<'_>,
) -> Result<Embeddings, Error> {
    let folder = options.cache_folder.as_deref();
    let fingerprint = match folder {
        Some(folder) => {
            let failed = |source| Error::Io { path: folder.to_owned(), source };
            std::fs::create_dir_all(folder).map_err(failed)?;
            Some(encoder.fingerprint(folder)?)
        }
        None => None,
    };
    let mut side = |queries: bool, texts: &[&str]| -> Result<Buffer, Error> {
        let (what, prompt, prompt_name) = if queries {
            ("query", &options.query_prompt, &options.query_prompt_name)
        } else {
            ("corpus", &options.corpus_prompt, &options.corpus_prompt_name)
        };
        let options = EncodeOptions {
            batch_size: options.batch_size,
            prompt: prompt.clone(),
            prompt_name: prompt_name.clone(),
            normalize_embeddings: true,
            ..EncodeOptions::default()
        };
        let entry = folder.zip(fingerprint.as_deref()).map(|(folder, fingerprint)| {
            let prompt = (prompt.as_deref(), prompt_name.as_deref());
            Entry::new(folder, what, fingerprint, prompt, texts)
        });
        let kept = entry.as_ref().map_or(Ok(None), |entry| entry.load(log))?;
        let Outputs { rows, columns, values } = match kept {
            Some(outputs) => outputs,
            None => {
                let outputs = if queries {
                    encoder.encode_queries(texts, &options, log.reporter)?
                } else {
                    encoder.encode_documents(texts, &options, log.reporter)?
                };
                if let Some(entry) = &entry {
                    entry.save(&outputs, log)?;
                }
                outputs
            }
        };
        Ok(Buffer::from_vec(encoder.device(), rows, columns, values))
    };
    let corpus = side(false, &pairs.corpus)?;
    Ok(Embeddings { queries: side(true, &pairs.queries)?, corpus })
}
