//! The losses of dual encoders: values, gradients and settings of sentence-transformers, and finite
//! differences.

use super::{DRAW, GOLDEN, assert_finite_differences, compute, numbered, numbers};
use rankforge::encoder::Outputs;
use rankforge::losses::{Examples, Labels, Loss, LossOutput, WithParameters, dual_encoder_loss};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const A: [f32; 9] = [1.0, 0.0, 0.5, 0.2, 1.0, 0.0, 0.3, -0.4, 1.0];
const P: [f32; 9] = [0.9, 0.1, 0.4, 0.1, 0.8, 0.3, 0.5, -0.2, 0.7];
const N: [f32; 9] = [0.2, 0.7, 0.1, 0.9, 0.3, 0.2, -0.1, 0.6, 0.4];

/// What `fixtures/dual_losses.py` writes.
#[derive(Deserialize)]
struct Goldens {
    columns: usize,
    rows: usize,
    width: usize,
    embeddings: Vec<f32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    loss: String,
    settings: Map<String, Value>,
    columns: usize,
    rows: usize,
    width: usize,
    labels: Value,
    config: Value,
    value: f64,
    components: BTreeMap<String, f64>,
    gradient: Vec<f64>,
    parameters: Vec<f32>,
    d_parameters: Vec<f64>,
}

fn goldens() -> Goldens {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dual_losses.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

impl Goldens {
    /// The embeddings that a case sees.
    fn outputs(&self, case: &Case) -> Outputs {
        assert!(case.columns <= self.columns && case.rows <= self.rows);
        let mut outputs = Outputs { columns: case.width, ..Outputs::default() };
        for column in 0..case.columns {
            for row in 0..case.rows {
                let start = (column * self.rows + row) * self.width;
                outputs.values.extend(&self.embeddings[start..start + case.width]);
                outputs.rows += 1;
            }
        }
        outputs
    }
}

fn labels(labels: &Value) -> Labels {
    let number = |value: &Value| value.as_f64().unwrap() as f32;
    let list = |value: &Value| value.as_array().unwrap().iter().map(number).collect();
    match labels {
        Value::Null => Labels::None,
        Value::Array(rows) if rows[0].is_array() => Labels::Lists(rows.iter().map(list).collect()),
        rows => Labels::Scalars(list(rows)),
    }
}

/// A loss by name, and its output for embeddings.
fn of_loss(name: &str, settings: Value, outputs: &Outputs, columns: usize, labels: Labels) -> f64 {
    let loss = dual_encoder_loss(name, settings.as_object().unwrap()).unwrap();
    on_rows(&*loss, outputs, columns, labels, &[]).value
}

/// The output of a loss for rows of `columns` texts with these embeddings, and for these parameters
/// of its own.
fn on_rows(
    loss: &dyn Loss,
    outputs: &Outputs,
    columns: usize,
    labels: Labels,
    parameters: &[f32],
) -> LossOutput {
    let rows = outputs.rows / columns;
    let examples = Examples { labels, ..numbered(rows, columns) };
    let plan = loss.plan(&examples, DRAW).unwrap();
    assert_eq!((plan.inputs.len(), plan.rows), (outputs.rows, rows));
    let loss = WithParameters { loss, parameters };
    compute(&loss, outputs, rows, &plan.targets)
}

#[test]
fn losses_have_the_values_gradients_and_settings_of_sentence_transformers() {
    let goldens = goldens();
    for case in &goldens.cases {
        let what = format!("{} {:?} {}", case.loss, case.settings, case.labels);
        let loss = dual_encoder_loss(&case.loss, &case.settings).unwrap();
        assert_eq!(numbers_as_floats(&loss.config()), numbers_as_floats(&case.config), "{what}");
        let outputs = goldens.outputs(case);
        let found = on_rows(&*loss, &outputs, case.columns, labels(&case.labels), &case.parameters);
        let shapes = loss.parameters(case.width, 1);
        let own: usize = shapes.iter().map(|parameter| parameter.values.len()).sum();
        assert_eq!((own, found.d_parameters.len()), (case.parameters.len(), own), "{what}");
        for (got, expected) in found.d_parameters.iter().zip(&case.d_parameters) {
            assert!((f64::from(*got) - expected).abs() < 1e-5, "{what}: {got}, {expected}");
        }
        // Values and gradients are computed in f64, and gradients are rounded to f32; scores of all
        // pairs of a batch are f32. Scales of up to 20 multiply their rounding errors, the one of a
        // gradient twice.
        let error = 20.0 * 8.0 * f64::from(f32::EPSILON);
        assert!((found.value - case.value).abs() < error, "{what}: {}", found.value);
        let largest = case.gradient.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
        assert_eq!(found.d_outputs.values.len(), case.gradient.len(), "{what}");
        for (got, expected) in found.d_outputs.values.iter().zip(&case.gradient) {
            let difference = (f64::from(*got) - expected).abs();
            assert!(difference < error * (1.0 + largest), "{what}: {got}, expected {expected}");
        }
        let components: BTreeMap<String, f64> = found.components.into_iter().collect();
        assert!(components.keys().eq(case.components.keys()), "{what}: {components:?}");
        for (name, value) in &components {
            assert!((value - case.components[name]).abs() < error, "{what}: {name} {value}");
        }
    }
}

/// The value with whole numbers as floats: `5` and `5.0` are one number in Python's JSON too.
fn numbers_as_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), numbers_as_floats(value))).collect()
        }
        other => other.clone(),
    }
}

