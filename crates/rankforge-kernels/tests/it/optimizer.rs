use crate::support::{
    AWKWARD, EPS, assert_close, assert_same_bits_for_any_threads, devices, random, wide,
};
use rankforge_kernels::ops::{AdamW, adamw, sum_of_squares};
use rankforge_kernels::{Buffer, Device};

const CONFIG: AdamW = AdamW {
    learning_rate: 1e-2,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.1,
    step: 1,
    gradient_scale: 0.5,
};

const STEPS: u64 = 5;

struct State {
    parameters: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
}

fn twin(count: usize) -> State {
    let mut state = State {
        parameters: wide(&random(1, count)),
        first: vec![0.0; count],
        second: vec![0.0; count],
    };
    for step in 1..=STEPS {
        let gradients = wide(&random(10 + step, count));
        let correction = |beta: f64| 1.0 - beta.powi(step as i32);
        for (i, gradient) in gradients.into_iter().enumerate() {
            let gradient = gradient * f64::from(CONFIG.gradient_scale);
            state.first[i] = CONFIG.beta1 * state.first[i] + (1.0 - CONFIG.beta1) * gradient;
            let square = gradient * gradient;
            state.second[i] = CONFIG.beta2 * state.second[i] + (1.0 - CONFIG.beta2) * square;
            let first = state.first[i] / correction(CONFIG.beta1);
            let second = state.second[i] / correction(CONFIG.beta2);
            state.parameters[i] *= 1.0 - CONFIG.learning_rate * CONFIG.weight_decay;
            state.parameters[i] -= CONFIG.learning_rate * first / (second.sqrt() + CONFIG.epsilon);
        }
    }
    state
}

fn run(device: &Device, count: usize) -> [Vec<f32>; 3] {
    let mut parameters = Buffer::upload(device, 1, count, &random(1, count));
    let mut first = Buffer::zeros(device, 1, count);
    let mut second = Buffer::zeros(device, 1, count);
    for step in 1..=STEPS {
        let mut gradients = Buffer::upload(device, 1, count, &random(10 + step, count));
        let config = AdamW { step, ..CONFIG };
        let moments = (first.view_mut(), second.view_mut());
        adamw(&config, gradients.view_mut(), parameters.view_mut(), moments.0, moments.1);
        assert!(gradients.view().to_vec().iter().all(|&x| x == 0.0), "gradients after a step");
    }
    [parameters, first, second].map(|buffer| buffer.view().to_vec())
}

#[test]
fn adamw_agrees_with_its_twin_over_five_steps() {
    for count in AWKWARD.into_iter().chain([40_000]) {
        let expected = twin(count);
        for device in devices() {
            let [parameters, first, second] = run(device, count);
            let what = format!("{count} numbers on {device:?}");
            // A few roundings of values of at most 1 and 1/2 in each step; a step changes a
            // parameter by the learning rate times a ratio with an error of some epsilon.
            let steps = STEPS as f64;
            assert_close(&parameters, &expected.parameters, |_| 2.0 * steps * EPS, &what);
            assert_close(&first, &expected.first, |_| 2.0 * steps * EPS, &what);
            let allowed = |i: usize| 4.0 * steps * EPS * expected.second[i];
            assert_close(&second, &expected.second, allowed, &what);
        }
    }
}

/// A zero gradient changes nothing where the moments are zero, and does where they are not.
#[test]
fn only_elements_that_a_step_cannot_change_are_skipped() {
    const COUNT: usize = 1000;
    let touched = 300..310;
    for device in devices() {
        for weight_decay in [0.0, 0.5] {
            let start = random(3, COUNT);
            let mut parameters = Buffer::upload(device, 1, COUNT, &start);
            let (mut first, mut second) =
                (Buffer::zeros(device, 1, COUNT), Buffer::zeros(device, 1, COUNT));
            let mut numbers = vec![0.0; COUNT];
            numbers[touched.clone()].fill(1.0);
            let mut gradients = Buffer::upload(device, 1, COUNT, &numbers);
            let mut after = Vec::new();
            for step in 1..=2 {
                let config = AdamW { step, weight_decay, ..CONFIG };
                let moments = (first.view_mut(), second.view_mut());
                adamw(&config, gradients.view_mut(), parameters.view_mut(), moments.0, moments.1);
                after.push(parameters.view().to_vec());
                for moment in [&first, &second].map(|moment| moment.view().to_vec()) {
                    for (index, value) in moment.into_iter().enumerate() {
                        let changed = value.to_bits() != 0;
                        assert_eq!(changed, touched.contains(&index), "{index} on {device:?}");
                    }
                }
            }
            let keep = 1.0 - CONFIG.learning_rate * weight_decay;
            // The factor may be rounded before it is multiplied; 1 is exact.
            let allowed = if weight_decay == 0.0 { 0.0 } else { EPS };
            let decayed = |after: f32, before: f32| {
                let expected = f64::from(before) * keep;
                (f64::from(after) - expected).abs() <= allowed * expected.abs()
            };
            for index in 0..COUNT {
                if touched.contains(&index) {
                    assert!(after[0][index] < start[index] && after[1][index] < after[0][index]);
                } else {
                    assert!(decayed(after[0][index], start[index]), "{index} on {device:?}");
                    assert!(decayed(after[1][index], after[0][index]), "{index} on {device:?}");
                }
            }
        }
    }
}

