//! The ranking loss of dual encoders, and losses on a score matrix.

use super::{DRAW, GOLDEN, assert_finite_differences, compute, numbered, numbers, score_noise};
use rankforge::Device;
use rankforge::encoder::Outputs;
use rankforge::encoder::kernels::ops::Similarity;
use rankforge::losses::dual_encoder::{
    Compared, MultipleNegativesRankingLoss, MultipleNegativesSymmetricRankingLoss, ScoreMatrix,
    over_scores,
};
use rankforge::losses::{Loss, LossBatch, LossOutput, Targets, dual_encoder_loss};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::ops::Range;
use std::path::Path;

const A: [f32; 9] = [1.0, 0.0, 0.5, 0.2, 1.0, 0.0, 0.3, -0.4, 1.0];
const P: [f32; 9] = [0.9, 0.1, 0.4, 0.1, 0.8, 0.3, 0.5, -0.2, 0.7];
const N: [f32; 9] = [0.2, 0.7, 0.1, 0.9, 0.3, 0.2, -0.1, 0.6, 0.4];

#[test]
fn dual_encoder_ranking_has_the_golden_values() {
    let loss = MultipleNegativesRankingLoss::default();
    let pairs = Outputs { rows: 6, columns: 3, values: [A, P].concat() };
    let value = compute(&loss, &pairs, 3, &Targets::None).value;
    assert!((value - 0.022718).abs() < GOLDEN, "{value}");
    let triplets = Outputs { rows: 9, columns: 3, values: [A, P, N].concat() };
    let value = compute(&loss, &triplets, 3, &Targets::None).value;
    assert!((value - 0.545392).abs() < GOLDEN, "{value}");
    for (settings, outputs, expected) in [
        (
            json!({"directions": ["query_to_doc", "doc_to_query"],
                "partition_mode": "per_direction"}),
            &pairs,
            0.041478,
        ),
        (
            json!({"directions":
                ["query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"]}),
            &triplets,
            1.310461,
        ),
        (json!({"hardness_mode": "hard_negatives", "hardness_strength": 5}), &triplets, 0.545504),
    ] {
        let loss = dual_encoder_loss(loss.name(), settings.as_object().unwrap()).unwrap();
        let value = compute(&loss, outputs, 3, &Targets::None).value;
        assert!((value - expected).abs() < GOLDEN, "{settings}: {value}");
    }
    let symmetric = MultipleNegativesSymmetricRankingLoss::default();
    let value = compute(&symmetric, &pairs, 3, &Targets::None).value;
    assert!((value - 0.041478).abs() < GOLDEN, "{value}");
}

#[test]
fn dual_encoder_ranking_orders_texts_by_column_and_accepts_zero_embeddings() {
    let loss = MultipleNegativesRankingLoss::default();
    let examples = numbered(2, 3);
    let plan = loss.plan(&examples, DRAW).unwrap();
    let inputs = plan.inputs.iter().map(|input| (input.first.text, input.second));
    let (texts, seconds): (Vec<&str>, Vec<Option<&str>>) = inputs.unzip();
    assert_eq!(seconds, [None; 6]);
    assert_eq!(texts, ["0:0", "0:1", "1:0", "1:1", "2:0", "2:1"]);
    let mut values = numbers(6 * 4);
    values[8..12].fill(0.0);
    let outputs = Outputs { rows: 6, columns: 4, values };
    let output = compute(&loss, &outputs, plan.rows, &plan.targets);
    assert!(output.value.is_finite());
    assert_eq!(output.d_outputs.row(2), [0.0; 4]);
    assert!(output.d_outputs.values.iter().all(|value| value.abs() < 100.0));
}

#[test]
fn gradients_agree_with_finite_differences() {
    let loss = MultipleNegativesRankingLoss { scale: 5.0, ..Default::default() };
    for columns in [2, 3] {
        let outputs = Outputs { rows: 4 * columns, columns: 11, values: numbers(4 * columns * 11) };
        let value = |outputs: &Outputs| compute(&loss, outputs, 4, &Targets::None);
        // Third derivatives grow with the cube of the scale.
        assert_finite_differences(&value, &outputs, 125.0, score_noise(5.0));
    }
}

