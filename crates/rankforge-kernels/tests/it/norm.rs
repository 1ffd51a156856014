use crate::support::{
    AWKWARD, EPS, assert_close, assert_same_bits_for_any_threads, central_difference, devices,
    random, wide,
};
use rankforge_kernels::ops::{
    LayerNormBackward, layer_norm, layer_norm_backward, normalize, normalize_backward,
};
use rankforge_kernels::{Buffer, Device};

const EPSILON: f32 = 1e-5;

fn shapes() -> impl Iterator<Item = (usize, usize)> {
    let awkward = [0, 1, 3, 65].into_iter().flat_map(|rows| AWKWARD.map(|columns| (rows, columns)));
    awkward.chain([(130, 384), (3, 1025)])
}

/// Values with a mean far from zero: a one-pass variance would lose digits.
fn inputs(rows: usize, columns: usize) -> Vec<f32> {
    random(1, rows * columns).iter().map(|x| x + 3.0).collect()
}

struct LayerNormTwin {
    normal: Vec<f64>,
    mean: Vec<f64>,
    reciprocal: Vec<f64>,
}

fn twin(x: &[f64], columns: usize) -> LayerNormTwin {
    let mut twin = LayerNormTwin { normal: vec![], mean: vec![], reciprocal: vec![] };
    if columns == 0 {
        return twin;
    }
    for row in x.chunks(columns) {
        let count = columns as f64;
        let mean = row.iter().sum::<f64>() / count;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let reciprocal = 1.0 / (variance + f64::from(EPSILON)).sqrt();
        twin.normal.extend(row.iter().map(|x| (x - mean) * reciprocal));
        twin.mean.push(mean);
        twin.reciprocal.push(reciprocal);
    }
    twin
}

/// Error of a normalised element: of the row's sums, and of subtracting a mean of about 3.
fn normal_error(columns: usize, reciprocal: f64) -> f64 {
    (8.0 + columns as f64 / 8.0) * EPS * (1.0 + 4.0 * reciprocal)
}

