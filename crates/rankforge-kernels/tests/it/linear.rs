use crate::support::{
    AWKWARD, EPS, assert_close, assert_same_bits_for_any_threads, central_difference, devices,
    devices_for, random, wide,
};
use rankforge_kernels::ops::{
    Activation, Dropout, Epilogue, InputGradient, Store, WeightGradient, activate_backward,
    dropout, linear, linear_backward,
};
use rankforge_kernels::{Buffer, Device, Precision};

/// Shapes beyond one tile, one depth block and the threshold for threads.
const LARGE: [[usize; 3]; 7] = [
    [97, 513, 65],
    [130, 385, 700],
    [65, 1030, 321],
    [300, 1200, 17],
    [3, 2100, 770],
    [1, 384, 1536],
    [200, 3, 1000],
];

/// Small shapes of all remainders, and [`LARGE`] ones.
pub(crate) fn shapes() -> impl Iterator<Item = [usize; 3]> {
    let small = [0, 1, 7, 9, 16, 33, 65];
    let awkward = AWKWARD.into_iter().flat_map(move |rows| {
        small.into_iter().flat_map(move |depth| small.map(|columns| [rows, depth, columns]))
    });
    awkward.chain(LARGE)
}

/// `a bᵀ` of `rows x depth` and `columns x depth`, and the same with absolute values.
fn twin(a: &[f64], b: &[f64], [rows, depth, columns]: [usize; 3]) -> (Vec<f64>, Vec<f64>) {
    let mut sums = vec![0.0; rows * columns];
    let mut magnitudes = vec![0.0; rows * columns];
    for row in 0..rows {
        for column in 0..columns {
            let a = &a[row * depth..(row + 1) * depth];
            let b = &b[column * depth..(column + 1) * depth];
            for (a, b) in a.iter().zip(b) {
                sums[row * columns + column] += a * b;
                magnitudes[row * columns + column] += (a * b).abs();
            }
        }
    }
    (sums, magnitudes)
}

fn transposed(x: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let mut out = vec![0.0; x.len()];
    for row in 0..rows {
        for column in 0..columns {
            out[column * rows + row] = x[row * columns + column];
        }
    }
    out
}

/// The bound of a sum of `depth` products and a few more terms: (depth + extra) u Σ|a||b|.
fn bound(depth: usize, magnitude: f64) -> f64 {
    (depth + 4) as f64 * 0.5 * EPS * magnitude
}

fn run(device: &Device, x: &[f32], weight: &[f32], [rows, depth, columns]: [usize; 3]) -> Vec<f32> {
    let x = Buffer::upload(device, rows, depth, x);
    let weight = Buffer::upload(device, columns, depth, weight);
    let mut out = Buffer::upload(device, rows, columns, &vec![f32::NAN; rows * columns]);
    linear(x.view(), weight.view(), Precision::Float32, Epilogue::default(), out.view_mut());
    out.view().to_vec()
}

