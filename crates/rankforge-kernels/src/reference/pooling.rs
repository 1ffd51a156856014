use crate::reference::matrix::{Matrix, MatrixMut, Sequences};
use crate::reference::memory::Integers;
use crate::settings::pooling::{PoolOf, Pooling};
use std::ops::Range;

/// The settings of pooling, with memory of the reference device.
pub(crate) type Config<'a> = PoolOf<Sequences<'a>, &'a Integers>;

/// The tokens of a sequence that count: all but the leading ones that are skipped.
fn kept(sequences: Sequences<'_>, skip: Option<&Integers>, sequence: usize) -> Range<usize> {
    let tokens = sequences.range(sequence);
    let skip = skip.map_or(0, |skip| skip.at(sequence));
    tokens.start + skip.min(tokens.len())..tokens.end
}

/// The weight of a kept token of a sequence that begins at token `start`, for all modes but `Max`.
/// Positions count from 1 at the first token, skipped or not.
fn weight(mode: Pooling, start: usize, kept: &Range<usize>, token: usize) -> f64 {
    let count = kept.len() as f64;
    let position = |token: usize| (token - start + 1) as f64;
    match mode {
        Pooling::Cls => f64::from(token == kept.start),
        Pooling::LastToken => f64::from(token + 1 == kept.end),
        Pooling::Mean => 1.0 / count,
        Pooling::MeanSqrtLen => 1.0 / count.sqrt(),
        Pooling::WeightedMean => position(token) / kept.clone().map(position).sum::<f64>(),
        Pooling::Max => unreachable!("a maximum has no weights"),
    }
}

/// `out[s, column + c] = Σ weight(t) x[t, c]` over the kept tokens of sequence `s`, or their
/// maximum in column `c`, where any NaN makes it NaN. Zero without a token.
///
/// `x[t]` is row `t` of `source`, or row `ids[t]`.
pub(crate) fn pool(
    config: Config<'_>,
    source: Matrix<'_>,
    ids: Option<&Integers>,
    mut out: MatrixMut<'_>,
) {
    let Config { mode, sequences, skip, column } = config;
    let row = |token: usize| ids.map_or(token, |ids| ids.at(token));
    for sequence in 0..sequences.count() {
        let (start, kept) = (sequences.range(sequence).start, kept(sequences, skip, sequence));
        for c in 0..source.columns {
            let elements = || kept.clone().map(|token| source.at(row(token), c));
            let pooled = match mode {
                _ if kept.is_empty() => 0.0,
                Pooling::Max if elements().any(f64::is_nan) => f64::NAN,
                Pooling::Max => elements().fold(f64::NEG_INFINITY, f64::max),
                _ => kept
                    .clone()
                    .zip(elements())
                    .map(|(token, x)| weight(mode, start, &kept, token) * x)
                    .sum(),
            };
            out.put(sequence, column + c, pooled);
        }
    }
}

/// `d_x[t, c] += weight(t) d_out[s, column + c]`; for `Max` all of it goes to the first of the
/// greatest elements, NaN aside, and to the first token where there is no other.
pub(crate) fn pool_backward(
    config: Config<'_>,
    d_out: Matrix<'_>,
    x: Matrix<'_>,
    mut d_x: MatrixMut<'_>,
) {
    let Config { mode, sequences, skip, column } = config;
    for sequence in 0..sequences.count() {
        let (start, kept) = (sequences.range(sequence).start, kept(sequences, skip, sequence));
        if kept.is_empty() {
            continue;
        }
        for c in 0..x.columns {
            let d_out = d_out.at(sequence, column + c);
            if mode == Pooling::Max {
                let (mut highest, mut place) = (f64::NEG_INFINITY, kept.start);
                for token in kept.clone() {
                    if x.at(token, c) > highest {
                        (highest, place) = (x.at(token, c), token);
                    }
                }
                d_x.add(place, c, d_out);
                continue;
            }
            for token in kept.clone() {
                d_x.add(token, c, weight(mode, start, &kept, token) * d_out);
            }
        }
    }
}

/// `d_table[ids[t], c] += weight(t) d_out[s, column + c]`, in the order of `t`, for all modes but
/// `Max`; each product and each sum is rounded to `f32`.
pub(crate) fn pool_embeddings_backward(
    config: Config<'_>,
    d_out: Matrix<'_>,
    ids: &Integers,
    mut d_table: MatrixMut<'_>,
) {
    let Config { mode, sequences, skip, column } = config;
    for sequence in 0..sequences.count() {
        let (start, kept) = (sequences.range(sequence).start, kept(sequences, skip, sequence));
        for token in kept.clone() {
            for c in 0..d_table.columns {
                let product = weight(mode, start, &kept, token) * d_out.at(sequence, column + c);
                d_table.add(ids.at(token), c, f64::from(product as f32));
            }
        }
    }
}
