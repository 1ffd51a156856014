//! Two-stage ranking: a dual encoder retrieves passages from a collection, and a reranker reorders
//! the best ones.
//!
//! ```sh
//! cargo run --release --example two_stage_ranking -- DUAL_ENCODER RERANKER PASSAGES.jsonl QUERY
//! ```
//!
//! The passages are the column `text`, or else the first column, of a data set.

use rankforge::Error;
use rankforge::data::load_texts;
use rankforge::encoder::{CrossEncoder, DualEncoder, EncodeOptions};
use rankforge::retrieval::Retriever;
use std::path::Path;

/// Number of passages that the first stage passes to the second.
const CANDIDATES: usize = 30;

#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a program prints")]
fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dual_encoder, reranker, passages, query] = &arguments[..] else {
        panic!("expected DUAL_ENCODER RERANKER PASSAGES.jsonl QUERY, got {arguments:?}");
    };
    let found = run(Path::new(dual_encoder), Path::new(reranker), Path::new(passages), query)?;
    for (score, passage) in found.iter().take(5) {
        println!("{score:.4}  {passage}");
    }
    Ok(())
}

/// Retrieves and reranks. Returns the reranker's scores and the passages, best first.
pub fn run(
    dual_encoder: &Path,
    reranker: &Path,
    passages: &Path,
    query: &str,
) -> Result<Vec<(f32, String)>, Error> {
    let passages = load_texts(passages, None)?;
    let texts: Vec<&str> = passages.iter().map(String::as_str).collect();

    let encoder = DualEncoder::open(dual_encoder)?;
    let options = EncodeOptions::default();
    // Embeds the collection once. Any number of queries can be searched afterwards.
    let retriever = Retriever::new(&encoder, &texts, &options)?;
    let candidates = retriever.search(&[query], CANDIDATES, &options)?.swap_remove(0);
    let candidates: Vec<&str> =
        candidates.iter().map(|found| texts[found.index as usize]).collect();

    let ranking = CrossEncoder::open(reranker)?.rank(query, &candidates)?;
    let with_text = |ranked: rankforge::encoder::Ranked| {
        (ranked.score, candidates[ranked.corpus_id].to_owned())
    };
    Ok(ranking.into_iter().map(with_text).collect())
}
