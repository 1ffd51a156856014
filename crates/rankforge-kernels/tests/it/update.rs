//! The optimizers beside AdamW, over several steps.

use crate::support::{
    AWKWARD, EPS, assert_close, assert_same_bits_for_any_threads, devices, random, wide,
};
use rankforge_kernels::ops::{OptimizerStep, SecondMoment, UpdateRule, adafactor, update};
use rankforge_kernels::{Buffer, Device};

const STEP: OptimizerStep =
    OptimizerStep { learning_rate: 1e-2, weight_decay: 0.1, step: 1, gradient_scale: 0.5 };

const STEPS: u64 = 5;

fn rules() -> Vec<UpdateRule> {
    let sgd = |momentum, dampening, nesterov| UpdateRule::Sgd { momentum, dampening, nesterov };
    let rms_prop =
        |momentum, centered| UpdateRule::RmsProp { alpha: 0.9, epsilon: 1e-3, momentum, centered };
    vec![
        sgd(0.0, 0.0, false),
        sgd(0.9, 0.25, false),
        sgd(0.9, 0.0, true),
        UpdateRule::Adagrad { epsilon: 1e-3 },
        rms_prop(0.0, false),
        rms_prop(0.5, false),
        rms_prop(0.0, true),
        rms_prop(0.5, true),
        UpdateRule::Lion { beta1: 0.9, beta2: 0.99 },
    ]
}

/// Parameters after some steps, and the state.
struct State {
    parameters: Vec<f64>,
    state: Vec<Vec<f64>>,
}

/// Gradients of magnitudes between 1/4 and 3/2, so that a division by a root amplifies no rounding
/// error, and the sign of Lion depends on none.
fn gradients(step: u64, count: usize) -> Vec<f32> {
    let away = |x: f32| x + 0.25 * x.signum();
    random(10 + step, count).into_iter().map(away).collect()
}

fn twin(rule: &UpdateRule, count: usize) -> State {
    let (rate, decay) = (STEP.learning_rate, STEP.weight_decay);
    let mut parameters = wide(&random(1, count));
    let mut state = vec![vec![0.0; count]; rule.states()];
    for step in 1..=STEPS {
        for (i, gradient) in wide(&gradients(step, count)).into_iter().enumerate() {
            let gradient = gradient * f64::from(STEP.gradient_scale);
            let g = gradient + decay * parameters[i];
            let change = match *rule {
                UpdateRule::Sgd { momentum: 0.0, .. } => g,
                UpdateRule::Sgd { momentum, dampening, nesterov } => {
                    let new = if step == 1 { 1.0 } else { 1.0 - dampening };
                    state[0][i] = momentum * state[0][i] + new * g;
                    if nesterov { g + momentum * state[0][i] } else { state[0][i] }
                }
                UpdateRule::Adagrad { epsilon } => {
                    state[0][i] += g * g;
                    g / (state[0][i].sqrt() + epsilon)
                }
                UpdateRule::RmsProp { alpha, epsilon, momentum, centered } => {
                    state[0][i] = alpha * state[0][i] + (1.0 - alpha) * g * g;
                    let mean = state.len() - 1;
                    let mut square = state[0][i];
                    if centered {
                        state[mean][i] = alpha * state[mean][i] + (1.0 - alpha) * g;
                        square -= state[mean][i].powi(2);
                    }
                    let change = g / (square.sqrt() + epsilon);
                    if momentum == 0.0 {
                        change
                    } else {
                        state[1][i] = momentum * state[1][i] + change;
                        state[1][i]
                    }
                }
                UpdateRule::Lion { beta1, beta2 } => {
                    let between = beta1 * state[0][i] + (1.0 - beta1) * gradient;
                    state[0][i] = beta2 * state[0][i] + (1.0 - beta2) * gradient;
                    parameters[i] *= 1.0 - rate * decay;
                    between.signum()
                }
            };
            parameters[i] -= rate * change;
        }
    }
    State { parameters, state }
}

fn run(device: &Device, rule: &UpdateRule, count: usize) -> Vec<Vec<f32>> {
    let mut parameters = Buffer::upload(device, 1, count, &random(1, count));
    let mut state: Vec<Buffer> =
        (0..rule.states()).map(|_| Buffer::zeros(device, 1, count)).collect();
    for step in 1..=STEPS {
        let mut gradients = Buffer::upload(device, 1, count, &gradients(step, count));
        let state = state.iter_mut().map(Buffer::view_mut).collect();
        let step = OptimizerStep { step, ..STEP };
        update(rule, &step, gradients.view_mut(), parameters.view_mut(), state);
        assert!(gradients.view().to_vec().iter().all(|&x| x == 0.0), "gradients after a step");
    }
    [parameters].into_iter().chain(state).map(|buffer| buffer.view().to_vec()).collect()
}