/// Computes a loss of the scores of outputs, on a device with `threads` threads.
fn of_scores(
    threads: usize,
    outputs: &Outputs,
    compared: &Compared,
    loss: impl FnOnce(&mut ScoreMatrix<'_>) -> f64,
) -> LossOutput {
    let device = Device::cpu(Some(threads)).unwrap();
    let batch = LossBatch {
        outputs,
        rows: 1,
        targets: &Targets::None,
        draw: DRAW,
        layers: &[],
        parameters: &[],
        device: &device,
    };
    over_scores(&batch, compared, loss)
}

/// Rows `anchors` against rows `candidates`.
fn compared(anchors: Range<usize>, candidates: Range<usize>, similarity: Similarity) -> Compared {
    Compared { anchors, candidates, similarity }
}

/// The ranking loss as a user would write it: the positive of anchor `i` is candidate `i`.
fn ranking(scores: &mut ScoreMatrix<'_>, scale: f64) -> f64 {
    let share = 1.0 / scores.rows() as f64;
    scores.mean_over_rows(|row, scores| {
        let powers: Vec<f64> = scores.iter().map(|s| (scale * f64::from(*s)).exp()).collect();
        let sum: f64 = powers.iter().sum();
        for (index, (score, power)) in scores.iter_mut().zip(&powers).enumerate() {
            let target = f64::from(u8::from(index == row));
            *score = ((power / sum - target) * scale * share) as f32;
        }
        -(powers[row] / sum).ln()
    })
}

/// The golden values, which `fixtures/losses.py` writes.
#[derive(Deserialize)]
pub(super) struct Goldens {
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) embeddings: Vec<f32>,
    pub(super) guide_width: usize,
    pub(super) guide: Vec<f32>,
    pub(super) cases: Vec<Case>,
}

impl Goldens {
    pub(super) fn open() -> Goldens {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ranking.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}

#[derive(Deserialize)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) settings: Map<String, Value>,
    pub(super) columns: usize,
    value: f64,
    gradient: Vec<f64>,
}

impl Case {
    /// Compares a loss with the golden value and gradient. Scores of order 1 have an error of a few
    /// roundings. It is multiplied by the scale in the logits, and by the scale once more in the
    /// gradients.
    #[track_caller]
    pub(super) fn compare(&self, found: &LossOutput, scale: f64, what: &str) {
        let Case { name, settings, value, gradient, .. } = self;
        let error = 8.0 * f64::from(f32::EPSILON) * scale.max(1.0);
        let what = format!("{name} {settings:?}, {} columns, {what}", self.columns);
        let got = found.value;
        assert!((got - value).abs() <= error, "{what}: loss {got}, expected {value}");
        assert_eq!(found.d_outputs.values.len(), gradient.len(), "{what}");
        for (got, expected) in found.d_outputs.values.iter().zip(gradient) {
            let difference = (f64::from(*got) - expected).abs();
            assert!(difference <= error * scale.max(1.0), "{what}: {got}, expected {expected}");
        }
    }
}

#[test]
fn values_and_gradients_agree_with_sentence_transformers() {
    let Goldens { rows, width, embeddings, cases, .. } = Goldens::open();
    let devices = [1, 2].map(|threads| Device::cpu(Some(threads)).unwrap());
    let devices = devices.into_iter().chain([Device::reference().unwrap()]);
    for device in devices {
        for case in cases.iter().filter(|case| case.name != "GISTEmbedLoss") {
            let values = embeddings[..case.columns * rows * width].to_vec();
            let outputs = Outputs { rows: case.columns * rows, columns: width, values };
            let targets = &Targets::None;
            let batch = LossBatch {
                outputs: &outputs,
                rows,
                targets,
                draw: DRAW,
                layers: &[],
                parameters: &[],
                device: &device,
            };
            let loss = dual_encoder_loss(&case.name, &case.settings).unwrap();
            let inner = case.settings.get("loss").and_then(Value::as_object);
            let inner = inner.unwrap_or(&case.settings);
            let number = |name: &str| inner.get(name).and_then(Value::as_f64);
            let strength = number("hardness_strength").unwrap_or(0.0);
            let scale = number("scale").unwrap_or(20.0) + strength;
            case.compare(&loss.compute(&batch), scale, &format!("{device:?}"));
        }
    }
}

#[test]
fn a_loss_of_scores_agrees_with_sentence_transformers() {
    let Goldens { rows, width, embeddings, cases, .. } = Goldens::open();
    let simple = |name: &String| name == "scale" || name == "similarity_fct";
    let is_simple = |case: &Case| {
        case.name == "MultipleNegativesRankingLoss" && case.settings.keys().all(simple)
    };
    let cases: Vec<Case> = cases.into_iter().filter(is_simple).collect();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let values = embeddings[..case.columns * rows * width].to_vec();
        let outputs = Outputs { rows: case.columns * rows, columns: width, values };
        let kind = match case.settings.get("similarity_fct") {
            Some(_) => Similarity::Dot,
            None => Similarity::Cosine,
        };
        let scale = case.settings["scale"].as_f64().unwrap();
        let compared = compared(0..rows, rows..case.columns * rows, kind);
        case.compare(&of_scores(2, &outputs, &compared, |s| ranking(s, scale)), scale, "scores");
    }
}

