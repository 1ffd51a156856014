use crate::cpu::machine::Cpu;
use crate::settings::similarity::{Neighbour, nearer_first};
use rayon::prelude::*;
use std::ops::Range;

/// Calls `search` for each block of at most `block` queries, with the parts of a corpus of `rows`
/// rows to search in parallel: one part where there are blocks enough for all threads, and
/// otherwise several, each a multiple of `multiple` rows.
pub(super) fn by_blocks(
    cpu: &Cpu,
    (queries, rows): (usize, usize),
    (block, multiple): (usize, usize),
    done: &(dyn Fn(usize) + Sync),
    search: impl Fn(Range<usize>, Vec<Range<usize>>) -> Vec<Vec<Neighbour>> + Sync,
) -> Vec<Vec<Neighbour>> {
    /// Least rows of a part.
    const LEAST_PART: usize = 2048;
    let blocks = queries.div_ceil(block);
    // The order of neighbours is total, so merging parts gives the same result however they are
    // cut.
    let parts = (4 * cpu.threads()).div_ceil(blocks.max(1));
    let part = rows.div_ceil(parts).max(LEAST_PART).next_multiple_of(multiple);
    let search_block = |number: usize| {
        let block = number * block..((number + 1) * block).min(queries);
        let parts = (0..rows).step_by(part);
        let parts = parts.map(|start| start..(start + part).min(rows)).collect();
        let lists = search(block.clone(), parts);
        done(block.len());
        lists
    };
    let found: Vec<Vec<Vec<Neighbour>>> = cpu
        .workers()
        .run(|| (0..blocks).into_par_iter().with_max_len(1).map(search_block).collect());
    found.into_iter().flatten().collect()
}

/// Truncates `list` to its `k` nearest, the farthest of them last.
pub(super) fn prune(list: &mut Vec<Neighbour>, k: usize) {
    if list.len() > k {
        list.select_nth_unstable_by(k - 1, nearer_first);
        list.truncate(k);
    }
}
