//! Pooling against a twin in `f64` that lists the weight of each token.

use crate::support::{EPS, assert_close, assert_same_bits_for_any_threads, devices, random, wide};
use rankforge_kernels::ops::{
    Pool, Pooling, gather, gather_backward, pool, pool_backward, pool_embeddings,
    pool_embeddings_backward,
};
use rankforge_kernels::{Buffer, Device, Indices, Ragged};

const ALL: [Pooling; 6] = [
    Pooling::Cls,
    Pooling::Max,
    Pooling::Mean,
    Pooling::MeanSqrtLen,
    Pooling::WeightedMean,
    Pooling::LastToken,
];
const LENGTHS: [usize; 13] = [0, 1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 1];

/// Tokens to skip in each of them: none, some, all, and more than there are.
const SKIPS: [u32; 13] = [0, 0, 1, 0, 8, 3, 20, 1, 16, 2, 0, 64, 1];

/// Columns of the output beside the pooled ones: before and after.
const BESIDE: (usize, usize) = (3, 2);

fn run(
    device: &Device,
    mode: Pooling,
    lengths: &[usize],
    hidden: usize,
    skip: Option<&[u32]>,
    [x, d_out]: [&[f32]; 2],
) -> [Vec<f32>; 2] {
    let ragged = Ragged::new(device, lengths.iter().copied());
    let skip = skip.map(|skip| Indices::new(device, skip));
    let config = Pool { mode, ragged: &ragged, skip: skip.as_ref(), column: BESIDE.0 };
    let width = BESIDE.0 + hidden + BESIDE.1;
    let x = Buffer::upload(device, ragged.tokens(), hidden, x);
    let mut out = Buffer::zeros(device, lengths.len(), width);
    out.view_mut().fill(9.0);
    pool(&config, x.view(), out.view_mut());
    let d_out = Buffer::upload(device, lengths.len(), width, d_out);
    let mut d_x = Buffer::zeros(device, ragged.tokens(), hidden);
    d_x.view_mut().fill(1.0);
    pool_backward(&config, d_out.view(), x.view(), d_x.view_mut());
    [out.view().to_vec(), d_x.view().to_vec()]
}

/// The weight of each token of a sequence in one column, which for `Max` depends on the values.
fn weights(mode: Pooling, column: &[f64], skip: usize) -> Vec<f64> {
    let length = column.len();
    let mut weights = vec![0.0; length];
    if skip >= length {
        return weights;
    }
    let count = (length - skip) as f64;
    let positions: f64 = (skip..length).map(|position| (position + 1) as f64).sum();
    let highest = column[skip..].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let first = (skip..length).find(|&token| column[token] == highest);
    for (token, weight) in weights.iter_mut().enumerate().skip(skip) {
        *weight = match mode {
            Pooling::Cls => f64::from(token == skip),
            Pooling::LastToken => f64::from(token == length - 1),
            Pooling::Max => f64::from(Some(token) == first),
            Pooling::Mean => 1.0 / count,
            Pooling::MeanSqrtLen => 1.0 / count.sqrt(),
            Pooling::WeightedMean => (token + 1) as f64 / positions,
        };
    }
    weights
}

