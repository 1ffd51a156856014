//! Losses of cross-encoders.

use super::{DRAW, GOLDEN, assert_finite_differences, compute, numbered, numbers, pairs, triplets};
use rankforge::encoder::Outputs;
use rankforge::losses::{
    Activation, BinaryCrossEntropyLoss, CachedMultipleNegativesRankingLoss, Column, Draw, Examples,
    Labels, Loss, MultipleNegativesRankingLoss, Targets,
};
use std::collections::HashSet;

/// The logit of each pair, in the order of the golden gradients.
const TABLE: [(&str, &str, f32); 8] = [
    ("q1", "d1", 1.5),
    ("q2", "d2", -0.5),
    ("q1", "d2", 0.3),
    ("q2", "d1", 0.8),
    ("q1", "n1", 0.2),
    ("q2", "n2", -1.0),
    ("q1", "n2", -0.4),
    ("q2", "n1", 0.1),
];

/// The value of a loss on the logits of [`TABLE`], and its gradient for each entry of the table.
fn on_table(loss: &dyn Loss, columns: Vec<Column>, labels: Labels) -> (f64, Vec<f64>) {
    let examples = Examples { columns, labels };
    let plan = loss.plan(&examples, DRAW).unwrap();
    let entries: Vec<usize> = plan
        .inputs
        .iter()
        .map(|input| {
            let pair = (input.first.text, input.second.expect("a pair"));
            TABLE.iter().position(|entry| (entry.0, entry.1) == pair).unwrap()
        })
        .collect();
    let values: Vec<f32> = entries.iter().map(|entry| TABLE[*entry].2).collect();
    let outputs = Outputs { rows: values.len(), columns: 1, values };
    let output = compute(loss, &outputs, plan.rows, &plan.targets);
    assert_eq!((output.d_outputs.rows, output.d_outputs.columns), (outputs.rows, 1));
    let mut gradient = vec![0.0; TABLE.len()];
    for (entry, value) in entries.iter().zip(&output.d_outputs.values) {
        gradient[*entry] += f64::from(*value);
    }
    (output.value, gradient)
}

#[track_caller]
fn assert_golden(got: (f64, Vec<f64>), value: f64, gradient: &[f64]) {
    assert!((got.0 - value).abs() < GOLDEN, "loss {}, expected {value}", got.0);
    for (index, entry) in got.1.iter().enumerate() {
        let expected = gradient.get(index).copied().unwrap_or(0.0);
        assert!((entry - expected).abs() < GOLDEN, "gradient {:?}, expected {gradient:?}", got.1);
    }
}

fn all(activation_fn: Option<Activation>, scale: f64) -> MultipleNegativesRankingLoss {
    MultipleNegativesRankingLoss { num_negatives: None, scale, activation_fn }
}

#[test]
fn binary_cross_entropy_has_the_golden_values() {
    let loss = BinaryCrossEntropyLoss::default();
    let labels = Labels::Scalars(vec![1.0, 0.0]);
    assert_golden(on_table(&loss, pairs(), labels), 0.337745, &[-0.091213, 0.188770]);
    let loss = BinaryCrossEntropyLoss { pos_weight: Some(4.0), ..loss };
    let labels = Labels::Scalars(vec![0.7, 0.2]);
    assert_golden(on_table(&loss, pairs(), labels), 1.116452, &[-0.132760, -0.097967]);
}

#[test]
fn ranking_has_the_golden_values() {
    let loss = all(Some(Activation::Sigmoid), 10.0);
    assert_golden(
        on_table(&loss, pairs(), Labels::None),
        1.625817,
        &[-0.060267, -1.125533, 0.098780, 1.024505],
    );
    let triplet_gradient =
        [-0.109566, -1.133718, 0.091676, 0.855046, 0.072574, 0.011664, 0.015953, 0.191447];
    assert_golden(on_table(&loss, triplets(), Labels::None), 1.753541, &triplet_gradient);
    let cached = CachedMultipleNegativesRankingLoss { loss, mini_batch_size: 1 };
    assert_golden(on_table(&cached, triplets(), Labels::None), 1.753541, &triplet_gradient);
    let plain_gradient =
        [-0.209858, -0.429557, 0.087389, 0.258476, 0.079073, 0.042726, 0.043396, 0.128355];
    for activation in [None, Some(Activation::Identity)] {
        let loss = all(activation, 1.0);
        assert_golden(on_table(&loss, triplets(), Labels::None), 1.252022, &plain_gradient);
        // A scale of 0 disables scaling.
        let loss = all(activation, 0.0);
        assert_golden(on_table(&loss, triplets(), Labels::None), 1.252022, &plain_gradient);
    }
}

#[test]
fn binary_cross_entropy_does_not_overflow_and_ignores_the_order_of_rows() {
    let loss = BinaryCrossEntropyLoss::default();
    let outputs = Outputs { rows: 4, columns: 1, values: vec![800.0, -800.0, 3.0, -0.25] };
    let labels = vec![0.0, 1.0, 1.0, 0.4];
    let forward = compute(&loss, &outputs, 4, &Targets::Scalars(labels.clone()));
    assert!((forward.d_outputs.values[0] - 0.25).abs() < 1e-7, "{forward:?}");
    assert!((forward.d_outputs.values[1] + 0.25).abs() < 1e-7, "{forward:?}");
    let order = [2, 0, 3, 1];
    let moved = Outputs { values: order.map(|row| outputs.values[row]).to_vec(), ..outputs };
    let moved_labels = Targets::Scalars(order.map(|row| labels[row]).to_vec());
    let backward = compute(&loss, &moved, 4, &moved_labels);
    // The sum has four terms of up to 800 each, in another order.
    assert!((forward.value - backward.value).abs() < 8.0 * 800.0 * f64::EPSILON);
    assert_eq!(order.map(|row| forward.d_outputs.values[row]).to_vec(), backward.d_outputs.values);
}

