//! What a search by products of bytes could get wrong.

use crate::support::random;
use crate::top_k::{check_products, run};
use rankforge_kernels::ops::{Neighbour, Similarity, pairwise_similarity};
use rankforge_kernels::{Buffer, Device, Isa};

#[test]
fn rows_nearer_to_each_other_than_a_byte_resolves_are_ranked() {
    let (dim, count, rows) = (48, 70, 4000);
    let centre = random(15, dim);
    let around = |seed, count: usize| -> Vec<f32> {
        let noise = random(seed, count * dim);
        noise
            .iter()
            .zip(centre.iter().cycle())
            .map(|(noise, centre)| centre + 0.03 * noise)
            .collect()
    };
    let (queries, corpus) = (around(16, count), around(17, rows));
    check_products(dim, &queries, &corpus, 10);
}

#[test]
fn queries_and_rows_of_any_norm_are_ranked() {
    let (dim, count, rows) = (24, 66, 1500);
    let scaled = |seed, count: usize| {
        let mut values = random(seed, count * dim);
        for (row, values) in values.chunks_exact_mut(dim).enumerate() {
            values.iter_mut().for_each(|value| *value *= 0.5f32.powi(row as i32 % 41));
        }
        values
    };
    let (mut queries, mut corpus) = (scaled(18, count), scaled(19, rows));
    corpus[5 * dim..6 * dim].fill(0.0);
    queries[..dim].fill(0.0);
    queries[dim..2 * dim].iter_mut().for_each(|value| *value *= 1e-30);
    check_products(dim, &queries, &corpus, 9);
}

#[test]
fn proposed_rows_are_the_same_on_all_instruction_sets_and_have_the_scores_of_pairs() {
    let (dim, count, rows) = (77, 70, 3000);
    let (queries, corpus) = (random(25, count * dim), random(26, rows * dim));
    for kind in [Similarity::Cosine, Similarity::Dot] {
        let mut expected: Option<Vec<Vec<Neighbour>>> = None;
        for isa in Isa::available().into_iter().filter(|&isa| isa != Isa::Scalar) {
            let device = Device::cpu_with(isa, 2).expect("the machine has it");
            let found = run(&device, kind, dim, &queries, &corpus, 4);
            for (query, found) in queries.chunks_exact(dim).zip(&found) {
                let rows = found.iter().flat_map(|row| &corpus[row.index as usize * dim..][..dim]);
                let rows: Vec<f32> = rows.copied().collect();
                let x = Buffer::upload(&device, 4, dim, &query.repeat(4));
                let y = Buffer::upload(&device, 4, dim, &rows);
                let scores: Vec<f32> = found.iter().map(|row| row.score).collect();
                assert_eq!(pairwise_similarity(kind, x.view(), y.view()), scores, "{kind:?} {isa}");
            }
            assert_eq!(&found, expected.get_or_insert_with(|| found.clone()), "{kind:?} {isa}");
        }
    }
}

#[test]
fn rows_whose_elements_are_all_as_large_as_can_be_are_ranked() {
    // Bytes at the ends of their range, of one sign or of both, in all elements or in few.
    let (count, rows) = (67, 900);
    for dim in [4, 31, 32, 100, 256] {
        let extremes = |seed, count: usize| {
            let mut values = random(seed, count * dim);
            for (row, values) in values.chunks_exact_mut(dim).enumerate() {
                for (place, value) in values.iter_mut().enumerate() {
                    *value = match row % 5 {
                        0 => value.signum(),
                        1 => 1.0,
                        2 => -1.0,
                        3 if place % 4 < 2 => 1.0,
                        3 => 0.01 * *value,
                        _ if place == row % dim => 1.0,
                        _ => 0.001 * *value,
                    };
                }
            }
            values
        };
        let (queries, corpus) = (extremes(29, count), extremes(30, rows));
        check_products(dim, &queries, &corpus, 6);
    }
}
