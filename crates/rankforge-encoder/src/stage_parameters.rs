//! The layers of the head's stages.

use crate::adapter::AdapterSettings;
use crate::layers::{Linear, Norm};
use crate::stages::HeadStage;
use rankforge_kernels::ArenaLayout;

/// Where a stage's parameters are in the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StageParameters {
    pub(crate) linear: Option<Linear>,
    pub(crate) norm: Option<Norm>,
    pub(crate) residual: Option<Linear>,
}

impl StageParameters {
    /// The linear layers.
    pub(crate) fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.linear.iter().chain(&self.residual)
    }
}

/// Finds the parameters of `stages` in an arena laid out for them.
pub(crate) fn stage_parameters(
    stages: &[HeadStage],
    layout: &ArenaLayout,
    adapters: AdapterSettings,
) -> Vec<StageParameters> {
    let find = |(index, stage): (usize, &HeadStage)| {
        let name = format!("head.{index}");
        let (mut linear, mut norm, mut residual) = (None, None, None);
        match *stage {
            HeadStage::Dense { .. } => {
                linear = Linear::find(layout, &name, adapters);
                residual = Linear::find(layout, &format!("{name}.residual"), adapters);
            }
            HeadStage::LayerNorm { epsilon, .. } => norm = Norm::find(layout, &name, epsilon),
            HeadStage::Pool { .. } | HeadStage::Dropout(_) | HeadStage::Normalize => {}
        }
        StageParameters { linear, norm, residual }
    };
    stages.iter().enumerate().map(find).collect()
}
