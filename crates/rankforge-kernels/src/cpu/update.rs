//! Optimizers that treat every element alone.

use crate::cpu::machine::Cpu;
use crate::cpu::matrix::MatrixMut;
use crate::cpu::optimizer::{STRETCH, all_zero};
use crate::cpu::parallel::for_row_blocks;
use crate::cpu::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
use crate::settings::update_rule::{OptimizerStep, UpdateRule};
use std::ops::Range;

/// Numbers of state that an element has at most.
const STATES: usize = 3;

pub(crate) fn update(
    cpu: &Cpu,
    rule: &UpdateRule,
    step: &OptimizerStep,
    gradients: MatrixMut<'_>,
    parameters: MatrixMut<'_>,
    state: Vec<MatrixMut<'_>>,
) {
    match *rule {
        UpdateRule::Sgd { momentum, dampening, nesterov } => {
            let rule = Sgd {
                momentum: momentum as f32,
                new: if step.step == 1 { 1.0 } else { (1.0 - dampening) as f32 },
                has_momentum: momentum != 0.0,
                nesterov,
            };
            run(cpu, rule, step, gradients, parameters, state);
        }
        UpdateRule::Adagrad { epsilon } => {
            let rule = Adagrad { epsilon: epsilon as f32 };
            run(cpu, rule, step, gradients, parameters, state);
        }
        UpdateRule::RmsProp { alpha, epsilon, momentum, centered } => {
            let rule = RmsProp {
                alpha: alpha as f32,
                new: (1.0 - alpha) as f32,
                epsilon: epsilon as f32,
                momentum: momentum as f32,
                has_momentum: momentum > 0.0,
                mean: centered.then(|| rule.states() - 1),
            };
            run(cpu, rule, step, gradients, parameters, state);
        }
        UpdateRule::Lion { beta1, beta2 } => {
            let rule = Lion {
                beta1: beta1 as f32,
                new1: (1.0 - beta1) as f32,
                beta2: beta2 as f32,
                new2: (1.0 - beta2) as f32,
            };
            run(cpu, rule, step, gradients, parameters, state);
        }
    }
}

fn run<R: Rule>(
    cpu: &Cpu,
    rule: R,
    step: &OptimizerStep,
    gradients: MatrixMut<'_>,
    parameters: MatrixMut<'_>,
    state: Vec<MatrixMut<'_>>,
) {
    let (length, decay) = (parameters.data.len(), step.weight_decay);
    let (coupled, keep) = match R::DECOUPLED {
        true => (0.0, 1.0 - step.learning_rate * decay),
        false => (decay, 1.0),
    };
    let factors = Factors {
        gradient_scale: step.gradient_scale,
        coupled: coupled as f32,
        keep: keep as f32,
        learning_rate: step.learning_rate as f32,
    };
    let state = state.into_iter().map(MatrixMut::flat).collect::<Vec<_>>();
    let operands = (gradients.flat(), parameters.flat(), state);
    for_row_blocks(cpu, length, 1, operands, |_, (gradients, parameters, state)| {
        let state = state.into_iter().map(|state| state.data).collect();
        let (gradients, parameters) = (gradients.data, parameters.data);
        dispatch(cpu.isa(), Update { rule, factors, gradients, parameters, state });
    });
}

/// How an element is updated.
trait Rule: Copy + Sync {
    /// Whether the weight decay is apart from the gradient.
    const DECOUPLED: bool = false;
    /// Whether the state stays as it is, whatever it is, where the gradient is zero.
    const IDLE: bool = false;

    /// The change, which the learning rate is yet to scale, and the new state.
    fn change<S: Simd>(self, gradient: S::V, state: &mut [S::V; STATES]) -> S::V;
}

/// What all rules have of a step.
#[derive(Clone, Copy)]
struct Factors {
    gradient_scale: f32,
    /// The weight decay that is added to gradients.
    coupled: f32,
    /// What a decoupled weight decay leaves.
    keep: f32,
    learning_rate: f32,
}

struct Update<'a, R> {
    rule: R,
    factors: Factors,
    gradients: &'a mut [f32],
    parameters: &'a mut [f32],
    state: Vec<&'a mut [f32]>,
}

impl<R: Rule> Kernel for Update<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let (length, decays) =
            (self.parameters.len(), self.factors.coupled != 0.0 || self.factors.keep != 1.0);
        for start in (0..length).step_by(STRETCH) {
            let stretch = start..(start + STRETCH).min(length);
            // Where gradients and state are zero, as of embeddings that no text has had, a step
            // changes nothing.
            let idle = !decays
                && all_zero::<S>(&self.gradients[stretch.clone()])
                && (R::IDLE
                    || self.state.iter().all(|state| all_zero::<S>(&state[stretch.clone()])));
            if !idle {
                self.stretch::<S>(stretch);
            }
        }
    }
}

