use crate::cpu::matrix::Matrix;
use crate::cpu::parallel::SharedRows;
use crate::settings::attention::Qkv;

/// A matrix and the column where the first head begins.
#[derive(Clone, Copy)]
pub(super) struct Part<M> {
    pub(super) matrix: M,
    pub(super) start: usize,
}

/// Where queries, keys and values of all heads are.
#[derive(Clone, Copy)]
pub(super) struct Parts<M> {
    pub(super) queries: Part<M>,
    pub(super) keys: Part<M>,
    pub(super) values: Part<M>,
}

impl<'q, M> Parts<&'q M> {
    /// The parts of `qkv` for `hidden` columns of all heads.
    pub(super) fn of(qkv: &'q Qkv<M>, hidden: usize) -> Parts<&'q M> {
        let part = |matrix, start| Part { matrix, start };
        match qkv {
            Qkv::Together(all) => Parts {
                queries: part(all, 0),
                keys: part(all, hidden),
                values: part(all, 2 * hidden),
            },
            Qkv::Apart { queries, keys_values } => Parts {
                queries: part(queries, 0),
                keys: part(keys_values, 0),
                values: part(keys_values, hidden),
            },
        }
    }
}

impl<M: Copy> Parts<M> {
    pub(super) fn map<N>(&self, f: impl Fn(M) -> N) -> Parts<N> {
        let part = |part: Part<M>| Part { matrix: f(part.matrix), start: part.start };
        Parts { queries: part(self.queries), keys: part(self.keys), values: part(self.values) }
    }
}

/// Where a matrix begins, and its columns: enough to prefetch its rows.
#[derive(Clone, Copy)]
pub(super) struct Address(pub(super) *const f32, pub(super) usize);

impl Address {
    pub(super) fn of(matrix: Matrix<'_>) -> Address {
        Address(matrix.data.as_ptr(), matrix.columns)
    }

    pub(super) fn of_shared(rows: &SharedRows<'_>) -> Address {
        Address(rows.data, rows.columns)
    }
}
