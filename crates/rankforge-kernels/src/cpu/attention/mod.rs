//! Ragged softmax attention: one work item for each head of each sequence, in tiles of queries and
//! keys that stay in cache, so the scores of a whole sequence never exist.

mod backward;
mod bias;
mod forward;
mod operands;
mod parts;
mod rows;

use crate::cpu::Cpu;
use crate::cpu::attention::bias::Bias;
use crate::cpu::attention::operands::{Rows, Words, prefetch_rows};
use crate::cpu::attention::parts::{Address, Part, Parts};
use crate::cpu::matmul::pack::Format;
use crate::cpu::matmul::small::PANEL;
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::memory::Aligned;
use crate::cpu::parallel::{SharedRows, for_each};
use crate::isa::Supported;
use crate::ops::attention::{Attention, Qkv};
use std::cell::RefCell;
use std::ops::Range;

pub(crate) fn attention(
    cpu: &Cpu,
    config: &Attention<'_>,
    table: Option<Matrix<'_>>,
    qkv: Qkv<Matrix<'_>>,
    out: MatrixMut<'_>,
    log_sum_exp: MatrixMut<'_>,
) {
    let shape = HeadShape::of(cpu, config, out.columns);
    let bias = Bias::of(config, table);
    let qkv = Parts::of(&qkv, out.columns).map(|&matrix| matrix);
    let (out, log_sum_exp) = (SharedRows::new(out), SharedRows::new(log_sum_exp));
    for_each_head(cpu, config, shape, |head, memory| {
        forward::forward(&head, bias.as_ref(), &qkv, &out, &log_sum_exp, memory);
    });
}

/// What the forward pass was given and left, and the gradient of its output.
pub(crate) struct Saved<'a> {
    pub(crate) d_out: Matrix<'a>,
    pub(crate) qkv: Qkv<Matrix<'a>>,
    pub(crate) out: Matrix<'a>,
    pub(crate) log_sum_exp: Matrix<'a>,
}

pub(crate) fn attention_backward(
    cpu: &Cpu,
    config: &Attention<'_>,
    table: Option<Matrix<'_>>,
    saved: Saved<'_>,
    d_qkv: Qkv<MatrixMut<'_>>,
    d_bias: Option<MatrixMut<'_>>,
) {
    let hidden = saved.out.columns;
    let shape = HeadShape::of(cpu, config, hidden);
    let bias = Bias::of(config, table);
    let qkv = Parts::of(&saved.qkv, hidden).map(|&matrix| matrix);
    let d_qkv = d_qkv.map(SharedRows::new);
    let d_qkv = Parts::of(&d_qkv, hidden);
    // One row of bucket sums for each head of each sequence, summed in their order afterwards.
    let mut partials = bias::Partials::new(config, d_bias.as_ref());
    let d_buckets = partials.shared();
    for_each_head(cpu, config, shape, |head, memory| {
        let d_buckets = d_buckets.as_ref();
        backward::backward(&head, bias.as_ref(), &saved, &qkv, &d_qkv, d_buckets, memory);
    });
    if let Some(d_bias) = d_bias {
        partials.reduce(config.heads, d_bias);
    }
}

/// Queries of a tile.
const QUERIES: usize = 32;

/// Keys of a tile, whole panels: shorter sequences need no second pass of the softmax, and the tile
/// still fits L2.
const KEYS: usize = 512;

/// What all heads have in common.
#[derive(Clone, Copy)]
struct HeadShape {
    isa: Supported,
    /// Columns of one head, `D`, and what its operands are packed into.
    words: Words,
    /// Queries of a tile, an even number.
    queries: usize,
    /// Longest sequence, `L`.
    longest: usize,
}

impl HeadShape {
    fn of(cpu: &Cpu, config: &Attention<'_>, hidden: usize) -> HeadShape {
        let isa = cpu.isa();
        let format = Format::of(isa.isa(), config.precision);
        let words = Words { isa, format, dim: hidden / config.heads };
        HeadShape { isa, words, queries: QUERIES, longest: config.ragged.longest() }
    }
}

/// One head of one sequence: the work item.
struct Head<'a> {
    config: &'a Attention<'a>,
    shape: HeadShape,
    sequence: usize,
    head: usize,
    /// Token rows of the sequence.
    tokens: Range<usize>,
    /// Positions of the queries in the sequence, and the row of the first among all queries.
    queries: Range<usize>,
    first_query: usize,
    /// Whether the next head of the sequence follows on this thread and its rows are worth
    /// prefetching.
    next_follows: bool,
}

