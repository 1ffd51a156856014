use crate::device::{Device, Kind};
use crate::indices::Indices;
use crate::ops::embedding::check_ids;
use crate::ragged::Ragged;
use crate::settings::pooling::{PoolOf, Pooling};
use crate::view::{View, ViewMut};
use crate::{cpu, reference};

/// What pooling computes: how, from which tokens, and to which columns.
#[derive(Clone, Copy)]
pub struct Pool<'a> {
    /// How the tokens of a sequence become one vector.
    pub mode: Pooling,
    /// Lengths of the sequences.
    pub ragged: &'a Ragged,
    /// How many first tokens of each sequence (a prompt) are left out, `B`, as
    /// sentence-transformers 6 does for every mode; `None` leaves out no token. A sequence with no
    /// token left gives zeros.
    pub skip: Option<&'a Indices>,
    /// First of the columns that the vectors are written to.
    pub column: usize,
}

/// Pools each sequence into columns `column .. column + H` of its row of `out`.
///
/// # Shapes
/// `x`: `T x H`; `out`: `B x W` with `W >= column + H`.
///
/// # Panics
/// When the shapes differ from these.
pub fn pool(config: &Pool<'_>, x: View<'_>, out: ViewMut<'_>) {
    assert_eq!(x.rows(), config.ragged.tokens(), "rows of x, tokens of the batch");
    pool_rows(config, x, None, out);
}

/// [`pool`] of the rows of `table` that `ids` name: the bits of a [`gather`](crate::ops::gather)
/// and a [`pool`], without the matrix of all tokens.
///
/// # Shapes
/// `table`: `V x H`; `ids`: `T`; `out`: `B x W` with `W >= column + H`.
///
/// # Panics
/// When the shapes differ from these, or an id is not below `V`.
pub fn pool_embeddings(config: &Pool<'_>, table: View<'_>, ids: &Indices, out: ViewMut<'_>) {
    assert_eq!(ids.len(), config.ragged.tokens(), "ids, tokens of the batch");
    check_ids(ids, table.rows());
    pool_rows(config, table, Some(ids), out);
}

/// Pools rows of `source`: all of them in order, or those that `ids` name.
fn pool_rows(config: &Pool<'_>, source: View<'_>, ids: Option<&Indices>, out: ViewMut<'_>) {
    config.check(source.columns(), out.as_view());
    let device = source.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let ids = ids.map(|ids| ids.host(device));
            let (source, out) = (source.host(device), out.host(device));
            cpu::pooling::pool(cpu, config.host(device), source, ids, out);
        }
        Kind::Reference(_) => {
            let ids = ids.map(|ids| ids.reference(device));
            let (source, out) = (source.reference(device), out.reference(device));
            reference::pooling::pool(config.reference(device), source, ids, out);
        }
    }
}

/// Backward of [`pool`], added to `d_x`; needs the input (for `Max`, whose gradient goes to the
/// first of equal maxima).
///
/// # Shapes
/// `d_out`: `B x W` with `W >= column + H`; `x`, `d_x`: `T x H`.
///
/// # Panics
/// When the shapes differ from these.
pub fn pool_backward(config: &Pool<'_>, d_out: View<'_>, x: View<'_>, d_x: ViewMut<'_>) {
    config.check(x.columns(), d_out);
    assert_eq!(x.rows(), config.ragged.tokens(), "rows of x, tokens of the batch");
    d_x.expect_shape("d_x", x.rows(), x.columns());
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (d_out, x, d_x) = (d_out.host(device), x.host(device), d_x.host(device));
            cpu::pooling::pool_backward(cpu, config.host(device), d_out, x, d_x);
        }
        Kind::Reference(_) => {
            let (d_out, x) = (d_out.reference(device), x.reference(device));
            let d_x = d_x.reference(device);
            reference::pooling::pool_backward(config.reference(device), d_out, x, d_x);
        }
    }
}

/// Backward of [`pool_embeddings`], added to `d_table`: the bits of a [`pool_backward`] to zeros
/// and a [`gather_backward`](crate::ops::gather_backward), without the matrix of all tokens.
///
/// # Shapes
/// `d_out`: `B x W` with `W >= column + H`; `ids`: `T`; `d_table`: `V x H`.
///
/// # Panics
/// When the shapes differ from these, an id is not below `V`, or the mode is `Max`, whose gradient
/// depends on the rows.
pub fn pool_embeddings_backward(
    config: &Pool<'_>,
    d_out: View<'_>,
    ids: &Indices,
    d_table: ViewMut<'_>,
) {
    assert_ne!(config.mode, Pooling::Max, "the gradient of a maximum depends on the rows");
    config.check(d_table.columns(), d_out);
    assert_eq!(ids.len(), config.ragged.tokens(), "ids, tokens of the batch");
    check_ids(ids, d_table.rows());
    let device = d_out.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (d_out, ids, d_table) =
                (d_out.host(device), ids.host(device), d_table.host(device));
            let config = config.host(device);
            cpu::pooling::pool_embeddings_backward(cpu, config, d_out, ids, d_table);
        }
        Kind::Reference(_) => {
            let (d_out, ids) = (d_out.reference(device), ids.reference(device));
            let (config, d_table) = (config.reference(device), d_table.reference(device));
            reference::pooling::pool_embeddings_backward(config, d_out, ids, d_table);
        }
    }
}

impl<'a> Pool<'a> {
    /// The settings as CPU kernels take them.
    #[track_caller]
    fn host(&self, device: &Device) -> cpu::pooling::Config<'a> {
        let Pool { mode, ragged, skip, column } = *self;
        let skip = skip.map(|skip| skip.host(device));
        PoolOf { mode, sequences: ragged.host(device), skip, column }
    }

    /// The settings as the reference device takes them.
    #[track_caller]
    fn reference(&self, device: &Device) -> reference::pooling::Config<'a> {
        let Pool { mode, ragged, skip, column } = *self;
        let skip = skip.map(|skip| skip.reference(device));
        PoolOf { mode, sequences: ragged.reference(device), skip, column }
    }

    /// Asserts that vectors of `width` elements fit the rows of `out`.
    fn check(&self, width: usize, out: View<'_>) {
        let (sequences, column) = (self.ragged.sequences(), self.column);
        if let Some(skip) = self.skip {
            assert_eq!(skip.len(), sequences, "tokens to skip, one number per sequence");
        }
        assert!(
            out.rows() == sequences
                && column.checked_add(width).is_some_and(|end| end <= out.columns()),
            "pooling of {sequences} sequences of width {width} to column {column} of {out:?}",
        );
    }
}
