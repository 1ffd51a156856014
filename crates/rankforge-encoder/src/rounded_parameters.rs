use crate::mode::Mode;
use crate::packed_weights::PackedWeights;
use rankforge_kernels::{Arena, Precision};

/// What linear layers read besides their inputs: the parameters of a model, how the operands of its
/// products are rounded, and whether dropout is on.
#[derive(Clone, Copy)]
pub(crate) struct RoundedParameters<'a> {
    pub(crate) parameters: &'a Arena,
    pub(crate) packed: Option<&'a PackedWeights>,
    pub(crate) precision: Precision,
    /// Whether the inputs of adapters are dropped out.
    pub(crate) mode: Mode,
}