impl Head<'_> {
    /// Length of the sequence.
    fn length(&self) -> usize {
        self.tokens.len()
    }

    /// The columns of the head in a `T x H` matrix.
    fn columns(&self) -> Range<usize> {
        self.head * self.shape.words.dim..(self.head + 1) * self.shape.words.dim
    }

    /// The row of a query position in the matrices of queries.
    fn query_row(&self, position: usize) -> usize {
        self.first_query + position - self.queries.start
    }

    /// The key positions that a query position sees; never empty.
    #[inline(always)]
    fn visible(&self, query: usize) -> Range<usize> {
        let reach = self.config.window.unwrap_or(usize::MAX);
        let after = if self.config.causal { 0 } else { reach };
        query.saturating_sub(reach)
            ..query.saturating_add(after).saturating_add(1).min(self.length())
    }

    /// The head's columns of `rows` rows.
    fn rows<'q>(&self, part: Part<Matrix<'q>>, first: usize, rows: usize, factor: f32) -> Rows<'q> {
        let Part { matrix: Matrix { data, columns, .. }, start } = part;
        let first = first * columns + start + self.columns().start;
        Rows { data: &data[first..], stride: columns, rows, dim: self.shape.words.dim, factor }
    }

    /// All rows of the sequence.
    fn all_rows<'q>(&self, part: Part<Matrix<'q>>) -> Rows<'q> {
        self.rows(part, self.tokens.start, self.length(), 1.0)
    }

    /// The tiles of queries.
    fn query_tiles(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (all, size) = (self.queries.clone(), self.shape.queries);
        all.clone().step_by(size).map(move |first| first..(first + size).min(all.end))
    }

    /// Prefetches what the next head will read and write while this one works on a tile of queries:
    /// their rows, and as large a share of the rows of keys and values.
    fn prefetch(
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

    /// Tiles of at most `size` keys that cover what `queries` see; each begins at a panel.
    fn key_tiles(&self, queries: &Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
        let end = self.visible(queries.end - 1).end;
        let start = self.visible(queries.start).start / PANEL * PANEL;
        (start..end).step_by(size).map(move |start| start..(start + size).min(end))
    }

    /// The first dropout index of a query position: that of key position 0.
    #[inline(always)]
    fn dropout_index(&self, query: usize) -> u64 {
        let row = self.head * self.config.ragged.tokens() + self.tokens.start + query;
        row as u64 * self.shape.longest as u64
    }
}

/// Fewer scores than these are not worth waking another thread.
const INLINE_SCORES: usize = 1 << 12;

/// Numbers of a head's rows of one operand beyond which those of the next head are not fetched ahead:
/// they would not stay in L2.
const PREFETCHED: usize = 1 << 14;

/// Calls `work` for each head of each sequence; what they write must not overlap.
fn for_each_head(
    cpu: &Cpu,
    config: &Attention<'_>,
    shape: HeadShape,
    work: impl Fn(Head<'_>, &mut Aligned) + Sync + Send,
) {
    thread_local! {
        static MEMORY: RefCell<Aligned> = const { RefCell::new(Aligned::new()) };
    }
    let Attention { ragged, heads, .. } = *config;
    let parallel = config.rows() * heads * shape.longest >= INLINE_SCORES;
    let group = heads_per_item(ragged.sequences() * heads, heads, cpu.threads());
    let groups = heads.div_ceil(group);
    // The longest first: their time goes with the square of their length.
    let mut order: Vec<usize> = (0..ragged.sequences()).collect();
    order.sort_by_key(|&sequence| std::cmp::Reverse(ragged.range(sequence).len()));
    for_each(cpu, parallel, order.len() * groups, |item| {
        let (sequence, first) = (order[item / groups], item % groups * group);
        let tokens = ragged.range(sequence);
        if tokens.is_empty() {
            return;
        }
        let (queries, first_query) = match config.queries {
            None => (0..tokens.len(), tokens.start),
            Some(queries) => {
                let position = queries.values()[sequence] as usize - tokens.start;
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

/// Heads of a sequence that one work item takes: all while there are enough items for all threads.
///
/// Each head is computed by itself, so this changes no bit of the results.
fn heads_per_item(total: usize, heads: usize, threads: usize) -> usize {
    const ITEMS_PER_THREAD: usize = 8;
    (total / (threads * ITEMS_PER_THREAD)).clamp(1, heads)
}
