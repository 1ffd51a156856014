use crate::arguments::{OptimizerSettings, TrainingArguments};
use crate::error::Error;
use crate::training::layer_decay::LayerDecay;
use crate::training::named_ranges::NamedRange;
use crate::training::optimizer_state::{State, part, state_of};
use rankforge_kernels::ops::{AdamW, OptimizerStep, SecondMoment, adafactor, adamw, update};
use rankforge_kernels::{Arena, ArenaLayout, Device};
use regex::Regex;
use std::ops::Range;
use std::sync::Arc;

/// An optimizer: its state, and groups of parameters with equal learning rate and weight decay.
/// Frozen parameters have no state and belong to no group.
///
/// # Paper
/// AdamW: Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, arXiv:1711.05101.
pub(crate) struct Optimizer {
    settings: OptimizerSettings,
    state: Vec<State>,
    tensors: Vec<NamedRange>,
    groups: Vec<Group>,
    /// The settings of AdamW.
    beta1: f64,
    beta2: f64,
    epsilon: f64,
}

/// Parameters with equal settings that are adjacent in all arenas. They are updated by one call.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    /// Elements in the arenas of gradients and moments.
    range: Range<usize>,
    /// Index of the first element in the arena of parameters.
    parameters: usize,
    learning_rate: f64,
    weight_decay: f64,
}

impl Optimizer {
    /// An optimizer whose state is zero, for tensors in an arena of gradients of this layout. A
    /// pattern of `learning_rate_mapping` may match no tensor but one of `others`.
    ///
    /// # Errors
    /// A pattern that is not a regular expression or matches no parameter; settings of the
    /// optimizer that are impossible.
    pub(super) fn new(
        device: &Device,
        layout: &Arc<ArenaLayout>,
        tensors: Vec<NamedRange>,
        others: &[String],
        arguments: &TrainingArguments,
    ) -> Result<Optimizer, Error> {
        let settings = arguments.optimizer()?;
        // Adafactor takes one tensor at a time.
        let merge = settings != OptimizerSettings::Adafactor;
        Ok(Optimizer {
            state: state_of(&settings, device, layout, &tensors),
            settings,
            groups: groups(&tensors, others, arguments, merge)?,
            tensors,
            beta1: arguments.adam_beta1,
            beta2: arguments.adam_beta2,
            epsilon: arguments.adam_epsilon,
        })
    }

    /// Updates all trained parameters and resets the gradients. `step` counts from 1. `factor` is
    /// the factor of the schedule on all learning rates. `gradient_scale` is the factor on the
    /// gradients that clips them and removes the loss scale.
    pub(crate) fn step(
        &mut self,
        gradients: &mut Arena,
        parameters: &mut Arena,
        step: u64,
        factor: f64,
        gradient_scale: f32,
    ) {
        for (index, group) in self.groups.iter().enumerate() {
            let learning_rate = group.learning_rate * factor;
            let weight_decay = group.weight_decay;
            let now = OptimizerStep { learning_rate, weight_decay, step, gradient_scale };
            let gradients = part(gradients, group.range.clone());
            let parameters = part(parameters, group.parameters());
            let state = self.state.iter_mut();
            match &self.settings {
                OptimizerSettings::AdamW => {
                    let (beta1, beta2, epsilon) = (self.beta1, self.beta2, self.epsilon);
                    let moments: Vec<_> =
                        state.map(|state| state.part(group.range.clone())).collect();
                    let Ok([first, second]) = <[_; 2]>::try_from(moments) else {
                        unreachable!("AdamW has two moments")
                    };
                    let config = AdamW {
                        learning_rate,
                        beta1,
                        beta2,
                        epsilon,
                        weight_decay,
                        step,
                        gradient_scale,
                    };
                    adamw(&config, gradients, parameters, first, second);
                }
                OptimizerSettings::Elements { rule, lr_decay } => {
                    let learning_rate = learning_rate / (1.0 + (step - 1) as f64 * lr_decay);
                    let now = OptimizerStep { learning_rate, ..now };
                    let state = state.map(|state| state.part(group.range.clone())).collect();
                    update(rule, &now, gradients, parameters, state);
                }
                OptimizerSettings::Adafactor => {
                    let moments: Vec<_> = state.map(|state| state.of_tensor(index)).collect();
                    let Ok([of_rows, of_columns, full]) = <[_; 3]>::try_from(moments) else {
                        unreachable!("Adafactor has mean squares of three kinds")
                    };
                    let (rows, columns, moment) = match self.tensors[index].shape[..] {
                        [rows, columns] => {
                            let moment =
                                SecondMoment::Factored { rows: of_rows, columns: of_columns };
                            (rows, columns, moment)
                        }
                        _ => (group.range.len(), 1, SecondMoment::Full(full)),
                    };
                    let gradients = gradients.with_shape(rows, columns);
                    adafactor(&now, gradients, parameters.with_shape(rows, columns), moment);
                }
            }
        }
    }

    /// The tensors that are trained.
    pub(super) fn tensors(&self) -> &[NamedRange] {
        &self.tensors
    }

    /// The state.
    pub(super) fn state(&self) -> &[State] {
        &self.state
    }

    /// The state, to be written.
    pub(super) fn state_mut(&mut self) -> &mut [State] {
        &mut self.state
    }
}

impl Group {
    /// Elements in the arena of parameters.
    fn parameters(&self) -> Range<usize> {
        self.parameters..self.parameters + self.range.len()
    }
}

