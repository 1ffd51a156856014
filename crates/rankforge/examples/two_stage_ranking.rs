//! The cascade: a dual encoder retrieves passages from a collection, a reranker orders the best
//! few.
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

/// Passages that the first stage hands to the second.
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

/// Retrieves and reranks; the passages come with the reranker's scores, best first.
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
    // Embeds the collection; then any number of queries can be searched.
    let retriever = Retriever::new(&encoder, &texts, &options)?;
    let candidates = retriever.search(&[query], CANDIDATES, &options)?.swap_remove(0);
    let candidates: Vec<&str> =
        candidates.iter().map(|neighbour| texts[neighbour.index as usize]).collect();

    let ranking = CrossEncoder::open(reranker)?.rank(query, &candidates)?;
    let with_text = |ranked: rankforge::encoder::Ranked| {
        (ranked.score, candidates[ranked.corpus_id].to_owned())
    };
    Ok(ranking.into_iter().map(with_text).collect())
}
