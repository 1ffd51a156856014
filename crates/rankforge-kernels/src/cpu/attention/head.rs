//! The work item of attention: one head of one sequence, in tiles of queries and keys.

use crate::cpu::attention::operands::{Rows, Words, prefetch_rows};
use crate::cpu::attention::parts::{Address, Part};
use crate::cpu::machine::Cpu;
use crate::cpu::matmul::format::Format;
use crate::cpu::matmul::small::PANEL;
use crate::cpu::matrix::Matrix;
use crate::cpu::memory::Aligned;
use crate::cpu::parallel::for_each;
use crate::cpu::sequences::Sequences;
use crate::isa::Supported;
use crate::settings::attention::AttentionOf;
use std::cell::RefCell;
use std::ops::Range;

/// The settings of attention, with host memory.
pub(crate) type Config<'a> = AttentionOf<Sequences<'a>, &'a [u32], Matrix<'a>>;

/// Queries of a tile.
const QUERIES: usize = 32;

/// Keys of a tile, a multiple of a panel: enough that most sequences need one tile, few enough that
/// it fits L2.
pub(super) const KEYS: usize = 512;

/// What all heads have in common.
#[derive(Clone, Copy)]
pub(super) struct HeadShape {
    pub(super) isa: Supported,
    /// The head dimension, `D`, and the format of packed operands.
    pub(super) words: Words,
    /// Queries of a tile, an even number.
    pub(super) queries: usize,
    /// Longest sequence, `L`.
    pub(super) longest: usize,
}

impl HeadShape {
    pub(super) fn of(cpu: &Cpu, config: &Config<'_>, hidden: usize) -> HeadShape {
        let isa = cpu.isa();
        let format = Format::of(isa.isa(), config.precision);
        let words = Words { isa, format, dim: hidden / config.heads };
        HeadShape { isa, words, queries: QUERIES, longest: config.sequences.longest() }
    }
}

/// One head of one sequence: the work item.
pub(super) struct Head<'a> {
    pub(super) config: &'a Config<'a>,
    pub(super) shape: HeadShape,
    pub(super) sequence: usize,
    pub(super) head: usize,
    /// Token rows of the sequence.
    pub(super) tokens: Range<usize>,
    /// Positions of the queries in the sequence, and the row of the first among all queries.
    pub(super) queries: Range<usize>,
    pub(super) first_query: usize,
    /// Whether the next head of the sequence follows on this thread and its rows are worth
    /// prefetching.
    pub(super) next_follows: bool,
}

impl Head<'_> {
    /// Length of the sequence.
    pub(super) fn length(&self) -> usize {
        self.tokens.len()
    }

    /// The columns of the head in a `T x H` matrix.
    pub(super) fn columns(&self) -> Range<usize> {
        self.head * self.shape.words.dim..(self.head + 1) * self.shape.words.dim
    }

    /// The row of a query position in the matrices of queries.
    pub(super) fn query_row(&self, position: usize) -> usize {
        self.first_query + position - self.queries.start
    }

    /// The key positions that a query position attends to; never empty.
    #[inline(always)]
    pub(super) fn visible(&self, query: usize) -> Range<usize> {
        let reach = self.config.window.unwrap_or(usize::MAX);
        let after = if self.config.causal { 0 } else { reach };
        query.saturating_sub(reach)
            ..query.saturating_add(after).saturating_add(1).min(self.length())
    }

    /// The head's columns of `rows` rows.
    pub(super) fn rows<'q>(
        &self,
        part: Part<Matrix<'q>>,
        first: usize,
        rows: usize,
        factor: f32,
    ) -> Rows<'q> {
        let Part { matrix: Matrix { data, columns, .. }, start } = part;
        let first = first * columns + start + self.columns().start;
        Rows { data: &data[first..], stride: columns, rows, dim: self.shape.words.dim, factor }
    }

    /// All rows of the sequence.
    pub(super) fn all_rows<'q>(&self, part: Part<Matrix<'q>>) -> Rows<'q> {
        self.rows(part, self.tokens.start, self.length(), 1.0)
    }

    /// The query positions, in tiles.
    pub(super) fn query_tiles(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (all, size) = (self.queries.clone(), self.shape.queries);
        all.clone().step_by(size).map(move |first| first..(first + size).min(all.end))
    }

    /// Prefetches what the next head will read and write while this one works on a tile of queries:
    /// their rows, and as large a share of the rows of keys and values.
    pub(super) fn prefetch(
        &self,
        tile: &Range<usize>,
        of_queries: &[Part<Address>],
        of_keys: &[Part<Address>],
    ) {
        if !self.next_follows {
            return;
        }
        let keys = if self.config.queries.is_some() { 0..self.length() } else { tile.clone() };
        let first = self.tokens.start + keys.start;
        for (parts, first, rows) in
            [(of_queries, self.query_row(tile.start), tile.len()), (of_keys, first, keys.len())]
        {
            let next = self.columns().end;
            prefetch_rows(self.shape.isa, parts, first, rows, next, self.shape.words.dim);
        }
    }

    /// Tiles of at most `size` keys that cover all keys of `queries`; each begins at a panel.
    pub(super) fn key_tiles(
        &self,
        queries: &Range<usize>,
        size: usize,
    ) -> impl Iterator<Item = Range<usize>> {
        let end = self.visible(queries.end - 1).end;
        let start = self.visible(queries.start).start / PANEL * PANEL;
        (start..end).step_by(size).map(move |start| start..(start + size).min(end))
    }

    /// The first dropout index of a query position: that of key position 0.
    #[inline(always)]
    pub(super) fn dropout_index(&self, query: usize) -> u64 {
        let row = self.head * self.config.sequences.tokens() + self.tokens.start + query;
        row as u64 * self.shape.longest as u64
    }
}

