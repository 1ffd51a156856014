//! Initial values of parameters.

use crate::architecture::Initializer;
use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};

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
