//! Embeddings of the texts of an evaluation, each text once, and similarities of pairs of them.

use crate::error::Error;
use crate::metrics::Metrics;
use crate::retrieval::{gather_rows, to_device};
use indexmap::IndexSet;
use rankforge_base::Reporter;
use rankforge_encoder::{Embed, EncodeOptions, Outputs, Side};
use rankforge_kernels::Buffer;
use rankforge_kernels::ops::{Similarity, pairwise_similarity};
use std::sync::Arc;

/// In a key, the best value of several similarity functions.
const MAX: &str = "max";

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

/// The similarity functions of an evaluation: `given`, or else `main`, or else that of the model.
pub(super) fn functions<E: Embed + ?Sized>(
    given: &[Similarity],
    main: Option<Similarity>,
    model: &E,
) -> Vec<Similarity> {
    if given.is_empty() {
        return vec![main.unwrap_or_else(|| model.similarity())];
    }
    given.to_vec()
}

/// The names of similarity functions in keys, with `max`, the best of several functions, last.
pub(super) fn key_names(functions: &[Similarity]) -> Vec<&'static str> {
    let mut names: Vec<&str> = functions.iter().map(|function| function.name()).collect();
    if functions.len() > 1 {
        names.push(MAX);
    }
    names
}

/// The key of the primary metric: that of the `main` function, or else that of `max`, or else that
/// of the only function in `metrics`. `key` is the key for one of [`key_names`].
pub(super) fn primary_key(
    main: Option<Similarity>,
    metrics: &Metrics,
    key: impl Fn(&str) -> String,
) -> String {
    if let Some(main) = main {
        return key(main.name());
    }
    let names = [MAX].into_iter().chain(Similarity::ALL.map(Similarity::name));
    let mut keys = names.map(&key);
    let found = keys.find(|key| metrics.get(key).is_some());
    found.unwrap_or_else(|| key(Similarity::Cosine.name()))
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
