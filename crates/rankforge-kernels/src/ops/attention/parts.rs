use super::Attention;
use crate::View;
use crate::parallel::SharedRows;

/// Queries, keys and values, each head by head, or the gradients of them.
pub enum Qkv<V> {
    /// Of all tokens, `T x 3H`.
    Together(V),
    /// Of the tokens that ask, `B x H`, and keys and values of all tokens, `T x 2H`.
    Apart {
        /// Queries.
        queries: V,
        /// Keys, then values.
        keys_values: V,
    },
}

impl<V> Qkv<V> {
    pub(super) fn map<W>(self, f: impl Fn(V) -> W) -> Qkv<W> {
        match self {
            Qkv::Together(all) => Qkv::Together(f(all)),
            Qkv::Apart { queries, keys_values } => {
                Qkv::Apart { queries: f(queries), keys_values: f(keys_values) }
            }
        }
    }

    pub(super) fn as_ref(&self) -> Qkv<&V> {
        match self {
            Qkv::Together(all) => Qkv::Together(all),
            Qkv::Apart { queries, keys_values } => Qkv::Apart { queries, keys_values },
        }
    }

    /// Asserts the shapes for `hidden` columns of all heads.
    pub(super) fn check(
        &self,
        config: &Attention<'_>,
        hidden: usize,
        expect: impl Fn(&V, &str, usize, usize),
    ) {
        let (tokens, rows) = (config.ragged.tokens(), config.rows());
        match self {
            Qkv::Together(all) => {
                assert!(config.queries.is_none(), "queries apart where only some tokens ask");
                expect(all, "queries, keys and values", tokens, 3 * hidden);
            }
            Qkv::Apart { queries, keys_values } => {
                expect(queries, "queries", rows, hidden);
                expect(keys_values, "keys and values", tokens, 2 * hidden);
            }
        }
    }

    pub(super) fn parts(self, hidden: usize) -> Parts<V>
    where
        V: Copy,
    {
        let part = |matrix, start| Part { matrix, start };
        match self {
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

impl<M: Copy> Parts<M> {
    pub(super) fn map<N>(&self, f: impl Fn(M) -> N) -> Parts<N> {
        let part = |part: Part<M>| Part { matrix: f(part.matrix), start: part.start };
        Parts { queries: part(self.queries), keys: part(self.keys), values: part(self.values) }
    }
}

/// Where a matrix begins, and its columns: enough to ask for its memory.
#[derive(Clone, Copy)]
pub(super) struct Address(pub(super) *const f32, pub(super) usize);

impl Address {
    pub(super) fn of(view: View<'_>) -> Address {
        Address(view.data.as_ptr(), view.columns)
    }

    pub(super) fn of_shared(rows: &SharedRows<'_>) -> Address {
        Address(rows.data, rows.columns)
    }
}
