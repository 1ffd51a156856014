//! Ten steps of every optimizer beside those of torch and transformers.

use crate::arguments::TrainingArguments;
use crate::training::named_ranges::NamedRange;
use crate::training::optimizer::Optimizer;
use rankforge_kernels::{Arena, ArenaLayout, Device};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

#[derive(Deserialize)]
struct Golden {
    shapes: Map<String, Value>,
    start: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    factors: Vec<f64>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    arguments: Map<String, Value>,
    values: Vec<f64>,
}

/// The tensors of the fixture, one after the other.
fn tensors(golden: &Golden) -> (ArenaLayout, Vec<NamedRange>) {
    let (mut layout, mut tensors) = (ArenaLayout::new(), Vec::new());
    for (name, shape) in &golden.shapes {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        let start = layout.len();
        let columns = *shape.last().unwrap();
        layout.push(name.clone(), shape.iter().product::<usize>() / columns, columns);
        let range = start..layout.len();
        tensors.push(NamedRange { name: name.clone(), shape, parameters: start, range });
    }
    (layout, tensors)
}

fn ten_steps(golden: &Golden, arguments: &TrainingArguments, gradient_scale: f32) -> Vec<f32> {
    let device = Device::cpu(Some(2)).unwrap();
    let (layout, tensors) = tensors(golden);
    let layout = Arc::new(layout);
    let mut optimizer = Optimizer::new(&device, &layout, tensors, &[], arguments).unwrap();
    let [mut parameters, mut gradients] = [(); 2].map(|()| Arena::zeros(&device, layout.clone()));
    parameters.flat_mut().write(&golden.start);
    for (step, (values, factor)) in (1..).zip(golden.gradients.iter().zip(&golden.factors)) {
        // Powers of two do not round.
        let scaled: Vec<f32> = values.iter().map(|value| value / gradient_scale).collect();
        gradients.flat_mut().write(&scaled);
        optimizer.step(&mut gradients, &mut parameters, step, *factor, gradient_scale);
    }
    parameters.flat().to_vec()
}

#[test]
fn ten_steps_of_every_optimizer_end_where_those_of_torch_and_transformers_do() {
    let golden: Golden =
        serde_json::from_str(include_str!("../../tests/fixtures/optimizers.json")).unwrap();
    for Case { arguments, values } in &golden.cases {
        let (read, warnings) = TrainingArguments::from_map(arguments).unwrap();
        assert_eq!(warnings, [""; 0], "{}", json!(arguments));
        for gradient_scale in [1.0, 0.125] {
            let found = ten_steps(&golden, &read, gradient_scale);
            assert_eq!(found.len(), values.len());
            for (found, expected) in found.iter().zip(values) {
                // Ten steps of about ten roundings each, of numbers of at most 4, and changes whose
                // relative error is some epsilon.
                let allowed = 400.0 * f64::from(f32::EPSILON);
                let error = (f64::from(*found) - expected).abs();
                assert!(error <= allowed, "{found} and {expected} by {}", json!(arguments));
            }
        }
    }
}
