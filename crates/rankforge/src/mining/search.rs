use crate::error::Error;
use crate::finite_scores::finite_scores;
use crate::mining::pairs::Pairs;
use crate::mining::settings::Settings;
use crate::retrieval::{Retriever, gather_rows};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::index;
use rankforge_base::{Reporter, Task};
use rankforge_encoder::Score;
use rankforge_kernels::Buffer;
use rankforge_kernels::ops::Neighbour;
use std::ops::Range;
use std::sync::Arc;

/// Queries whose candidates a cross-encoder scores in one call: enough for batches of similar
/// lengths, and few enough that the tokens of their pairs fit in memory.
const RESCORED: usize = 1024;

/// Queries whose positives are gathered in one call.
const GATHERED: usize = 1024;

/// Scores and negatives of all queries, end to end. A list for each query would take several times
/// as much memory.
#[derive(Default)]
pub(super) struct Found {
    positives: Vec<f32>,
    negatives: Vec<Neighbour>,
    /// For each query, the end of its positives and of its negatives.
    ends: Vec<[usize; 2]>,
}

/// Scores and negatives of one query.
#[derive(Clone, Copy)]
pub(super) struct FoundFor<'a> {
    /// Scores of its positives.
    pub(super) positives: &'a [f32],
    /// Its negatives, by descending score; fewer than `num_negatives` when the filters left no
    /// more.
    pub(super) negatives: &'a [Neighbour],
}

impl Found {
    /// Number of queries.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Scores and negatives of the query with this index.
    pub(super) fn of(&self, query: usize) -> FoundFor<'_> {
        let starts = query.checked_sub(1).map_or([0, 0], |before| self.ends[before]);
        let ends = self.ends[query];
        FoundFor {
            positives: &self.positives[starts[0]..ends[0]],
            negatives: &self.negatives[starts[1]..ends[1]],
        }
    }

    fn push(&mut self, positives: &[f32], negatives: &[Neighbour]) {
        self.positives.extend_from_slice(positives);
        self.negatives.extend_from_slice(negatives);
        self.ends.push([self.positives.len(), self.negatives.len()]);
    }
}

/// Number of candidates that each filter dropped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dropped {
    pub(super) absolute_margin: usize,
    pub(super) relative_margin: usize,
    pub(super) max_score: usize,
    pub(super) min_score: usize,
}

/// Scores candidates again, in place of their similarities.
pub(super) struct Rescorer<'a> {
    pub(super) model: &'a dyn Score,
    /// Maximum number of pairs in a batch.
    pub(super) batch_size: usize,
    pub(super) reporter: &'a Arc<dyn Reporter>,
}

/// What is searched, and for what.
pub(super) struct Embedded<'a> {
    /// Embeddings of the queries, on the device of the encoder.
    pub(super) queries: Buffer,
    /// The corpus.
    pub(super) corpus: Retriever<'a>,
}

/// Finds the negatives of all queries, one chunk of queries at a time.
pub(super) fn search(
    pairs: &Pairs<'_>,
    embedded: &Embedded<'_>,
    rescorer: Option<&Rescorer<'_>>,
    settings: &Settings,
    reporter: &dyn Reporter,
) -> Result<(Found, Dropped), Error> {
    let count = pairs.queries.len();
    let width = settings.range_max + pairs.max_positives;
    let mut dropped = Dropped::default();
    let mut all = Found::default();
    let task = Task::begin(reporter, "Computing similarity scores", count, "queries");
    for start in (0..count).step_by(settings.chunk) {
        let chunk = start..(start + settings.chunk).min(count);
        let queries = embedded.queries.view().slice_rows(chunk.clone());
        let mut candidates = embedded.corpus.nearest(queries, width, &task);
        let mut positives = Vec::with_capacity(chunk.len());
        for start in chunk.clone().step_by(GATHERED) {
            let part = start..(start + GATHERED).min(chunk.end);
            positives.extend(positive_scores(pairs, embedded, part));
        }
        if let Some(rescorer) = rescorer {
            for part in (0..chunk.len()).step_by(RESCORED) {
                let part = part..(part + RESCORED).min(chunk.len());
                let queries = start + part.start..start + part.end;
                let (candidates, positives) = (&mut candidates[part.clone()], &mut positives[part]);
                rescorer.rescore(pairs, queries, candidates, positives)?;
            }
        }
        for (query, (mut candidates, positives)) in chunk.zip(candidates.into_iter().zip(positives))
        {
            if !settings.include_positives {
                let own = &pairs.positives[query];
                candidates.retain(|candidate| !own.contains(&candidate.index));
            }
            candidates.retain(|candidate| candidate.score != f32::NEG_INFINITY);
            filter(&mut candidates, &positives, width, settings, &mut dropped);
            all.push(&positives, &select(candidates, query, settings));
        }
    }
    Ok((all, dropped))
}