/// With fewer scores all heads run on the calling thread: waking another costs more.
const INLINE_SCORES: usize = 1 << 12;

/// Most elements of one operand of a head for which the next head's are prefetched: more would not
/// stay in L2.
const PREFETCHED: usize = 1 << 14;

/// Calls `work` for each head of each sequence; what they write must not overlap.
pub(super) fn for_each_head(
    cpu: &Cpu,
    config: &Config<'_>,
    shape: HeadShape,
    work: impl Fn(Head<'_>, &mut Aligned) + Sync + Send,
) {
    thread_local! {
        static MEMORY: RefCell<Aligned> = const { RefCell::new(Aligned::new()) };
    }
    let Config { sequences, queries: query_tokens, heads, .. } = *config;
    let rows = query_tokens.map_or(sequences.tokens(), <[u32]>::len);
    let parallel = rows * heads * shape.longest >= INLINE_SCORES;
    let group = heads_per_item(sequences.count() * heads, heads, cpu.threads());
    let groups = heads.div_ceil(group);
    // The longest first, as their time grows with the square of the length: threads end together.
    let mut order: Vec<usize> = (0..sequences.count()).collect();
    order.sort_by_key(|&sequence| std::cmp::Reverse(sequences.range(sequence).len()));
    for_each(cpu, parallel, order.len() * groups, |item| {
        let (sequence, first) = (order[item / groups], item % groups * group);
        let tokens = sequences.range(sequence);
        if tokens.is_empty() {
            return;
        }
        let (queries, first_query) = match query_tokens {
            None => (0..tokens.len(), tokens.start),
            Some(query_tokens) => {
                let position = query_tokens[sequence] as usize - tokens.start;
                (position..position + 1, sequence)
            }
        };
        let end = (first + group).min(heads);
        let near = tokens.len() * shape.words.dim <= PREFETCHED;
        MEMORY.with_borrow_mut(|memory| {
            for head in first..end {
                let next_follows = near && head + 1 < end;
                let (tokens, queries) = (tokens.clone(), queries.clone());
                let head = Head {
                    config,
                    shape,
                    sequence,
                    head,
                    tokens,
                    queries,
                    first_query,
                    next_follows,
                };
                work(head, memory);
            }
        });
    });
}

/// Heads of a sequence in one work item: all of them while there are items enough for all threads.
///
/// Heads are independent, so the number does not change the bits of the results.
fn heads_per_item(total: usize, heads: usize, threads: usize) -> usize {
    const ITEMS_PER_THREAD: usize = 8;
    (total / (threads * ITEMS_PER_THREAD)).clamp(1, heads)
}
