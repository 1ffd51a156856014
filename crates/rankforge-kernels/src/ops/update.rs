use crate::device::Kind;
use crate::settings::update_rule::{OptimizerStep, UpdateRule};
use crate::view::ViewMut;
use crate::{cpu, reference};

/// One step of an optimizer that treats every element alone, by [`UpdateRule`]; it leaves the
/// gradients at zero for the next step. Before step 1 the state must be zero. A device need not
/// touch it where gradient and state are zero and no weight decays: such a step changes nothing.
///
/// # Shapes
/// All of the same shape; `state` has [`UpdateRule::states`] matrices: of RMSprop the mean square,
/// the momentum and the mean gradient, as far as it has them.
///
/// # Panics
/// When shapes or the number of states differ, or the step is 0.
pub fn update(
    rule: &UpdateRule,
    step: &OptimizerStep,
    gradients: ViewMut<'_>,
    parameters: ViewMut<'_>,
    state: Vec<ViewMut<'_>>,
) {
    let (rows, columns) = (parameters.rows(), parameters.columns());
    gradients.expect_shape("gradients", rows, columns);
    assert_eq!(state.len(), rule.states(), "matrices of state of {rule:?}");
    state.iter().for_each(|state| state.expect_shape("state", rows, columns));
    assert!(step.step > 0, "steps count from 1");
    let device = parameters.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (gradients, parameters) = (gradients.host(device), parameters.host(device));
            let state = state.into_iter().map(|state| state.host(device)).collect();
            cpu::update::update(cpu, rule, step, gradients, parameters, state);
        }
        Kind::Reference(_) => {
            let gradients = gradients.reference(device);
            let parameters = parameters.reference(device);
            let state = state.into_iter().map(|state| state.reference(device)).collect();
            reference::update::update(rule, step, gradients, parameters, state);
        }
    }
}

/// The mean squares of gradients that Adafactor keeps.
pub enum SecondMoment<'a> {
    /// Of a matrix: the means of its rows and of its columns.
    Factored {
        /// `rows x 1`.
        rows: ViewMut<'a>,
        /// `columns x 1`.
        columns: ViewMut<'a>,
    },
    /// Of a vector: all.
    Full(ViewMut<'a>),
}

/// One step of Adafactor on one parameter, as that of transformers with `scale_parameter` and
/// `relative_step` off: `v ← β v + (1 - β) (g² + 1e-30)` with `β = 1 - t^-0.8`, of which a matrix
/// keeps the means `r` and `c` of rows and columns, so that `v = r c / mean(r)`; `u = g / sqrt(v)`,
/// then `θ ← θ (1 - lr·wd) - lr u / max(1, rms(u))`. It leaves the gradients at zero.
///
/// # Shapes
/// Gradients and parameters of the same shape.
///
/// # Panics
/// When the shapes differ, or the step is 0.
///
/// # Paper
/// Shazeer and Stern 2018, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost,
/// arXiv:1804.04235.
pub fn adafactor(
    step: &OptimizerStep,
    gradients: ViewMut<'_>,
    parameters: ViewMut<'_>,
    second_moment: SecondMoment<'_>,
) {
    let (rows, columns) = (parameters.rows(), parameters.columns());
    gradients.expect_shape("gradients", rows, columns);
    match &second_moment {
        SecondMoment::Factored { rows: means, columns: others } => {
            means.expect_shape("means of rows", rows, 1);
            others.expect_shape("means of columns", columns, 1);
        }
        SecondMoment::Full(means) => means.expect_shape("second_moment", rows, columns),
    }
    assert!(step.step > 0, "steps count from 1");
    let device = parameters.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (gradients, parameters) = (gradients.host(device), parameters.host(device));
            match second_moment {
                SecondMoment::Factored { rows, columns } => {
                    let means = (rows.host(device), columns.host(device));
                    cpu::adafactor::factored(cpu, step, gradients, parameters, means);
                }
                SecondMoment::Full(moment) => {
                    cpu::adafactor::full(cpu, step, gradients, parameters, moment.host(device));
                }
            }
        }
        Kind::Reference(_) => {
            let gradients = gradients.reference(device);
            let parameters = parameters.reference(device);
            match second_moment {
                SecondMoment::Factored { rows, columns } => {
                    let means = (rows.reference(device), columns.reference(device));
                    reference::adafactor::factored(step, gradients, parameters, means);
                }
                SecondMoment::Full(moment) => {
                    let moment = moment.reference(device);
                    reference::adafactor::full(step, gradients, parameters, moment);
                }
            }
        }
    }
}
