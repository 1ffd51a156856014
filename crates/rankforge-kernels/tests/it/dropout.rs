use crate::support::{AWKWARD, assert_same_bits_for_any_threads, devices, random, refusal};
use rankforge_kernels::ops::{Dropout, dropout, dropout_to};
use rankforge_kernels::{Buffer, Device};

fn mask(device: &Device, config: Dropout, rows: usize, columns: usize) -> Vec<f32> {
    let mut x = Buffer::upload(device, rows, columns, &vec![1.0; rows * columns]);
    dropout(config, x.view_mut());
    x.view().to_vec()
}

fn kept(mask: &[f32]) -> Vec<bool> {
    mask.iter().map(|&factor| factor != 0.0).collect()
}

#[test]
fn every_device_draws_the_same_mask() {
    let config = Dropout::new(0.3, 1, 2, 3, 4);
    for rows in [1, 3] {
        for columns in AWKWARD {
            let expected = mask(&devices()[0], config, rows, columns);
            for device in devices() {
                assert_eq!(mask(device, config, rows, columns), expected, "{device:?}");
            }
        }
    }
}

#[test]
fn mask_is_a_function_of_the_flat_index() {
    let config = Dropout::new(0.5, 9, 0, 0, 1);
    let flat = mask(&devices()[0], config, 1, 21 * 33);
    for device in devices() {
        assert_eq!(mask(device, config, 21, 33), flat);
        assert_eq!(mask(device, config, 33, 21), flat);
    }
}

#[test]
fn kept_elements_are_scaled_and_the_rate_is_right() {
    let count = 1 << 20;
    for probability in [0.05, 0.1, 0.5, 0.9] {
        let mask = mask(&devices()[0], Dropout::new(probability, 7, 1, 0, 5), 1024, count / 1024);
        let factor = (1.0 / (1.0 - f64::from(probability))) as f32;
        assert!(mask.iter().all(|&x| x == 0.0 || x == factor));
        let dropped = mask.iter().filter(|&&x| x == 0.0).count() as f64 / count as f64;
        let p = f64::from(probability);
        // Five standard deviations of a binomial rate.
        let allowed = 5.0 * (p * (1.0 - p) / count as f64).sqrt();
        assert!((dropped - p).abs() < allowed, "rate {dropped} for {p}");
    }
}

#[test]
fn probability_zero_changes_nothing() {
    let x = random(1, 1000);
    for device in devices() {
        let mut buffer = Buffer::upload(device, 10, 100, &x);
        dropout(Dropout::new(0.0, 1, 1, 1, 1), buffer.view_mut());
        assert_eq!(buffer.view().to_vec(), x);
    }
}

#[test]
fn neighbouring_keys_and_indices_are_independent() {
    let count = 1 << 18;
    let draw = |seed, step, part, place| {
        kept(&mask(&devices()[0], Dropout::new(0.5, seed, step, part, place), 1, count))
    };
    // Agreement of two independent fair masks is binomial(1/2): five standard deviations.
    let allowed = 5.0 * 0.5 / (count as f64).sqrt();
    let agreement = |a: &[bool], b: &[bool]| {
        let equal = a.iter().zip(b).filter(|(a, b)| a == b).count();
        (equal as f64 / a.len() as f64 - 0.5).abs()
    };
    let base = draw(42, 10, 0, 3);
    for (what, other) in [
        ("seed", draw(43, 10, 0, 3)),
        ("step", draw(42, 11, 0, 3)),
        ("part", draw(42, 10, 1, 3)),
        ("place", draw(42, 10, 0, 4)),
        ("swapped", draw(42, 0, 10, 3)),
    ] {
        // Shifted as well: neighbouring keys must not give shifted copies of one sequence.
        for shift in [0, 1, 2, 3, 7, 64, 384, 768] {
            let found = agreement(&base[shift..], &other[..count - shift]);
            assert!(found < 1.1 * allowed, "{what} shifted by {shift}: {found} from one half");
        }
    }
    for shift in [1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 384, 768, 1024, 4096] {
        let found = agreement(&base[shift..], &base[..count - shift]);
        assert!(found < 1.1 * allowed, "index shifted by {shift}: {found} from one half");
    }
}

#[test]
fn dropout_gives_the_same_bits_for_any_number_of_threads() {
    assert_same_bits_for_any_threads("dropout", |device| {
        let mut x = Buffer::upload(device, 301, 257, &random(3, 301 * 257));
        dropout(Dropout::new(0.2, 5, 6, 7, 8), x.view_mut());
        x.view().to_vec()
    });
}

#[test]
fn probabilities_outside_zero_to_one_are_refused_and_the_largest_below_one_drops_about_all() {
    for probability in [1.0, 1.5, -0.1, f32::NAN, f32::INFINITY] {
        let message = refusal(|| Dropout::new(probability, 0, 0, 0, 0));
        assert_eq!(message, format!("dropout probability {probability}, not in 0..1"));
    }
    let config = Dropout::new(1.0f32.next_down(), 1, 2, 3, 4);
    assert_eq!(config.probability(), 1.0f32.next_down());
    for device in devices() {
        let kept = mask(device, config, 100, 100).into_iter().filter(|&factor| factor != 0.0);
        assert!(kept.count() <= 1, "one of 2^24 on {device:?}");
    }
}

#[test]
fn the_key_is_a_function_of_each_coordinate() {
    let keys = [[1, 2, 3, 4], [9, 2, 3, 4], [1, 9, 3, 4], [1, 2, 9, 4], [1, 2, 3, 9]]
        .map(|[seed, step, part, place]| Dropout::new(0.5, seed, step, part, place).key());
    assert_eq!(keys[0], Dropout::new(0.1, 1, 2, 3, 4).key(), "not of the probability");
    assert!(keys[1..].iter().all(|&key| key != keys[0]), "{keys:?}");
}

#[test]
fn dropout_to_another_matrix_draws_the_same_mask_and_keeps_its_input() {
    for device in devices() {
        for rows in AWKWARD {
            let values = random(7, rows * 33);
            let x = Buffer::upload(device, rows, 33, &values);
            let config = Dropout::new(0.3, 1, 2, 3, 4);
            let mut out = Buffer::upload(device, rows, 33, &vec![f32::NAN; rows * 33]);
            dropout_to(config, x.view(), out.view_mut());
            assert_eq!(x.view().to_vec(), values, "{device:?}");
            let mut expected = x.clone();
            dropout(config, expected.view_mut());
            assert_eq!(out.view().to_vec(), expected.view().to_vec(), "{rows} rows, {device:?}");
        }
    }
}
