use crate::device::Kind;
use crate::indices::Indices;
use crate::ops::embedding::check_ids;
use crate::ragged::Ragged;
use crate::settings::pooling::Pooling;
use crate::view::{View, ViewMut};
use crate::{cpu, reference};

/// Pools each sequence into columns `column .. column + H` of its row of `out`.
///
/// The first `skip[b]` tokens of sequence `b` (a prompt) are left out, as sentence-transformers 6
/// does for every mode; `None` leaves out no token. A sequence with no token left gives zeros.
///
/// # Shapes
/// `x`: `T x H`; `skip`: `B`; `out`: `B x W` with `W >= column + H`.
///
/// # Panics
/// When the shapes differ from these.
pub fn pool(
    mode: Pooling,
    x: View<'_>,
    ragged: &Ragged,
    skip: Option<&Indices>,
    column: usize,
    out: ViewMut<'_>,
) {
    assert_eq!(x.rows(), ragged.tokens(), "rows of x, tokens of the batch");
    pool_rows(mode, x, None, ragged, skip, column, out);
}

/// [`pool`] of the rows of `table` that `ids` name: the bits of a [`gather`](crate::ops::gather)
/// and a [`pool`], without the matrix of all tokens.
///
/// # Shapes
/// `table`: `V x H`; `ids`: `T`; `skip`: `B`; `out`: `B x W` with `W >= column + H`.
///
/// # Panics
/// When the shapes differ from these, or an id is not below `V`.
pub fn pool_embeddings(
    mode: Pooling,
    table: View<'_>,
    ids: &Indices,
    ragged: &Ragged,
    skip: Option<&Indices>,
    column: usize,
    out: ViewMut<'_>,
) {
    assert_eq!(ids.len(), ragged.tokens(), "ids, tokens of the batch");
    check_ids(ids, table.rows());
    pool_rows(mode, table, Some(ids), ragged, skip, column, out);
}

/// Pools rows of `source`: all of them in order, or those that `ids` name.
fn pool_rows(
    mode: Pooling,
    source: View<'_>,
    ids: Option<&Indices>,
    ragged: &Ragged,
    skip: Option<&Indices>,
    column: usize,
    out: ViewMut<'_>,
) {
    check(source.columns(), ragged, skip, column, out.as_view());
    let device = source.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (ids, skip) =
                (ids.map(|values| values.host(device)), skip.map(|values| values.host(device)));
            let (source, out) = (source.host(device), out.host(device));
            let sequences = ragged.host(device);
            cpu::pooling::pool(cpu, mode, source, ids, sequences, skip, column, out);
        }
        Kind::Reference(_) => {
            let ids = ids.map(|ids| ids.reference(device));
            let skip = skip.map(|skip| skip.reference(device));
            let (source, sequences) = (source.reference(device), ragged.reference(device));
            let out = out.reference(device);
            reference::pooling::pool(mode, source, ids, sequences, skip, column, out);
        }
    }
}

/// Backward of [`pool`], added to `d_x`; needs the input (for `Max`, whose gradient goes to the
/// first of equal maxima).
///
/// # Shapes
/// `d_out`: `B x W`; `x`, `d_x`: `T x H`; `skip`: `B`.
///
/// # Panics
/// When the shapes differ from these.
pub fn pool_backward(
    mode: Pooling,
    d_out: View<'_>,
    x: View<'_>,
    ragged: &Ragged,
    skip: Option<&Indices>,
    column: usize,
    d_x: ViewMut<'_>,
) {
    check(x.columns(), ragged, skip, column, d_out);
    assert_eq!(x.rows(), ragged.tokens(), "rows of x, tokens of the batch");
    d_x.expect_shape("d_x", x.rows(), x.columns());
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (d_out, x, d_x) = (d_out.host(device), x.host(device), d_x.host(device));
            let (sequences, skip) = (ragged.host(device), skip.map(|values| values.host(device)));
            cpu::pooling::pool_backward(cpu, mode, d_out, x, sequences, skip, column, d_x);
        }
        Kind::Reference(_) => {
            let (d_out, x) = (d_out.reference(device), x.reference(device));
            let skip = skip.map(|skip| skip.reference(device));
            let (sequences, d_x) = (ragged.reference(device), d_x.reference(device));
            reference::pooling::pool_backward(mode, d_out, x, sequences, skip, column, d_x);
        }
    }
}

fn check(width: usize, ragged: &Ragged, skip: Option<&Indices>, column: usize, out: View<'_>) {
    if let Some(skip) = skip {
        assert_eq!(skip.len(), ragged.sequences(), "tokens to skip, one number per sequence");
    }
    assert!(
        out.rows() == ragged.sequences()
            && column.checked_add(width).is_some_and(|end| end <= out.columns()),
        "pooling of {} sequences of width {width} to column {column} of {out:?}",
        ragged.sequences()
    );
}
