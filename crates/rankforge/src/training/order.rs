//! Random orders, as a function of a generator's seed.

use rand::Rng;
use rand::rngs::ChaCha8Rng;
use rankforge_data::BlockOrder;

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

/// A random order of the rows of a set. Where they are not all in memory, it takes random blocks,
/// as many as are in memory together, and the rows of these in random order.
pub(super) fn random_order(
    rows: usize,
    blocks: Option<&BlockOrder>,
    random: &mut ChaCha8Rng,
) -> Vec<usize> {
    let Some(BlockOrder { blocks, together }) = blocks else { return permutation(rows, random) };
    let mut order = Vec::with_capacity(rows);
    for group in permutation(blocks.len(), random).chunks(*together) {
        let of_group: Vec<usize> = group.iter().flat_map(|&block| blocks[block].clone()).collect();
        let places = permutation(of_group.len(), random);
        order.extend(places.into_iter().map(|place| of_group[place]));
    }
    order
}
