use crate::device::Kind;
use crate::precision::Precision;
use crate::settings::activation::Activation;
use crate::settings::dropout::Dropout;
use crate::settings::linear::EpilogueOf;
use crate::view::{View, ViewMut};
use crate::weight::Weight;
use crate::{cpu, reference};

pub(crate) mod backward;

/// What [`linear`] does to each tile of the product while it is in cache, in this order.
#[derive(Default)]
pub struct Epilogue<'a> {
    /// Whether the product is added to what `out` holds, rather than stored in its place.
    pub accumulate: bool,
    /// Bias, added to every row, `1 x N`.
    pub bias: Option<View<'a>>,
    /// Where to keep the sum before the activation, `T x N`, for the backward pass.
    pub pre_activation: Option<ViewMut<'a>>,
    /// Activation of the sum.
    pub activation: Option<Activation>,
    /// Dropout after the activation; the index of an element is `row * N + column`.
    pub dropout: Option<Dropout>,
    /// Residual, added last, `T x N`.
    pub residual: Option<View<'a>>,
}

/// `out = dropout(activation(x weightᵀ + bias)) + residual`, or with `accumulate`
/// `out = dropout(activation(out + x weightᵀ + bias)) + residual`.
///
/// The bits of a row of `out` do not depend on the other rows, nor on whether the weight is packed.
///
/// # Shapes
/// `x`: `T x K`; `weight`: `N x K`, as PyTorch's `Linear` stores it; `out`: `T x N`.
///
/// # Panics
/// When the shapes differ from these, or the weight was packed for another precision or on another
/// device. CPU devices with one instruction set take each other's packed weights.
pub fn linear<'a>(
    x: View<'_>,
    weight: impl Into<Weight<'a>>,
    precision: Precision,
    epilogue: Epilogue<'_>,
    out: ViewMut<'_>,
) {
    let weight = weight.into();
    let (rows, depth, columns) = (x.rows(), x.columns(), weight.rows());
    let inputs = weight.columns();
    assert!(inputs == depth, "weight is {columns} x {inputs}, expected {columns} x {depth}");
    if let Weight::Packed(packed) = &weight {
        assert_eq!(
            packed.precision(),
            precision,
            "precision of the packed weight, precision of the product"
        );
    }
    out.expect_shape("out", rows, columns);
    if let Some(bias) = &epilogue.bias {
        bias.expect_shape("bias", 1, columns);
    }
    if let Some(residual) = &epilogue.residual {
        residual.expect_shape("residual", rows, columns);
    }
    if let Some(pre_activation) = &epilogue.pre_activation {
        pre_activation.expect_shape("pre_activation", rows, columns);
    }
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let weight = weight.host(device);
            let epilogue = epilogue.on(|view| view.host(device), |view| view.host(device));
            cpu::linear::linear(cpu, x.host(device), weight, precision, epilogue, out.host(device));
        }
        Kind::Reference(_) => {
            let (weight, out) = (weight.reference(device), out.reference(device));
            let epilogue =
                epilogue.on(|view| view.reference(device), |view| view.reference(device));
            reference::linear::linear(x.reference(device), weight, precision, epilogue, out);
        }
    }
}

impl<'a> Epilogue<'a> {
    fn on<V, M>(
        self,
        view: impl Fn(View<'a>) -> V,
        view_mut: impl Fn(ViewMut<'a>) -> M,
    ) -> EpilogueOf<V, M> {
        EpilogueOf {
            accumulate: self.accumulate,
            bias: self.bias.map(&view),
            pre_activation: self.pre_activation.map(view_mut),
            activation: self.activation,
            dropout: self.dropout,
            residual: self.residual.map(view),
        }
    }
}