#[test]
fn every_rule_agrees_with_its_twin_over_five_steps() {
    for rule in rules() {
        for count in AWKWARD.into_iter().chain([40_000]) {
            let expected = twin(&rule, count);
            for device in devices() {
                let found = run(device, &rule, count);
                let what = format!("{count} numbers by {rule:?} on {device:?}");
                // A few roundings in each step of values of at most 4; the centered rule divides by
                // the root of a difference, which may be a hundredth of its terms.
                let amplified = match rule {
                    UpdateRule::RmsProp { centered: true, .. } => 200.0,
                    _ => 16.0,
                };
                let tolerance = |_| amplified * STEPS as f64 * EPS;
                assert_close(&found[0], &expected.parameters, tolerance, &what);
                for (found, expected) in found[1..].iter().zip(&expected.state) {
                    let tolerance = |i: usize| tolerance(i) * expected[i].abs().max(1.0);
                    assert_close(found, expected, tolerance, &what);
                }
            }
        }
    }
}

#[test]
fn every_rule_gives_the_same_bits_for_any_number_of_threads() {
    for rule in rules() {
        let what = format!("{rule:?}");
        assert_same_bits_for_any_threads(what, |device| run(device, &rule, 100_003).concat());
    }
    for (rows, columns) in [(1, 100_003), (301, 333), (3000, 40)] {
        let what = format!("adafactor of {rows} x {columns}");
        assert_same_bits_for_any_threads(what, |device| {
            run_adafactor(device, rows, columns).concat()
        });
    }
}

/// A zero gradient changes nothing where the state is zero, and does where it is not: but for
/// rules without momentum.
#[test]
fn only_elements_that_a_step_cannot_change_are_skipped() {
    const COUNT: usize = 1000;
    for device in devices() {
        for rule in rules() {
            let start = random(3, COUNT);
            let mut parameters = Buffer::upload(device, 1, COUNT, &start);
            let mut state: Vec<Buffer> =
                (0..rule.states()).map(|_| Buffer::zeros(device, 1, COUNT)).collect();
            let mut numbers = vec![0.0; COUNT];
            numbers[300..310].fill(1.0);
            let mut gradients = Buffer::upload(device, 1, COUNT, &numbers);
            let mut after = Vec::new();
            for step in 1..=2 {
                let step = OptimizerStep { step, weight_decay: 0.0, ..STEP };
                let state = state.iter_mut().map(Buffer::view_mut).collect();
                update(&rule, &step, gradients.view_mut(), parameters.view_mut(), state);
                after.push(parameters.view().to_vec());
            }
            let goes_on = match rule {
                UpdateRule::Sgd { momentum, .. } | UpdateRule::RmsProp { momentum, .. } => {
                    momentum > 0.0
                }
                UpdateRule::Adagrad { .. } => false,
                UpdateRule::Lion { .. } => true,
            };
            for index in 0..COUNT {
                let touched = (300..310).contains(&index);
                assert_eq!(after[0][index] < start[index], touched, "{index} by {rule:?}");
                let again = after[1][index] < after[0][index];
                assert_eq!(again, touched && goes_on, "{index} by {rule:?} on {device:?}");
            }
        }
    }
}

fn run_adafactor(device: &Device, rows: usize, columns: usize) -> [Vec<f32>; 3] {
    let count = rows * columns;
    let mut parameters = Buffer::upload(device, rows, columns, &random(1, count));
    let mut of_rows = Buffer::zeros(device, rows, 1);
    let mut of_columns = Buffer::zeros(device, columns, 1);
    let mut full = Buffer::zeros(device, rows, columns);
    for step in 1..=STEPS {
        let mut gradients = Buffer::upload(device, rows, columns, &sparse(step, rows, columns));
        let moment = match rows {
            1 => SecondMoment::Full(full.view_mut()),
            _ => {
                SecondMoment::Factored { rows: of_rows.view_mut(), columns: of_columns.view_mut() }
            }
        };
        let step = OptimizerStep { step, ..STEP };
        adafactor(&step, gradients.view_mut(), parameters.view_mut(), moment);
        assert!(gradients.view().to_vec().iter().all(|&x| x == 0.0), "gradients after a step");
    }
    if rows == 1 {
        of_rows = full;
    }
    [parameters, of_rows, of_columns].map(|buffer| buffer.view().to_vec())
}

/// Gradients of which every fifth row is zero, as those of embeddings, and one column is small.
fn sparse(step: u64, rows: usize, columns: usize) -> Vec<f32> {
    let mut values = random(10 + step, rows * columns);
    for (index, value) in values.iter_mut().enumerate() {
        let (row, column) = (index / columns, index % columns);
        *value *= match (row % 5, column) {
            (3, _) => 0.0,
            (_, 2) => 1e-3,
            _ => 1.0,
        };
    }
    values
}

