use crate::buffers::buffers;
use crate::config::{EncoderConfig, Mlp};
use crate::head::HeadActivations;
use rankforge_kernels::{Buffer, Device};

/// Activations of one forward pass. The buffers are reused from batch to batch, so that nothing is
/// allocated after the largest.
pub struct Workspace {
    pub(crate) encoder: EncoderActivations,
    pub(crate) head: HeadActivations,
    pub(crate) d: EncoderGradients,
    /// Gradients of the hidden states of layers below the last, `T x H`.
    pub(crate) d_layers: Vec<Buffer>,
    /// Whether the last forward pass kept what a backward pass needs.
    pub(crate) kept: bool,
}

impl Workspace {
    /// An empty workspace on `device`.
    pub fn new(device: &Device) -> Workspace {
        Workspace {
            encoder: EncoderActivations::new(device),
            head: HeadActivations::new(device),
            d: EncoderGradients::new(device),
            d_layers: Vec::new(),
            kept: false,
        }
    }

    /// Whether passes that keep activations keep only the inputs of the blocks, so that the
    /// backward pass computes each block again: the same bits with the memory of one block, and the
    /// time of another forward pass.
    ///
    /// # Paper
    /// Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174.
    pub fn with_recomputation(mut self, recompute: bool) -> Workspace {
        self.encoder.recompute = recompute;
        self
    }

    /// Bytes held.
    pub fn capacity_in_bytes(&self) -> usize {
        let buffers = self.encoder.buffers().chain(self.head.buffers()).chain(self.d.buffers());
        buffers.chain(&self.d_layers).map(Buffer::capacity_in_bytes).sum()
    }
}

/// Numbers of activations and of their gradients that a training pass holds for each token, at
/// most, with the activations of all blocks or, if they are computed again, of one.
pub(crate) fn numbers_per_token(config: &EncoderConfig, recompute: bool) -> usize {
    let (h, e, f) = (config.hidden_size, config.embedding_size, config.intermediate_size);
    let sum = match config.mlp {
        Mlp::Plain(_) => f,
        Mlp::Gated(_) => 2 * f,
    };
    // The buffers of `BlockActivations` but for those of a readout, statistics included.
    let block = 8 * h + config.heads + sum + 6;
    let blocks = config.blocks.len();
    let kept = if recompute { blocks.min(1) } else { blocks };
    let embeddings = 2 * e + 2;
    let readout = 3 * h;
    // The buffers of `EncoderGradients`.
    let gradients = 2 * h.max(e) + 5 * h + f + sum;
    let outside = (blocks + 1) * h + embeddings + h + 2;
    // The input of the second layer of an MLP is kept for no block.
    kept * block + f + readout + gradients + outside
}

buffers! {
    /// Activations of a block that its backward pass reads; statistics are `T x 2`.
    BlockActivations {
        /// Output of the first norm, `T x H`.
        attention_input,
        first_statistics,
        /// Queries, keys, values, rotated, `T x 3H`; keys and values, `T x 2H`, beside `queries`.
        qkv,
        /// In the last block, when the head reads one token of each sequence: the queries of these
        /// tokens, what they are computed from, and the block's input, `B x H`.
        queries,
        queries_input,
        input_readout,
        /// Output of the attention before its projection, `T x H`. In the last block, when the head
        /// reads one token of each sequence, this and everything below has `B` rows.
        context,
        /// Softmax normalisers, `T x A`.
        log_sum_exp,
        /// Input plus attention, `T x H`.
        attended,
        /// Output of the middle norm, `T x H`.
        middle,
        middle_statistics,
        /// Output of the MLP's first layer before the activation, `T x F`, or `T x 2F` when gated.
        mlp_sum,
        /// Residual plus MLP, before the last norm, `T x H`.
        block_sum,
        last_statistics,
    }
}

buffers! {
    /// Gradients of activations, shared by all blocks.
    EncoderGradients {
        /// Along the residual stream, `T x H`.
        hidden,
        /// Its next value, before [`EncoderGradients::swap`], or that of a branch.
        other,
        context,
        qkv,
        queries,
        mlp_hidden,
        mlp_sum,
    }
}

impl EncoderGradients {
    /// Makes `other` the gradient along the residual stream.
    pub(crate) fn swap(&mut self) {
        std::mem::swap(&mut self.hidden, &mut self.other);
    }
}

/// Activations of the transformer.
pub(crate) struct EncoderActivations {
    device: Device,
    /// Whether the backward pass computes blocks again.
    pub(crate) recompute: bool,
    /// Sum of word, position and segment embeddings, `T x E`.
    pub(crate) embedding_sum: Buffer,
    pub(crate) embedding_statistics: Buffer,
    /// Embeddings before their projection, `T x E`.
    pub(crate) embedded: Buffer,
    /// Input of each block and output of the last, `T x H`; two that alternate when nothing is
    /// kept.
    pub(crate) hidden: Vec<Buffer>,
    pub(crate) blocks: Vec<BlockActivations>,
    /// Output of the final norm, `T x H`.
    pub(crate) normed: Buffer,
    pub(crate) final_statistics: Buffer,
}

impl EncoderActivations {
    fn new(device: &Device) -> EncoderActivations {
        let empty = || Buffer::empty(device);
        EncoderActivations {
            device: device.clone(),
            recompute: false,
            embedding_sum: empty(),
            embedding_statistics: empty(),
            embedded: empty(),
            hidden: Vec::new(),
            blocks: Vec::new(),
            normed: empty(),
            final_statistics: empty(),
        }
    }

    /// Allocates the buffers of a pass over `blocks` blocks.
    pub(crate) fn prepare(&mut self, blocks: usize, keep: bool) {
        let hidden = if keep { blocks + 1 } else { 2 };
        let kept = if keep && !self.recompute { blocks } else { blocks.min(1) };
        while self.hidden.len() < hidden {
            self.hidden.push(Buffer::empty(&self.device));
        }
        while self.blocks.len() < kept {
            self.blocks.push(BlockActivations::new(&self.device));
        }
    }

    fn buffers(&self) -> impl Iterator<Item = &Buffer> {
        let embeddings = [&self.embedding_sum, &self.embedding_statistics, &self.embedded];
        let last = [&self.normed, &self.final_statistics];
        let blocks = self.blocks.iter().flat_map(BlockActivations::buffers);
        embeddings.into_iter().chain(last).chain(&self.hidden).chain(blocks)
    }
}
