//! The operands of linear layers as matrices of a device: `V` are read, `M` are written.

use crate::settings::activation::Activation;
use crate::settings::dropout::Dropout;

/// [`Weight`](crate::Weight) with the matrices of a device, which packs weights as `P`.
#[derive(Clone, Copy)]
pub(crate) enum WeightOf<V, P> {
    Matrix(V),
    Packed(P),
}

/// [`Epilogue`](crate::ops::Epilogue) with the matrices of a device.
pub(crate) struct EpilogueOf<V, M> {
    pub(crate) accumulate: bool,
    pub(crate) bias: Option<V>,
    pub(crate) pre_activation: Option<M>,
    pub(crate) activation: Option<Activation>,
    pub(crate) dropout: Option<Dropout>,
    pub(crate) residual: Option<V>,
}

/// [`InputGradient`](crate::ops::InputGradient) with the matrices of a device.
pub(crate) struct InputGradientOf<V, M> {
    pub(crate) weight: V,
    pub(crate) store: StoreOf<V>,
    pub(crate) d_x: M,
}

/// [`Store`](crate::ops::Store) with the matrices of a device.
#[derive(Clone, Copy)]
pub(crate) enum StoreOf<V> {
    Write,
    Add,
    Slopes(Activation, V),
}

/// [`WeightGradient`](crate::ops::WeightGradient) with the matrices of a device.
pub(crate) struct WeightGradientOf<V, M> {
    pub(crate) x: V,
    pub(crate) d_weight: M,
    pub(crate) d_bias: Option<M>,
}
