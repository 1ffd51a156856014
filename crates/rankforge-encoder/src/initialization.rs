//! Initial values of parameters.

use crate::architecture::{Initializer, ParameterSpec, TensorPart};
use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};
use rankforge_kernels::{Arena, ParameterId, ViewMut};

/// The random numbers of a stream.
fn stream_of(seed: u64, stream: u64) -> ChaCha12Rng {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

/// Writes initial values, which the seed and `stream` determine.
fn write(view: ViewMut<'_>, initializer: Initializer, seed: u64, stream: u64) {
    let (count, columns) = (view.rows() * view.columns(), view.columns());
    if let Initializer::Normal(_) = initializer {
        // An embedding table has tens of millions of values, so threads share its rows. A value
        // takes two words for the radius and two for the angle.
        return view.write_rows(|row, values| {
            let mut random = stream_of(seed, stream);
            random.set_word_pos(4 * row as u128 * columns as u128);
            values.iter_mut().for_each(|value| *value = sample(initializer, &mut random));
        });
    }
    let mut random = stream_of(seed, stream);
    let values: Vec<f32> = (0..count).map(|_| sample(initializer, &mut random)).collect();
    view.write(&values);
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
            write(view, initializer, seed, stream as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{sample, stream_of, write};
    use crate::architecture::Initializer;
    use rankforge_kernels::{Buffer, Device};

    #[test]
    fn rows_that_threads_share_have_the_values_of_one_stream() {
        let initializer = Initializer::Normal(0.5);
        let (rows, columns) = (301, 129);
        let mut random = stream_of(7, 3);
        let expected: Vec<f32> =
            (0..rows * columns).map(|_| sample(initializer, &mut random)).collect();
        let mut found = Buffer::zeros(&Device::cpu(Some(4)).expect("threads"), rows, columns);
        write(found.view_mut(), initializer, 7, 3);
        assert_eq!(found.view().to_vec(), expected);
    }
}