impl<R: Rule> Update<'_, R> {
    #[inline(always)]
    fn stretch<S: Simd>(&mut self, stretch: Range<usize>) {
        let Factors { gradient_scale, coupled, keep, learning_rate } = self.factors;
        for start in stretch.clone().step_by(S::LANES) {
            let lanes = start..(start + S::LANES).min(stretch.end);
            let parameter = load_up_to::<S>(&self.parameters[lanes.clone()]);
            let gradient = load_up_to::<S>(&self.gradients[lanes.clone()]);
            let gradient = S::mul(gradient, S::splat(gradient_scale));
            let gradient = S::mul_add(parameter, S::splat(coupled), gradient);
            let mut state = [S::splat(0.0); STATES];
            for (value, stored) in state.iter_mut().zip(&self.state) {
                *value = load_up_to::<S>(&stored[lanes.clone()]);
            }
            let change =
                S::mul(self.rule.change::<S>(gradient, &mut state), S::splat(learning_rate));
            let kept = S::mul(parameter, S::splat(keep));
            store_up_to::<S>(S::splat(0.0), &mut self.gradients[lanes.clone()]);
            for (value, stored) in state.into_iter().zip(&mut self.state) {
                store_up_to::<S>(value, &mut stored[lanes.clone()]);
            }
            store_up_to::<S>(S::sub(kept, change), &mut self.parameters[lanes]);
        }
    }
}

#[derive(Clone, Copy)]
struct Sgd {
    momentum: f32,
    /// The share of the gradient in the momentum: all of the first.
    new: f32,
    has_momentum: bool,
    nesterov: bool,
}

impl Rule for Sgd {
    #[inline(always)]
    fn change<S: Simd>(self, gradient: S::V, state: &mut [S::V; STATES]) -> S::V {
        if !self.has_momentum {
            return gradient;
        }
        let before = S::mul(state[0], S::splat(self.momentum));
        state[0] = S::mul_add(gradient, S::splat(self.new), before);
        match self.nesterov {
            true => S::mul_add(state[0], S::splat(self.momentum), gradient),
            false => state[0],
        }
    }
}

#[derive(Clone, Copy)]
struct Adagrad {
    epsilon: f32,
}

impl Rule for Adagrad {
    const IDLE: bool = true;

    #[inline(always)]
    fn change<S: Simd>(self, gradient: S::V, state: &mut [S::V; STATES]) -> S::V {
        state[0] = S::mul_add(gradient, gradient, state[0]);
        S::div(gradient, S::add(S::sqrt(state[0]), S::splat(self.epsilon)))
    }
}

#[derive(Clone, Copy)]
struct RmsProp {
    alpha: f32,
    new: f32,
    epsilon: f32,
    momentum: f32,
    has_momentum: bool,
    /// The place of the mean gradient.
    mean: Option<usize>,
}

impl Rule for RmsProp {
    #[inline(always)]
    fn change<S: Simd>(self, gradient: S::V, state: &mut [S::V; STATES]) -> S::V {
        let new = S::splat(self.new);
        let kept = S::mul(state[0], S::splat(self.alpha));
        state[0] = S::mul_add(S::mul(gradient, gradient), new, kept);
        let mut square = state[0];
        if let Some(place) = self.mean {
            let mean = S::mul_add(S::sub(gradient, state[place]), new, state[place]);
            state[place] = mean;
            // Rounding could make a variance of zero negative.
            square = S::max(S::sub(square, S::mul(mean, mean)), S::splat(0.0));
        }
        let change = S::div(gradient, S::add(S::sqrt(square), S::splat(self.epsilon)));
        if !self.has_momentum {
            return change;
        }
        state[1] = S::mul_add(state[1], S::splat(self.momentum), change);
        state[1]
    }
}

#[derive(Clone, Copy)]
struct Lion {
    beta1: f32,
    new1: f32,
    beta2: f32,
    new2: f32,
}

impl Rule for Lion {
    const DECOUPLED: bool = true;

    #[inline(always)]
    fn change<S: Simd>(self, gradient: S::V, state: &mut [S::V; STATES]) -> S::V {
        let (zero, one) = (S::splat(0.0), S::splat(1.0));
        let before = S::mul(state[0], S::splat(self.beta1));
        let between = S::mul_add(gradient, S::splat(self.new1), before);
        let kept = S::mul(state[0], S::splat(self.beta2));
        state[0] = S::mul_add(gradient, S::splat(self.new2), kept);
        let negative = S::select_less(between, zero, S::splat(-1.0), zero);
        S::select_less(zero, between, one, negative)
    }
}
