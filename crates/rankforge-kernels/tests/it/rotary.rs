use crate::support::{EPS, assert_close, assert_same_bits_for_any_threads, devices, random, wide};
use rankforge_kernels::ops::{Rotary, rotary, rotary_backward};
use rankforge_kernels::{Buffer, Indices, Ragged, ViewMut};

const LENGTHS: [usize; 6] = [3, 0, 17, 1, 40, 9];

/// Rotates elements `i` and `i + D / 2` of each head of queries and keys by `sign * angle`.
fn twin(x: &[f64], heads: usize, head_dim: usize, theta: f64, sign: f64) -> Vec<f64> {
    let (half, width) = (head_dim / 2, heads * head_dim);
    let positions = LENGTHS.into_iter().flat_map(|length| 0..length);
    let mut out = x.to_vec();
    for (token, position) in positions.enumerate() {
        for head in 0..2 * heads {
            for index in 0..half {
                let frequency = theta.powf(-2.0 * index as f64 / head_dim as f64);
                let (sine, cosine) = (sign * position as f64 * frequency).sin_cos();
                let left = token * 3 * width + head * head_dim + index;
                let (a, b) = (x[left], x[left + half]);
                out[left] = a * cosine - b * sine;
                out[left + half] = b * cosine + a * sine;
            }
        }
    }
    out
}

#[test]
fn rotary_rotates_queries_and_keys_and_its_backward_rotates_back() {
    let tokens: usize = LENGTHS.iter().sum();
    for (heads, head_dim) in [(1, 2), (3, 8), (2, 14), (2, 32), (1, 34), (4, 64)] {
        let x = random(1, tokens * 3 * heads * head_dim);
        for (sign, turn) in [
            (1.0, rotary as fn(&Rotary, &Ragged, Option<&Indices>, usize, ViewMut<'_>)),
            (-1.0, rotary_backward),
        ] {
            let expected = twin(&wide(&x), heads, head_dim, 10_000.0, sign);
            for device in devices() {
                let ragged = Ragged::new(device, LENGTHS);
                let table = Rotary::new(device, 64, head_dim, 10_000.0);
                assert_eq!(table.positions(), 64);
                let mut qkv = Buffer::upload(device, tokens, 3 * heads * head_dim, &x);
                turn(&table, &ragged, None, 2 * heads, qkv.view_mut());
                // Two rounded factors, two products, one sum of values below 1.
                let what = format!("{heads} heads of {head_dim}, {sign}, on {device:?}");
                assert_close(&qkv.view().to_vec(), &expected, |_| 4.0 * EPS, what);
            }
        }
    }
}

#[test]
fn values_and_first_tokens_keep_their_bits() {
    let (heads, head_dim) = (2, 16);
    let width = heads * head_dim;
    let x = random(2, LENGTHS.iter().sum::<usize>() * 3 * width);
    for device in devices() {
        let ragged = Ragged::new(device, LENGTHS);
        let mut qkv = Buffer::upload(device, ragged.tokens(), 3 * width, &x);
        let table = Rotary::new(device, 40, head_dim, 160_000.0);
        rotary(&table, &ragged, None, 2 * heads, qkv.view_mut());
        let out = qkv.view().to_vec();
        for (token, (out, x)) in out.chunks(3 * width).zip(x.chunks(3 * width)).enumerate() {
            assert_eq!(out[2 * width..], x[2 * width..], "values of token {token}");
        }
        for sequence in 0..ragged.sequences() {
            let Some(token) = ragged.range(sequence).next() else { continue };
            let place = token * 3 * width..(token + 1) * 3 * width;
            assert_eq!(out[place.clone()], x[place], "first token of sequence {sequence}");
        }
    }
}

#[test]
fn rows_of_some_tokens_rotate_as_they_do_among_all() {
    let width = 2 * 16;
    let x = random(2, LENGTHS.iter().sum::<usize>() * width);
    let tokens = [0, 2, 3, 19, 20, 61, 69];
    let pick = |all: &[f32]| -> Vec<f32> {
        tokens.iter().flat_map(|&token| all[token as usize * width..][..width].to_vec()).collect()
    };
    for device in devices() {
        let ragged = Ragged::new(device, LENGTHS);
        let table = Rotary::new(device, 40, 16, 10_000.0);
        let mut all = Buffer::upload(device, ragged.tokens(), width, &x);
        rotary(&table, &ragged, None, 1, all.view_mut());
        let mut some = Buffer::upload(device, tokens.len(), width, &pick(&x));
        rotary(&table, &ragged, Some(&Indices::new(device, &tokens)), 1, some.view_mut());
        assert_eq!(some.view().to_vec(), pick(&all.view().to_vec()), "{device:?}");
    }
}

#[test]
fn rotary_gives_the_same_bits_for_any_number_of_threads() {
    let x = random(3, 360 * 192);
    assert_same_bits_for_any_threads("rotary", |device| {
        let ragged = Ragged::new(device, [100, 3, 200, 57]);
        let mut qkv = Buffer::upload(device, ragged.tokens(), 192, &x);
        rotary(&Rotary::new(device, 200, 32, 10_000.0), &ragged, None, 4, qkv.view_mut());
        qkv.view().to_vec()
    });
}

#[test]
#[should_panic(expected = "rotation of token 9 of a batch of 9")]
fn a_token_beyond_the_batch_is_refused() {
    let device = &devices()[0];
    let tokens = Indices::new(device, &[0, 9]);
    let mut x = Buffer::zeros(device, 2, 8);
    let table = Rotary::new(device, 9, 8, 10_000.0);
    rotary(&table, &Ragged::new(device, [9]), Some(&tokens), 1, x.view_mut());
}

#[test]
#[should_panic(expected = "9223372036854775809 heads of 2 in 8 columns")]
fn heads_whose_width_wraps_are_refused() {
    let device = &devices()[0];
    let mut x = Buffer::zeros(device, 3, 8);
    let table = Rotary::new(device, 3, 2, 10_000.0);
    rotary(&table, &Ragged::new(device, [3]), None, (1 << 63) + 1, x.view_mut());
}

#[test]
#[should_panic(expected = "sequence of 9 tokens, rotary table of 8")]
fn a_sequence_longer_than_the_table_is_refused() {
    let device = &devices()[0];
    let ragged = Ragged::new(device, [9]);
    let mut qkv = Buffer::zeros(device, 9, 24);
    rotary(&Rotary::new(device, 8, 8, 10_000.0), &ragged, None, 2, qkv.view_mut());
}
