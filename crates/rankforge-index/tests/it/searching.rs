//! Searches in stored vectors against searches in memory, and reranking.

use crate::support::{TestDir, embedder, model, model_of, text};
use rankforge_encoder::{Embed, EncodeOptions, EncoderError, PredictOptions, Score, Side};
use rankforge_index::{BuildOptions, IndexError, Store, build_index, rerank};
use rankforge_kernels::Buffer;
use rankforge_kernels::ops::{Corpus, Neighbour};

#[test]
fn a_search_finds_what_a_search_in_the_stored_vectors_in_memory_finds() {
    let (dir, model) = (TestDir::new(), model());
    let corpus = dir.corpus("c.jsonl", 0, 300);
    let queries: Vec<String> = (0..40).map(|query| text(query * 31 + 5)).collect();
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    let options = EncodeOptions::default();
    let texts: Vec<String> = (0..300).map(text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let exact = model.embed(Side::Document, &texts, &options).unwrap();
    for store in [Store::Float32, Store::Float16, Store::Int8] {
        let path = dir.path(&store.to_string());
        let build = BuildOptions { store, block_rows: 64, ..dir.options() };
        build_index(&path, &corpus, Some(&embedder(&model)), &build).unwrap();
        let index = dir.open(&store.to_string());
        let mut stored = vec![0.0; exact.values.len()];
        index.read_vectors(0, &mut stored).unwrap();
        let tolerance = match store {
            Store::Float32 => 0.0,
            Store::Float16 => 1e-3,
            Store::Int8 => 1.5e-2,
        };
        for (stored, exact) in stored.chunks(20).zip(exact.values.chunks(20)) {
            let norm = exact.iter().map(|value| value * value).sum::<f32>().sqrt();
            // Of bytes there are those of the vector of norm 1.
            let scale = if store == Store::Int8 { norm } else { 1.0 };
            for (stored, exact) in stored.iter().zip(exact) {
                let difference = (stored * scale - exact).abs();
                assert!(difference <= tolerance * norm, "{store}: {stored} {exact}");
            }
        }
        let device = model.device();
        let rows = Buffer::upload(device, 300, 20, &stored);
        let embedded = model.embed(Side::Query, &queries, &options).unwrap();
        let embedded = Buffer::upload(device, queries.len(), 20, &embedded.values);
        let in_memory = Corpus::prepare(model.similarity(), rows);
        for count in [1, 3, queries.len()] {
            let found = index.search_dense(&model, &queries[..count], 10, &options).unwrap();
            let expected = in_memory.top_k(embedded.view().slice_rows(0..count), 10, &|_| ());
            assert_eq!(found, expected, "{store} {count}");
        }
    }
}

#[test]
fn a_search_needs_what_the_index_was_built_with() {
    let (dir, model, other) = (TestDir::new(), model(), model_of(12));
    let corpus = dir.corpus("c.jsonl", 0, 10);
    build_index(&dir.path("words"), &corpus, None, &dir.options()).unwrap();
    let options = BuildOptions { bm25: None, ..dir.options() };
    build_index(&dir.path("dense"), &corpus, Some(&embedder(&model)), &options).unwrap();
    let (words, dense) = (dir.open("words"), dir.open("dense"));
    let encode = EncodeOptions::default();
    let error = words.search_dense(&model, &["owl"], 3, &encode).unwrap_err();
    assert!(error.to_string().ends_with("the index has no vectors"), "{error}");
    let error = dense.search_bm25(&["owl"], 3, &dir.workers).unwrap_err();
    assert!(error.to_string().ends_with("the index has no BM25"), "{error}");
    let error = dense.search_dense(&other, &["owl"], 3, &encode).unwrap_err().to_string();
    assert!(error.contains("expected embeddings of 20 dimensions, got 12"), "{error}");
    dense.check_model(&model).unwrap();
    let error = dense.check_model(&other).unwrap_err();
    assert!(matches!(error, IndexError::OtherModel { .. }), "{error}");
}

/// Scores a pair by how often the second text has the first.
struct Count;

impl Score for Count {
    fn score(
        &self,
        pairs: &[(&str, &str)],
        _options: &PredictOptions,
    ) -> Result<Vec<f32>, EncoderError> {
        Ok(pairs.iter().map(|(query, text)| text.matches(query).count() as f32).collect())
    }
}

#[test]
fn reranking_orders_by_scores_and_keeps_the_order_of_equals() {
    let dir = TestDir::new();
    let rows: Vec<String> = ["b a", "a a", "c", "a c a a", "b"]
        .iter()
        .enumerate()
        .map(|(id, text)| format!("{{\"id\": {id}, \"text\": \"{text}\"}}\n"))
        .collect();
    build_index(&dir.path("i"), &dir.write("c.jsonl", &rows.concat()), None, &dir.options())
        .unwrap();
    let ranking = |rows: &[u32]| -> Vec<Neighbour> {
        rows.iter().map(|&index| Neighbour { index, score: 0.5 }).collect()
    };
    let rankings = [ranking(&[4, 2, 0, 1, 3]), ranking(&[]), ranking(&[3, 4, 2])];
    let options = PredictOptions::default();
    let found = rerank(&dir.open("i"), &Count, &["a", "b", "c"], &rankings, &options).unwrap();
    let rows: Vec<Vec<(u32, f32)>> = found
        .iter()
        .map(|ranking| ranking.iter().map(|row| (row.index, row.score)).collect())
        .collect();
    assert_eq!(rows[0], [(3, 3.0), (1, 2.0), (0, 1.0), (4, 0.0), (2, 0.0)]);
    assert_eq!(rows[1], []);
    assert_eq!(rows[2], [(3, 1.0), (2, 1.0), (4, 0.0)]);
}
