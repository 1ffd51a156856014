//! The searches of the first stages.

use crate::commands::evaluate::cascade::index_search::IndexSearch;
use crate::commands::evaluate::cascade::plan::{Kind, Plan};
use crate::console::Console;
use crate::table::thousands;
use anyhow::Context;
use rankforge::Device;
use rankforge::base::Reporter;
use rankforge::data::Beir;
use rankforge::encoder::{DualEncoder, EncodeOptions, LoadOptions, TextModel};
use rankforge::evaluation::cascade::Neighbour;
use rankforge::retrieval::Retriever;
use rankforge_index::bm25::{Bm25Index, Language};
use rankforge_index::fusion::{CANDIDATES, reciprocal_rank_fusion};
use std::path::PathBuf;
use std::time::Instant;

/// The corpus, ready to be searched.
pub(super) struct Searches<'a> {
    /// One for each dual encoder of the plan.
    dense: Vec<Retriever<'a>>,
    bm25: Option<Bm25Index>,
    /// Those of the plan.
    indexes: &'a [IndexSearch],
    device: Device,
    rrf_k: f64,
}

/// The models and indexes of a plan, open.
pub(super) struct Opened {
    /// Those of the plan.
    pub(super) encoders: Vec<DualEncoder>,
    /// Those of the plan.
    pub(super) indexes: Vec<IndexSearch>,
}

impl Opened {
    /// Opens what a plan names.
    ///
    /// # Errors
    /// If a directory is not that of a dual encoder, or an index cannot be searched.
    pub(super) fn new(
        plan: &Plan,
        beir: &Beir,
        load: &LoadOptions,
        console: &Console,
    ) -> anyhow::Result<Opened> {
        let encoder = |path: &PathBuf| DualEncoder::open_with(path, load).context("--first-stage");
        let index = |index| IndexSearch::open(index, plan.rrf_k, beir, load, console);
        Ok(Opened {
            encoders: plan.encoders.iter().map(encoder).collect::<Result<_, _>>()?,
            indexes: plan.indexes.iter().map(index).collect::<Result<_, _>>()?,
        })
    }
}

impl<'a> Searches<'a> {
    /// Embeds and indexes the corpus, as far as the plan needs it. `opened` is what it names.
    ///
    /// # Errors
    /// If a text cannot be read by a model, or the index cannot be built.
    pub(super) fn prepare(
        plan: &Plan,
        opened: &'a Opened,
        beir: &Beir,
        device: &Device,
        console: &Console,
    ) -> anyhow::Result<Searches<'a>> {
        let documents: Vec<&str> = beir.corpus.values().map(String::as_str).collect();
        let encode =
            EncodeOptions { reporter: console.progress.clone(), ..EncodeOptions::default() };
        let report = |what: &str, begun: Instant| {
            let (count, seconds) = (thousands(documents.len() as u64), begun.elapsed());
            let seconds = seconds.as_secs_f64();
            console.progress.message(&format!("{what}: {count} documents in {seconds:.1} s"));
        };
        let mut dense = Vec::new();
        for encoder in &opened.encoders {
            let begun = Instant::now();
            dense.push(Retriever::new(encoder, &documents, &encode)?);
            report(encoder.base_model(), begun);
        }
        let needs_bm25 = |kind| matches!(kind, Kind::Bm25 | Kind::Hybrid(_));
        let bm25 = plan.stages.iter().any(|stage| needs_bm25(stage.kind)).then(|| {
            let begun = Instant::now();
            let index = Bm25Index::in_memory(&documents, Language::English, device.workers());
            report("BM25", begun);
            index
        });
        Ok(Searches {
            dense,
            bm25: bm25.transpose()?,
            indexes: &opened.indexes,
            device: device.clone(),
            rrf_k: plan.rrf_k,
        })
    }

    /// The `k` best documents for a query.
    ///
    /// # Errors
    /// If the query cannot be read by a model, or the index cannot be searched.
    pub(super) fn search(
        &self,
        kind: Kind,
        query: &str,
        k: usize,
    ) -> anyhow::Result<Vec<Neighbour>> {
        match kind {
            Kind::Bm25 => self.bm25(query, k),
            Kind::Dense(encoder) => self.dense(encoder, query, k),
            Kind::Index(index) => self.indexes[index].search(query, k),
            Kind::Hybrid(encoder) => {
                let wanted = k.max(CANDIDATES);
                let dense = self.dense(encoder, query, wanted)?;
                let bm25 = self.bm25(query, wanted)?;
                Ok(reciprocal_rank_fusion(&[&dense, &bm25], self.rrf_k, k))
            }
        }
    }

    fn dense(&self, encoder: usize, query: &str, k: usize) -> anyhow::Result<Vec<Neighbour>> {
        let found = self.dense[encoder].search(&[query], k, &EncodeOptions::default())?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    fn bm25(&self, query: &str, k: usize) -> anyhow::Result<Vec<Neighbour>> {
        let index = self.bm25.as_ref().context("no first stage of the plan needs BM25")?;
        let found = index.search(&[query], k, self.device.workers())?;
        Ok(found.into_iter().next().unwrap_or_default())
    }
}