/// Tensors with equal settings; adjacent ones are one group with `merge`. When several patterns
/// match a tensor, the last one determines its learning rate. A pattern must match a tensor or one
/// of `others`.
fn groups(
    tensors: &[NamedRange],
    others: &[String],
    arguments: &TrainingArguments,
    merge: bool,
) -> Result<Vec<Group>, Error> {
    let mut patterns = Vec::new();
    for (pattern, rate) in &arguments.learning_rate_mapping {
        let field = || format!("learning_rate_mapping.{pattern}");
        let regex = Regex::new(pattern)
            .map_err(|error| Error::argument(field(), "a regular expression", error))?;
        let mut names = tensors.iter().map(|tensor| &tensor.name).chain(others);
        if !names.clone().any(|name| regex.is_match(name)) {
            let names: Vec<&str> = names.by_ref().take(3).map(String::as_str).collect();
            let expected =
                format!("a pattern that finds a parameter, such as {}", names.join(", "));
            return Err(Error::argument(field(), expected, "none found"));
        }
        patterns.push((regex, *rate));
    }
    let layers =
        LayerDecay::new(tensors.iter().map(|tensor| &tensor.name).chain(others), arguments);
    let mut groups: Vec<Group> = Vec::new();
    for NamedRange { name, range, parameters, .. } in tensors {
        let mapped = patterns.iter().rev().find(|(regex, _)| regex.is_match(name));
        let full = || arguments.learning_rate * layers.factor(name);
        let learning_rate = mapped.map_or_else(full, |(_, rate)| *rate);
        let weight_decay = if decays(name) { arguments.weight_decay } else { 0.0 };
        match groups.last_mut() {
            Some(last)
                if merge
                    && last.range.end == range.start
                    && last.parameters().end == *parameters
                    && last.learning_rate == learning_rate
                    && last.weight_decay == weight_decay =>
            {
                last.range.end = range.end;
            }
            _ => groups.push(Group {
                range: range.clone(),
                parameters: *parameters,
                learning_rate,
                weight_decay,
            }),
        }
    }
    Ok(groups)
}

/// Whether weight decay applies to a parameter. It does not apply to biases and normalization
/// layers, which are recognized by their names.
fn decays(name: &str) -> bool {
    let name = name.to_lowercase();
    let norm = name.split('.').any(|part| part == "norm" || part.ends_with("_norm"));
    !(norm || ["bias", "layernorm", "rmsnorm"].iter().any(|word| name.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, range: Range<usize>) -> NamedRange {
        let parameters = range.start;
        NamedRange { name: name.to_owned(), shape: vec![range.len()], range, parameters }
    }

    #[test]
    fn biases_and_normalization_layers_do_not_decay() {
        let without = [
            "bert.encoder.layer.0.attention.output.LayerNorm.weight",
            "bert.embeddings.LayerNorm.bias",
            "distilbert.transformer.layer.1.sa_layer_norm.weight",
            "distilbert.transformer.layer.1.output_layer_norm.weight",
            "model.layers.3.attn_norm.weight",
            "model.final_norm.weight",
            "head.norm.weight",
            "norm.weight",
            "classifier.bias",
            "mpnet.encoder.relative_attention_bias.weight",
        ];
        assert!(without.iter().all(|name| !decays(name)), "{without:?}");
        let with = ["model.layers.0.attn.Wqkv.weight", "classifier.weight", "normal.weight"];
        assert!(with.iter().all(|name| decays(name)), "{with:?}");
    }

    #[test]
    fn adjacent_tensors_with_equal_settings_form_one_group() {
        let tensors = [
            tensor("a.weight", 0..4),
            tensor("a.bias", 4..6),
            tensor("b.bias", 6..8),
            tensor("b.weight", 8..12),
        ];
        let plain = TrainingArguments::default();
        assert_eq!(groups(&tensors, &[], &plain, true).unwrap().len(), 1);
        let decay = TrainingArguments { weight_decay: 0.01, ..plain };
        let found: Vec<_> = groups(&tensors, &[], &decay, true)
            .unwrap()
            .into_iter()
            .map(|group| group.range)
            .collect();
        assert_eq!(found, [0..4, 4..8, 8..12]);
        assert_eq!(groups(&tensors, &[], &decay, false).unwrap().len(), 4);
    }

    #[test]
    fn a_frozen_parameter_between_two_others_splits_their_group() {
        let mut tensors = [tensor("a.weight", 0..4), tensor("c.weight", 4..6)];
        // A frozen parameter of three elements lies between them.
        tensors[1].parameters = 7;
        let found = groups(&tensors, &[], &TrainingArguments::default(), true).unwrap();
        let ranges: Vec<_> =
            found.iter().map(|group| (group.range.clone(), group.parameters())).collect();
        assert_eq!(ranges, [(0..4, 0..4), (4..6, 7..9)]);
    }

    #[test]
    fn the_last_matching_pattern_sets_the_learning_rate() {
        let tensors = [tensor("a.weight", 0..4), tensor("b.weight", 4..6)];
        let mut arguments = TrainingArguments::default();
        arguments.learning_rate_mapping.insert("weight".to_owned(), 1.0);
        arguments.learning_rate_mapping.insert("^b".to_owned(), 2.0);
        let rates: Vec<f64> = groups(&tensors, &[], &arguments, true)
            .unwrap()
            .iter()
            .map(|group| group.learning_rate)
            .collect();
        assert_eq!(rates, [1.0, 2.0]);
        arguments.learning_rate_mapping.insert("nowhere".to_owned(), 2.0);
        assert!(groups(&tensors, &["nowhere.weight".to_owned()], &arguments, true).is_ok());
        let message = groups(&tensors, &[], &arguments, true).unwrap_err().to_string();
        assert!(message.contains("learning_rate_mapping.nowhere"), "{message}");
    }
}
