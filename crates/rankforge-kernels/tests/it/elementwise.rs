use crate::support::{AWKWARD, devices, random};
use rankforge_kernels::Buffer;
use rankforge_kernels::ops::{Zeros, add, zeros};

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
