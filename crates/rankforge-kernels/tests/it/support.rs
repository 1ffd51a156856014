//! Helpers for the tests of all operations.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rankforge_kernels::{Device, Isa, Precision};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// Sizes around the vector widths and their multiples, where remainders go wrong.
pub(crate) const AWKWARD: [usize; 13] = [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65];

/// Machine epsilon of `f32` as `f64`.
pub(crate) const EPS: f64 = f32::EPSILON as f64;

/// Every instruction set of this machine with one and with two threads, then the reference device.
pub(crate) fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let open = |isa, threads| Device::cpu_with(isa, threads).expect("the machine has it");
        let both = |isa| [open(isa, 1), open(isa, 2)];
        let reference = Device::reference().expect("one thread starts");
        Isa::available().into_iter().flat_map(both).chain([reference]).collect()
    })
}

/// The [`devices`] that are fast enough for this number of multiply-adds. Large shapes test how the
/// CPU packs and cuts a product; the reference device has one loop for every shape.
pub(crate) fn devices_for(multiply_adds: usize) -> impl Iterator<Item = &'static Device> {
    const MOST: usize = 60_000_000;
    devices().iter().filter(move |device| device.isa().is_some() || multiply_adds <= MOST)
}

/// For each instruction set, devices with one, two and three threads.
pub(crate) fn device_groups() -> &'static [[Device; 3]] {
    static GROUPS: OnceLock<Vec<[Device; 3]>> = OnceLock::new();
    GROUPS.get_or_init(|| {
        let open = |isa, threads| Device::cpu_with(isa, threads).expect("the machine has it");
        let group = |isa| [1, 2, 3].map(|threads| open(isa, threads));
        Isa::available().into_iter().map(group).collect()
    })
}

/// `count` values, uniform in `-1..1`.
pub(crate) fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// The same values as `f64`.
pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// The nearest number of the precision, ties to even, below its overflow.
pub(crate) fn rounded(precision: Precision, x: f32) -> f64 {
    let wide = f64::from(x);
    let (bits, least) = match precision {
        Precision::Float32 => return wide,
        Precision::BFloat16 => (8, -133),
        Precision::Float16 => (11, -24),
    };
    if wide == 0.0 {
        return 0.0;
    }
    let unit = f64::from((wide.abs().log2().floor() as i32 - bits + 1).max(least)).exp2();
    (wide / unit).round_ties_even() * unit
}

/// Asserts `|got - expected| <= tolerance(index)` everywhere; NaN never passes.
#[track_caller]
pub(crate) fn assert_close(
    got: &[f32],
    expected: &[f64],
    tolerance: impl Fn(usize) -> f64,
    what: impl std::fmt::Display,
) {
    assert_eq!(got.len(), expected.len(), "{what}: lengths");
    for (index, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let (error, allowed) = ((f64::from(got) - expected).abs(), tolerance(index));
        assert!(
            error <= allowed,
            "{what}: element {index} is {got}, expected {expected}: \
             off by {error:e}, allowed {allowed:e}"
        );
    }
}

/// Runs `compute` with one, two and three threads on each instruction set and asserts equal bits.
#[track_caller]
pub(crate) fn assert_same_bits_for_any_threads(
    what: impl std::fmt::Display,
    compute: impl Fn(&Device) -> Vec<f32>,
) {
    for group in device_groups() {
        let [one, two, three] = group.each_ref().map(|device| bits(&compute(device)));
        assert!(one == two && one == three, "{what}: bits depend on threads, {:?}", group[0]);
    }
}

/// What `work` panics with.
pub(crate) fn refusal<T>(work: impl FnOnce() -> T) -> String {
    let work = AssertUnwindSafe(|| drop(work()));
    let payload = catch_unwind(work).expect_err("it panics");
    *payload.downcast::<String>().expect("a message with numbers in it")
}

/// The derivative of `f` at `x` along coordinate `index`, by central differences in `f64`.
pub(crate) fn central_difference(f: impl Fn(&[f64]) -> f64, x: &[f64], index: usize) -> f64 {
    // Truncation grows with h², cancellation with 1/h: the cube root of epsilon balances them.
    let step = 6e-6 * x[index].abs().max(1.0);
    let mut moved = x.to_vec();
    moved[index] = x[index] + step;
    let above = f(&moved);
    moved[index] = x[index] - step;
    (above - f(&moved)) / (2.0 * step)
}

/// Distribution function of the standard normal distribution, to about 15 digits.
pub(crate) fn normal_cdf(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let magnitude = x.abs();
    // A power series where it converges fast, else the continued fraction of the tail.
    let tail = if magnitude < 3.0 {
        let (mut term, mut sum) = (magnitude, magnitude);
        for odd in (3..120).step_by(2) {
            term *= x * x / f64::from(odd);
            sum += term;
        }
        0.5 - density * sum
    } else {
        let fraction = (1..200).rev().fold(magnitude, |rest, k| magnitude + f64::from(k) / rest);
        density / fraction
    };
    if x < 0.0 { tail } else { 1.0 - tail }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
