//! Functions of embeddings: golden values of sentence-transformers 6.2.0, and borders.

use crate::support::message;
use rankforge::Device;
use rankforge::encoder::Outputs;
use rankforge::encoder::kernels::ops::Similarity;
use rankforge::util::{
    CommunityOptions, EmbeddingPrecision, ParaphraseOptions, QuantizationRanges, QuantizedValues,
    SemanticSearchOptions, community_detection, paraphrase_mining, quantize_embeddings,
    semantic_search,
};

/// Anchors.
const A: [[f32; 3]; 3] = [[1.0, 0.0, 0.5], [0.2, 1.0, 0.0], [0.3, -0.4, 1.0]];
/// Positives.
const P: [[f32; 3]; 3] = [[0.9, 0.1, 0.4], [0.1, 0.8, 0.3], [0.5, -0.2, 0.7]];

fn matrix(rows: &[[f32; 3]]) -> Outputs {
    Outputs { rows: rows.len(), columns: 3, values: rows.concat() }
}

fn both() -> Outputs {
    matrix(&[A, P].concat())
}

fn device() -> Device {
    Device::cpu(Some(2)).unwrap()
}

#[test]
fn quantised_embeddings_are_the_golden_ones() {
    let quantised = |precision| quantize_embeddings(matrix(&A), precision, None).unwrap();
    let int8 = vec![127, -56, -1, -128, 127, -128, -97, -128, 126];
    assert_eq!(quantised(EmbeddingPrecision::Int8).values, QuantizedValues::Int8(int8));
    let uint8 = vec![255, 72, 127, 0, 255, 0, 31, 0, 254];
    assert_eq!(quantised(EmbeddingPrecision::Uint8).values, QuantizedValues::Uint8(uint8));
    let binary = quantised(EmbeddingPrecision::Binary);
    assert_eq!((binary.rows, binary.columns), (3, 1));
    assert_eq!(binary.values, QuantizedValues::Int8(vec![32, 64, 32]));
    let ubinary = quantised(EmbeddingPrecision::Ubinary).values;
    assert_eq!(ubinary, QuantizedValues::Uint8(vec![160, 192, 160]));
    let same = quantised(EmbeddingPrecision::Float32).values;
    assert_eq!(same, QuantizedValues::Float32(matrix(&A).values));
}

#[test]
fn ranges_bound_the_steps_and_a_point_has_steps_of_one() {
    let ranges = QuantizationRanges { minimum: vec![0.0, 0.0, 2.0], maximum: vec![1.0, 0.5, 2.0] };
    let rows = matrix(&[[-3.0, 0.25, 2.0], [7.0, 0.5, 3.5]]);
    let found = quantize_embeddings(rows, EmbeddingPrecision::Uint8, Some(&ranges)).unwrap();
    // In f32, 0.5 is 254.99998 steps of 0.5 / 255 from 0, in NumPy too.
    assert_eq!(found.values, QuantizedValues::Uint8(vec![0, 127, 0, 255, 254, 1]));
    assert_eq!(QuantizationRanges::of(&matrix(&A)).unwrap().minimum, [0.2, -0.4, 0.0]);

    let one = matrix(&A[..1]);
    let quantise = |rows: &Outputs, ranges| {
        quantize_embeddings(rows.clone(), EmbeddingPrecision::Int8, ranges)
    };
    assert!(message(quantise(&one, None)).contains("at least two embeddings"));
    quantise(&one, Some(&ranges)).unwrap();
    let narrow = QuantizationRanges { minimum: vec![0.0], maximum: vec![1.0] };
    assert!(message(quantise(&one, Some(&narrow))).contains("expected 3 minima"));
    let none = Outputs { rows: 0, columns: 9, values: Vec::new() };
    assert_eq!(quantise(&none, None).unwrap().values, QuantizedValues::Int8(Vec::new()));
    let bits = quantize_embeddings(none, EmbeddingPrecision::Binary, None).unwrap();
    assert_eq!(bits.columns, 2);
    let unknown = message("int4".parse::<EmbeddingPrecision>());
    assert!(unknown.contains("`ubinary`") && unknown.contains("did you mean int8?"), "{unknown}");
}

#[test]
fn semantic_search_has_the_golden_values() {
    let expected = [
        [(0, 0.993859), (2, 0.860828)],
        [(1, 0.934720), (0, 0.277350)],
        [(2, 0.941848), (0, 0.569210)],
    ];
    for corpus_chunk_size in [1, 2, 500_000] {
        let options = SemanticSearchOptions { top_k: 2, corpus_chunk_size, ..Default::default() };
        let hits = semantic_search(&device(), &matrix(&A), &matrix(&P), &options).unwrap();
        for (hits, expected) in hits.iter().zip(expected) {
            assert_eq!(hits.len(), 2);
            for (hit, (index, score)) in hits.iter().zip(expected) {
                assert_eq!(hit.index, index);
                assert!((hit.score - score).abs() < 1e-6, "{hit:?}");
            }
        }
    }
}