/// For each of `queries`, the similarities of its positives.
fn positive_scores(
    pairs: &Pairs<'_>,
    embedded: &Embedded<'_>,
    queries: Range<usize>,
) -> Vec<Vec<f32>> {
    let positives = &pairs.positives[queries.clone()];
    let of_queries: Vec<u32> = (queries.start as u32..)
        .zip(positives)
        .flat_map(|(query, texts)| std::iter::repeat_n(query, texts.len()))
        .collect();
    let of_queries = gather_rows(embedded.queries.view(), &of_queries);
    let texts: Vec<u32> = positives.iter().flatten().copied().collect();
    let mut scores = embedded.corpus.similarities(of_queries.view(), &texts).into_iter();
    positives.iter().map(|texts| scores.by_ref().take(texts.len()).collect()).collect()
}

impl Rescorer<'_> {
    /// Replaces the scores of the candidates and positives of some queries by those of the model,
    /// all in one call, and sorts the candidates by them.
    fn rescore(
        &self,
        pairs: &Pairs<'_>,
        queries: Range<usize>,
        candidates: &mut [Vec<Neighbour>],
        positives: &mut [Vec<f32>],
    ) -> Result<(), Error> {
        let mut texts = Vec::new();
        for (query, candidates) in queries.zip(&*candidates) {
            let found = candidates.iter().map(|candidate| candidate.index);
            let all = found.chain(pairs.positives[query].iter().copied());
            texts.extend(all.map(|text| (pairs.queries[query], pairs.corpus[text as usize])));
        }
        let scores = finite_scores(self.model, &texts, self.batch_size, self.reporter)?;
        let mut scores = scores.into_iter();
        let mut next = || scores.next().expect("a score for each pair");
        for (candidates, positives) in candidates.iter_mut().zip(positives) {
            candidates.iter_mut().for_each(|candidate| candidate.score = next());
            positives.iter_mut().for_each(|positive| *positive = next());
            // Stable, so that equal scores keep the order of the search.
            candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
        Ok(())
    }
}

/// Drops candidates by margins and bounds, in the order in which the statistics count them. Scores
/// are compared in f32, as in sentence-transformers, so that a score on a bound falls on the same
/// side.
fn filter(
    candidates: &mut Vec<Neighbour>,
    positives: &[f32],
    width: usize,
    settings: &Settings,
    dropped: &mut Dropped,
) {
    let weakest = positives.iter().copied().fold(f32::INFINITY, f32::min);
    let mut drop_if = |condition: &dyn Fn(f32) -> bool| {
        let before = candidates.len();
        candidates.retain(|candidate| !condition(candidate.score));
        before - candidates.len()
    };
    if let Some(margin) = settings.absolute_margin {
        dropped.absolute_margin += drop_if(&|score| score + margin as f32 > weakest);
    }
    if let Some(margin) = settings.relative_margin {
        let threshold = weakest - weakest.abs() * margin as f32;
        dropped.relative_margin += drop_if(&|score| score > threshold);
    }
    if let Some(bound) = settings.max_score {
        dropped.max_score += drop_if(&|score| score > bound as f32);
    }
    if let Some(bound) = settings.min_score {
        drop_if(&|score| score < bound as f32);
        // Counted with them: the candidates that were dropped before, and the ranks for which there
        // was no text.
        dropped.min_score += width - candidates.len();
    }
}

/// The negatives among the candidates that the filters left.
fn select(mut candidates: Vec<Neighbour>, query: usize, settings: &Settings) -> Vec<Neighbour> {
    candidates.truncate(settings.range_max);
    candidates.drain(..settings.range_min.min(candidates.len()));
    let wanted = settings.num_negatives;
    if settings.random && candidates.len() > wanted {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&settings.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&(query as u64).to_le_bytes());
        let mut random = ChaCha8Rng::from_seed(seed);
        let mut places = index::sample(&mut random, candidates.len(), wanted).into_vec();
        places.sort_unstable();
        return places.into_iter().map(|place| candidates[place]).collect();
    }
    candidates.truncate(wanted);
    candidates
}
