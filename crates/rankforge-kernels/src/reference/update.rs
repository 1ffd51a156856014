use crate::reference::matrix::MatrixMut;
use crate::settings::update_rule::{OptimizerStep, UpdateRule};

/// One step of every element, by the formulas of [`UpdateRule`]; the gradient becomes 0.
pub(crate) fn update(
    rule: &UpdateRule,
    step: &OptimizerStep,
    mut gradients: MatrixMut<'_>,
    mut parameters: MatrixMut<'_>,
    mut state: Vec<MatrixMut<'_>>,
) {
    for (row, column) in parameters.places() {
        let gradient = gradients.at(row, column) * f64::from(step.gradient_scale);
        let parameter = parameters.at(row, column);
        let mut values: Vec<f64> = state.iter().map(|state| state.at(row, column)).collect();
        let changed = element(rule, step, gradient, parameter, &mut values);
        gradients.put(row, column, 0.0);
        parameters.put(row, column, changed);
        state.iter_mut().zip(values).for_each(|(state, value)| state.put(row, column, value));
    }
}

/// The new value of a parameter.
fn element(
    rule: &UpdateRule,
    step: &OptimizerStep,
    gradient: f64,
    parameter: f64,
    state: &mut [f64],
) -> f64 {
    let OptimizerStep { learning_rate, weight_decay, step, .. } = *step;
    let g = gradient + weight_decay * parameter;
    match *rule {
        UpdateRule::Sgd { momentum, dampening, nesterov } => {
            let Some(buffer) = state.first_mut() else { return parameter - learning_rate * g };
            *buffer = if step == 1 { g } else { momentum * *buffer + (1.0 - dampening) * g };
            let change = if nesterov { g + momentum * *buffer } else { *buffer };
            parameter - learning_rate * change
        }
        UpdateRule::Adagrad { epsilon } => {
            state[0] += g * g;
            parameter - learning_rate * g / (state[0].sqrt() + epsilon)
        }
        UpdateRule::RmsProp { alpha, epsilon, momentum, centered } => {
            state[0] = alpha * state[0] + (1.0 - alpha) * g * g;
            let mut square = state[0];
            if centered {
                let mean = state.last_mut().expect("a centered rule has a mean");
                *mean = alpha * *mean + (1.0 - alpha) * g;
                square = (square - *mean * *mean).max(0.0);
            }
            let mut change = g / (square.sqrt() + epsilon);
            if momentum > 0.0 {
                state[1] = momentum * state[1] + change;
                change = state[1];
            }
            parameter - learning_rate * change
        }
        UpdateRule::Lion { beta1, beta2 } => {
            let between = beta1 * state[0] + (1.0 - beta1) * gradient;
            state[0] = beta2 * state[0] + (1.0 - beta2) * gradient;
            let sign = if between == 0.0 { 0.0 } else { between.signum() };
            parameter * (1.0 - learning_rate * weight_decay) - learning_rate * sign
        }
    }
}