#[test]
fn every_mode_matches_its_twin_forward_and_backward() {
    for hidden in [1, 7, 8, 15, 16, 17, 65] {
        let tokens: usize = LENGTHS.iter().sum();
        let width = BESIDE.0 + hidden + BESIDE.1;
        let mut x = random(1, tokens * hidden);
        // Coarse values, so that there are equal maxima.
        x.iter_mut().for_each(|x| *x = (*x * 8.0).round() / 8.0);
        let d_out = random(2, LENGTHS.len() * width);
        for mode in ALL {
            // The same number for every sequence, and a number for each.
            let skips = [0, 1, 8].map(|skip| vec![skip; LENGTHS.len()]);
            for skip in skips.into_iter().chain([SKIPS.to_vec()]) {
                let (mut out, mut d_x) = (vec![9.0; d_out.len()], vec![1.0; x.len()]);
                let mut first = 0;
                for (sequence, &length) in LENGTHS.iter().enumerate() {
                    for column in 0..hidden {
                        let at = |token| (first + token) * hidden + column;
                        let values: Vec<f64> = (0..length).map(|t| f64::from(x[at(t)])).collect();
                        let weights = weights(mode, &values, skip[sequence] as usize);
                        let place = sequence * width + BESIDE.0 + column;
                        out[place] = weights.iter().zip(&values).map(|(w, x)| w * x).sum();
                        for (token, weight) in weights.iter().enumerate() {
                            d_x[at(token)] += weight * f64::from(d_out[place]);
                        }
                    }
                    first += length;
                }
                for device in devices() {
                    let got = run(device, mode, &LENGTHS, hidden, Some(&skip), [&x, &d_out]);
                    let what = format!("{mode:?}, {hidden} columns, skip {skip:?}, {device:?}");
                    // At most 65 terms whose absolute values sum to at most sqrt(65).
                    assert_close(&got[0], &out, |_| 65.0 * EPS * 8.1, &what);
                    assert_close(&got[1], &d_x, |_| 4.0 * EPS, &what);
                    if skip.iter().all(|&skip| skip == 0) {
                        let none = run(device, mode, &LENGTHS, hidden, None, [&x, &d_out]);
                        assert!(none == got, "no number to skip is 0 for every sequence: {what}");
                    }
                }
            }
        }
    }
}

#[test]
fn concatenated_modes_fill_neighbouring_columns() {
    let x = [1.0, 10.0, 2.0, 30.0, 6.0, 20.0, 4.0, 5.0, 8.0, 7.0];
    for device in devices() {
        let ragged = Ragged::new(device, [3, 2]);
        let x = Buffer::upload(device, 5, 2, &x);
        let mut out = Buffer::zeros(device, 2, 6);
        for (index, mode) in
            [Pooling::Mean, Pooling::Max, Pooling::LastToken].into_iter().enumerate()
        {
            let config = Pool { mode, ragged: &ragged, skip: None, column: 2 * index };
            pool(&config, x.view(), out.view_mut());
        }
        let expected = [3.0, 20.0, 6.0, 30.0, 6.0, 20.0, 6.0, 6.0, 8.0, 7.0, 8.0, 7.0];
        let allowed = |_: usize| 40.0 * EPS;
        assert_close(&out.view().to_vec(), &wide(&expected), allowed, format!("{device:?}"));
    }
}