#[test]
fn semantic_search_keeps_the_order_of_ties_and_refuses_what_does_not_fit() {
    let corpus = matrix(&[A[0]; 5]);
    let search = |queries: &Outputs, top_k, corpus_chunk_size| {
        let score_function = Similarity::Dot;
        let options = SemanticSearchOptions {
            top_k,
            corpus_chunk_size,
            score_function,
            ..Default::default()
        };
        semantic_search(&device(), queries, &corpus, &options)
    };
    let hits = search(&matrix(&A[..1]), 4, 2).unwrap();
    assert_eq!(hits[0].iter().map(|hit| hit.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(search(&matrix(&[]), 4, 2).unwrap(), Vec::<Vec<_>>::new());
    assert!(message(search(&matrix(&A), 0, 2)).starts_with("top_k"));
    assert!(message(search(&matrix(&A), 1, 0)).starts_with("corpus_chunk_size"));
    let flat = Outputs { rows: 1, columns: 2, values: vec![1.0, 2.0] };
    assert!(message(search(&flat, 1, 1)).contains("queries of 3 dimensions"));
}

#[test]
fn paraphrases_have_the_golden_values() {
    for query_chunk_size in [1, 4, 5_000] {
        let options = ParaphraseOptions { top_k: 1, query_chunk_size, ..Default::default() };
        let pairs = paraphrase_mining(&device(), &both(), &options).unwrap();
        let expected = [(0.993859, 0, 3), (0.941848, 2, 5), (0.934720, 1, 4)];
        assert_eq!(pairs.len(), 3);
        for (pair, (score, first, second)) in pairs.iter().zip(expected) {
            assert_eq!((pair.first, pair.second), (first, second));
            assert!((pair.score - score).abs() < 1e-6, "{pair:?}");
        }
    }
    let options = ParaphraseOptions { max_pairs: 2, ..Default::default() };
    let pairs = paraphrase_mining(&device(), &both(), &options).unwrap();
    assert_eq!(pairs.iter().map(|pair| pair.first).collect::<Vec<_>>(), [0, 2]);
    let options = ParaphraseOptions { top_k: 0, ..Default::default() };
    assert!(message(paraphrase_mining(&device(), &both(), &options)).starts_with("top_k"));
    let none = paraphrase_mining(&device(), &matrix(&[]), &ParaphraseOptions::default());
    assert!(none.unwrap().is_empty());
}

#[test]
fn many_paraphrases_are_reduced_to_the_best() {
    // Every row is near every other, so that the pairs exceed what is kept at a time.
    let rows = 600;
    let values = (0..rows).flat_map(|row| [1.0, row as f32 / 1e3]).collect();
    let embeddings = Outputs { rows, columns: 2, values };
    let mine = |max_pairs, query_chunk_size| {
        let options =
            ParaphraseOptions { max_pairs, query_chunk_size, top_k: 599, ..Default::default() };
        paraphrase_mining(&device(), &embeddings, &options).unwrap()
    };
    let all = mine(usize::MAX, 5_000);
    assert_eq!(all.len(), rows * (rows - 1) / 2);
    assert!(all.is_sorted_by(|a, b| a.score >= b.score));
    assert_eq!(mine(1_000, 10), all[..1_000]);
}

#[test]
fn communities_are_the_golden_ones() {
    let detect = |threshold, min_community_size, batch_size| {
        let options =
            CommunityOptions { threshold, min_community_size, batch_size, ..Default::default() };
        community_detection(&device(), &both(), &options)
    };
    for batch_size in [1, 4, 1_024] {
        let found = detect(0.8, 2, batch_size).unwrap();
        assert_eq!(found, [vec![5, 2, 0, 3], vec![1, 4]]);
    }
    assert_eq!(detect(0.8, 5, 10).unwrap(), Vec::<Vec<u32>>::new());
    assert_eq!(detect(0.8, 7, 10).unwrap(), Vec::<Vec<u32>>::new());
    assert_eq!(detect(-1.0, 2, 10).unwrap().concat().len(), 6);
    assert!(message(detect(0.8, 0, 10)).starts_with("min_community_size"));
    assert!(message(detect(f32::NAN, 2, 10)).starts_with("threshold"));
}

#[test]
fn a_large_community_is_found_whole() {
    // More members than the first search looks for.
    let values = (0..300).flat_map(|row| [1.0, (row % 150) as f32 / 1e4, 0.0]);
    let outlier = [0.0, 0.0, 1.0];
    let values: Vec<f32> = values.chain(outlier).collect();
    let embeddings = Outputs { rows: 301, columns: 3, values };
    let options = CommunityOptions::default();
    let found = community_detection(&device(), &embeddings, &options).unwrap();
    assert_eq!(found.len(), 1);
    let mut members = found[0].clone();
    members.sort_unstable();
    assert_eq!(members, (0..300).collect::<Vec<u32>>());
}
