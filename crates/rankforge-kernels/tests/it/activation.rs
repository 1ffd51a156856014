use crate::support::{
    AWKWARD, EPS, assert_close, assert_same_bits_for_any_threads, devices, normal_cdf, random, wide,
};
use rankforge_kernels::ops::{
    Activation, Epilogue, Gate, activate, activate_backward, gated, gated_backward, linear,
};
use rankforge_kernels::{Buffer, Device, Precision};
use std::f64::consts::PI;

const ALL: [Activation; 7] = [
    Activation::Identity,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Relu,
    Activation::Tanh,
    Activation::Silu,
    Activation::Sigmoid,
];

const GATES: [(Gate, Activation); 3] = [
    (Gate::GeGlu, Activation::Gelu),
    (Gate::GeGluTanh, Activation::GeluTanh),
    (Gate::SwiGlu, Activation::Silu),
];

struct Twin {
    value: f64,
    slope: f64,
    /// Sum of the absolute terms of the slope, which may cancel.
    slope_terms: f64,
    /// Absolute value of the exponent, whose rounding error becomes a relative error of the result.
    exponent: f64,
}

fn twin(function: Activation, x: f64) -> Twin {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    // σ(x) (1 - σ(x)) without cancellation.
    let sigmoid_slope = |x: f64| sigmoid(x) * sigmoid(-x);
    let (value, terms, exponent) = match function {
        Activation::Identity => (x, [1.0, 0.0], 0.0),
        Activation::Gelu => {
            let density = (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
            (x * normal_cdf(x), [normal_cdf(x), x * density], 0.5 * x * x)
        }
        Activation::GeluTanh => {
            let scale = 2.0 * (2.0 / PI).sqrt();
            let u = scale * (x + 0.044715 * x * x * x);
            let inner = scale * (1.0 + 3.0 * 0.044715 * x * x);
            (x * sigmoid(u), [sigmoid(u), x * inner * sigmoid_slope(u)], u.abs())
        }
        Activation::Relu => (x.max(0.0), [f64::from(x > 0.0), 0.0], 0.0),
        Activation::Tanh => (x.tanh(), [4.0 * sigmoid_slope(2.0 * x), 0.0], 0.0),
        Activation::Silu => (x * sigmoid(x), [sigmoid(x), x * sigmoid_slope(x)], 0.0),
        Activation::Sigmoid => (sigmoid(x), [sigmoid_slope(x), 0.0], 0.0),
    };
    let slope_terms = terms[0].abs() + terms[1].abs();
    Twin { value, slope: terms[0] + terms[1], slope_terms, exponent }
}

/// About eight roundings, two to four more for each unit of the exponent, and the flush to zero of
/// exponentials below 2^-125 = 2e-38, which slopes multiply by at most a few hundred.
fn tolerance(twin: &Twin, magnitude: f64) -> f64 {
    (8.0 + 2.0 * twin.exponent) * EPS * magnitude + 1e-35
}

fn arguments() -> Vec<f32> {
    let even = (-8000..=8000).map(|i| i as f32 / 400.0);
    even.chain([1e-30, -1e-30, 1e-3, -1e-3, 80.0, -80.0]).chain(random(1, 1001)).collect()
}

/// The function of each element, as the epilogue of a product with 1, which is exact.
fn apply(device: &Device, function: Activation, x: &[f32]) -> Vec<f32> {
    let (one, x) = (Buffer::upload(device, 1, 1, &[1.0]), Buffer::upload(device, x.len(), 1, x));
    let mut out = Buffer::zeros(device, 1, x.rows());
    let epilogue = Epilogue { activation: Some(function), ..Epilogue::default() };
    linear(one.view(), x.view(), Precision::Float32, epilogue, out.view_mut());
    let mut alone = Buffer::zeros(device, x.rows(), 1);
    activate(function, x.view(), alone.view_mut());
    let (out, alone) = (out.view().to_vec(), alone.view().to_vec());
    let same = out.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits());
    // The reference device rounds the input of an epilogue nowhere.
    assert!(same || device.isa().is_none(), "{function:?} in an epilogue and alone on {device:?}");
    alone
}

fn apply_backward(device: &Device, function: Activation, d_out: &[f32], x: &[f32]) -> Vec<f32> {
    let d_out = Buffer::upload(device, 1, x.len(), d_out);
    let x = Buffer::upload(device, 1, x.len(), x);
    let mut d_x = Buffer::zeros(device, 1, x.columns());
    activate_backward(function, d_out.view(), x.view(), d_x.view_mut());
    d_x.view().to_vec()
}

#[test]
fn activations_agree_with_their_twins_over_the_range_of_arguments() {
    let x = arguments();
    let d_out = random(2, x.len());
    for function in ALL {
        let twins: Vec<Twin> = x.iter().map(|&x| twin(function, f64::from(x))).collect();
        let values: Vec<f64> = twins.iter().map(|twin| twin.value).collect();
        let slopes: Vec<f64> =
            twins.iter().zip(&d_out).map(|(twin, &d)| twin.slope * f64::from(d)).collect();
        for device in devices() {
            let got = apply(device, function, &x);
            let allowed = |i: usize| tolerance(&twins[i], values[i].abs());
            assert_close(&got, &values, allowed, format!("{function:?} on {device:?}"));
            let got = apply_backward(device, function, &d_out, &x);
            let terms = |i: usize| twins[i].slope_terms * f64::from(d_out[i]).abs();
            let allowed = |i: usize| tolerance(&twins[i], terms(i));
            assert_close(&got, &slopes, allowed, format!("{function:?} slope on {device:?}"));
        }
    }
}