fn run(device: &Device, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> (Vec<f32>, Vec<f32>) {
    let columns = weight.len();
    let rows = x.len().checked_div(columns).unwrap_or(0);
    let x = Buffer::upload(device, rows, columns, x);
    let weight = Buffer::upload(device, 1, columns, weight);
    let bias = bias.map(|bias| Buffer::upload(device, 1, columns, bias));
    let bias = bias.as_ref().map(Buffer::view);
    let mut out = Buffer::zeros(device, rows, columns);
    let mut statistics = Buffer::zeros(device, rows, 2);
    layer_norm(x.view(), weight.view(), bias, EPSILON, out.view_mut(), statistics.view_mut());
    (out.view().to_vec(), statistics.view().to_vec())
}

#[test]
fn layer_norm_agrees_with_its_twin() {
    for (rows, columns) in shapes() {
        let (x, weight, bias) = (inputs(rows, columns), random(2, columns), random(3, columns));
        let twin = twin(&wide(&x), columns);
        for with_bias in [false, true] {
            let shift = |i: usize| if with_bias { f64::from(bias[i % columns]) } else { 0.0 };
            let expected: Vec<f64> = (0..x.len())
                .map(|i| twin.normal[i] * f64::from(weight[i % columns]) + shift(i))
                .collect();
            let allowed = |i: usize| {
                normal_error(columns, twin.reciprocal[i / columns]) * (1.0 + twin.normal[i].abs())
            };
            for device in devices() {
                let what = format!("{rows} x {columns}, bias {with_bias}, on {device:?}");
                let (out, statistics) = run(device, &x, &weight, with_bias.then_some(&bias[..]));
                assert_close(&out, &expected, allowed, &what);
                for (row, pair) in statistics.chunks(2).enumerate().take(twin.mean.len()) {
                    let (mean, reciprocal) = (twin.mean[row], twin.reciprocal[row]);
                    let relative = normal_error(columns, reciprocal);
                    assert!((f64::from(pair[0]) - mean).abs() <= relative * mean, "{what}");
                    let error = (f64::from(pair[1]) - reciprocal).abs();
                    assert!(error <= relative * reciprocal, "{what}");
                }
            }
        }
    }
}

/// Gradients of the input, weight and bias in f64.
fn backward_twin(d_out: &[f64], x: &[f64], weight: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let columns = weight.len();
    let twin = twin(x, columns);
    let (mut d_weight, mut d_bias) = (vec![0.0; columns], vec![0.0; columns]);
    let mut d_x = vec![];
    if columns == 0 {
        return (d_x, d_weight, d_bias);
    }
    for (row, d_out) in d_out.chunks(columns).enumerate() {
        let normal = &twin.normal[row * columns..(row + 1) * columns];
        let d_normal: Vec<f64> = d_out.iter().zip(weight).map(|(d, w)| d * w).collect();
        let mean = d_normal.iter().sum::<f64>() / columns as f64;
        let along = d_normal.iter().zip(normal).map(|(d, n)| d * n).sum::<f64>() / columns as f64;
        for column in 0..columns {
            let centred = d_normal[column] - mean - normal[column] * along;
            d_x.push(twin.reciprocal[row] * centred);
            d_weight[column] += d_out[column] * normal[column];
            d_bias[column] += d_out[column];
        }
    }
    (d_x, d_weight, d_bias)
}

struct Gradients {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

fn run_backward(
    device: &Device,
    d_out: &[f32],
    x: &[f32],
    weight: &[f32],
    before: Option<&[f32]>,
) -> Gradients {
    let columns = weight.len();
    let rows = x.len().checked_div(columns).unwrap_or(0);
    let (_, statistics) = run(device, x, weight, None);
    let statistics = Buffer::upload(device, rows, 2, &statistics);
    let d_out = Buffer::upload(device, rows, columns, d_out);
    let x = Buffer::upload(device, rows, columns, x);
    let weight = Buffer::upload(device, 1, columns, weight);
    let mut d_x = Buffer::upload(device, rows, columns, before.unwrap_or(&x.view().to_vec()));
    // Ones to add to: parameter gradients are accumulated.
    let mut d_weight = Buffer::upload(device, 1, columns, &vec![1.0; columns]);
    let mut d_bias = Buffer::upload(device, 1, columns, &vec![1.0; columns]);
    let inputs = LayerNormBackward {
        d_out: d_out.view(),
        x: x.view(),
        weight: weight.view(),
        statistics: statistics.view(),
    };
    layer_norm_backward(
        inputs,
        before.is_some(),
        d_x.view_mut(),
        Some(d_weight.view_mut()),
        Some(d_bias.view_mut()),
    );
    let [x, weight, bias] = [d_x, d_weight, d_bias].map(|buffer| buffer.view().to_vec());
    Gradients { x, weight, bias }
}

#[test]
fn layer_norm_backward_agrees_with_its_twin() {
    for (rows, columns) in shapes() {
        let (x, weight) = (inputs(rows, columns), random(2, columns));
        let (d_out, before) = (random(3, rows * columns), random(4, rows * columns));
        let reciprocal = twin(&wide(&x), columns).reciprocal;
        let (d_x, d_weight, d_bias) = backward_twin(&wide(&d_out), &wide(&x), &wide(&weight));
        let plus_one = |sums: &[f64]| sums.iter().map(|sum| sum + 1.0).collect::<Vec<_>>();
        // Normalised elements stay below 3 or so, except that one column has all zeros.
        let largest = reciprocal.iter().copied().fold(0.0, f64::max);
        let sum_error = 4.0 * (rows as f64 + 1.0) * (normal_error(columns, largest) + EPS);
        for device in devices() {
            for accumulate in [false, true] {
                let what = format!("{rows} x {columns}, accumulate {accumulate}, on {device:?}");
                let start = |i: usize| if accumulate { f64::from(before[i]) } else { 0.0 };
                let expected: Vec<f64> = (0..d_x.len()).map(|i| d_x[i] + start(i)).collect();
                let got =
                    run_backward(device, &d_out, &x, &weight, accumulate.then_some(&before[..]));
                let allowed = |i: usize| {
                    let reciprocal = reciprocal[i / columns];
                    8.0 * normal_error(columns, reciprocal) * reciprocal + EPS
                };
                assert_close(&got.x, &expected, allowed, format!("d_x, {what}"));
                let error = |_: usize| sum_error;
                assert_close(&got.weight, &plus_one(&d_weight), error, format!("weight, {what}"));
                assert_close(&got.bias, &plus_one(&d_bias), error, format!("bias, {what}"));
            }
        }
    }
}

#[test]
fn gradients_that_are_left_out_change_nothing_else() {
    let (rows, columns) = (70, 33);
    let (x, weight) = (inputs(rows, columns), random(2, columns));
    let d_out = random(3, rows * columns);
    for device in devices() {
        let whole = run_backward(device, &d_out, &x, &weight, None);
        let (_, statistics) = run(device, &x, &weight, None);
        let [d_out, x_buffer] =
            [&d_out, &x].map(|values| Buffer::upload(device, rows, columns, values));
        let statistics = Buffer::upload(device, rows, 2, &statistics);
        let weight = Buffer::upload(device, 1, columns, &weight);
        for (with_weight, with_bias) in [(false, false), (false, true), (true, false)] {
            let mut d_x = Buffer::zeros(device, rows, columns);
            let mut d_weight = Buffer::upload(device, 1, columns, &vec![1.0; columns]);
            let mut d_bias = Buffer::upload(device, 1, columns, &vec![1.0; columns]);
            let inputs = LayerNormBackward {
                d_out: d_out.view(),
                x: x_buffer.view(),
                weight: weight.view(),
                statistics: statistics.view(),
            };
            layer_norm_backward(
                inputs,
                false,
                d_x.view_mut(),
                with_weight.then_some(d_weight.view_mut()),
                with_bias.then_some(d_bias.view_mut()),
            );
            let ones = vec![1.0; columns];
            let or_ones = |with: bool, whole: &[f32]| match with {
                true => whole.to_vec(),
                false => ones.clone(),
            };
            assert_eq!(d_x.view().to_vec(), whole.x, "{device:?}");
            assert_eq!(d_weight.view().to_vec(), or_ones(with_weight, &whole.weight), "{device:?}");
            assert_eq!(d_bias.view().to_vec(), or_ones(with_bias, &whole.bias), "{device:?}");
        }
    }
}

#[test]
fn the_backward_twin_agrees_with_central_differences() {
    let (rows, columns) = (3, 9);
    let (x, weight) = (wide(&inputs(rows, columns)), wide(&random(2, columns)));
    let d_out = wide(&random(3, rows * columns));
    let loss = |x: &[f64], weight: &[f64]| -> f64 {
        let normal = twin(x, columns).normal;
        (0..x.len()).map(|i| d_out[i] * normal[i] * weight[i % columns]).sum()
    };
    let (d_x, d_weight, _) = backward_twin(&d_out, &x, &weight);
    for (i, expected) in d_x.iter().enumerate() {
        let error = (central_difference(|x| loss(x, &weight), &x, i) - expected).abs();
        assert!(error < 1e-8, "d_x[{i}] is off by {error:e}");
    }
    for (i, expected) in d_weight.iter().enumerate() {
        let error = (central_difference(|weight| loss(&x, weight), &weight, i) - expected).abs();
        assert!(error < 1e-8, "d_weight[{i}] is off by {error:e}");
    }
}

#[test]
fn normalize_divides_by_the_norm_and_leaves_zero_rows() {
    for (rows, columns) in shapes() {
        let mut x = random(5, rows * columns);
        if rows > 1 {
            x[columns..2 * columns].fill(0.0);
        }
        let d_out = random(6, rows * columns);
        let (mut out, mut d_x, mut norms) = (vec![], vec![], vec![]);
        for row in 0..rows {
            let place = row * columns..(row + 1) * columns;
            let (x, d_out) = (wide(&x[place.clone()]), wide(&d_out[place]));
            let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
            let divisor = norm.max(1e-12);
            let along: f64 = x.iter().zip(&d_out).map(|(x, d)| x / divisor * d).sum();
            out.extend(x.iter().map(|x| x / divisor));
            let slope = if norm > 1e-12 { 1.0 / norm } else { 0.0 };
            d_x.extend(x.iter().zip(&d_out).map(|(x, d)| (d - x / divisor * along) * slope));
            norms.push(norm);
        }
        let relative = (8.0 + columns as f64 / 8.0) * EPS;
        for device in devices() {
            let what = format!("{rows} x {columns} on {device:?}");
            let x = Buffer::upload(device, rows, columns, &x);
            let d_out = Buffer::upload(device, rows, columns, &d_out);
            let mut got = Buffer::zeros(device, rows, columns);
            let mut got_norms = Buffer::zeros(device, rows, 1);
            normalize(x.view(), got.view_mut(), got_norms.view_mut());
            assert_close(&got.view().to_vec(), &out, |i| relative * out[i].abs(), &what);
            let allowed = |i: usize| relative * norms[i];
            assert_close(&got_norms.view().to_vec(), &norms, allowed, &what);
            let mut got_d_x = Buffer::zeros(device, rows, columns);
            normalize_backward(d_out.view(), got.view(), got_norms.view(), got_d_x.view_mut());
            // The projection of d_out is at most its norm, below sqrt(columns).
            let allowed = |i: usize| {
                let terms = 1.0 + (columns as f64).sqrt();
                relative * terms / norms[i / columns].max(1e-12)
            };
            assert_close(&got_d_x.view().to_vec(), &d_x, allowed, what);
        }
    }
}

/// The norms are on both sides of 1e-12; one of them is the `f32` nearest to it.
#[test]
fn only_rows_with_a_direction_get_a_gradient() {
    let (columns, floor) = (19, 1e-12);
    let before = f32::from_bits(f32::to_bits(floor) - 1);
    let after = f32::from_bits(f32::to_bits(floor) + 1);
    let norms = [0.0, 1e-30, before, floor, after, 1e-6, 1.0, f32::NAN];
    let d_out = random(9, norms.len() * columns);
    // One element is the norm, so that nothing is rounded.
    let mut x = vec![0.0; norms.len() * columns];
    x.chunks_mut(columns).zip(norms).for_each(|(row, norm)| row[3] = norm);
    for device in devices() {
        let [x, d_out] =
            [&x, &d_out].map(|values| Buffer::upload(device, norms.len(), columns, values));
        let [mut out, mut d_x] = [(); 2].map(|()| Buffer::zeros(device, norms.len(), columns));
        d_x.view_mut().fill(5.0);
        let mut got_norms = Buffer::zeros(device, norms.len(), 1);
        normalize(x.view(), out.view_mut(), got_norms.view_mut());
        // Squares of the small ones are below what `f32` resolves.
        got_norms.view_mut().write(&norms);
        normalize_backward(d_out.view(), out.view(), got_norms.view(), d_x.view_mut());
        let (d_out, d_x) = (d_out.view().to_vec(), d_x.view().to_vec());
        for (norm, (d_out, d_x)) in
            norms.into_iter().zip(d_out.chunks(columns).zip(d_x.chunks(columns)))
        {
            for (column, (&d, &got)) in d_out.iter().zip(d_x).enumerate() {
                let what = format!("norm {norm:e}, column {column} on {device:?}: {got:e}");
                if norm <= floor {
                    assert_eq!(got.to_bits(), 0, "{what}");
                } else if norm.is_nan() {
                    assert!(got.is_nan(), "{what}");
                } else if column != 3 {
                    // Orthogonal to the row: `d / norm`, rounded once or twice.
                    let expected = f64::from(d) / f64::from(norm);
                    let error = (f64::from(got) - expected).abs();
                    assert!(error <= 2.0 * EPS * expected.abs(), "{what}");
                }
            }
        }
    }
}

#[test]
fn normalize_backward_agrees_with_central_differences() {
    let x = wide(&random(7, 9));
    let d_out = random(8, 9);
    let loss = |x: &[f64]| -> f64 {
        let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        x.iter().zip(&d_out).map(|(x, &d)| x / norm * f64::from(d)).sum()
    };
    let expected: Vec<f64> = (0..9).map(|i| central_difference(loss, &x, i)).collect();
    for device in devices() {
        let x = Buffer::upload(device, 1, 9, &random(7, 9));
        let d_out = Buffer::upload(device, 1, 9, &d_out);
        let mut out = Buffer::zeros(device, 1, 9);
        let mut norms = Buffer::zeros(device, 1, 1);
        normalize(x.view(), out.view_mut(), norms.view_mut());
        let mut d_x = Buffer::zeros(device, 1, 9);
        normalize_backward(d_out.view(), out.view(), norms.view(), d_x.view_mut());
        // Nine terms below 1 over a norm above 1.
        assert_close(&d_x.view().to_vec(), &expected, |_| 16.0 * EPS, format!("{device:?}"));
    }
}

#[test]
fn norms_give_the_same_bits_for_any_number_of_threads() {
    let (rows, columns) = (700, 129);
    let (x, weight) = (inputs(rows, columns), random(2, columns));
    let d_out = random(3, rows * columns);
    assert_same_bits_for_any_threads("layer norm", |device| {
        let (mut all, _) = run(device, &x, &weight, Some(&weight));
        let gradients = run_backward(device, &d_out, &x, &weight, None);
        all.extend([gradients.x, gradients.weight, gradients.bias].concat());
        let buffer = Buffer::upload(device, rows, columns, &x);
        let mut out = Buffer::zeros(device, rows, columns);
        let mut norms = Buffer::zeros(device, rows, 1);
        normalize(buffer.view(), out.view_mut(), norms.view_mut());
        all.extend(out.view().to_vec());
        all
    });
}

#[test]
#[should_panic(expected = "statistics is 3 x 1, expected 3 x 2")]
fn layer_norm_refuses_statistics_of_one_column() {
    let device = &devices()[0];
    let x = Buffer::zeros(device, 3, 8);
    let weight = Buffer::zeros(device, 1, 8);
    let (mut out, mut statistics) = (Buffer::zeros(device, 3, 8), Buffer::zeros(device, 3, 1));
    layer_norm(x.view(), weight.view(), None, 1e-5, out.view_mut(), statistics.view_mut());
}
