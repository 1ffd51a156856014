//! Gather and its gradient against loops over the tokens.

use crate::support::{AWKWARD, assert_same_bits_for_any_threads, devices, random};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rankforge_kernels::ops::{gather, gather_backward};
use rankforge_kernels::{Buffer, Device, Indices};

fn random_ids(seed: u64, count: usize, below: u32) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(0..below)).collect()
}

fn gradient(device: &Device, ids: &[u32], rows: usize, columns: usize, d_out: &[f32]) -> Vec<f32> {
    let d_out = Buffer::upload(device, ids.len(), columns, d_out);
    let mut d_table = Buffer::zeros(device, rows, columns);
    d_table.view_mut().fill(0.5);
    gather_backward(d_out.view(), &Indices::new(device, ids), d_table.view_mut());
    d_table.view().to_vec()
}

#[test]
fn gather_copies_or_adds_rows() {
    for columns in [1, 7, 16, 33] {
        let table = random(1, 50 * columns);
        for tokens in AWKWARD {
            let ids = random_ids(2, tokens, 50);
            let rows = || ids.iter().flat_map(|&id| &table[id as usize * columns..][..columns]);
            for device in devices() {
                let table = Buffer::upload(device, 50, columns, &table);
                let mut out = Buffer::zeros(device, tokens, columns);
                out.view_mut().fill(f32::NAN);
                gather(table.view(), &Indices::new(device, &ids), false, out.view_mut());
                assert!(out.view().to_vec().iter().eq(rows()), "{device:?}");
                gather(table.view(), &Indices::new(device, &ids), true, out.view_mut());
                let doubled: Vec<f32> = rows().map(|x| x + x).collect();
                assert_eq!(out.view().to_vec(), doubled, "{device:?}");
            }
        }
    }
}

#[test]
fn gradients_are_summed_in_the_order_of_the_tokens() {
    // Two rows, a few, and more rows than tokens; runs longer than a work item.
    for (rows, tokens) in [(2, 1000), (7, 65), (300, 700), (1000, 17), (3, 0)] {
        for columns in [1, 16, 130, 300] {
            let (ids, d_out) = (random_ids(3, tokens, rows as u32), random(4, tokens * columns));
            let mut expected = vec![0.5f32; rows * columns];
            for (&id, d_out) in ids.iter().zip(d_out.chunks_exact(columns)) {
                for (sum, d) in expected[id as usize * columns..][..columns].iter_mut().zip(d_out) {
                    *sum += d;
                }
            }
            for device in devices() {
                // Equal, not close: the order of the sums is part of the contract.
                let got = gradient(device, &ids, rows, columns, &d_out);
                assert_eq!(got, expected, "{rows} rows, {tokens} tokens, {columns} columns");
            }
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let (ids, d_out) = (random_ids(5, 2000, 90), random(6, 2000 * 200));
    assert_same_bits_for_any_threads("gradient", |device| gradient(device, &ids, 90, 200, &d_out));
}

#[test]
#[should_panic(expected = "id 12 of a table of 12 rows")]
fn gather_refuses_an_id_beyond_the_table() {
    let table = Buffer::zeros(&devices()[0], 12, 3);
    let mut out = Buffer::zeros(&devices()[0], 2, 3);
    gather(table.view(), &Indices::new(&devices()[0], &[3, 12]), false, out.view_mut());
}

#[test]
#[should_panic(expected = "id 40 of a table of 12 rows")]
fn gradient_refuses_an_id_beyond_the_table() {
    gradient(&devices()[0], &[40, 1], 12, 2, &[0.0; 4]);
}
