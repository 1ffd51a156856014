//! The cascade on the held-out passages: an index, a hybrid search, and the reranker.

use crate::inference::printable;
use crate::table::{Table, shortened};
use rankforge::encoder::{
    CrossEncoder, DualEncoder, EncodeOptions, LoadOptions, PredictOptions, TextModel,
};
use rankforge_index::bm25::Language;
use rankforge_index::fusion::{RRF_K, reciprocal_rank_fusion};
use rankforge_index::{
    BuildOptions, CorpusSource, Embedder, Index, IndexError, ModelEntry, build_index, rerank,
};
use serde_json::json;
use std::path::Path;

/// Maximum number of characters of a passage in the table.
const SHOWN: usize = 72;
/// Number of passages that are shown.
const TOP_K: usize = 3;

/// Builds an index of the corpus of a BEIR folder: the vectors of `encoder`, which was saved to
/// `saved`, and the words.
///
/// # Errors
/// If the index cannot be written.
pub(crate) fn index(
    path: &Path,
    corpus: &Path,
    encoder: &DualEncoder,
    saved: &Path,
    options: &LoadOptions,
) -> Result<Index, IndexError> {
    let model = ModelEntry {
        path: saved.canonicalize().unwrap_or_else(|_| saved.to_owned()),
        max_length: None,
        precision: options.precision.to_string(),
    };
    let embedder = Embedder { encoder, model, options: EncodeOptions::default() };
    let workers = encoder.model().device().workers().clone();
    let build = BuildOptions {
        bm25: Some(Language::default()),
        reporter: options.reporter.clone(),
        ..BuildOptions::new(workers)
    };
    build_index(path, &CorpusSource::new(corpus), Some(&embedder), &build)?;
    Index::open(path)
}

/// A question and the passages that the cascade ranks highest.
pub(crate) struct Sample<'a> {
    question: &'a str,
    /// The passages that answer it.
    positive: &'a [String],
    found: Vec<(f32, String)>,
}

impl<'a> Sample<'a> {
    /// Finds `depth` passages by vectors and by words, fuses the two rankings, and reranks.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub(crate) fn search(
        (question, positive): (&'a str, &'a [String]),
        index: &Index,
        encoder: &DualEncoder,
        reranker: &CrossEncoder,
        depth: usize,
    ) -> Result<Sample<'a>, IndexError> {
        let workers = encoder.model().device().workers();
        let dense = index.search_dense(encoder, &[question], depth, &EncodeOptions::default())?;
        let words = index.search_bm25(&[question], depth, workers)?;
        let fused = reciprocal_rank_fusion(&[&dense[0], &words[0]], RRF_K, depth);
        let ranked = rerank(index, reranker, &[question], &[fused], &PredictOptions::default())?;
        let best = ranked[0].iter().take(TOP_K);
        let found = best.map(|row| Ok((row.score, index.row(row.index as usize)?.text)));
        Ok(Sample { question, positive, found: found.collect::<Result<_, IndexError>>()? })
    }

    fn answers(&self, text: &str) -> bool {
        self.positive.iter().any(|positive| positive == text)
    }

    /// The ranking for people.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new(&["rank", "score", "answers", "passage"]);
        for (rank, (score, text)) in self.found.iter().enumerate() {
            table.row([
                (rank + 1).to_string(),
                format!("{score:.4}"),
                if self.answers(text) { "yes" } else { "no" }.to_owned(),
                shortened(text, SHOWN),
            ]);
        }
        format!("{}\n{table}", self.question)
    }

    /// The ranking for programs.
    pub(crate) fn json(&self) -> serde_json::Value {
        let passages: Vec<_> = self
            .found
            .iter()
            .map(|(score, text)| {
                let (score, answers) = (printable(*score), self.answers(text));
                json!({ "score": score, "answers": answers, "text": text })
            })
            .collect();
        json!({ "question": self.question, "passages": passages })
    }
}
