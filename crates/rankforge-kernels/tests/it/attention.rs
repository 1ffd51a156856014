//! Attention against its twin in `f64`.

mod case;

use crate::support::{assert_same_bits_for_any_threads, central_difference, devices, wide};
use case::Case;
use rankforge_kernels::ops::{Dropout, relative_bucket};
use rankforge_kernels::{Device, Isa, Precision};

const LENGTHS: [usize; 12] = [0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 130];

#[test]
fn attention_matches_its_twin_over_awkward_lengths_and_shapes() {
    for (heads, dim) in [(1, 32), (2, 8), (3, 16), (2, 64), (1, 20), (2, 3)] {
        Case::new(&LENGTHS, heads, dim).check("global");
    }
}

#[test]
fn queries_attend_within_windows_and_backwards_when_causal() {
    for window in [0, 1, 5, 16, 64, 200] {
        for causal in [false, true] {
            let case = Case::new(&LENGTHS, 2, 8);
            Case { window: Some(window), causal, ..case }
                .check(&format!("window {window} {causal}"));
        }
    }
    Case { causal: true, ..Case::new(&LENGTHS, 2, 20) }.check("causal");
}

#[test]
fn long_sequences_go_through_several_tiles() {
    Case::new(&[1050, 3], 1, 16).check("long");
    Case { window: Some(64), ..Case::new(&[1300], 1, 16) }.check("long window");
    Case { causal: true, ..Case::new(&[700], 1, 8) }.check("long causal");
}

#[test]
fn relative_bias_is_added_by_bucket() {
    Case::new(&LENGTHS, 3, 16).with_bias(32, 128).check("bias");
    Case::new(&[600, 17], 2, 8).with_bias(32, 128).check("bias, two tiles");
    let case = Case::new(&LENGTHS, 2, 8).with_bias(16, 64);
    Case { window: Some(9), ..case }.check("bias, window");
}

#[test]
fn dropout_is_drawn_by_the_documented_index_in_both_passes() {
    let dropout = Some(Dropout::new(0.1, 5, 6, 7, 8));
    Case { dropout, ..Case::new(&LENGTHS, 3, 16) }.check("dropout");
    Case { dropout, window: Some(20), ..Case::new(&[600, 41], 2, 8) }.check("dropout, window");
    let dropout = Some(Dropout::new(0.6, 5, 6, 7, 9));
    Case { dropout, causal: true, ..Case::new(&[130], 2, 8).with_bias(32, 128) }
        .check("all at once");
}

#[test]
fn products_are_those_of_the_rounded_operands() {
    for precision in [Precision::BFloat16, Precision::Float16] {
        for (heads, dim) in [(1, 32), (2, 64), (1, 20), (2, 3)] {
            Case { precision, ..Case::new(&LENGTHS, heads, dim) }.check("global");
        }
        Case { precision, ..Case::new(&[530, 3], 1, 16) }.check("long");
        let dropout = Some(Dropout::new(0.1, 5, 6, 7, 8));
        let window = Some(20);
        let case = Case::new(&[531, 41], 1, 8).with_bias(32, 128);
        Case { precision, dropout, window, ..case }.check("dropout, window, bias");
        Case { precision, causal: true, ..Case::new(&LENGTHS, 1, 16) }.check("causal");
    }
}

#[test]
fn query_tokens_give_the_bits_of_attention_of_all_tokens() {
    let dropout = Some(Dropout::new(0.1, 5, 6, 7, 8));
    let lengths = [5, 1, 130, 540, 33];
    let query_tokens: Vec<u32> = vec![0, 5, 6 + 129, 136 + 300, 676 + 16];
    for precision in Precision::ALL {
        for (window, dropout, biased) in
            [(None, None, false), (Some(20), dropout, false), (None, dropout, true)]
        {
            let mut case = Case { precision, window, dropout, ..Case::new(&lengths, 2, 20) };
            if biased {
                case = case.with_bias(32, 128);
            }
            let hidden = 2 * 20;
            let silent = |token: usize| !query_tokens.contains(&(token as u32));
            for (token, d_out) in case.d_out.chunks_mut(hidden).enumerate() {
                if silent(token) {
                    d_out.fill(0.0);
                }
            }
            for device in devices() {
                case.query_tokens = None;
                let mut expected = case.run(device, true);
                for (values, width) in expected.iter_mut().zip([hidden, 2]) {
                    for (token, values) in values.chunks_mut(width).enumerate() {
                        if silent(token) {
                            values.fill(0.0);
                        }
                    }
                }
                case.query_tokens = Some(query_tokens.clone());
                assert!(
                    case.run(device, true) == expected,
                    "{precision} on {device:?}, {window:?}"
                );
            }
            case.query_tokens = Some(query_tokens.clone());
            assert_same_bits_for_any_threads("query tokens", |device| {
                case.run(device, true).concat()
            });
        }
    }
}