/// Reading fresh pages before writing them made the first step of a large model slow. Other devices
/// may read the zeros that are there.
#[test]
fn the_first_step_does_not_read_moments_in_host_memory() {
    const COUNT: usize = 1000;
    for device in devices().iter().filter(|device| device.shares_host_memory()) {
        let after = |before: f32| {
            let mut parameters = Buffer::upload(device, 1, COUNT, &random(1, COUNT));
            let mut gradients = Buffer::upload(device, 1, COUNT, &random(2, COUNT));
            let [mut first, mut second] =
                [(); 2].map(|()| Buffer::upload(device, 1, COUNT, &[before; COUNT]));
            let moments = (first.view_mut(), second.view_mut());
            adamw(&CONFIG, gradients.view_mut(), parameters.view_mut(), moments.0, moments.1);
            [parameters, first, second].map(|buffer| buffer.view().to_vec())
        };
        assert_eq!(after(0.0), after(7.0), "{device:?}");
    }
}

#[test]
fn adamw_gives_the_same_bits_for_any_number_of_threads() {
    assert_same_bits_for_any_threads("adamw", |device| run(device, 100_003).concat());
}

#[test]
fn a_nan_gradient_makes_its_parameter_nan_and_no_other() {
    for device in devices() {
        let mut gradients = Buffer::upload(device, 1, 3, &[1.0, f32::NAN, 1.0]);
        let [mut parameters, mut first, mut second] = [1.0, 0.0, 0.0].map(|x| {
            let mut buffer = Buffer::zeros(device, 1, 3);
            buffer.view_mut().fill(x);
            buffer
        });
        let moments = (first.view_mut(), second.view_mut());
        adamw(&CONFIG, gradients.view_mut(), parameters.view_mut(), moments.0, moments.1);
        let bad: Vec<bool> = parameters.view().to_vec().iter().map(|x| x.is_nan()).collect();
        assert_eq!(bad, [false, true, false]);
    }
}

#[test]
#[should_panic(expected = "first_moment is 1 x 2, expected 1 x 3")]
fn adamw_refuses_moments_of_another_shape() {
    let device = &devices()[0];
    let mut gradients = Buffer::zeros(device, 1, 3);
    let mut parameters = Buffer::zeros(device, 1, 3);
    let (mut first, mut second) = (Buffer::zeros(device, 1, 2), Buffer::zeros(device, 1, 3));
    let moments = (first.view_mut(), second.view_mut());
    adamw(&CONFIG, gradients.view_mut(), parameters.view_mut(), moments.0, moments.1);
}

#[test]
fn sum_of_squares_is_exact_to_f64_and_the_same_on_every_instruction_set() {
    for count in AWKWARD.into_iter().chain([16_384, 16_385, 100_003]) {
        let x = random(2, count);
        let expected: f64 = wide(&x).iter().map(|x| x * x).sum();
        let mut sums = vec![];
        for device in devices() {
            let buffer = Buffer::upload(device, 1, count, &x);
            let sum = sum_of_squares(buffer.view());
            let allowed = count as f64 * f64::EPSILON * expected;
            assert!((sum - expected).abs() <= allowed, "{count} numbers: {sum} on {device:?}");
            if device.isa().is_some() {
                sums.push(sum.to_bits());
            }
        }
        sums.dedup();
        assert_eq!(sums.len(), 1, "{count} numbers: the sum depends on the instruction set");
    }
}

#[test]
fn sum_of_squares_is_not_finite_when_an_element_is_not_and_only_then() {
    for device in devices() {
        for (value, finite) in
            [(f32::NAN, false), (f32::INFINITY, false), (f32::NEG_INFINITY, false), (3e38, true)]
        {
            for place in [0, 17, 20_000, 99_999] {
                let mut x = vec![1.0; 100_000];
                x[place] = value;
                let buffer = Buffer::upload(device, 1, x.len(), &x);
                assert_eq!(sum_of_squares(buffer.view()).is_finite(), finite, "{value} at {place}");
            }
        }
    }
}