#[test]
fn gradients_through_scores_agree_with_finite_differences() {
    let outputs = Outputs { rows: 7, columns: 5, values: numbers(35) };
    // Anchors and candidates that are disjoint, overlap, are identical, or leave out some rows.
    for (anchors, candidates) in [(0..3, 3..7), (0..4, 2..7), (0..7, 0..7), (1..3, 4..6)] {
        for (similarity, bend) in [(Similarity::Cosine, 64.0), (Similarity::Dot, 2000.0)] {
            let compared = compared(anchors.clone(), candidates.clone(), similarity);
            let value = |outputs: &Outputs| of_scores(2, outputs, &compared, |s| ranking(s, 0.5));
            // The dot product of five elements of up to 2 is at most 20.
            let size = if similarity == Similarity::Dot { 20.0 } else { 1.0 };
            assert_finite_differences(&value, &outputs, bend, score_noise(0.5 * size));
        }
    }
}

#[test]
fn a_score_matrix_has_anchors_as_rows_and_candidates_as_columns() {
    let values = vec![1.0, 0.0, 0.0, 2.0, 3.0, 4.0, 0.0, 5.0, -1.0, -1.0];
    let outputs = Outputs { rows: 5, columns: 2, values };
    let of = |similarity, expected: [f32; 6], d_outputs: [f32; 10]| {
        let found = of_scores(2, &outputs, &compared(0..2, 2..5, similarity), |scores| {
            assert_eq!((scores.rows(), scores.columns()), (2, 3));
            assert_eq!(scores.values_mut(), expected);
            // The gradient of the score of the first anchor and the second candidate.
            scores.values_mut().copy_from_slice(&[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
            7.5
        });
        assert_eq!(found.value, 7.5);
        assert_eq!(found.d_outputs, Outputs { values: d_outputs.to_vec(), ..outputs.clone() });
        assert!(found.components.is_empty());
    };
    let candidate = [0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
    of(Similarity::Dot, [3.0, 0.0, -1.0, 8.0, 10.0, -2.0], candidate);
    // The anchor and the candidate are orthogonal, so the gradient of the cosine with respect to
    // one is the unit vector of the other, divided by the norm of the first.
    let half = 0.5_f32.sqrt();
    let across = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0];
    of(Similarity::Cosine, [0.6, 0.0, -half, 0.8, 1.0, -half], across);
}

#[test]
fn a_batch_that_is_computed_in_blocks_has_the_loss_of_the_whole() {
    // More scores than are in memory at once.
    let (rows, width) = (3000, 6);
    let outputs = Outputs { rows: 2 * rows, columns: width, values: numbers(2 * rows * width) };
    let scale = 3.0;
    let loss = MultipleNegativesRankingLoss { scale, ..Default::default() };
    let found = compute(&loss, &outputs, rows, &Targets::None);
    let compared = compared(0..rows, rows..2 * rows, Similarity::Cosine);
    let expected = of_scores(2, &outputs, &compared, |scores| ranking(scores, scale));
    assert!((found.value - expected.value).abs() < 1e-5, "{}", found.value);
    for (got, expected) in found.d_outputs.values.iter().zip(&expected.d_outputs.values) {
        assert!((got - expected).abs() < 1e-8, "{got}, expected {expected}");
    }
}

#[test]
fn a_loss_on_scores_has_the_same_bits_for_any_number_of_threads() {
    let outputs = Outputs { rows: 120, columns: 24, values: numbers(120 * 24) };
    let of = |threads| {
        let compared = compared(0..40, 40..120, Similarity::Cosine);
        let found = of_scores(threads, &outputs, &compared, |scores| ranking(scores, 20.0));
        let bits: Vec<u32> = found.d_outputs.values.iter().map(|value| value.to_bits()).collect();
        (found.value.to_bits(), bits)
    };
    assert!(of(1) == of(3));
}

#[test]
#[should_panic(expected = "not of the distance Euclidean")]
fn a_score_matrix_of_distances_panics() {
    let outputs = Outputs { rows: 2, columns: 2, values: numbers(4) };
    of_scores(1, &outputs, &compared(0..1, 1..2, Similarity::Euclidean), |_| 0.0);
}
