use crate::packed_weights::PackedWeights;
use rankforge_kernels::{Arena, Precision};

/// The parameters of a model, and how the operands of its products are rounded.
#[derive(Clone, Copy)]
pub(crate) struct RoundedParameters<'a> {
    pub(crate) parameters: &'a Arena,
    pub(crate) packed: Option<&'a PackedWeights>,
    pub(crate) precision: Precision,
}
