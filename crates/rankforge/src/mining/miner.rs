use crate::error::Error;
use crate::mining::cache::Entry;
use crate::mining::log::Log;
use crate::mining::options::MiningOptions;
use crate::mining::outcome::{Mined, Summary};
use crate::mining::pairs::Pairs;
use crate::mining::search::{self, Embedded, Rescorer};
use crate::mining::settings::{self, Settings};
use crate::mining::{report, rows};
use crate::retrieval::{Retriever, to_device};
use rankforge_base::{FileError, Reporter, silent};
use rankforge_data::Rows;
use rankforge_encoder::{Embed, EncodeOptions, Score, Side};
use rankforge_kernels::Buffer;
use std::sync::Arc;

/// Anchors whose rows are written at a time.
const PIECE: usize = 1024;

/// What mining hands over.
pub(super) enum Piece {
    /// First of all: rows that are not mined, but have the columns and types of those that are.
    Example(Rows),
    /// Mined rows.
    Rows(Rows),
}

/// Adds hard negatives to a table of (anchor, positive) pairs: [`HardNegativeMiner::mine`] with
/// nothing but a dual encoder and options.
///
/// # Errors
/// As [`HardNegativeMiner::mine`].
pub fn mine_hard_negatives(
    pairs: &Rows,
    encoder: &dyn Embed,
    options: &MiningOptions,
) -> Result<Mined, Error> {
    let options = options.clone();
    HardNegativeMiner { options, ..HardNegativeMiner::new(encoder) }.mine(pairs)
}

/// Mines hard negatives: for each anchor, the texts nearest to it that are not its positives.
///
/// Memory holds the pairs, the embeddings, the negatives of each anchor, and the candidates of
/// `faiss_batch_size` anchors; never a score for each anchor and text.
#[derive(Clone)]
pub struct HardNegativeMiner<'a> {
    /// Finds the candidates.
    pub encoder: &'a dyn Embed,
    /// Scores the candidates again, where a margin or a score bound is set.
    pub cross_encoder: Option<&'a dyn Score>,
    /// Texts that can become negatives besides the positives.
    pub corpus: Option<&'a [String]>,
    /// The parameters of sentence-transformers' `mine_hard_negatives`.
    pub options: MiningOptions,
    /// Receives progress, warnings and the printed text.
    pub reporter: Arc<dyn Reporter>,
}

impl<'a> HardNegativeMiner<'a> {
    /// A miner with the default options.
    pub fn new(encoder: &'a dyn Embed) -> HardNegativeMiner<'a> {
        HardNegativeMiner {
            encoder,
            cross_encoder: None,
            corpus: None,
            options: MiningOptions::default(),
            reporter: silent(),
        }
    }

    /// Adds hard negatives to a table of (anchor, positive) pairs; several rows of one anchor are
    /// several positives of it. The printed text of sentence-transformers goes to the reporter and
    /// comes back in [`Mined`].
    ///
    /// # Errors
    /// An empty table, fewer than two columns, cells that are not texts, options that cannot be
    /// met, or texts that the models cannot read.
    pub fn mine(&self, pairs: &Rows) -> Result<Mined, Error> {
        let mut rows = Rows::default();
        let append = |piece| Ok::<(), Error>(rows.append(piece)?);
        let (summary, lines) = self.mine_to(pairs, append)?;
        Ok(Mined { rows, summary, lines })
    }

    /// [`HardNegativeMiner::mine`] that passes the rows to `write` in pieces, all of the same
    /// columns, and returns the figures and the lines of the printed text.
    ///
    /// # Errors
    /// As [`HardNegativeMiner::mine`], and those of `write`.
    pub fn mine_to<E: From<Error>>(
        &self,
        rows: &Rows,
        mut write: impl FnMut(Rows) -> Result<(), E>,
    ) -> Result<(Summary, Vec<String>), E> {
        self.mine_pieces(rows, |piece| match piece {
            Piece::Example(_) => Ok(()),
            Piece::Rows(rows) => write(rows),
        })
    }

    /// [`HardNegativeMiner::mine_to`] that passes an example of the rows before the first piece.
    pub(super) fn mine_pieces<E: From<Error>>(
        &self,
        rows: &Rows,
        mut write: impl FnMut(Piece) -> Result<(), E>,
    ) -> Result<(Summary, Vec<String>), E> {
        let HardNegativeMiner { options, reporter, .. } = self;
        let mut log = Log { lines: Vec::new(), reporter: &**reporter, verbose: options.verbose };
        options.validate()?;
        let pairs = Pairs::new(rows, self.corpus, options, &**reporter)?;
        let rescored = self.cross_encoder.is_some();
        let settings = settings::resolve(options, pairs.max_positives, rescored, &mut log)?;
        let rescorer = self.rescorer(&settings);
        describe(&pairs, &mut log);
        let embedded = self.embed(&pairs, &mut log)?;
        let (found, dropped) =
            search::search(&pairs, &embedded, rescorer.as_ref(), &settings, &**reporter)?;
        drop(embedded);
        log.say("Negative candidates mined, preparing dataset...".to_owned());
        write(Piece::Example(rows::example(&pairs, &settings)?))?;
        let mut written = 0;
        for start in (0..found.len()).step_by(PIECE) {
            let queries = start..(start + PIECE).min(found.len());
            let piece = rows::emit(&pairs, queries, &found, &settings)?;
            written += piece.len();
            write(Piece::Rows(piece))?;
        }
        let scores = rows::scores(&pairs, &found, &settings);
        let summary = report::summarize(&pairs, &scores, written, &dropped, &settings);
        report::print(&summary, &settings, &mut log);
        Ok((summary, log.lines))
    }

    /// The cross-encoder, where a filter needs its scores.
    fn rescorer(&self, settings: &Settings) -> Option<Rescorer<'_>> {
        let filtered = settings.absolute_margin.is_some()
            || settings.relative_margin.is_some()
            || settings.max_score.is_some()
            || settings.min_score.is_some();
        if self.cross_encoder.is_some() && !filtered {
            self.reporter.warning(
                "the cross-encoder is not used: it scores candidates for absolute_margin, \
                 relative_margin, max_score and min_score, and none of them is set",
            );
        }
        let (batch_size, reporter) = (settings.batch_size, &self.reporter);
        let rescorer = |model| Rescorer { model, batch_size, reporter };
        self.cross_encoder.filter(|_| filtered).map(rescorer)
    }

