//! What an optimizer remembers of its gradients.

use crate::arguments::OptimizerSettings;
use crate::training::named_ranges::NamedRange;
use rankforge_kernels::ops::UpdateRule;
use rankforge_kernels::{Arena, ArenaLayout, Device, ParameterId, ViewMut};
use std::ops::Range;
use std::sync::Arc;

/// One kind of state, such as a moment, of all trained tensors that have it.
pub(super) struct State {
    /// Prefix of the tensor names in the optimizer file: PyTorch's name of the state.
    pub(super) prefix: &'static str,
    pub(super) arena: Arena,
    /// The tensors, with their places in the arena.
    pub(super) tensors: Vec<NamedRange>,
}

impl State {
    /// Elements as a column.
    pub(super) fn part(&mut self, range: Range<usize>) -> ViewMut<'_> {
        part(&mut self.arena, range)
    }

    /// The state of the tensor `index`, of Adafactor: a column.
    pub(super) fn of_tensor(&mut self, index: usize) -> ViewMut<'_> {
        self.arena.view_mut(ParameterId(index))
    }
}

/// Elements of an arena as a column.
pub(super) fn part(arena: &mut Arena, range: Range<usize>) -> ViewMut<'_> {
    let length = arena.layout().len();
    arena.flat_mut().with_shape(length, 1).slice_rows(range)
}

/// The state of an optimizer before its first step, for tensors in an arena of gradients of this
/// layout.
pub(super) fn state_of(
    settings: &OptimizerSettings,
    device: &Device,
    layout: &Arc<ArenaLayout>,
    tensors: &[NamedRange],
) -> Vec<State> {
    let like_gradients = |prefix: &&'static str| State {
        prefix,
        arena: Arena::zeros(device, layout.clone()),
        tensors: tensors.to_vec(),
    };
    match settings {
        OptimizerSettings::AdamW => {
            ["exp_avg.", "exp_avg_sq."].iter().map(like_gradients).collect()
        }
        OptimizerSettings::Elements { rule, .. } => {
            let names: &[&'static str] = match *rule {
                UpdateRule::Sgd { .. } => &["momentum_buffer."],
                UpdateRule::Adagrad { .. } => &["sum."],
                UpdateRule::Lion { .. } => &["exp_avg."],
                UpdateRule::RmsProp { momentum, .. } if momentum > 0.0 => {
                    &["square_avg.", "momentum_buffer.", "grad_avg."]
                }
                UpdateRule::RmsProp { .. } => &["square_avg.", "grad_avg."],
            };
            names[..rule.states()].iter().map(like_gradients).collect()
        }
        OptimizerSettings::Adafactor => {
            let of_rows = |shape: &[usize]| if let [rows, _] = *shape { rows } else { 0 };
            let of_columns = |shape: &[usize]| if let [_, columns] = *shape { columns } else { 0 };
            let of_vectors = |shape: &[usize]| match *shape {
                [_, _] => 0,
                _ => shape.iter().product(),
            };
            vec![
                means("exp_avg_sq_row.", device, tensors, of_rows),
                means("exp_avg_sq_col.", device, tensors, of_columns),
                means("exp_avg_sq.", device, tensors, of_vectors),
            ]
        }
    }
}

/// Mean squares of Adafactor: as many for each tensor as `length` says for its shape.
fn means(
    prefix: &'static str,
    device: &Device,
    tensors: &[NamedRange],
    length: impl Fn(&[usize]) -> usize,
) -> State {
    let (mut layout, mut places) = (ArenaLayout::new(), Vec::new());
    for tensor in tensors {
        assert!(tensor.shape.len() <= 2, "{} is neither a matrix nor a vector", tensor.name);
        let length = length(&tensor.shape);
        let start = layout.len();
        layout.push(tensor.name.clone(), length, 1);
        if length > 0 {
            let (name, shape) = (tensor.name.clone(), vec![length]);
            let range = start..start + length;
            places.push(NamedRange { name, shape, parameters: range.start, range });
        }
    }
    State { prefix, arena: Arena::zeros(device, Arc::new(layout)), tensors: places }
}
