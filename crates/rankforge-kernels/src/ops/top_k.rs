//! The best rows of a corpus for each query.

use crate::buffer::Buffer;
use crate::device::Kind;
use crate::settings::similarity::{Neighbour, SearchOf, Similarity};
use crate::view::View;
use crate::{cpu, reference};

/// The rows of a [`Corpus`]: borrowed or owned.
pub enum CorpusRows<'a> {
    /// Borrowed: of a [`Buffer`], or of the host by [`View::borrowed`], such as a mapped file.
    View(View<'a>),
    /// Owned.
    Buffer(Buffer),
}

impl<'a> From<View<'a>> for CorpusRows<'a> {
    fn from(view: View<'a>) -> CorpusRows<'a> {
        CorpusRows::View(view)
    }
}

impl From<Buffer> for CorpusRows<'_> {
    fn from(buffer: Buffer) -> Self {
        CorpusRows::Buffer(buffer)
    }
}

/// Rows prepared for searches: what depends on the rows alone is computed once, for any number of
/// searches.
///
/// # Units
/// Memory beside the rows, for cosines and dot products on every instruction set but
/// `Isa::Scalar`: a byte for each element and 24 bytes for each row. Elsewhere 4 bytes for each
/// row, for cosines.
pub struct Corpus<'a> {
    similarity: Similarity,
    rows: CorpusRows<'a>,
    prepared: PreparedRows,
}

/// What a device computes from the rows before the first search.
enum PreparedRows {
    Cpu(cpu::top_k::PreparedSearch),
    Reference,
}

impl<'a> Corpus<'a> {
    /// Prepares `rows`, `N x E`, for searches by `similarity`.
    ///
    /// # Panics
    /// When there are more rows than a [`Neighbour`] can number.
    ///
    /// # Examples
    /// ```
    /// use rankforge_kernels::ops::{Corpus, Similarity};
    /// use rankforge_kernels::{Buffer, Device};
    ///
    /// let device = Device::cpu(Some(1))?;
    /// let rows = Buffer::upload(&device, 3, 2, &[1.0, 0.0, 0.0, 1.0, 0.6, 0.8]);
    /// let corpus = Corpus::prepare(Similarity::Cosine, rows);
    /// let query = Buffer::upload(&device, 1, 2, &[0.0, 2.0]);
    /// let found = corpus.top_k(query.view(), 2, &|_| ());
    /// assert_eq!(found[0].iter().map(|row| row.index).collect::<Vec<_>>(), [1, 2]);
    /// # Ok::<(), rankforge_kernels::DeviceError>(())
    /// ```
    pub fn prepare(similarity: Similarity, rows: impl Into<CorpusRows<'a>>) -> Corpus<'a> {
        let rows = rows.into();
        let view = rows.view();
        assert!(u32::try_from(view.rows()).is_ok(), "{view:?} has more rows than 32 bits number");
        let device = view.device();
        let prepared = match device.kind() {
            Kind::Cpu(cpu) => PreparedRows::Cpu(cpu::top_k::PreparedSearch::new(
                cpu,
                similarity,
                view.host(device),
            )),
            Kind::Reference(_) => PreparedRows::Reference,
        };
        Corpus { similarity, rows, prepared }
    }

    /// The rows, `N x E`.
    pub fn view(&self) -> View<'_> {
        self.rows.view()
    }

    /// How the rows are compared with queries.
    pub fn similarity(&self) -> Similarity {
        self.similarity
    }

    /// The `k` best rows for each query, best first, ties by lower index; all rows when there are
    /// fewer. Works in blocks; the matrix of scores is never stored.
    ///
    /// Cosines and dot products are those of [`pairwise_similarity`], which sums in `f64`, on every
    /// instruction set but `Isa::Scalar`; elsewhere the CPU computes scores in `f32`.
    ///
    /// A NaN score counts as minus infinity. `done` is called with the number of queries finished
    /// since the last call, from any thread.
    ///
    /// Waits for the device.
    ///
    /// # Shapes
    /// `queries`: `Q x E`; the result has `Q` lists.
    ///
    /// # Panics
    /// When the queries have another number of columns.
    pub fn top_k(
        &self,
        queries: View<'_>,
        k: usize,
        done: &(dyn Fn(usize) + Sync),
    ) -> Vec<Vec<Neighbour>> {
        let (similarity, rows) = (self.similarity, self.view());
        assert_eq!(queries.columns(), rows.columns(), "{queries:?} against {rows:?}");
        let k = k.min(rows.rows());
        if k == 0 {
            done(queries.rows());
            return vec![Vec::new(); queries.rows()];
        }
        let device = rows.device();
        match (device.kind(), &self.prepared) {
            (Kind::Cpu(cpu), PreparedRows::Cpu(prepared)) => {
                let (queries, corpus) = (queries.host(device), rows.host(device));
                let search = SearchOf { similarity, queries, corpus, k };
                cpu::top_k::search(cpu, prepared, search, done)
            }
            _ => {
                let (queries, corpus) = (queries.reference(device), rows.reference(device));
                reference::top_k::search(SearchOf { similarity, queries, corpus, k }, done)
            }
        }
    }
}

impl CorpusRows<'_> {
    fn view(&self) -> View<'_> {
        match self {
            CorpusRows::View(view) => *view,
            CorpusRows::Buffer(buffer) => buffer.view(),
        }
    }
}

/// The similarity of row `i` of `a` and row `i` of `b`, for all `i`; sums are in `f64`.
///
/// Waits for the device.
///
/// # Shapes
/// `a`, `b`: `B x E`; the result has `B` numbers.
///
/// # Panics
/// When the shapes differ.
pub fn pairwise_similarity(similarity: Similarity, a: View<'_>, b: View<'_>) -> Vec<f32> {
    b.expect_shape("b", a.rows(), a.columns());
    let device = a.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            cpu::top_k::pairwise_similarity(cpu, similarity, a.host(device), b.host(device))
        }
        Kind::Reference(_) => {
            let (a, b) = (a.reference(device), b.reference(device));
            reference::top_k::pairwise_similarity(similarity, a, b)
        }
    }
}
