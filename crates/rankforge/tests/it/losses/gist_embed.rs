//! The ranking loss with a guide, without a model to train.

use super::dual_encoder::{Case, Goldens};
use super::{DRAW, assert_finite_differences, compute, numbers, score_noise};
use crate::support::message;
use rankforge::Device;
use rankforge::encoder::{ModelKind, Outputs};
use rankforge::losses::dual_encoder::{GISTEmbedLoss, GuideModel};
use rankforge::losses::{Loss, LossBatch, Targets, dual_encoder_loss};
use serde_json::{Map, Value, json};

/// Rows divided by their lengths.
fn unit(rows: usize, columns: usize, values: &[f32]) -> Outputs {
    let mut outputs = Outputs { rows, columns, values: values.to_vec() };
    outputs.normalize();
    outputs
}

fn settings(mut of_case: Map<String, Value>) -> Map<String, Value> {
    of_case.insert("guide".to_owned(), json!("some/guide"));
    of_case
}

#[test]
fn values_and_gradients_agree_with_sentence_transformers() {
    let Goldens { rows, width, embeddings, guide_width, guide, cases } = Goldens::open();
    let cases: Vec<Case> = cases.into_iter().filter(|case| case.name == "GISTEmbedLoss").collect();
    assert_eq!(cases.len(), 8);
    for device in [Device::cpu(Some(2)).unwrap(), Device::reference().unwrap()] {
        for case in &cases {
            let texts = case.columns * rows;
            let values = embeddings[..texts * width].to_vec();
            let outputs = &Outputs { rows: texts, columns: width, values };
            let guide = unit(texts, guide_width, &guide[..texts * guide_width]);
            let targets = &Targets::Matrix(guide);
            let batch = LossBatch {
                outputs,
                rows,
                targets,
                draw: DRAW,
                layers: &[],
                parameters: &[],
                device: &device,
            };
            let settings = settings(case.settings.clone());
            let temperature = settings.get("temperature").map_or(0.01, |t| t.as_f64().unwrap());
            for name in ["GISTEmbedLoss", "CachedGISTEmbedLoss"] {
                let loss = dual_encoder_loss(name, &settings).unwrap();
                let what = format!("{name} on {device:?}");
                case.compare(&loss.compute(&batch), 1.0 / temperature, &what);
            }
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences_with_several_negatives() {
    let (rows, columns) = (4, 4);
    let outputs = Outputs { rows: rows * columns, columns: 5, values: numbers(rows * columns * 5) };
    let guide = unit(rows * columns, 3, &numbers(rows * columns * 3));
    let targets = Targets::Matrix(guide);
    let loss = GISTEmbedLoss { temperature: 0.25, ..GISTEmbedLoss::default() };
    let value = |outputs: &Outputs| compute(&loss, outputs, rows, &targets);
    assert_finite_differences(&value, &outputs, 400.0, 2.0 * score_noise(4.0));
}

#[test]
fn what_the_guide_finds_nearer_than_the_positive_is_left_out() {
    // The negative of row 0 is its positive again: a duplicate is as near, and stays.
    let outputs = Outputs { rows: 3, columns: 2, values: vec![1.0, 0.0, 0.6, 0.8, 0.0, 1.0] };
    let of = |negative: [f32; 2]| {
        let guide = unit(3, 2, &[1.0, 0.0, 0.7, 0.3, negative[0], negative[1]]);
        let loss = GISTEmbedLoss {
            temperature: 1.0,
            contrast_anchors: false,
            contrast_positives: false,
            ..GISTEmbedLoss::default()
        };
        compute(&loss, &outputs, 1, &Targets::Matrix(guide))
    };
    let kept = (1.0 + (0.0f64 - 0.6).exp()).ln();
    for (negative, expected) in [([0.7, 0.3], kept), ([0.2, 1.0], kept), ([0.9, 0.3], 0.0)] {
        let found = of(negative);
        assert!((found.value - expected).abs() < 1e-6, "{negative:?}: {}", found.value);
        assert_eq!(found.d_outputs.row(2).iter().any(|d| *d != 0.0), expected > 0.0);
    }
}

#[test]
fn errors_name_the_setting() {
    for (options, expected) in [
        (json!({}), "GISTEmbedLoss.guide: expected the directory of the dual encoder that guides"),
        (json!({"guide": 3}), "GISTEmbedLoss.guide: expected a text in quotes, got 3"),
        (json!({"guide": "g", "temperature": 0}), "GISTEmbedLoss.temperature: expected above 0"),
        (json!({"guide": "g", "margin_strategy": "none"}), "unknown variant `none`"),
        (json!({"guide": "g", "scale": 1}), "unknown field `scale`"),
    ] {
        let text = message(dual_encoder_loss("GISTEmbedLoss", options.as_object().unwrap()));
        assert!(text.contains(expected), "{text}");
    }
    let mut loss = GISTEmbedLoss { guide: GuideModel::at("no/such"), ..Default::default() };
    assert_eq!(
        message(loss.check_model(ModelKind::SentenceTransformer, 8)),
        "GISTEmbedLoss.guide: expected a guide that Loss::open has opened, got no/such"
    );
    let error = loss.open(&Default::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot use GISTEmbedLoss.guide");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("no/such"), "{source}");
}
