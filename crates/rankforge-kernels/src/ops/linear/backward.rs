use crate::device::Kind;
use crate::precision::Precision;
use crate::settings::activation::Activation;
use crate::settings::linear::{InputGradientOf, StoreOf, WeightGradientOf};
use crate::view::{View, ViewMut};
use crate::{cpu, reference};

/// What [`linear_backward`] needs to compute the gradient of the input, `d_out weight`.
pub struct InputGradient<'a> {
    /// `N x K`.
    pub weight: View<'a>,
    /// How the product is stored in `d_x`.
    pub store: Store<'a>,
    /// `T x K`.
    pub d_x: ViewMut<'a>,
}

/// How the gradient of an input is stored.
#[derive(Clone, Copy)]
pub enum Store<'a> {
    /// `d_x = product`.
    Write,
    /// `d_x += product`.
    Add,
    /// `d_x = product * activation'(z)`, where `z`, `T x K`, is what the activation that gave the
    /// layer's input was applied to: `d_x` is then the gradient of `z`.
    Slopes(Activation, View<'a>),
}

/// What [`linear_backward`] needs to compute the gradients of the parameters:
/// `d_weight += d_outᵀ x`, and `d_bias +=` the column sums of `d_out`.
pub struct WeightGradient<'a> {
    /// `T x K`.
    pub x: View<'a>,
    /// `N x K`.
    pub d_weight: ViewMut<'a>,
    /// `1 x N`.
    pub d_bias: Option<ViewMut<'a>>,
}

/// Backward of [`linear`](crate::ops::linear) without its epilogue, given `d_out`, `T x N`: the
/// gradient of the input, those of the parameters, or both.
///
/// A call for both reads `d_out` once, and gives the bits of two calls.
///
/// # Panics
/// When the shapes differ from those that the fields say; `K` is the same in both.
pub fn linear_backward(
    d_out: View<'_>,
    precision: Precision,
    input: Option<InputGradient<'_>>,
    weight: Option<WeightGradient<'_>>,
) {
    let (tokens, outputs) = (d_out.rows(), d_out.columns());
    if let Some(InputGradient { weight, store, d_x }) = &input {
        let inputs = d_x.columns();
        weight.expect_shape("weight", outputs, inputs);
        d_x.expect_shape("d_x", tokens, inputs);
        if let Store::Slopes(_, before) = store {
            before.expect_shape("the input of the activation", tokens, inputs);
        }
    }
    if let Some(WeightGradient { x, d_weight, d_bias }) = &weight {
        let inputs = x.columns();
        x.expect_shape("x", tokens, inputs);
        d_weight.expect_shape("d_weight", outputs, inputs);
        if let Some(d_bias) = d_bias {
            d_bias.expect_shape("d_bias", 1, outputs);
        }
    }
    if let (Some(InputGradient { d_x, .. }), Some(WeightGradient { x, .. })) = (&input, &weight) {
        x.expect_shape("x", tokens, d_x.columns());
    }
    let device = d_out.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let input = input.map(|it| it.on(|x| x.host(device), |x| x.host(device)));
            let weight = weight.map(|it| it.on(|x| x.host(device), |x| x.host(device)));
            cpu::linear::linear_backward(cpu, d_out.host(device), precision, input, weight);
        }
        Kind::Reference(_) => {
            let input = input.map(|it| it.on(|x| x.reference(device), |x| x.reference(device)));
            let weight = weight.map(|it| it.on(|x| x.reference(device), |x| x.reference(device)));
            reference::linear::linear_backward(d_out.reference(device), precision, input, weight);
        }
    }
}

impl<'a> InputGradient<'a> {
    fn on<V, M>(
        self,
        view: impl Fn(View<'a>) -> V,
        view_mut: impl Fn(ViewMut<'a>) -> M,
    ) -> InputGradientOf<V, M> {
        let store = match self.store {
            Store::Write => StoreOf::Write,
            Store::Add => StoreOf::Add,
            Store::Slopes(function, before) => StoreOf::Slopes(function, view(before)),
        };
        InputGradientOf { weight: view(self.weight), store, d_x: view_mut(self.d_x) }
    }
}

impl<'a> WeightGradient<'a> {
    fn on<V, M>(
        self,
        view: impl Fn(View<'a>) -> V,
        view_mut: impl Fn(ViewMut<'a>) -> M,
    ) -> WeightGradientOf<V, M> {
        let (d_weight, d_bias) = (view_mut(self.d_weight), self.d_bias.map(&view_mut));
        WeightGradientOf { x: view(self.x), d_weight, d_bias }
    }
}