/// The parameters, and the means of rows and columns, or all mean squares of one row.
fn twin_of_adafactor(rows: usize, columns: usize) -> [Vec<f64>; 3] {
    let mut parameters = wide(&random(1, rows * columns));
    let (mut of_rows, mut of_columns) = (vec![0.0; rows], vec![0.0; columns]);
    let mut full = vec![0.0; columns];
    for step in 1..=STEPS {
        let decay = 1.0 - (step as f64).powf(-0.8);
        let scale = f64::from(STEP.gradient_scale);
        let g: Vec<f64> =
            wide(&sparse(step, rows, columns)).into_iter().map(|g| g * scale).collect();
        let square = |row: usize, column: usize| g[row * columns + column].powi(2) + 1e-30;
        for (row, of_row) in of_rows.iter_mut().enumerate() {
            let mean = (0..columns).map(|c| square(row, c)).sum::<f64>() / columns as f64;
            *of_row = decay * *of_row + (1.0 - decay) * mean;
        }
        for column in 0..columns {
            let mean = (0..rows).map(|row| square(row, column)).sum::<f64>() / rows as f64;
            of_columns[column] = decay * of_columns[column] + (1.0 - decay) * mean;
            full[column] = decay * full[column] + (1.0 - decay) * square(0, column);
        }
        let mean = of_rows.iter().sum::<f64>() / rows as f64;
        let changes: Vec<f64> = (0..rows * columns)
            .map(|i| {
                let moment = match rows {
                    1 => full[i],
                    _ => of_rows[i / columns] / mean * of_columns[i % columns],
                };
                g[i] / moment.sqrt()
            })
            .collect();
        let squares: f64 = changes.iter().map(|change| change * change).sum();
        let rms = (squares / changes.len() as f64).sqrt();
        for (parameter, change) in parameters.iter_mut().zip(changes) {
            *parameter *= 1.0 - STEP.learning_rate * STEP.weight_decay;
            *parameter -= STEP.learning_rate / rms.max(1.0) * change;
        }
    }
    if rows == 1 { [parameters, full, of_columns] } else { [parameters, of_rows, of_columns] }
}

#[test]
fn adafactor_agrees_with_its_twin_over_five_steps() {
    for (rows, columns) in
        [(1, 1), (1, 17), (1, 70_000), (2, 3), (7, 1), (9, 16), (64, 33), (300, 200), (5000, 7)]
    {
        let expected = twin_of_adafactor(rows, columns);
        for device in devices() {
            let found = run_adafactor(device, rows, columns);
            let what = format!("{rows} x {columns} on {device:?}");
            // A change is at most the learning rate times the root of the number of rows or
            // columns. A mean of a row is a sum of that many terms in f32.
            let most = (rows.max(columns) as f64).sqrt();
            let tolerance = |_| (4.0 + most) * STEPS as f64 * EPS;
            assert_close(&found[0], &expected[0], tolerance, &what);
            for which in [1, 2].into_iter().filter(|which| rows > 1 || *which == 1) {
                let expected = &expected[which];
                let tolerance = |i: usize| (8.0 + most) * EPS * expected[i];
                assert_close(&found[which], expected, tolerance, &what);
            }
        }
    }
}

#[test]
fn a_nan_gradient_makes_its_parameter_nan() {
    for device in devices() {
        for rule in rules() {
            let mut gradients = Buffer::upload(device, 1, 3, &[1.0, f32::NAN, 1.0]);
            let mut parameters = Buffer::zeros(device, 1, 3);
            let mut state: Vec<Buffer> =
                (0..rule.states()).map(|_| Buffer::zeros(device, 1, 3)).collect();
            let views = state.iter_mut().map(Buffer::view_mut).collect();
            update(&rule, &STEP, gradients.view_mut(), parameters.view_mut(), views);
            // The sign of what is no number is none either; the moment of Lion keeps it.
            let place =
                if matches!(rule, UpdateRule::Lion { .. }) { &state[0] } else { &parameters };
            let bad: Vec<bool> = place.view().to_vec().iter().map(|x| x.is_nan()).collect();
            assert_eq!(bad, [false, true, false], "{rule:?} on {device:?}");
        }
    }
}

#[test]
#[should_panic(expected = "matrices of state")]
fn a_rule_refuses_another_number_of_states() {
    let device = &devices()[0];
    let [mut gradients, mut parameters] = [(); 2].map(|()| Buffer::zeros(device, 1, 3));
    let rule = UpdateRule::Adagrad { epsilon: 1e-10 };
    update(&rule, &STEP, gradients.view_mut(), parameters.view_mut(), Vec::new());
}