    /// Embeds the corpus and the queries, or reads them from the cache.
    fn embed(&self, pairs: &Pairs<'_>, log: &mut Log<'_>) -> Result<Embedded<'a>, Error> {
        let folder = self.options.cache_folder.as_deref();
        let fingerprint = match folder {
            Some(folder) => {
                std::fs::create_dir_all(folder).map_err(FileError::io(folder))?;
                Some(self.encoder.fingerprint()?)
            }
            None => None,
        };
        let mut embed = |side, what, texts: &[&str], prompts: [&Option<String>; 2]| {
            let [prompt, prompt_name] = prompts;
            let entry = folder.zip(fingerprint.as_deref()).map(|(folder, fingerprint)| {
                let prompt = (prompt.as_deref(), prompt_name.as_deref());
                Entry::new(folder, what, fingerprint, prompt, texts)
            });
            let cached = entry.as_ref().map_or(Ok(None), |entry| entry.load(log))?;
            let outputs = match cached {
                Some(outputs) => outputs,
                None => {
                    let options = EncodeOptions {
                        batch_size: self.options.batch_size,
                        prompt: prompt.clone(),
                        prompt_name: prompt_name.clone(),
                        normalize_embeddings: true,
                        reporter: self.reporter.clone(),
                        ..EncodeOptions::default()
                    };
                    let outputs = self.encoder.embed(side, texts, &options)?;
                    if let Some(entry) = &entry {
                        entry.save(&outputs, log)?;
                    }
                    outputs
                }
            };
            Ok::<Buffer, Error>(to_device(self.encoder.device(), outputs))
        };
        let options = &self.options;
        let prompts = [&options.corpus_prompt, &options.corpus_prompt_name];
        let corpus = embed(Side::Document, "corpus", &pairs.corpus, prompts)?;
        let prompts = [&options.query_prompt, &options.query_prompt_name];
        let queries = embed(Side::Query, "query", &pairs.queries, prompts)?;
        Ok(Embedded { queries, corpus: Retriever::over(self.encoder, corpus) })
    }
}

/// Tells how many distinct queries and positives there are.
fn describe(pairs: &Pairs<'_>, log: &mut Log<'_>) {
    if pairs.queries.len() != pairs.rows {
        log.say(format!(
            "Found {} unique queries out of {} total queries.",
            pairs.queries.len(),
            pairs.rows
        ));
    }
    if pairs.max_positives > 1 {
        let average = report::average_positives(pairs);
        log.say(format!("Found an average of {average:.3} positives per query."));
    }
}
