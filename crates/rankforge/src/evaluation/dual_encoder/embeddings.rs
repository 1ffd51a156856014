//! Embeddings of the texts of an evaluation, each text once, and similarities of pairs of them.

use crate::error::Error;
use crate::retrieval::{gather_rows, to_device};
use indexmap::IndexSet;
use rankforge_base::Reporter;
use rankforge_encoder::{Embed, EncodeOptions, Outputs, Side};
use rankforge_kernels::Buffer;
use rankforge_kernels::ops::{Similarity, pairwise_similarity};
use std::sync::Arc;

/// Number of pairs whose embeddings are gathered at a time.
const PAIRS: usize = 8192;

/// Distinct texts in the order in which they first occur, and the place of each text among them.
#[derive(Default)]
pub(super) struct Distinct<'a> {
    pub(super) texts: IndexSet<&'a str>,
}

impl<'a> Distinct<'a> {
    /// Adds texts and returns their places.
    pub(super) fn places(&mut self, texts: impl IntoIterator<Item = &'a str>) -> Vec<u32> {
        texts.into_iter().map(|text| self.texts.insert_full(text).0 as u32).collect()
    }

    pub(super) fn list(&self) -> Vec<&'a str> {
        self.texts.iter().copied().collect()
    }
}

/// What determines the embeddings of an evaluation besides model and texts.
#[derive(Clone, Copy)]
pub(super) struct Encoding<'a> {
    pub(super) batch_size: usize,
    pub(super) truncate_dim: Option<usize>,
    pub(super) normalize: bool,
    pub(super) reporter: &'a Arc<dyn Reporter>,
}

impl Encoding<'_> {
    pub(super) fn options(self) -> EncodeOptions {
        EncodeOptions {
            batch_size: self.batch_size,
            truncate_dim: self.truncate_dim,
            normalize_embeddings: self.normalize,
            reporter: self.reporter.clone(),
            ..EncodeOptions::default()
        }
    }

    pub(super) fn embed<E: Embed + ?Sized>(
        self,
        model: &E,
        side: Side,
        texts: &[&str],
    ) -> Result<Outputs, Error> {
        let outputs = model.embed(side, texts, &self.options())?;
        assert_eq!(outputs.rows, texts.len(), "embeddings and texts");
        check_dimension(self.truncate_dim, &outputs)?;
        Ok(outputs)
    }

    /// Embeddings on the device of the model.
    pub(super) fn on_device<E: Embed + ?Sized>(
        self,
        model: &E,
        side: Side,
        texts: &[&str],
    ) -> Result<Buffer, Error> {
        Ok(to_device(model.device(), self.embed(model, side, texts)?))
    }
}

/// Checks that embeddings have as many dimensions as an evaluator looks at.
///
/// # Errors
/// When there are fewer.
pub(super) fn check_dimension(
    truncate_dim: Option<usize>,
    embeddings: &Outputs,
) -> Result<(), Error> {
    match truncate_dim {
        Some(dimension) if embeddings.rows > 0 && dimension > embeddings.columns => {
            let expected =
                format!("at most {}, as the model's embeddings have", embeddings.columns);
            Err(Error::argument("truncate_dim", expected, dimension))
        }
        _ => Ok(()),
    }
}

/// Similarity of row `pairs[i].0` of `a` with row `pairs[i].1` of `b`, for all `i`.
pub(super) fn similarities(
    similarity: Similarity,
    a: &Buffer,
    b: &Buffer,
    pairs: (&[u32], &[u32]),
) -> Vec<f32> {
    let chunks = pairs.0.chunks(PAIRS).zip(pairs.1.chunks(PAIRS));
    let each = chunks.flat_map(|(first, second)| {
        let (first, second) = (gather_rows(a.view(), first), gather_rows(b.view(), second));
        pairwise_similarity(similarity, first.view(), second.view())
    });
    each.collect()
}

/// `given`, or the similarity of the model when none is.
pub(super) fn functions<E: Embed + ?Sized>(given: &[Similarity], model: &E) -> Vec<Similarity> {
    if given.is_empty() { vec![model.similarity()] } else { given.to_vec() }
}

/// The name with the first letter as a capital one.
pub(super) fn capitalized(similarity: Similarity) -> &'static str {
    match similarity {
        Similarity::Cosine => "Cosine",
        Similarity::Dot => "Dot",
        Similarity::Euclidean => "Euclidean",
        Similarity::Manhattan => "Manhattan",
    }
}
