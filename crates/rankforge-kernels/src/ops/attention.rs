//! Ragged softmax attention: one work item for each head of each sequence, in tiles of queries and
//! keys that stay in cache, so the scores of a whole sequence never exist.

mod backward;
mod bias;
mod forward;
mod operands;
mod parts;
mod rows;

pub use bias::{RelativeBias, relative_bucket};
pub use parts::Qkv;

use crate::ops::Dropout;
use crate::pack::Format;
use crate::parallel::{SharedRows, for_each};
use crate::tile::{PANEL, Scratch};
use crate::{Device, Indices, Isa, Precision, Ragged, View, ViewMut};
use operands::{Rows, Words, prefetch_rows};
use parts::{Address, Part, Parts};
use std::cell::RefCell;
use std::ops::Range;

/// How queries see keys within their own sequence.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// Lengths of the sequences.
    pub ragged: &'a Ragged,
    /// The tokens that ask, one of each sequence, `B`; `None` is all of them.
    pub queries: Option<&'a Indices>,
    /// Number of heads, `A`; the head dimension is `H / A`.
    pub heads: usize,
    /// Factor on the scores, usually `1 / sqrt(D)`.
    pub scale: f32,
    /// Keys with `|query - key| <= window` are seen; `None` is all of them.
    pub window: Option<usize>,
    /// Keys after the query are not seen.
    pub causal: bool,
    /// Added to the scaled scores.
    pub bias: Option<RelativeBias<'a>>,
    /// On the probabilities; index is `(head * T + query token) * L + key position`, `L` the longest sequence.
    pub dropout: Option<Dropout>,
    /// To which the operands of the products are rounded: queries (scaled), keys, values, probabilities and
    /// gradients. Sums and softmax are in `f32`.
    pub precision: Precision,
}

/// `out = softmax(q kᵀ * scale + bias) v`, per sequence and head, without padding.
///
/// Never holds more scores than one tile of one head per thread. `log_sum_exp` keeps the softmax
/// normaliser of each query and head for the backward pass.
///
/// # Shapes
/// `qkv`: apart when only some tokens ask; `out`: `T x H`; `log_sum_exp`: `T x A`; with `B` rows when
/// only some tokens ask.
///
/// # Panics
/// When the shapes differ from these, or a token that asks is not in its sequence.
///
/// # Paper
/// Dao et al. 2022, arXiv:2205.14135, for the tiling and the recomputed backward.
pub fn attention(
    config: &Attention<'_>,
    qkv: Qkv<View<'_>>,
    out: ViewMut<'_>,
    log_sum_exp: ViewMut<'_>,
) {
    qkv.check(config, out.columns, View::expect_shape);
    let shape = HeadShape::check(config, out.as_view(), log_sum_exp.as_view());
    let (device, qkv) = (out.device, qkv.parts(out.columns));
    let buckets = bias::buckets_by_distance(config);
    let (out, log_sum_exp) = (SharedRows::new(out), SharedRows::new(log_sum_exp));
    for_each_head(config, shape, device, |head, scratch| {
        forward::forward(&head, &buckets, &qkv, &out, &log_sum_exp, scratch);
    });
}

/// Backward of [`attention`]; needs its input, output and normalisers, and recomputes the
/// probabilities. `d_bias` (`buckets x A`) is accumulated.
///
/// # Shapes
/// As [`attention`]; `d_out` like `out`, `d_qkv` like `qkv`.
///
/// # Panics
/// As [`attention`], and when `d_bias` is asked for without a bias.
pub fn attention_backward(
    config: &Attention<'_>,
    d_out: View<'_>,
    qkv: Qkv<View<'_>>,
    out: View<'_>,
    log_sum_exp: View<'_>,
    d_qkv: Qkv<ViewMut<'_>>,
    d_bias: Option<ViewMut<'_>>,
) {
    qkv.check(config, out.columns, View::expect_shape);
    d_qkv.check(config, out.columns, ViewMut::expect_shape);
    let shape = HeadShape::check(config, out, log_sum_exp);
    assert_eq!((d_out.rows, d_out.columns), (out.rows, out.columns), "gradient of the output");
    let buckets = bias::buckets_by_distance(config);
    let saved = backward::Saved { d_out, qkv: qkv.parts(out.columns), out, log_sum_exp };
    let d_qkv = d_qkv.map(SharedRows::new);
    let d_qkv = d_qkv.as_ref().parts(out.columns);
    // One row of bucket sums for each head of each sequence, summed in their order afterwards.
    let mut partials = bias::Partials::new(config, d_bias.as_ref());
    let d_buckets = partials.shared();
    for_each_head(config, shape, out.device, |head, scratch| {
        backward::backward(&head, &buckets, &saved, &d_qkv, d_buckets.as_ref(), scratch);
    });
    if let Some(d_bias) = d_bias {
        partials.reduce(config.heads, d_bias);
    }
}