#[test]
#[should_panic(expected = "query token 5 is not in its sequence, 0..5")]
fn a_query_token_of_another_sequence_is_refused() {
    let query_tokens = Some(vec![5, 5]);
    Case { query_tokens, ..Case::new(&[5, 2], 1, 8) }.run(&devices()[0], false);
}

#[test]
fn scores_beyond_the_range_of_the_exponential_do_not_overflow() {
    let mut case = Case::new(&[70, 530], 1, 8);
    case.qkv.iter_mut().for_each(|x| *x *= 10.0);
    case.check("large scores");
}

#[test]
fn twin_gradients_are_the_derivatives_of_the_twin() {
    let dropout = Some(Dropout::new(0.2, 1, 1, 1, 1));
    let case = Case { dropout, window: Some(6), ..Case::new(&[9, 1, 12], 2, 3).with_bias(8, 16) };
    let (qkv, table, d_out) = (wide(&case.qkv), wide(&case.table), wide(&case.d_out));
    let loss = |qkv: &[f64], table: &[f64]| -> f64 {
        let (out, _) = case.twin(qkv, table);
        out.iter().zip(&d_out).map(|(out, d)| out * d).sum()
    };
    let gradients = case.twin_backward(&qkv, &table, &d_out);
    // Central differences with a balanced step have about two thirds of the digits.
    for (index, &expected) in gradients.d_qkv.iter().enumerate() {
        let got = central_difference(|qkv| loss(qkv, &table), &qkv, index);
        assert!((got - expected).abs() < 1e-8, "d_qkv {index}: {got} {expected}");
    }
    for (index, &expected) in gradients.d_table.iter().enumerate() {
        let got = central_difference(|table| loss(&qkv, table), &table, index);
        assert!((got - expected).abs() < 1e-8, "d_table {index}: {got} {expected}");
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let dropout = Some(Dropout::new(0.1, 5, 6, 7, 8));
    for precision in Precision::ALL {
        let case = Case::new(&[40, 0, 130, 77, 5], 3, 20).with_bias(32, 128);
        let case = Case { dropout, precision, ..case };
        assert_same_bits_for_any_threads(format!("attention in {precision}"), |device| {
            case.run(device, true).concat()
        });
    }
}

#[test]
fn nan_reaches_the_output() {
    for isa in Isa::available() {
        let device = Device::cpu_with(isa, 1).expect("available");
        for part in 0..3 {
            let mut case = Case::new(&[20], 1, 8);
            let at = case.at(part, 0, 5, 2);
            case.qkv[at] = f32::NAN;
            let [out, ..] = case.run(&device, false);
            assert!(out[5 * 8..6 * 8].iter().any(|x| x.is_nan()), "{isa}: part {part}");
        }
    }
}

#[test]
fn relative_buckets_are_those_of_mpnet() {
    // The distances at which the bucket changes, from transformers 5.23 with f32 logarithms.
    let starts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91];
    for distance in 0..9000_usize {
        let bucket = starts.iter().rposition(|&start| start <= distance).expect("starts at 0");
        assert_eq!(relative_bucket(-(distance as isize), 32, 128), bucket, "-{distance}");
        if distance > 0 {
            assert_eq!(relative_bucket(distance as isize, 32, 128), 16 + bucket, "{distance}");
        }
    }
    assert_eq!(
        [9, 10, 22, 23, 53, 54, 900].map(|d| relative_bucket(d, 16, 128)),
        [12, 13, 13, 14, 14, 15, 15]
    );
}
