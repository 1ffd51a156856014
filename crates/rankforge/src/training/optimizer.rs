use crate::arguments::TrainingArguments;
use crate::error::Error;
use crate::training::layer_decay::LayerDecay;
use rankforge_encoder::Model;
use rankforge_kernels::ops::{AdamW, adamw};
use rankforge_kernels::{Arena, ArenaLayout, Device};
use regex::Regex;
use std::ops::Range;
use std::sync::Arc;

/// AdamW: its moments, and groups of parameters with equal learning rate and weight decay. Frozen
/// parameters have no moments and belong to no group.
///
/// # Paper
/// Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, arXiv:1711.05101.
pub(crate) struct Optimizer {
    first_moment: Arena,
    second_moment: Arena,
    tensors: Vec<NamedRange>,
    groups: Vec<Group>,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
}

/// The location of a checkpoint tensor's elements in the arenas.
#[derive(Clone, Debug)]
pub(super) struct NamedRange {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// Elements in the arenas of gradients and moments, which contain trained parameters only.
    pub(super) range: Range<usize>,
    /// Index of the first element in the arena of parameters, which contains all parameters.
    pub(super) parameters: usize,
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
    /// An optimizer with zero moments for tensors in an arena of gradients of this layout. A
    /// pattern of `learning_rate_mapping` may match no tensor but one of `others`.
    ///
    /// # Errors
    /// A pattern that is not a regular expression or matches no parameter.
    pub(super) fn new(
        device: &Device,
        layout: &Arc<ArenaLayout>,
        tensors: Vec<NamedRange>,
        others: &[String],
        arguments: &TrainingArguments,
    ) -> Result<Optimizer, Error> {
        Ok(Optimizer {
            first_moment: Arena::zeros(device, layout.clone()),
            second_moment: Arena::zeros(device, layout.clone()),
            groups: groups(&tensors, others, arguments)?,
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
        let (length, all) = (gradients.layout().len(), parameters.layout().len());
        for group in &self.groups {
            let config = AdamW {
                learning_rate: group.learning_rate * factor,
                beta1: self.beta1,
                beta2: self.beta2,
                epsilon: self.epsilon,
                weight_decay: group.weight_decay,
                step,
                gradient_scale,
            };
            let range = group.range.clone();
            adamw(
                &config,
                gradients.flat_mut().with_shape(length, 1).slice_rows(range.clone()),
                parameters.flat_mut().with_shape(all, 1).slice_rows(group.parameters()),
                self.first_moment.flat_mut().with_shape(length, 1).slice_rows(range.clone()),
                self.second_moment.flat_mut().with_shape(length, 1).slice_rows(range),
            );
        }
    }

    /// The tensors that are trained.
    pub(super) fn tensors(&self) -> &[NamedRange] {
        &self.tensors
    }

    /// Both moments, which are in arenas of the same places as the gradients.
    pub(super) fn moments(&self) -> [&Arena; 2] {
        [&self.first_moment, &self.second_moment]
    }

    /// Both moments, to be written.
    pub(super) fn moments_mut(&mut self) -> [&mut Arena; 2] {
        [&mut self.first_moment, &mut self.second_moment]
    }
}

impl Group {
    /// Elements in the arena of parameters.
    fn parameters(&self) -> Range<usize> {
        self.parameters..self.parameters + self.range.len()
    }
}

/// All trained checkpoint tensors of the model, in arena order.
pub(super) fn named_ranges(model: &Model) -> Vec<NamedRange> {
    let entries = model.parameters().layout().entries();
    let specs = &model.architecture().parameters;
    assert_eq!(entries.len(), specs.len(), "number of arena entries and of parameters");
    let trainable = model.trainable_layout();
    let mut ranges = Vec::new();
    for ((entry, trained), spec) in entries.iter().zip(trainable.entries()).zip(specs) {
        assert!(!spec.parts.is_empty(), "parameter {} belongs to no checkpoint tensor", spec.name);
        let Some(offset) = trained.offset else { continue };
        for part in &spec.parts {
            let (first, last) = (part.rows.start * entry.columns, part.rows.end * entry.columns);
            let in_parameters =
                entry.offset.expect("the arena of parameters contains all parameters");
            ranges.push(NamedRange {
                name: part.full_name(),
                shape: part.shape.clone(),
                range: offset + first..offset + last,
                parameters: in_parameters + first,
            });
        }
    }
    ranges.sort_by_key(|tensor| tensor.range.start);
    let covered: usize = ranges.iter().map(|tensor| tensor.range.len()).sum();
    assert_eq!(covered, trainable.len(), "number of elements in tensors and of trained elements");
    ranges
}

/// Groups adjacent tensors with equal settings. When several patterns match a tensor, the last one
/// determines its learning rate. A pattern must match a tensor or one of `others`.
fn groups(
    tensors: &[NamedRange],
    others: &[String],
    arguments: &TrainingArguments,
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
                if last.range.end == range.start
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
        assert_eq!(groups(&tensors, &[], &plain).unwrap().len(), 1);
        let decay = TrainingArguments { weight_decay: 0.01, ..plain };
        let found: Vec<_> =
            groups(&tensors, &[], &decay).unwrap().into_iter().map(|group| group.range).collect();
        assert_eq!(found, [0..4, 4..8, 8..12]);
    }

    #[test]
    fn a_frozen_parameter_between_two_others_splits_their_group() {
        let mut tensors = [tensor("a.weight", 0..4), tensor("c.weight", 4..6)];
        // A frozen parameter of three elements lies between them.
        tensors[1].parameters = 7;
        let found = groups(&tensors, &[], &TrainingArguments::default()).unwrap();
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
        let rates: Vec<f64> = groups(&tensors, &[], &arguments)
            .unwrap()
            .iter()
            .map(|group| group.learning_rate)
            .collect();
        assert_eq!(rates, [1.0, 2.0]);
        arguments.learning_rate_mapping.insert("nowhere".to_owned(), 2.0);
        assert!(groups(&tensors, &["nowhere.weight".to_owned()], &arguments).is_ok());
        let message = groups(&tensors, &[], &arguments).unwrap_err().to_string();
        assert!(message.contains("learning_rate_mapping.nowhere"), "{message}");
    }
}