#[test]
fn losses_have_the_golden_values() {
    let outputs = |columns: &[[f32; 9]]| Outputs {
        rows: 3 * columns.len(),
        columns: 3,
        values: columns.concat(),
    };
    let graded = || Labels::Scalars(vec![0.9, 0.2, 0.6]);
    let binary = || Labels::Scalars(vec![1.0, 0.0, 1.0]);
    let teacher = || Labels::Lists(vec![vec![3.0, 1.0], vec![2.0, 1.0], vec![5.0, 0.0]]);
    let of_teacher = || Labels::Lists(N.chunks(3).map(<[f32]>::to_vec).collect());
    for (name, settings, columns, labels, expected) in [
        ("CosineSimilarityLoss", json!({}), &[A, P][..], graded(), 0.221827),
        ("CoSENTLoss", json!({}), &[A, N], graded(), 6.570517),
        ("AnglELoss", json!({}), &[A, N], graded(), 6.710585),
        ("AnglELoss", json!({}), &[A, P, N], Labels::None, 0.000240),
        ("ContrastiveLoss", json!({}), &[A, N], binary(), 0.198348),
        ("OnlineContrastiveLoss", json!({}), &[A, N], binary(), 1.190088),
        ("TripletLoss", json!({}), &[A, P, N], Labels::None, 4.193689),
        (
            "TripletLoss",
            json!({"distance_metric": "cosine", "triplet_margin": 0.5}),
            &[A, P, N],
            Labels::None,
            0.016916,
        ),
        ("MarginMSELoss", json!({}), &[A, P, N], Labels::Scalars(vec![1.0, 0.5, 0.2]), 0.136033),
        ("DistillKLDivLoss", json!({}), &[A, P, N], teacher(), 0.158298),
        ("DistillKLDivLoss", json!({"temperature": 2}), &[A, P, N], teacher(), 0.430757),
        ("EmbedDistillLoss", json!({"distance_metric": "mse"}), &[A, P], of_teacher(), 0.375556),
        ("MSELoss", json!({}), &[A, P], of_teacher(), 0.375556),
        ("EmbedDistillLoss", json!({"distance_metric": "l2"}), &[A, P], of_teacher(), 1.056811),
        ("EmbedDistillLoss", json!({}), &[A, P], of_teacher(), 0.668864),
        ("GlobalOrthogonalRegularizationLoss", json!({}), &[A, P], Labels::None, 0.106488),
        ("MegaBatchMarginLoss", json!({}), &[A, P], Labels::None, 0.276679),
    ] {
        let value = of_loss(name, settings.clone(), &outputs(columns), columns.len(), labels);
        assert!((value - expected).abs() < GOLDEN, "{name} {settings}: {value}, not {expected}");
    }
    let texts = Outputs { rows: 4, columns: 3, values: [&A[..], &P[..3]].concat() };
    for (name, expected) in [
        ("BatchHardTripletLoss", 4.925648),
        ("BatchHardSoftMarginTripletLoss", 0.720861),
        ("BatchSemiHardTripletLoss", 4.874980),
        ("BatchAllTripletLoss", 4.819126),
    ] {
        let labels = Labels::Scalars(vec![0.0, 1.0, 1.0, 0.0]);
        let value = of_loss(name, json!({}), &texts, 1, labels);
        assert!((value - expected).abs() < GOLDEN, "{name}: {value}, not {expected}");
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let goldens = goldens();
    for case in &goldens.cases {
        let scale = case.settings.get("scale").map_or(20.0, |scale| scale.as_f64().unwrap());
        if scale > 3.0 && case.config.get("scale").is_some() {
            // Differences of such scores are inaccurate.
            continue;
        }
        let loss = dual_encoder_loss(&case.loss, &case.settings).unwrap();
        let outputs = goldens.outputs(case);
        let examples =
            Examples { labels: labels(&case.labels), ..numbered(case.rows, case.columns) };
        let plan = loss.plan(&examples, DRAW).unwrap();
        let loss = WithParameters { loss: &*loss, parameters: &case.parameters };
        let value = |outputs: &Outputs| compute(&loss, outputs, case.rows, &plan.targets);
        // These see the scores of all pairs of the batch, which are f32.
        let of_scores = ["Batch", "MegaBatch", "Global"];
        let coarse = of_scores.iter().any(|part| case.loss.starts_with(part));
        // So are the outputs of their linear layer.
        let coarse = coarse || !case.parameters.is_empty();
        let noise = if coarse { 2e-3 } else { 2e-6 };
        assert_finite_differences(&value, &outputs, 300.0, noise);
    }
}

#[test]
fn losses_within_rows_have_the_same_bits_for_any_number_of_threads() {
    use rankforge::Device;
    use rankforge::losses::{Draw, LossBatch, Targets};
    let draw = Draw { seed: 0, step: 0 };
    let loss = dual_encoder_loss("TripletLoss", &Map::new()).unwrap();
    let outputs = Outputs { rows: 450, columns: 7, values: numbers(450 * 7) };
    let of = |threads| {
        let device = Device::cpu(Some(threads)).unwrap();
        let batch = LossBatch {
            outputs: &outputs,
            rows: 150,
            targets: &Targets::None,
            draw,
            layers: &[],
            parameters: &[],
            device: &device,
        };
        let found = loss.compute(&batch);
        let bits: Vec<u32> = found.d_outputs.values.iter().map(|value| value.to_bits()).collect();
        (found.value.to_bits(), bits)
    };
    assert!(of(1) == of(3));
}

#[test]
fn zero_embeddings_have_finite_values_and_no_gradient_through_their_norm() {
    let outputs = Outputs { rows: 6, columns: 4, values: vec![0.0; 24] };
    for (name, columns) in [("CoSENTLoss", 2), ("AnglELoss", 2), ("TripletLoss", 3)] {
        let loss = dual_encoder_loss(name, &Map::new()).unwrap();
        let labels = match columns {
            2 => Labels::Scalars(vec![0.1, 0.2, 0.3]),
            _ => Labels::None,
        };
        let found = on_rows(&*loss, &outputs, columns, labels, &[]);
        assert!(found.value.is_finite(), "{name}");
        assert_eq!(found.d_outputs.values, [0.0; 24], "{name}");
    }
}