#[test]
fn maximum_keeps_nan_and_minus_infinity() {
    let infinity = f32::NEG_INFINITY;
    for device in devices() {
        let ragged = Ragged::new(device, [3]);
        let x = Buffer::upload(device, 3, 2, &[1.0, infinity, f32::NAN, infinity, 2.0, infinity]);
        let mut out = Buffer::zeros(device, 1, 2);
        let config = Pool { mode: Pooling::Max, ragged: &ragged, skip: None, column: 0 };
        pool(&config, x.view(), out.view_mut());
        let out = out.view().to_vec();
        assert!(out[0].is_nan() && out[1] == infinity, "{out:?} {device:?}");
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let lengths = [30, 0, 200, 100, 7, 64, 64];
    let (tokens, hidden): (usize, _) = (lengths.iter().sum(), 100);
    let x = random(3, tokens * hidden);
    let d_out = random(4, lengths.len() * (BESIDE.0 + hidden + BESIDE.1));
    for mode in ALL {
        assert_same_bits_for_any_threads(format!("{mode:?}"), |device| {
            run(device, mode, &lengths, hidden, Some(&[2; 7]), [&x, &d_out]).concat()
        });
    }
}

#[test]
fn pooling_rows_of_a_table_gives_the_bits_of_pooling_their_copies() {
    let tokens: usize = LENGTHS.iter().sum();
    let (hidden, rows) = (37, 50);
    let table = random(31, rows * hidden);
    let ids: Vec<u32> = (0..tokens as u32).map(|token| token * 17 % rows as u32).collect();
    for mode in ALL {
        for device in devices() {
            let (ragged, ids) = (Ragged::new(device, LENGTHS), Indices::new(device, &ids));
            let skip = Indices::new(device, &SKIPS);
            let table = Buffer::upload(device, rows, hidden, &table);
            let mut copies = Buffer::zeros(device, tokens, hidden);
            gather(table.view(), &ids, false, copies.view_mut());
            let [mut expected, mut got] =
                [(); 2].map(|()| Buffer::zeros(device, LENGTHS.len(), hidden + 5));
            let config = Pool { mode, ragged: &ragged, skip: Some(&skip), column: 3 };
            pool(&config, copies.view(), expected.view_mut());
            pool_embeddings(&config, table.view(), &ids, got.view_mut());
            assert_eq!(got.view().to_vec(), expected.view().to_vec(), "{mode:?} {device:?}");
        }
    }
}

/// The gradient of a table whose rows are pooled, with or without a matrix of all tokens.
fn table_gradient(device: &Device, mode: Pooling, ids: &[u32], fused: bool) -> Vec<f32> {
    let (hidden, rows) = (200, 50);
    let (ragged, ids) = (Ragged::new(device, LENGTHS), Indices::new(device, ids));
    let skip = Indices::new(device, &SKIPS);
    let d_out = random(32, LENGTHS.len() * (hidden + 5));
    let d_out = Buffer::upload(device, LENGTHS.len(), hidden + 5, &d_out);
    let mut d_table = Buffer::zeros(device, rows, hidden);
    d_table.view_mut().fill(0.5);
    let config = Pool { mode, ragged: &ragged, skip: Some(&skip), column: 3 };
    if fused {
        pool_embeddings_backward(&config, d_out.view(), &ids, d_table.view_mut());
    } else {
        let [x, mut d_x] = [(); 2].map(|()| Buffer::zeros(device, ragged.tokens(), hidden));
        pool_backward(&config, d_out.view(), x.view(), d_x.view_mut());
        gather_backward(d_x.view(), &ids, d_table.view_mut());
    }
    d_table.view().to_vec()
}

#[test]
fn the_gradient_of_pooled_rows_of_a_table_has_the_bits_of_that_of_their_copies() {
    let tokens: usize = LENGTHS.iter().sum();
    let ids: Vec<u32> = (0..tokens as u32).map(|token| token * 17 % 50).collect();
    for mode in ALL.into_iter().filter(|mode| *mode != Pooling::Max) {
        for device in devices() {
            let expected = table_gradient(device, mode, &ids, false);
            assert!(expected.iter().any(|value| *value != 0.5));
            assert_eq!(table_gradient(device, mode, &ids, true), expected, "{mode:?} {device:?}");
        }
        assert_same_bits_for_any_threads(format!("{mode:?}"), |device| {
            table_gradient(device, mode, &ids, true)
        });
    }
}

#[test]
#[should_panic(expected = "the gradient of a maximum depends on the rows")]
fn the_gradient_of_a_maximum_needs_the_rows() {
    table_gradient(&devices()[0], Pooling::Max, &[0; 335], true);
}

#[test]
#[should_panic(expected = "tokens to skip, one number per sequence")]
fn another_count_of_numbers_to_skip_is_refused() {
    let device = &devices()[0];
    let (x, mut out) = (Buffer::zeros(device, 5, 2), Buffer::zeros(device, 2, 2));
    let (ragged, skip) = (Ragged::new(device, [3, 2]), Indices::new(device, &[1]));
    let config = Pool { mode: Pooling::Mean, ragged: &ragged, skip: Some(&skip), column: 0 };
    pool(&config, x.view(), out.view_mut());
}

#[test]
#[should_panic(expected = "width 2 to column 18446744073709551615")]
fn a_column_whose_end_wraps_is_refused() {
    let device = &devices()[0];
    let (x, mut out) = (Buffer::zeros(device, 5, 2), Buffer::zeros(device, 1, 2));
    let ragged = Ragged::new(device, [5]);
    let config = Pool { mode: Pooling::Mean, ragged: &ragged, skip: None, column: usize::MAX };
    pool(&config, x.view(), out.view_mut());
}
