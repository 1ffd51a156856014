//! Random orders, as a function of a generator's seed.

use rand::Rng;
use rand::rngs::ChaCha8Rng;

/// A random permutation of `0..count` (Fisher-Yates). It is implemented here so that a new release
/// of a library cannot change the permutation of a seed.
pub(super) fn permutation(count: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        // The high half of a 64 x 64 bit product is uniform in 0..=last, with a bias of at most
        // last / 2^64.
        let draw = (u128::from(random.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, draw as usize);
    }
    order
}
