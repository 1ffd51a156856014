//! Compares optimizer steps with a reference implementation in f64.

use crate::batches::{WHOLE, gradients_of, preparer};
use crate::testing::{arguments, bits, labeled_pairs, loss, tiny_bert};
use rankforge::encoder::TextModel;
use rankforge::training::{EpochSampler, Trainer};
use serde_json::json;

/// One step of AdamW with clipping in f64. `settings` has the learning rate and the weight decay of
/// each element. The constants are those of the test below.
fn reference_step(
    step: i32,
    gradients: &[f32],
    settings: &[(f64, f64)],
    parameters: &mut [f64],
    moments: &mut [(f64, f64)],
    max_grad_norm: f64,
) {
    let norm = gradients.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    let clip = (max_grad_norm / (norm + 1e-6)).min(1.0);
    assert!(clip < 1.0, "the gradients are not clipped");
    let gradients = gradients.iter().map(|gradient| f64::from(*gradient) * clip);
    for (((gradient, (rate, decay)), parameter), (first, second)) in
        gradients.zip(settings).zip(parameters).zip(moments)
    {
        *first = 0.9 * *first + 0.1 * gradient;
        *second = 0.999 * *second + 0.001 * gradient * gradient;
        let corrected = *second / (1.0 - 0.999_f64.powi(step));
        *parameter *= 1.0 - rate * decay;
        *parameter -= rate * (*first / (1.0 - 0.9_f64.powi(step))) / (corrected.sqrt() + 1.0);
    }
}

#[test]
fn steps_agree_with_clipped_adamw_with_groups_and_a_schedule() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 4, "learning_rate": 0.5, "weight_decay": 0.1, "max_grad_norm": 0.2,
        "adam_epsilon": 1.0, "warmup_steps": 1, "learning_rate_mapping": {"classifier": 0.25},
        "lr_scheduler_type": "constant_with_warmup",
    });
    let rows = labeled_pairs(30);
    let arguments = arguments(folder.path(), options);
    let mut model = tiny_bert(0.0, 1);
    let loss = loss("BinaryCrossEntropyLoss", json!({}));
    let preparer = preparer(&model, &loss, &rows, &[]);
    let sampler = EpochSampler::new([preparer.dataset()], 4, &arguments).unwrap();
    let batches = sampler.epoch(0).unwrap().batches;
    let mut trainer = Trainer::new(tiny_bert(0.0, 1), arguments, rows, loss.clone());
    trainer.train().unwrap();

    // Learning rate and weight decay of every element, by the name of its checkpoint tensor.
    let settings: Vec<(f64, f64)> = model
        .model()
        .architecture()
        .parameters
        .iter()
        .flat_map(|spec| {
            spec.parts.iter().flat_map(|part| {
                let plain = part.name.contains("bias") || part.name.contains("LayerNorm");
                let rate = if part.name.contains("classifier") { 0.25 } else { 0.5 };
                let setting = (rate, if plain { 0.0 } else { 0.1 });
                vec![setting; part.rows.len() * spec.columns]
            })
        })
        .collect();
    assert_eq!(settings.len(), model.model().parameters().flat().columns());
    let mut parameters: Vec<f64> =
        model.model().parameters().flat().to_vec().into_iter().map(f64::from).collect();
    let mut moments = vec![(0.0, 0.0); parameters.len()];
    for (step, rows) in (1..=4).zip(&batches) {
        let batch = preparer.prepare(rows, step as u64 - 1).unwrap();
        let (_, gradients) = gradients_of(model.model(), &*loss, &batch, WHOLE);
        let warmed: Vec<(f64, f64)> = settings
            .iter()
            .map(|(rate, decay)| (if step == 1 { 0.0 } else { *rate }, *decay))
            .collect();
        reference_step(step, &gradients, &warmed, &mut parameters, &mut moments, 0.2);
        let rounded: Vec<f32> = parameters.iter().map(|value| *value as f32).collect();
        model.model_mut().parameters_mut().flat_mut().write(&rounded);
    }
    let found = trainer.model.model().parameters().flat().to_vec();
    let expected = model.model().parameters().flat().to_vec();
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        // Four steps of about ten roundings each. An epsilon of 1 keeps them from being amplified.
        let tolerance = 50.0 * f32::EPSILON * largest;
        assert!((found - expected).abs() <= tolerance, "{found}, expected {expected}");
    }
    assert!(bits(trainer.model.model()) != bits(tiny_bert(0.0, 1).model()));
}
