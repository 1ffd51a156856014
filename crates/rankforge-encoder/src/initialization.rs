//! Initial values of parameters.

use crate::architecture::{Initializer, ParameterSpec, TensorPart};
use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};
use rankforge_kernels::{Arena, ParameterId};

/// `count` initial values. The seed and `stream` determine them.
pub(crate) fn initial_values(
    initializer: Initializer,
    count: usize,
    seed: u64,
    stream: u64,
) -> Vec<f32> {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    random.set_stream(stream);
    (0..count).map(|_| sample(initializer, &mut random)).collect()
}

fn sample(initializer: Initializer, random: &mut ChaCha12Rng) -> f32 {
    match initializer {
        Initializer::Zeros => 0.0,
        Initializer::Ones => 1.0,
        Initializer::Normal(deviation) => (normal(random) * f64::from(deviation)) as f32,
        Initializer::TruncatedNormal { deviation, cutoff } => loop {
            let number = normal(random);
            if number.abs() <= f64::from(cutoff) {
                return (number * f64::from(deviation)) as f32;
            }
        },
        Initializer::Uniform(bound) => random.random_range(-bound..bound),
    }
}

/// A sample of the standard normal distribution (Box & Muller 1958).
fn normal(random: &mut ChaCha12Rng) -> f64 {
    let (radius, angle): (f64, f64) = (random.random(), random.random());
    // `1 - radius` is in (0, 1], where the logarithm is finite.
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// Every checkpoint tensor, with its matrix and its initialiser.
pub(crate) fn parts(
    specs: &[ParameterSpec],
) -> impl Iterator<Item = (ParameterId, Initializer, &TensorPart)> {
    specs.iter().enumerate().flat_map(|(id, spec)| {
        spec.parts.iter().map(move |part| (ParameterId(id), spec.initializer, part))
    })
}

/// Samples the initial values of the parts that `wanted` chooses, among those that `parameters` has
/// memory for. Each has a random stream of its own, so its values do not depend on which others are
/// sampled.
pub(crate) fn initialize(
    specs: &[ParameterSpec],
    parameters: &mut Arena,
    seed: u64,
    wanted: impl Fn(&TensorPart) -> bool,
) {
    for (stream, (id, initializer, part)) in parts(specs).enumerate() {
        if parameters.has(id) && wanted(part) {
            let view = parameters.view_mut(id).slice_rows(part.rows.clone());
            let count = view.rows() * view.columns();
            view.write(&initial_values(initializer, count, seed, stream as u64));
        }
    }
}
