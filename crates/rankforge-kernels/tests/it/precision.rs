use crate::support::{
    AWKWARD, EPS, assert_close, assert_same_bits_for_any_threads, devices, random, rounded,
};
use rankforge_kernels::ops::{
    Epilogue, InputGradient, Store, WeightGradient, linear, linear_backward,
};
use rankforge_kernels::{Buffer, Device, Precision};

const HALVES: [Precision; 2] = [Precision::BFloat16, Precision::Float16];

/// Shapes beyond one tile, one depth block of words and the threshold for threads, odd depths too.
const LARGE: [[usize; 3]; 6] = [
    [97, 1033, 65],
    [130, 385, 700],
    [65, 2051, 321],
    [3, 2100, 770],
    [1, 384, 1536],
    [200, 3, 999],
];

fn round_all(precision: Precision, x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| rounded(precision, x)).collect()
}

/// `Σ a b` over the depth for all rows of both, and `Σ |a b|`; operands by index functions.
fn twin(
    [rows, depth, columns]: [usize; 3],
    a: impl Fn(usize, usize) -> f64,
    b: impl Fn(usize, usize) -> f64,
) -> (Vec<f64>, Vec<f64>) {
    let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let sum = |(row, column)| {
        let terms = (0..depth).map(|depth| a(row, depth) * b(column, depth));
        terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + f64::abs(term)))
    };
    places.map(sum).unzip()
}

/// Products of rounded operands are exact in `f32` or rounded once, and so is each sum.
fn bound(depth: usize, magnitude: f64) -> f64 {
    (2 * depth + 4) as f64 * 0.5 * EPS * magnitude
}

fn shapes() -> impl Iterator<Item = [usize; 3]> {
    let small = [1, 7, 16, 33, 65];
    let awkward = AWKWARD.into_iter().flat_map(move |rows| {
        small.into_iter().flat_map(move |depth| small.map(|columns| [rows, depth, columns]))
    });
    awkward.chain(LARGE)
}

/// Values that are not subnormal when rounded to half precision.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    random(seed, count).into_iter().map(|x| if x.abs() < 1e-4 { 0.0 } else { x }).collect()
}

#[test]
fn linear_is_the_product_of_the_rounded_operands() {
    for shape in shapes() {
        let [rows, depth, columns] = shape;
        let (x, weight) = (numbers(1, rows * depth), numbers(2, columns * depth));
        for precision in HALVES {
            let (a, b) = (round_all(precision, &x), round_all(precision, &weight));
            let (expected, sizes) =
                twin(shape, |row, k| a[row * depth + k], |row, k| b[row * depth + k]);
            for device in devices() {
                let x = Buffer::upload(device, rows, depth, &x);
                let weight = Buffer::upload(device, columns, depth, &weight);
                let mut out = Buffer::upload(device, rows, columns, &vec![7.0; rows * columns]);
                let epilogue = Epilogue::default();
                linear(x.view(), weight.view(), precision, epilogue, out.view_mut());
                let what = format!("{shape:?} in {precision} on {device:?}");
                let got = out.view().to_vec();
                assert_close(&got, &expected, |i| bound(depth, sizes[i]), what);
            }
        }
    }
}

#[test]
fn backward_products_are_those_of_the_rounded_operands() {
    for shape in shapes() {
        let [rows, depth, columns] = shape;
        let (d_out, weight) = (numbers(3, rows * depth), numbers(4, depth * columns));
        let (x, before) = (numbers(5, rows * columns), numbers(6, depth * columns));
        for precision in HALVES {
            let [g, w, a] = [&d_out, &weight, &x].map(|numbers| round_all(precision, numbers));
            let (d_x, d_x_sizes) =
                twin(shape, |row, k| g[row * depth + k], |column, k| w[k * columns + column]);
            let flipped = [depth, rows, columns];
            let (d_weight, d_weight_sizes) =
                twin(flipped, |n, t| g[t * depth + n], |k, t| a[t * columns + k]);
            let d_weight: Vec<f64> =
                d_weight.iter().zip(&before).map(|(sum, &start)| sum + f64::from(start)).collect();
            for device in devices() {
                let d_out = Buffer::upload(device, rows, depth, &d_out);
                let weight = Buffer::upload(device, depth, columns, &weight);
                let x = Buffer::upload(device, rows, columns, &x);
                let mut input = Buffer::zeros(device, rows, columns);
                let mut gradient = Buffer::upload(device, depth, columns, &before);
                let (d, w) = (d_out.view(), weight.view());
                let of_input =
                    InputGradient { weight: w, store: Store::Write, d_x: input.view_mut() };
                let of_weight =
                    WeightGradient { x: x.view(), d_weight: gradient.view_mut(), d_bias: None };
                linear_backward(d, precision, Some(of_input), Some(of_weight));
                let what = format!("{shape:?} in {precision} on {device:?}");
                let got = input.view().to_vec();
                assert_close(&got, &d_x, |i| bound(depth, d_x_sizes[i]), &what);
                let got = gradient.view().to_vec();
                let allowed = |i: usize| bound(rows, d_weight_sizes[i] + 1.0);
                assert_close(&got, &d_weight, allowed, &what);
            }
        }
    }
}

