//! Which layers a transformer has, and where their parameters are.

use crate::adapter::AdapterSettings;
use crate::architecture::WORD_EMBEDDINGS;
use crate::config::{EncoderConfig, NormPlace};
use crate::layers::{Linear, Norm};
use rankforge_kernels::ops::Rotary;
use rankforge_kernels::{Arena, ArenaLayout, Device, ParameterId};
use std::sync::Arc;

/// The layers of a transformer, and its rotary tables.
#[derive(Clone)]
pub(crate) struct TransformerLayers {
    pub(crate) word: ParameterId,
    pub(crate) position: Option<ParameterId>,
    pub(crate) segment: Option<ParameterId>,
    pub(crate) embedding_norm: Option<Norm>,
    pub(crate) projection: Option<Linear>,
    pub(crate) relative_bias: Option<ParameterId>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) final_norm: Option<Norm>,
}

/// The layers of a block.
#[derive(Clone)]
pub(crate) struct Block {
    pub(crate) first_norm: Option<Norm>,
    pub(crate) qkv: Linear,
    pub(crate) attention_output: Linear,
    pub(crate) middle_norm: Norm,
    pub(crate) mlp_input: Linear,
    pub(crate) mlp_output: Linear,
    pub(crate) last_norm: Option<Norm>,
    pub(crate) rotary: Option<Arc<Rotary>>,
}

impl TransformerLayers {
    /// Finds the parameters of `config` in an arena laid out for it. `adapters` are the settings
    /// of the adapters, where there are any.
    pub(crate) fn new(
        device: &Device,
        config: &EncoderConfig,
        layout: &ArenaLayout,
        adapters: AdapterSettings,
    ) -> TransformerLayers {
        let norm = |name: &str| Norm::find(layout, name, config.norm_epsilon);
        let mut tables: Vec<(f64, Arc<Rotary>)> = Vec::new();
        let mut rotary = |theta: f64| {
            if let Some((_, table)) = tables.iter().find(|(known, _)| *known == theta) {
                return table.clone();
            }
            let head_dim = config.hidden_size / config.heads;
            let table = Arc::new(Rotary::new(device, config.max_positions, head_dim, theta));
            tables.push((theta, table.clone()));
            table
        };
        let mut block = |index: usize| {
            let name = |part: &str| format!("blocks.{index}.{part}");
            let linear =
                |part: &str| Linear::find(layout, &name(part), adapters).expect("in the arena");
            let (attention, mlp) = (norm(&name("attention_norm")), norm(&name("mlp_norm")));
            let (first_norm, middle_norm, last_norm) = match config.norm_place {
                NormPlace::Post => (None, attention, mlp),
                NormPlace::Pre => (attention, mlp, None),
            };
            Block {
                first_norm,
                qkv: linear("qkv"),
                attention_output: linear("attention_output"),
                middle_norm: middle_norm.expect("every block has a norm between its halves"),
                mlp_input: linear("mlp_input"),
                mlp_output: linear("mlp_output"),
                last_norm,
                rotary: config.blocks[index].rotary_theta.map(&mut rotary),
            }
        };
        TransformerLayers {
            blocks: (0..config.blocks.len()).map(&mut block).collect(),
            word: layout.find(WORD_EMBEDDINGS).expect("every model embeds words"),
            position: layout.find("embeddings.position"),
            segment: layout.find("embeddings.type"),
            embedding_norm: norm("embeddings.norm"),
            projection: Linear::find(layout, "embeddings.projection", adapters),
            relative_bias: layout.find("relative_bias"),
            final_norm: norm("final_norm"),
        }
    }

    /// The linear layers.
    pub(crate) fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.projection.iter().chain(self.blocks.iter().flat_map(Block::linears))
    }

    /// The weights of linear layers, each with the first row of the last part that passes use.
    pub(crate) fn weights(&self, hidden_size: usize) -> impl Iterator<Item = (ParameterId, usize)> {
        let blocks = self.blocks.iter().flat_map(move |block| {
            let [qkv, others @ ..] = block.linears();
            // A readout takes queries, and keys and values, from two parts.
            let others = others.map(|linear| (linear.weight_id(), 0));
            [(qkv.weight_id(), hidden_size)].into_iter().chain(others)
        });
        self.projection.iter().map(|linear| (linear.weight_id(), 0)).chain(blocks)
    }

    /// The lowest part that a backward pass has to reach, as parameters are trained there: 0 for
    /// the embeddings, `1 + i` for block `i`, one more than the last block for the final norm;
    /// `None` when nothing is trained.
    pub(crate) fn lowest_trained(&self, gradients: &Arena) -> Option<usize> {
        let tables = [Some(self.word), self.position, self.segment].into_iter().flatten();
        let norm = self.embedding_norm.iter().flat_map(Norm::ids);
        let projection = self.projection.iter().flat_map(Linear::ids);
        if any_trained(gradients, tables.chain(norm).chain(projection)) {
            return Some(0);
        }
        // Every block reads the table of relative positions.
        if any_trained(gradients, self.relative_bias) {
            return Some(1);
        }
        let block = self.blocks.iter().position(|block| any_trained(gradients, block.ids()));
        let last = any_trained(gradients, self.final_norm.iter().flat_map(Norm::ids));
        block.map(|index| index + 1).or(last.then_some(self.blocks.len() + 1))
    }
}

fn any_trained(gradients: &Arena, ids: impl IntoIterator<Item = ParameterId>) -> bool {
    ids.into_iter().any(|id| gradients.has(id))
}

impl Block {
    /// The linear layers.
    pub(crate) fn linears(&self) -> [&Linear; 4] {
        [&self.qkv, &self.attention_output, &self.mlp_input, &self.mlp_output]
    }

    fn ids(&self) -> impl Iterator<Item = ParameterId> + '_ {
        let norms = [self.first_norm.as_ref(), Some(&self.middle_norm), self.last_norm.as_ref()];
        let norms = norms.into_iter().flatten().flat_map(Norm::ids);
        norms.chain(self.linears().into_iter().flat_map(Linear::ids))
    }
}
