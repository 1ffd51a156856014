//! A first stage that searches an index on disk.

use crate::commands::evaluate::cascade::plan::{IndexPlan, Mode};
use crate::console::Console;
use crate::failure::CliError;
use crate::index_model::{prepare, stored_load_options};
use crate::table::thousands;
use anyhow::Context;
use rankforge::Device;
use rankforge::base::Reporter;
use rankforge::data::Beir;
use rankforge::encoder::{DualEncoder, EncodeOptions, LoadOptions, Packing};
use rankforge::evaluation::cascade::Neighbour;
use rankforge_index::fusion::{CANDIDATES, reciprocal_rank_fusion};
use rankforge_index::{Index, VectorsEntry};

/// An index of the corpus, open for searches.
pub(super) struct IndexSearch {
    index: Index,
    pub(super) mode: Mode,
    /// The model of the vectors, where the mode needs it.
    pub(super) encoder: Option<DualEncoder>,
    encode: EncodeOptions,
    /// Index in the corpus of each row; `u32::MAX` for those that were deleted.
    documents: Vec<u32>,
    device: Device,
    rrf_k: f64,
}

impl IndexSearch {
    /// Opens an index, and the model that made its vectors where the mode needs it.
    ///
    /// # Errors
    /// If the index or its model cannot be read, the model is another one now, the index lacks what
    /// the mode needs, or it has a document that is not in the corpus.
    pub(super) fn open(
        plan: &IndexPlan,
        rrf_k: f64,
        beir: &Beir,
        load: &LoadOptions,
        console: &Console,
    ) -> anyhow::Result<IndexSearch> {
        let index = Index::open(&plan.path)?;
        let vectors = index.manifest().vectors.clone();
        let default = if vectors.is_some() { Mode::Dense } else { Mode::Bm25 };
        let mode = plan.mode.unwrap_or(default);
        let encoder = match (mode, &vectors) {
            (Mode::Bm25, _) | (_, None) => None,
            (_, Some(entry)) => Some(open_encoder(&index, entry, load)?),
        };
        let encode = EncodeOptions {
            normalize_embeddings: vectors.as_ref().is_some_and(|entry| entry.normalize_embeddings),
            truncate_dim: vectors.as_ref().and_then(|entry| entry.truncate_dim),
            ..EncodeOptions::default()
        };
        let documents = documents(&index, beir)?;
        let found = documents.iter().filter(|document| **document != u32::MAX).count();
        if found < beir.corpus.len() {
            let [found, all] = [found, beir.corpus.len()].map(|count| thousands(count as u64));
            let path = plan.path.display();
            console.progress.warning(&format!("{path}: the index has {found} of {all} documents"));
        }
        let device = load.device.clone().map_or_else(|| console.device(), Ok)?;
        let search = IndexSearch { index, mode, encoder, encode, documents, device, rrf_k };
        // Finds at once what the index lacks.
        search.search("", 1)?;
        Ok(search)
    }

    /// The `k` best documents for a query, as indices in the corpus.
    ///
    /// # Errors
    /// If the query cannot be read by the model, or the index lacks what the mode needs.
    pub(super) fn search(&self, query: &str, k: usize) -> anyhow::Result<Vec<Neighbour>> {
        let mut found = match self.mode {
            Mode::Bm25 => self.bm25(query, k)?,
            Mode::Dense => self.dense(query, k)?,
            Mode::Hybrid => {
                let wanted = k.max(CANDIDATES);
                let (dense, bm25) = (self.dense(query, wanted)?, self.bm25(query, wanted)?);
                reciprocal_rank_fusion(&[&dense, &bm25], self.rrf_k, k)
            }
        };
        found.iter_mut().for_each(|row| row.index = self.documents[row.index as usize]);
        Ok(found)
    }

    fn dense(&self, query: &str, k: usize) -> anyhow::Result<Vec<Neighbour>> {
        let lacks = || {
            let message = format!("{}: the index has no vectors", self.index.path().display());
            CliError::input(message).hint("`rankforge index --model DIR` adds them")
        };
        let encoder = self.encoder.as_ref().ok_or_else(lacks)?;
        let found = self.index.search_dense(encoder, &[query], k, &self.encode)?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    fn bm25(&self, query: &str, k: usize) -> anyhow::Result<Vec<Neighbour>> {
        let found = self.index.search_bm25(&[query], k, self.device.workers())?;
        Ok(found.into_iter().next().unwrap_or_default())
    }
}

/// Opens the model of an index as it was when the index was built.
fn open_encoder(
    index: &Index,
    entry: &VectorsEntry,
    load: &LoadOptions,
) -> anyhow::Result<DualEncoder> {
    let load = stored_load_options(index.manifest(), load.clone())?;
    let load = LoadOptions { packing: Packing::None, ..load };
    let model = DualEncoder::open_with(&entry.model.path, &load)
        .with_context(|| format!("{}: the model of the index", index.path().display()))?;
    Ok(prepare(index, model)?)
}

/// Where the rows of an index are in the corpus.
fn documents(index: &Index, beir: &Beir) -> anyhow::Result<Vec<u32>> {
    let place = |row: usize| {
        if index.is_deleted(row) {
            return Ok(u32::MAX);
        }
        let id = index.row(row)?.id;
        let place = beir.corpus.get_index_of(&id).ok_or_else(|| {
            let path = index.path().display();
            let message = format!("{path}: document {id} is not in the corpus of --dataset");
            CliError::input(message).hint("an index of the same BEIR directory is expected")
        })?;
        Ok(u32::try_from(place)?)
    };
    (0..index.rows()).map(place).collect()
}
