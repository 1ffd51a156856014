//! What one pass over a batch reads: the model, the batch, and which of its tokens the head reads.

use crate::layers::Transformer;
use crate::{Batch, EncoderConfig, HeadStage, Mode};
use rankforge_kernels::ops::{Dropout, Pooling};
use rankforge_kernels::{Arena, Indices, Precision, Ragged};
use std::ops::Range;

/// One pass over a batch: everything that forward and backward only read.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) config: &'a EncoderConfig,
    pub(crate) transformer: &'a Transformer,
    pub(crate) parameters: &'a Arena,
    pub(crate) batch: &'a Batch,
    pub(crate) mode: Mode,
    pub(crate) precision: Precision,
    /// The tokens that the head reads, where it reads one of each sequence.
    pub(crate) readout: Option<&'a Readout>,
}

/// One token of each sequence: all that is left to compute once the last block has attended.
#[derive(Debug)]
pub(crate) struct Readout {
    /// Their rows in the batch, `B`.
    pub(crate) rows: Indices,
    /// `B` sequences of one token.
    pub(crate) ragged: Ragged,
}

impl Readout {
    /// What a head reads that begins by taking the first or the last token of each sequence.
    pub(crate) fn of(config: &EncoderConfig, head: &[HeadStage], batch: &Batch) -> Option<Readout> {
        let Some(HeadStage::Pool { modes, skip_prompt }) = head.first() else { return None };
        let ragged = &batch.ragged;
        let skips = *skip_prompt && batch.prompt_tokens > 0;
        let empty = (0..ragged.sequences()).any(|sequence| ragged.range(sequence).is_empty());
        if config.blocks.is_empty() || skips || empty {
            return None;
        }
        let row = |range: Range<usize>| match modes.as_slice() {
            [Pooling::Cls] => Some(range.start as u32),
            [Pooling::LastToken] => Some(range.end as u32 - 1),
            _ => None,
        };
        let rows = (0..ragged.sequences()).map(|sequence| row(ragged.range(sequence)));
        let rows = rows.collect::<Option<Vec<u32>>>()?;
        let device = batch.ids.device();
        let ragged = Ragged::new(device, vec![1; rows.len()]);
        Some(Readout { rows: Indices::new(device, &rows), ragged })
    }
}

impl<'a> Pass<'a> {
    /// The readout, at the last block.
    pub(crate) fn readout_at(&self, block: usize) -> Option<&'a Readout> {
        self.readout.filter(|_| block + 1 == self.config.blocks.len())
    }

    /// Lengths of what the head reads, and how many leading tokens of each sequence belong to a
    /// prompt there; `None` is none.
    pub(crate) fn head_input(&self) -> (&'a Ragged, Option<Indices>) {
        let Batch { ragged, prompt_tokens, .. } = self.batch;
        if let Some(readout) = self.readout {
            return (&readout.ragged, None);
        }
        let prompts = || vec![*prompt_tokens as u32; ragged.sequences()];
        (ragged, (*prompt_tokens > 0).then(|| Indices::new(ragged.device(), &prompts())))
    }

    /// Dropout number `place` of the model, where it is on.
    pub(crate) fn dropout(&self, probability: f32, place: u64) -> Option<Dropout> {
        match self.mode {
            Mode::Training { seed, step, part } if probability > 0.0 => {
                Some(Dropout::new(probability, seed, step, part, place))
            }
            Mode::Training { .. } | Mode::Inference => None,
        }
    }
}

/// Places of dropout: one for the embeddings, four for each block; the head's come after `HEAD`.
pub(crate) const EMBEDDING: u64 = 0;
pub(crate) const HEAD: u64 = 1 << 32;

/// Where a block drops out.
#[derive(Clone, Copy)]
pub(crate) enum Site {
    Probabilities = 1,
    AttentionOutput,
    MlpHidden,
    MlpOutput,
}

/// The place of a block's dropout.
pub(crate) fn place(block: usize, site: Site) -> u64 {
    4 * block as u64 + site as u64
}
