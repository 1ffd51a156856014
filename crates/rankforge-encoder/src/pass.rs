//! What a pass over a batch reads: the model, the batch, and which tokens the head reads.

use crate::batch::Batch;
use crate::config::EncoderConfig;
use crate::mode::Mode;
use crate::packed_weights::PackedWeights;
use crate::rounded_parameters::RoundedParameters;
use crate::stage_parameters::StageParameters;
use crate::stages::HeadStage;
use crate::transformer_layers::TransformerLayers;
use rankforge_kernels::ops::{Dropout, Pooling};
use rankforge_kernels::{Arena, Device, Indices, Precision, Ragged};
use std::ops::Range;

/// One pass over a batch: everything that forward and backward only read.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) config: &'a EncoderConfig,
    pub(crate) transformer: &'a TransformerLayers,
    /// What the head consists of, and the parameters of each stage.
    pub(crate) stages: &'a [HeadStage],
    pub(crate) head: &'a [StageParameters],
    pub(crate) parameters: &'a Arena,
    pub(crate) packed: Option<&'a PackedWeights>,
    pub(crate) batch: &'a Batch,
    pub(crate) mode: Mode,
    pub(crate) precision: Precision,
    /// The tokens that the head reads, when it reads one of each sequence.
    pub(crate) readout: Option<&'a Readout>,
}

/// One token of each sequence, when the head reads no other: after the attention of the last block,
/// only these tokens are computed.
#[derive(Debug)]
pub(crate) struct Readout {
    /// Their rows in the batch, `B`.
    pub(crate) rows: Indices,
    /// `B` sequences of one token.
    pub(crate) ragged: Ragged,
}

impl Readout {
    /// The tokens of a head that begins by taking the first or the last token of each sequence;
    /// `None` when it needs every token.
    pub(crate) fn new(
        device: &Device,
        config: &EncoderConfig,
        head: &[HeadStage],
        batch: &Batch,
    ) -> Option<Readout> {
        let Some(HeadStage::Pool { modes, skip_prompt }) = head.first() else { return None };
        let ragged = &batch.ragged;
        let skips = *skip_prompt && batch.prompt_tokens.is_some();
        let empty = (0..ragged.sequences()).any(|sequence| ragged.range(sequence).is_empty());
        // Below the last layer, every token is computed.
        if config.blocks.is_empty() || skips || empty || !batch.layers.is_empty() {
            return None;
        }
        let row = |range: Range<usize>| match modes.as_slice() {
            [Pooling::Cls] => Some(range.start as u32),
            [Pooling::LastToken] => Some(range.end as u32 - 1),
            _ => None,
        };
        let rows = (0..ragged.sequences()).map(|sequence| row(ragged.range(sequence)));
        let rows = rows.collect::<Option<Vec<u32>>>()?;
        let ragged = Ragged::new(device, vec![1; rows.len()]);
        Some(Readout { rows: Indices::new(device, &rows), ragged })
    }
}

impl<'a> Pass<'a> {
    /// What linear layers read.
    pub(crate) fn rounded(&self) -> RoundedParameters<'a> {
        let Pass { parameters, packed, precision, mode, .. } = *self;
        RoundedParameters { parameters, packed, precision, mode }
    }

    /// The readout, at the last block.
    pub(crate) fn readout_at(&self, block: usize) -> Option<&'a Readout> {
        self.readout.filter(|_| block + 1 == self.config.blocks.len())
    }

    /// Lengths of the sequences that the head reads, and the leading tokens of each that belong to
    /// a prompt.
    pub(crate) fn head_input(&self) -> (&'a Ragged, Option<&'a Indices>) {
        match self.readout {
            Some(readout) => (&readout.ragged, None),
            None => (&self.batch.ragged, self.batch.prompt_tokens.as_ref()),
        }
    }

    /// The dropout at `place` of the model; `None` when it is off.
    pub(crate) fn dropout(&self, probability: f32, place: u64) -> Option<Dropout> {
        self.mode.dropout(probability, place)
    }
}
