use crate::support::{
    AWKWARD, EPS, assert_close, assert_same_bits_for_any_threads, devices, random, wide,
};
use rankforge_kernels::Buffer;
use rankforge_kernels::ops::{Zeros, add, column_sums, scale, zeros};

#[test]
fn add_takes_any_length() {
    for count in AWKWARD.into_iter().chain([70_001]) {
        let (x, y) = (random(3, count), random(4, count));
        for device in devices() {
            let x_buffer = Buffer::upload(device, 1, count, &x);
            let mut out = Buffer::upload(device, 1, count, &y);
            add(x_buffer.view(), out.view_mut());
            // One rounding, and so the same bits on every device.
            let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| y + x).collect();
            assert_eq!(out.view().to_vec(), expected, "{count} elements on {device:?}");
        }
    }
}

#[test]
fn scale_multiplies_every_element() {
    for count in AWKWARD.into_iter().chain([70_001]) {
        let x = random(3, count);
        for device in devices() {
            let mut out = Buffer::upload(device, 1, count, &x);
            scale(0.3, out.view_mut());
            // One rounding, and so the same bits on every device.
            let expected: Vec<f32> = x.iter().map(|x| x * 0.3).collect();
            assert_eq!(out.view().to_vec(), expected, "{count} elements on {device:?}");
        }
    }
}

#[test]
fn column_sums_agree_with_their_twin_and_are_added() {
    for (rows, columns) in [(0, 3), (1, 1), (7, 33), (64, 9), (65, 16), (700, 129), (5, 0)] {
        let (x, before) = (random(5, rows * columns), random(6, columns));
        let wide = wide(&x);
        let column = |column: usize| (0..rows).map(move |row| row * columns + column);
        let sum = |index: usize| column(index).map(|place| wide[place]).sum::<f64>();
        let size = |index: usize| column(index).map(|place| wide[place].abs()).sum::<f64>();
        let expected: Vec<f64> =
            (0..columns).map(|index| f64::from(before[index]) + sum(index)).collect();
        for device in devices() {
            let x = Buffer::upload(device, rows, columns, &x);
            let mut out = Buffer::upload(device, 1, columns, &before);
            column_sums(x.view(), out.view_mut());
            let what = format!("{rows} x {columns} on {device:?}");
            // Each of `rows` additions rounds a sum no larger than that of the magnitudes.
            let allowed = |index: usize| (rows + 1) as f64 * EPS * (1.0 + size(index));
            assert_close(&out.view().to_vec(), &expected, allowed, what);
        }
    }
}

#[test]
fn column_sums_have_the_same_bits_for_any_number_of_threads() {
    let (rows, columns) = (1000, 65);
    let x = random(5, rows * columns);
    assert_same_bits_for_any_threads("column sums", |device| {
        let x = Buffer::upload(device, rows, columns, &x);
        let mut out = Buffer::zeros(device, 1, columns);
        column_sums(x.view(), out.view_mut());
        out.view().to_vec()
    });
}

#[test]
fn zeros_finds_the_one_element_that_differs_at_any_place() {
    for device in devices() {
        let find = |x: &[f32]| zeros(Buffer::upload(device, 1, x.len(), x).view());
        for count in AWKWARD.into_iter().filter(|&count| count > 0).chain([1025, 5000]) {
            let negative = vec![-0.0; count];
            let expected = Zeros { all: true, all_negative: true };
            assert_eq!(find(&negative), expected, "{count} on {device:?}");
            for place in [0, count / 2, count - 1] {
                for (value, all) in [
                    (0.0, true),
                    (1.0, false),
                    (-1.0, false),
                    (f32::NAN, false),
                    (-f32::NAN, false),
                    (f32::NEG_INFINITY, false),
                    (f32::MIN_POSITIVE, false),
                    (-f32::MIN_POSITIVE, false),
                ] {
                    let mut x = negative.clone();
                    x[place] = value;
                    let expected = Zeros { all, all_negative: false };
                    assert_eq!(find(&x), expected, "{value} at {place} of {count} on {device:?}");
                }
            }
        }
        assert_eq!(find(&[]), Zeros { all: true, all_negative: true }, "{device:?}");
    }
}