/// Column and row of the texts that each anchor is paired with, in order.
fn partners(loss: &dyn Loss, examples: &Examples, draw: Draw) -> Vec<Vec<(usize, usize)>> {
    let plan = loss.plan(examples, draw).unwrap();
    let mut partners = vec![Vec::new(); plan.rows];
    for (index, input) in plan.inputs.iter().enumerate() {
        let text = input.second.expect("a pair");
        assert_eq!(input.first.text, format!("0:{}", index % plan.rows));
        let (column, row) = text.split_once(':').unwrap();
        partners[index % plan.rows].push((column.parse().unwrap(), row.parse().unwrap()));
    }
    partners
}

#[test]
fn sampled_negatives_are_distinct_texts_of_other_rows() {
    for (rows, columns) in [(1, 2), (2, 2), (5, 2), (8, 4), (16, 3)] {
        for num_negatives in [Some(1), Some(4), Some(9), None] {
            let loss = MultipleNegativesRankingLoss { num_negatives, ..all(None, 1.0) };
            let available = (rows - 1) * (columns - 1);
            let sampled = num_negatives.unwrap_or(available).min(available);
            for (row, texts) in partners(&loss, &numbered(rows, columns), DRAW).iter().enumerate() {
                assert_eq!(texts.len(), 1 + sampled + columns - 2);
                assert_eq!(texts[0], (1, row), "the positive is not first");
                let others = &texts[1..=sampled];
                assert!(others.iter().all(|(column, other)| *column > 0 && *other != row));
                assert_eq!(others.iter().collect::<HashSet<_>>().len(), sampled);
                let own: Vec<_> = (2..columns).map(|column| (column, row)).collect();
                assert_eq!(texts[1 + sampled..], own, "the row's own hard negatives are not last");
            }
        }
    }
}

#[test]
fn sampled_negatives_follow_seed_and_step_and_are_uniform() {
    let loss = MultipleNegativesRankingLoss::default();
    let examples = numbered(6, 3);
    let first = partners(&loss, &examples, DRAW);
    assert_eq!(first, partners(&loss, &examples, DRAW));
    assert_ne!(first, partners(&loss, &examples, Draw { step: 1, ..DRAW }));
    assert_ne!(first, partners(&loss, &examples, Draw { seed: 13, ..DRAW }));
    let cached = CachedMultipleNegativesRankingLoss::default();
    assert_eq!(
        first,
        partners(&cached, &examples, DRAW),
        "the cached loss samples other negatives"
    );
    let steps = 2000;
    let mut counts = std::collections::BTreeMap::new();
    for step in 0..steps {
        for text in &partners(&loss, &examples, Draw { seed: 1, step })[2][1..5] {
            *counts.entry(*text).or_insert(0.0) += 1.0;
        }
    }
    // Each of 10 texts is sampled with probability 4 / 10. The tolerance is five standard
    // deviations of a binomial distribution.
    let (mean, deviation) = (steps as f64 * 0.4, (steps as f64 * 0.4 * 0.6).sqrt());
    assert_eq!(counts.len(), 10);
    for (text, count) in counts {
        assert!((count - mean).abs() < 5.0 * deviation, "{text:?} was sampled {count} times");
    }
}

#[test]
fn all_in_batch_negatives_are_in_ascending_order() {
    let texts = partners(&all(None, 1.0), &numbered(3, 3), DRAW);
    assert_eq!(texts[1], [(1, 1), (1, 0), (1, 2), (2, 0), (2, 2), (2, 1)]);
}

#[test]
fn the_cached_loss_equals_the_plain_one() {
    let cached = CachedMultipleNegativesRankingLoss::default();
    let plain = MultipleNegativesRankingLoss::default();
    assert_eq!((cached.mini_batch_size(), plain.mini_batch_size()), (Some(32), None));
    let examples = numbered(7, 4);
    let plan = plain.plan(&examples, DRAW).unwrap();
    assert_eq!(cached.plan(&examples, DRAW).unwrap(), plan);
    let count = plan.inputs.len();
    let outputs = Outputs { rows: count, columns: 1, values: numbers(count) };
    let of = |loss: &dyn Loss| compute(loss, &outputs, plan.rows, &plan.targets);
    assert_eq!(of(&cached), of(&plain));
}

#[test]
fn gradients_agree_with_finite_differences() {
    let outputs = |rows: usize| Outputs { rows, columns: 1, values: numbers(rows) };
    // Values are computed in f64.
    let noise = 1e-6;
    for activation_fn in [Activation::Identity, Activation::Sigmoid, Activation::Tanh] {
        for pos_weight in [None, Some(3.0)] {
            let loss = BinaryCrossEntropyLoss { activation_fn, pos_weight, ..Default::default() };
            let targets = Targets::Scalars(vec![0.0, 1.0, 0.3, 0.9, 0.5]);
            let value = |outputs: &Outputs| compute(&loss, outputs, 5, &targets);
            assert_finite_differences(&value, &outputs(5), 10.0, noise);
        }
        // Third derivatives grow with the cube of the scale.
        let loss = all(Some(activation_fn), 4.0);
        let value = |outputs: &Outputs| compute(&loss, outputs, 3, &Targets::None);
        assert_finite_differences(&value, &outputs(15), 64.0, noise);
    }
}