#[test]
fn slopes_of_the_twins_are_their_central_differences() {
    for function in ALL {
        for x in random(3, 200) {
            let x = 4.0 * f64::from(x);
            let step = 1e-5;
            let value = |x| twin(function, x).value;
            let numeric = (value(x + step) - value(x - step)) / (2.0 * step);
            let error = (numeric - twin(function, x).slope).abs();
            // h² times a third derivative below 4, and rounding of values below 4 over h.
            assert!(error < 1e-9, "{function:?} at {x}: off by {error:e}");
        }
    }
}

#[test]
fn activations_take_rows_of_any_length() {
    for function in ALL {
        for count in AWKWARD {
            let (x, d_out) = (random(4, count), random(5, count));
            let expected = apply(&devices()[0], function, &x);
            let expected_slopes = apply_backward(&devices()[0], function, &d_out, &x);
            for device in devices() {
                // The first device is checked against the twin; fused multiply-adds round
                // differently.
                let allowed = |_: usize| 8.0 * EPS;
                let got = apply(device, function, &x);
                assert_close(&got, &wide(&expected), allowed, format!("{function:?}, {count}"));
                let got = apply_backward(device, function, &d_out, &x);
                assert_close(&got, &wide(&expected_slopes), allowed, format!("{function:?} slope"));
            }
        }
    }
}

#[test]
fn nan_goes_through() {
    for function in ALL {
        for device in devices() {
            let out = apply(device, function, &[1.0, f32::NAN, 2.0]);
            assert!(out[1].is_nan() && out[0].is_finite() && out[2].is_finite(), "{function:?}");
        }
    }
}

#[test]
fn gated_multiplies_the_activated_half_by_the_other() {
    for (gate, function) in GATES {
        for rows in [0, 1, 3] {
            for width in AWKWARD {
                let x: Vec<f32> = random(6, rows * 2 * width).iter().map(|x| 3.0 * x).collect();
                let d_out = random(7, rows * width);
                let (mut out, mut scale) = (vec![0.0; rows * width], vec![0.0; rows * width]);
                let (mut d_x, mut d_scale) = (vec![0.0; x.len()], vec![0.0; x.len()]);
                for row in 0..rows {
                    for column in 0..width {
                        let (i, left) = (row * width + column, row * 2 * width + column);
                        let twin = twin(function, f64::from(x[left]));
                        let (up, d) = (f64::from(x[left + width]), f64::from(d_out[i]));
                        out[i] = twin.value * up;
                        scale[i] = tolerance(&twin, out[i].abs());
                        d_x[left] = d * up * twin.slope;
                        d_scale[left] = tolerance(&twin, (d * up).abs() * twin.slope_terms);
                        d_x[left + width] = d * twin.value;
                        d_scale[left + width] = tolerance(&twin, d_x[left + width].abs());
                    }
                }
                for device in devices() {
                    let x = Buffer::upload(device, rows, 2 * width, &x);
                    let mut got = Buffer::zeros(device, rows, width);
                    gated(gate, x.view(), got.view_mut());
                    let what = format!("{gate:?} {rows} x {width} on {device:?}");
                    assert_close(&got.view().to_vec(), &out, |i| scale[i], &what);
                    let d_out = Buffer::upload(device, rows, width, &d_out);
                    let mut got = Buffer::zeros(device, rows, 2 * width);
                    gated_backward(gate, d_out.view(), x.view(), got.view_mut());
                    assert_close(&got.view().to_vec(), &d_x, |i| d_scale[i], what);
                }
            }
        }
    }
}

#[test]
fn activations_give_the_same_bits_for_any_number_of_threads() {
    let (x, d_out) = (random(8, 330 * 514), random(9, 330 * 514));
    assert_same_bits_for_any_threads("gelu and geglu", |device| {
        let mut all = apply(device, Activation::Gelu, &x);
        all.extend(apply_backward(device, Activation::Gelu, &d_out, &x));
        let x = Buffer::upload(device, 330, 514, &x);
        let mut out = Buffer::zeros(device, 330, 257);
        gated(Gate::GeGlu, x.view(), out.view_mut());
        let mut d_x = Buffer::zeros(device, 330, 514);
        gated_backward(Gate::GeGlu, out.view(), x.view(), d_x.view_mut());
        all.extend(out.view().to_vec());
        all.extend(d_x.view().to_vec());
        all
    });
}

#[test]
#[should_panic(expected = "x is 2 x 7, expected 2 x 8")]
fn gated_refuses_a_width_that_is_not_twice_the_output() {
    let device = &devices()[0];
    let x = Buffer::zeros(device, 2, 7);
    let mut out = Buffer::zeros(device, 2, 4);
    gated(Gate::SwiGlu, x.view(), out.view_mut());
}