#[test]
fn rounding_costs_at_most_two_units_of_each_product() {
    let shape @ [rows, depth, columns] = [40, 700, 50];
    let (x, weight) = (numbers(1, rows * depth), numbers(2, columns * depth));
    let wide = |x: f32| f64::from(x);
    let (expected, sizes) =
        twin(shape, |row, k| wide(x[row * depth + k]), |row, k| wide(weight[row * depth + k]));
    for precision in Precision::ALL {
        for device in devices() {
            let x = Buffer::upload(device, rows, depth, &x);
            let weight = Buffer::upload(device, columns, depth, &weight);
            let mut out = Buffer::zeros(device, rows, columns);
            linear(x.view(), weight.view(), precision, Epilogue::default(), out.view_mut());
            // (1 + u)^2 - 1 for two operands, and the sums.
            let unit = precision.unit_roundoff();
            let allowed = |i: usize| (2.0 * unit + unit * unit) * sizes[i] + bound(depth, sizes[i]);
            let what = format!("{precision} on {device:?}");
            assert_close(&out.view().to_vec(), &expected, allowed, what);
        }
    }
}

#[test]
fn half_precision_overflows_to_infinity_and_keeps_nan() {
    for device in devices() {
        let x = Buffer::upload(device, 3, 2, &[70_000.0, 1.0, f32::NAN, 1.0, 2.0, 1.0]);
        let weight = Buffer::upload(device, 1, 2, &[1.0, 1.0]);
        let run = |precision| {
            let mut out = Buffer::zeros(device, 3, 1);
            linear(x.view(), weight.view(), precision, Epilogue::default(), out.view_mut());
            out.view().to_vec()
        };
        let half = run(Precision::Float16);
        assert_eq!((half[0], half[2]), (f32::INFINITY, 3.0), "{device:?}");
        assert!(half[1].is_nan(), "{device:?}");
        let brain = run(Precision::BFloat16);
        assert!((brain[0] - 70_000.0).abs() <= 70_000.0 / 256.0 + 1.0, "{device:?}");
        assert!(brain[1].is_nan() && brain[2] == 3.0, "{device:?}");
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let [rows, depth, columns] = [300, 901, 130];
    let (x, weight) = (random(1, rows * depth), random(2, columns * depth));
    for precision in HALVES {
        assert_same_bits_for_any_threads(precision, |device: &Device| {
            let x = Buffer::upload(device, rows, depth, &x);
            let weight = Buffer::upload(device, columns, depth, &weight);
            let mut out = Buffer::zeros(device, rows, columns);
            linear(x.view(), weight.view(), precision, Epilogue::default(), out.view_mut());
            let mut d_x = Buffer::zeros(device, rows, depth);
            let (d_out, w) = (out.view(), weight.view());
            let input = InputGradient { weight: w, store: Store::Write, d_x: d_x.view_mut() };
            let mut d_weight = Buffer::zeros(device, columns, depth);
            let weight =
                WeightGradient { x: x.view(), d_weight: d_weight.view_mut(), d_bias: None };
            linear_backward(d_out, precision, Some(input), Some(weight));
            [out.view().to_vec(), d_x.view().to_vec(), d_weight.view().to_vec()].concat()
        });
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_among_others() {
    let [rows, depth, columns] = [150, 1301, 70];
    let (x, weight) = (random(1, rows * depth), random(2, columns * depth));
    for precision in HALVES {
        for device in devices() {
            let weight = Buffer::upload(device, columns, depth, &weight);
            let run = |count: usize| {
                let x = Buffer::upload(device, count, depth, &x[..count * depth]);
                let mut out = Buffer::zeros(device, count, columns);
                linear(x.view(), weight.view(), precision, Epilogue::default(), out.view_mut());
                out.view().to_vec()
            };
            let all = run(rows);
            for count in [1, 5, 31, 64, 65] {
                assert_eq!(run(count), all[..count * columns], "{count} rows on {device:?}");
            }
        }
    }
}
