/// How an optimizer other than AdamW changes an element, from its gradient and its state. `g` is
/// the gradient, and with it, but for Lion, `weight_decay` times the parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UpdateRule {
    /// `θ ← θ - lr g`; with momentum `b ← μ b + (1 - τ) g`, of which the first is `g`, then
    /// `θ ← θ - lr b`, or by Nesterov `θ ← θ - lr (g + μ b)`. As `torch.optim.SGD`.
    Sgd {
        /// `μ`; without it there is no state.
        momentum: f64,
        /// `τ`.
        dampening: f64,
        /// Whether the momentum is Nesterov's.
        nesterov: bool,
    },
    /// `s ← s + g²`, `θ ← θ - lr g / (sqrt(s) + ε)`. As `torch.optim.Adagrad`.
    ///
    /// # Paper
    /// Duchi, Hazan and Singer 2011, Adaptive Subgradient Methods for Online Learning and
    /// Stochastic Optimization, JMLR 12.
    Adagrad {
        /// `ε`.
        epsilon: f64,
    },
    /// `v ← α v + (1 - α) g²`, `θ ← θ - lr g / (sqrt(v) + ε)`. As `torch.optim.RMSprop`, which
    /// may subtract the square of the mean gradient from `v`, and have momentum: `b ← μ b + g /
    /// (sqrt(v) + ε)`, `θ ← θ - lr b`.
    RmsProp {
        /// `α`.
        alpha: f64,
        /// `ε`.
        epsilon: f64,
        /// `μ`.
        momentum: f64,
        /// Whether the square of the mean gradient is subtracted.
        centered: bool,
    },
    /// `θ ← θ (1 - lr·wd) - lr sign(β₁ m + (1 - β₁) g)`, `m ← β₂ m + (1 - β₂) g`.
    ///
    /// # Paper
    /// Chen et al. 2023, Symbolic Discovery of Optimization Algorithms, arXiv:2302.06675.
    Lion {
        /// `β₁`.
        beta1: f64,
        /// `β₂`.
        beta2: f64,
    },
}

impl UpdateRule {
    /// Numbers of state for each element: at most three.
    pub fn states(&self) -> usize {
        match *self {
            UpdateRule::Sgd { momentum, .. } => usize::from(momentum != 0.0),
            UpdateRule::Adagrad { .. } | UpdateRule::Lion { .. } => 1,
            UpdateRule::RmsProp { momentum, centered, .. } => {
                1 + usize::from(momentum > 0.0) + usize::from(centered)
            }
        }
    }
}

/// One step of an optimizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerStep {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u64,
    /// Factor on the gradients: gradient clipping.
    pub gradient_scale: f32,
}

impl OptimizerStep {
    /// The decay `1 - t^-0.8` of Adafactor's moments.
    pub(crate) fn adafactor_decay(&self) -> f64 {
        1.0 - (self.step as f64).powf(-0.8)
    }
}

/// Added to the squares of gradients by Adafactor.
pub(crate) const ADAFACTOR_EPSILON: f64 = 1e-30;