#[test]
fn linear_is_the_product_for_all_shapes() {
    for shape in shapes() {
        let [rows, depth, columns] = shape;
        let (x, weight) = (random(1, rows * depth), random(2, columns * depth));
        let (expected, magnitudes) = twin(&wide(&x), &wide(&weight), shape);
        for device in devices() {
            let got = run(device, &x, &weight, shape);
            let what = format!("{shape:?} on {device:?}");
            assert_close(&got, &expected, |i| bound(depth, magnitudes[i]), what);
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_among_others() {
    let [rows, depth, columns] = [150, 600, 70];
    let (x, weight) = (random(1, rows * depth), random(2, columns * depth));
    for device in devices() {
        let all = run(device, &x, &weight, [rows, depth, columns]);
        for count in [1, 5, 64, 65] {
            let some = run(device, &x[..count * depth], &weight, [count, depth, columns]);
            assert_eq!(some, all[..count * columns], "{count} rows on {device:?}");
        }
    }
}

#[test]
fn epilogue_adds_bias_keeps_the_sum_activates_drops_out_and_adds_the_residual() {
    for shape in [[1, 7, 9], [33, 17, 65], [130, 385, 700], [4, 0, 5]] {
        for device in devices() {
            for accumulate in [false, true] {
                check_epilogue(device, shape, accumulate);
            }
        }
    }
}

fn check_epilogue(device: &Device, shape: [usize; 3], accumulate: bool) {
    let [rows, depth, columns] = shape;
    let (x, weight) = (random(1, rows * depth), random(2, columns * depth));
    let (bias, residual) = (random(3, columns), random(4, rows * columns));
    let before = random(5, rows * columns);
    let config = Dropout::new(0.25, 1, 2, 3, 4);
    let (sums, magnitudes) = twin(&wide(&x), &wide(&weight), shape);
    let mut mask = Buffer::upload(device, rows, columns, &vec![1.0; rows * columns]);
    dropout(config, mask.view_mut());
    let mask = mask.view().to_vec();
    let x = Buffer::upload(device, rows, depth, &x);
    let weight = Buffer::upload(device, columns, depth, &weight);
    let bias_buffer = Buffer::upload(device, 1, columns, &bias);
    let residual_buffer = Buffer::upload(device, rows, columns, &residual);
    let mut kept = Buffer::zeros(device, rows, columns);
    let mut out = Buffer::upload(device, rows, columns, &before);
    let epilogue = Epilogue {
        accumulate,
        bias: Some(bias_buffer.view()),
        pre_activation: Some(kept.view_mut()),
        activation: Some(Activation::Tanh),
        dropout: Some(config),
        residual: Some(residual_buffer.view()),
    };
    linear(x.view(), weight.view(), Precision::Float32, epilogue, out.view_mut());
    let start = |i: usize| if accumulate { f64::from(before[i]) } else { 0.0 };
    let expected: Vec<f64> =
        (0..sums.len()).map(|i| start(i) + sums[i] + f64::from(bias[i % columns])).collect();
    let allowed = |i: usize| bound(depth, magnitudes[i] + 2.0);
    let what = format!("{shape:?}, accumulate {accumulate}, on {device:?}");
    assert_close(&kept.view().to_vec(), &expected, allowed, format!("sum, {what}"));
    let finished: Vec<f64> = (0..sums.len())
        .map(|i| expected[i].tanh() * f64::from(mask[i]) + f64::from(residual[i]))
        .collect();
    // The slope of tanh is at most 1, the mask 4/3; a few roundings of values below 3.
    let allowed = |i: usize| 4.0 / 3.0 * bound(depth, magnitudes[i] + 2.0) + 12.0 * EPS;
    assert_close(&out.view().to_vec(), &finished, allowed, format!("out, {what}"));
}

#[test]
fn backward_input_is_the_product_with_the_weight() {
    for shape in shapes() {
        let [rows, depth, columns] = shape;
        let (d_out, weight) = (random(1, rows * depth), random(2, depth * columns));
        let before = random(3, rows * columns);
        let by_column = transposed(&wide(&weight), depth, columns);
        let (expected, magnitudes) = twin(&wide(&d_out), &by_column, shape);
        for device in devices() {
            for accumulate in [false, true] {
                let d_out = Buffer::upload(device, rows, depth, &d_out);
                let weight = Buffer::upload(device, depth, columns, &weight);
                let mut d_x = Buffer::upload(device, rows, columns, &before);
                let store = if accumulate { Store::Add } else { Store::Write };
                let input = InputGradient { weight: weight.view(), store, d_x: d_x.view_mut() };
                linear_backward(d_out.view(), Precision::Float32, Some(input), None);
                let start = |i: usize| if accumulate { f64::from(before[i]) } else { 0.0 };
                let expected: Vec<f64> =
                    (0..expected.len()).map(|i| expected[i] + start(i)).collect();
                let what = format!("{shape:?}, accumulate {accumulate}, on {device:?}");
                let allowed = |i: usize| bound(depth, magnitudes[i] + start(i).abs());
                assert_close(&d_x.view().to_vec(), &expected, allowed, what);
            }
        }
    }
}

#[test]
fn backward_weight_adds_the_products_and_the_column_sums() {
    for [columns, depth, rows] in shapes() {
        // Depth is the number of tokens here.
        let (d_out, x) = (random(1, depth * rows), random(2, depth * columns));
        let (before, bias_before) = (random(3, rows * columns), random(4, rows));
        let left = transposed(&wide(&d_out), depth, rows);
        let right = transposed(&wide(&x), depth, columns);
        let (expected, magnitudes) = twin(&left, &right, [rows, depth, columns]);
        let (sums, sum_magnitudes) = twin(&left, &vec![1.0; depth], [rows, depth, 1]);
        for device in devices() {
            let d_out = Buffer::upload(device, depth, rows, &d_out);
            let x = Buffer::upload(device, depth, columns, &x);
            let mut d_weight = Buffer::upload(device, rows, columns, &before);
            let mut d_bias = Buffer::upload(device, 1, rows, &bias_before);
            let weight = WeightGradient {
                x: x.view(),
                d_weight: d_weight.view_mut(),
                d_bias: Some(d_bias.view_mut()),
            };
            linear_backward(d_out.view(), Precision::Float32, None, Some(weight));
            let what = format!("{rows} x {columns} of {depth} tokens on {device:?}");
            let total: Vec<f64> =
                (0..expected.len()).map(|i| expected[i] + f64::from(before[i])).collect();
            let allowed = |i: usize| bound(depth, magnitudes[i] + 1.0);
            assert_close(&d_weight.view().to_vec(), &total, allowed, &what);
            let total: Vec<f64> = (0..rows).map(|i| sums[i] + f64::from(bias_before[i])).collect();
            let allowed = |i: usize| bound(depth, sum_magnitudes[i] + 1.0);
            assert_close(&d_bias.view().to_vec(), &total, allowed, format!("bias, {what}"));
        }
    }
}

/// Tokens, outputs and inputs: no tokens, single elements, more rows than a group of panels,
/// several runs of tokens, and a row stride that makes the product pack the rows.
const LAYERS: [[usize; 3]; 8] = [
    [0, 5, 7],
    [1, 1, 1],
    [3, 1, 9],
    [9, 7, 1],
    [33, 65, 40],
    [70, 1024, 33],
    [301, 389, 200],
    [2100, 700, 390],
];

#[test]
fn both_gradients_at_once_have_the_bits_of_each_alone() {
    for [tokens, outputs, inputs] in LAYERS {
        let (d_out, x) = (random(1, tokens * outputs), random(2, tokens * inputs));
        let (weight, sum) = (random(3, outputs * inputs), random(4, tokens * inputs));
        let before = random(5, tokens * inputs);
        for device in devices_for(tokens * outputs * inputs) {
            let d_out = Buffer::upload(device, tokens, outputs, &d_out);
            let x = Buffer::upload(device, tokens, inputs, &x);
            let weight = Buffer::upload(device, outputs, inputs, &weight);
            let sum = Buffer::upload(device, tokens, inputs, &sum);
            for precision in Precision::ALL {
                for store in [Store::Write, Store::Add, Store::Slopes(Activation::Gelu, sum.view())]
                {
                    let run = |together: bool| {
                        let mut d_x = Buffer::upload(device, tokens, inputs, &before);
                        let mut d_weight = Buffer::zeros(device, outputs, inputs);
                        let mut d_bias = Buffer::zeros(device, 1, outputs);
                        let of_input =
                            InputGradient { weight: weight.view(), store, d_x: d_x.view_mut() };
                        let of_weight = WeightGradient {
                            x: x.view(),
                            d_weight: d_weight.view_mut(),
                            d_bias: Some(d_bias.view_mut()),
                        };
                        if together {
                            let (input, weight) = (Some(of_input), Some(of_weight));
                            linear_backward(d_out.view(), precision, input, weight);
                        } else {
                            linear_backward(d_out.view(), precision, Some(of_input), None);
                            linear_backward(d_out.view(), precision, None, Some(of_weight));
                        }
                        [d_x, d_weight, d_bias].map(|buffer| buffer.view().to_vec())
                    };
                    let what = format!("{tokens} x {outputs} x {inputs}, {precision}, {device:?}");
                    assert!(run(true) == run(false), "{what}");
                }
            }
        }
    }
}

#[test]
fn slopes_multiply_the_product_by_the_derivative_of_the_activation() {
    let [tokens, outputs, inputs] = [130, 70, 385];
    let (d_out, weight) = (random(1, tokens * outputs), random(2, outputs * inputs));
    let before = random(3, tokens * inputs);
    for device in devices() {
        let d_out = Buffer::upload(device, tokens, outputs, &d_out);
        let weight = Buffer::upload(device, outputs, inputs, &weight);
        let before = Buffer::upload(device, tokens, inputs, &before);
        let run = |store: Store<'_>| {
            let mut d_x = Buffer::zeros(device, tokens, inputs);
            let input = InputGradient { weight: weight.view(), store, d_x: d_x.view_mut() };
            linear_backward(d_out.view(), Precision::Float32, Some(input), None);
            d_x
        };
        for function in [Activation::Identity, Activation::Gelu, Activation::Relu, Activation::Silu]
        {
            let mut expected = Buffer::zeros(device, tokens, inputs);
            let d_hidden = run(Store::Write);
            activate_backward(function, d_hidden.view(), before.view(), expected.view_mut());
            let got = run(Store::Slopes(function, before.view()));
            assert_eq!(got.view().to_vec(), expected.view().to_vec(), "{function:?} on {device:?}");
        }
    }
}

#[test]
fn backward_agrees_with_central_differences() {
    let [rows, depth, columns] = [3, 5, 4];
    let (x, weight) = (random(1, rows * depth), random(2, columns * depth));
    let d_out = random(3, rows * columns);
    let loss = |x: &[f64], weight: &[f64]| -> f64 {
        let (out, _) = twin(x, weight, [rows, depth, columns]);
        out.iter().zip(&d_out).map(|(out, d_out)| out * f64::from(*d_out)).sum()
    };
    let (x_wide, weight_wide) = (wide(&x), wide(&weight));
    let expected_x: Vec<f64> =
        (0..x.len()).map(|i| central_difference(|x| loss(x, &weight_wide), &x_wide, i)).collect();
    let expected_weight: Vec<f64> = (0..weight.len())
        .map(|i| central_difference(|weight| loss(&x_wide, weight), &weight_wide, i))
        .collect();
    for device in devices() {
        let x = Buffer::upload(device, rows, depth, &x);
        let weight = Buffer::upload(device, columns, depth, &weight);
        let d_out = Buffer::upload(device, rows, columns, &d_out);
        let mut d_x = Buffer::zeros(device, rows, depth);
        let mut d_weight = Buffer::zeros(device, columns, depth);
        let input =
            InputGradient { weight: weight.view(), store: Store::Write, d_x: d_x.view_mut() };
        let weight = WeightGradient { x: x.view(), d_weight: d_weight.view_mut(), d_bias: None };
        linear_backward(d_out.view(), Precision::Float32, Some(input), Some(weight));
        // Sums of at most five products of values below 1.
        assert_close(&d_x.view().to_vec(), &expected_x, |_| 10.0 * EPS, "d_x");
        assert_close(&d_weight.view().to_vec(), &expected_weight, |_| 10.0 * EPS, "d_weight");
    }
}

#[test]
fn linear_and_its_backward_give_the_same_bits_for_any_number_of_threads() {
    let [rows, depth, columns] = [333, 700, 130];
    let (x, weight) = (random(1, rows * depth), random(2, columns * depth));
    let d_out = random(3, rows * columns);
    assert_same_bits_for_any_threads("linear", |device| {
        let x = Buffer::upload(device, rows, depth, &x);
        let weight = Buffer::upload(device, columns, depth, &weight);
        let d_out = Buffer::upload(device, rows, columns, &d_out);
        let mut out = Buffer::zeros(device, rows, columns);
        let epilogue = Epilogue {
            activation: Some(Activation::Gelu),
            dropout: Some(Dropout::new(0.1, 1, 2, 3, 4)),
            ..Epilogue::default()
        };
        linear(x.view(), weight.view(), Precision::Float32, epilogue, out.view_mut());
        let mut d_x = Buffer::zeros(device, rows, depth);
        let mut d_weight = Buffer::zeros(device, columns, depth);
        let mut d_bias = Buffer::zeros(device, 1, columns);
        let (store, d_x_view) = (Store::Slopes(Activation::Gelu, x.view()), d_x.view_mut());
        let input = InputGradient { weight: weight.view(), store, d_x: d_x_view };
        let (d_weight_view, d_bias_view) = (d_weight.view_mut(), Some(d_bias.view_mut()));
        let parameters =
            WeightGradient { x: x.view(), d_weight: d_weight_view, d_bias: d_bias_view };
        linear_backward(d_out.view(), Precision::Float32, Some(input), Some(parameters));
        [out, d_x, d_weight, d_bias].iter().flat_map(|buffer| buffer.view().to_vec()).collect()
    });
}

#[test]
#[should_panic(expected = "weight is 4 x 6, expected 4 x 5")]
fn a_weight_of_another_depth_is_refused_with_both_shapes() {
    let device = &devices()[0];
    let (x, weight) = (Buffer::zeros(device, 3, 5), Buffer::zeros(device, 4, 6));
    let mut out = Buffer::zeros(device, 3, 4);
    linear(x.view(), weight.view(), Precision::Float32, Epilogue::default(), out.view_mut());
}

/// Each gradient alone would accept its operands.
#[test]
#[should_panic(expected = "x is 3 x 6, expected 3 x 5")]
fn gradients_for_inputs_of_two_widths_are_refused() {
    let device = &devices()[0];
    let [d_out, weight, x] =
        [(3, 4), (4, 5), (3, 6)].map(|(rows, columns)| Buffer::zeros(device, rows, columns));
    let (mut d_x, mut d_weight) = (Buffer::zeros(device, 3, 5), Buffer::zeros(device, 4, 6));
    let input = InputGradient { weight: weight.view(), store: Store::Write, d_x: d_x.view_mut() };
    let weight = WeightGradient { x: x.view(), d_weight: d_weight.view_mut(), d_bias: None };
    linear_backward(d_out.view(), Precision::Float32, Some(input), Some(weight));
}

#[test]
fn a_weight_too_large_to_pack_at_once_gives_the_bits_of_its_parts() {
    let [rows, depth, columns, part] = [70, 600, 17_000, 4_250];
    let (x, weight) = (random(1, rows * depth), random(2, columns * depth));
    for device in devices_for(rows * depth * columns) {
        let whole = run(device, &x, &weight, [rows, depth, columns]);
        for first in (0..columns).step_by(part) {
            let weight = &weight[first * depth..(first + part) * depth];
            let expected = run(device, &x, weight, [rows, depth, part]);
            for row in 0..rows {
                let got = &whole[row * columns + first..row * columns + first + part];
                let expected = &expected[row * part..(row + 1) * part];
                assert!(got == expected, "row {row}, columns from {first} on {device:?}");
            }
        }
    }
}