impl Attention<'_> {
    /// Rows of queries, of the output and of the normalisers.
    fn rows(&self) -> usize {
        self.queries.map_or(self.ragged.tokens(), Indices::len)
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
    isa: Isa,
    /// Columns of one head, `D`, and what its operands are packed into.
    words: Words,
    /// Queries of a tile, an even number.
    queries: usize,
    /// Longest sequence, `L`.
    longest: usize,
}

impl HeadShape {
    fn check(config: &Attention<'_>, out: View<'_>, log_sum_exp: View<'_>) -> HeadShape {
        let (rows, heads, hidden) = (config.rows(), config.heads, out.columns);
        assert!(heads > 0 && hidden.is_multiple_of(heads), "{hidden} columns for {heads} heads");
        assert_eq!(out.rows, rows, "output of attention");
        assert_eq!((log_sum_exp.rows, log_sum_exp.columns), (rows, heads), "normalisers");
        if let Some(queries) = config.queries {
            let sequences = config.ragged.sequences();
            assert_eq!(queries.len(), sequences, "tokens that ask, one of each sequence");
            for (sequence, &token) in queries.values().iter().enumerate() {
                let tokens = config.ragged.range(sequence);
                assert!(tokens.contains(&(token as usize)), "token {token} asks among {tokens:?}");
            }
        }
        if let Some(bias) = config.bias {
            assert_eq!(bias.table.columns(), heads, "relative bias, one column for each head");
        }
        let (isa, longest) = (out.device.cpu_isa(), config.ragged.longest());
        let format = Format::of(isa, config.precision);
        let words = Words { isa, format, dim: hidden / heads };
        HeadShape { isa, words, queries: QUERIES, longest }
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
    /// Positions in the sequence that ask, and the row of the first among those of all sequences.
    queries: Range<usize>,
    first_query: usize,
    /// Whether the next head of the sequence follows on this thread and its rows are worth asking for.
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

    /// The row of a query position in the matrices of those that ask.
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
    fn rows<'q>(&self, part: Part<View<'q>>, first: usize, rows: usize, factor: f32) -> Rows<'q> {
        let Part { matrix: View { data, columns, .. }, start } = part;
        let first = first * columns + start + self.columns().start;
        Rows { data: &data[first..], stride: columns, rows, dim: self.shape.words.dim, factor }
    }

    /// All rows of the sequence.
    fn all_rows<'q>(&self, part: Part<View<'q>>) -> Rows<'q> {
        self.rows(part, self.tokens.start, self.length(), 1.0)
    }

    /// The tiles of queries.
    fn query_tiles(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (all, size) = (self.queries.clone(), self.shape.queries);
        all.clone().step_by(size).map(move |first| first..(first + size).min(all.end))
    }

    /// Asks for what the next head will read and write while this one works on a tile of queries:
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
    config: &Attention<'_>,
    shape: HeadShape,
    device: &Device,
    work: impl Fn(Head<'_>, &mut Scratch) + Sync + Send,
) {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
    }
    let Attention { ragged, heads, .. } = *config;
    let parallel = config.rows() * heads * shape.longest >= INLINE_SCORES;
    let group = heads_per_item(ragged.sequences() * heads, heads, device.threads());
    let groups = heads.div_ceil(group);
    // The longest first: their time goes with the square of their length.
    let mut order: Vec<usize> = (0..ragged.sequences()).collect();
    order.sort_by_key(|&sequence| std::cmp::Reverse(ragged.range(sequence).len()));
    for_each(device, parallel, order.len() * groups, |item| {
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
        SCRATCH.with_borrow_mut(|scratch| {
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
                work(head, scratch);
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
