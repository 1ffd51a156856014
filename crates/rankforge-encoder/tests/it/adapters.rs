//! Low-rank adapters: nothing changes at first, gradients, and the weights that are saved.

use crate::fixture::{
    FAMILIES, Goldens, architecture, batch, classifier, device, largest, max_difference, outputs,
};
use crate::gradients::{TRAINING, check_directions, dropout, gradients};
use rankforge_encoder::kernels::ParameterId;
use rankforge_encoder::{
    AdapterOptions, AdapterTarget, Batch, Mode, Model, Outputs, Weights, Workspace,
};
use serde_json::json;

pub(crate) fn options() -> AdapterOptions {
    let targets = vec![
        AdapterTarget::QueryKeyValue,
        AdapterTarget::AttentionOutput,
        AdapterTarget::MlpInput,
        AdapterTarget::MlpOutput,
    ];
    AdapterOptions { rank: 3, alpha: 6.0, targets, seed: 5 }
}

fn forward(model: &Model, batch: &Batch) -> Outputs {
    model.forward(batch, Mode::Inference, false, &mut Workspace::new(model.device()))
}

/// Gives every `up`, which starts at zero, other values.
pub(crate) fn disturb(model: &mut Model) {
    let specs = model.architecture().parameters.clone();
    for (id, spec) in specs.iter().enumerate() {
        if spec.name.ends_with("adapter.up") {
            let values: Vec<f32> =
                (0..spec.rows * spec.columns).map(|index| 0.2 * (index as f32).sin()).collect();
            model.parameters_mut().view_mut(ParameterId(id)).write(&values);
        }
    }
}

#[test]
fn new_adapters_change_no_output_and_freeze_the_rest() {
    for (family, _) in FAMILIES {
        let mut model = classifier(&device(2), family, &json!({}));
        let batch = batch(&Goldens::open(family).sequences, &model);
        let before = forward(&model, &batch);
        model.add_adapters(&options()).expect("a transformer");
        assert_eq!(forward(&model, &batch), before, "{family}");
        let layout = model.trainable_layout();
        let trained = layout.entries().iter().filter(|entry| entry.offset.is_some());
        assert!(trained.clone().all(|entry| entry.name.contains("adapter")), "{family}");
        assert_eq!(trained.count(), 2 * 4 * model.architecture().encoder.blocks.len());
        assert!(model.has_adapters());
    }
}

#[test]
fn adapters_of_every_family_agree_with_finite_differences_under_dropout() {
    for (family, _) in FAMILIES {
        let (mut model, goldens) =
            (classifier(&device(2), family, &dropout()), Goldens::open(family));
        model.add_adapters(&options()).expect("a transformer");
        disturb(&mut model);
        let batch = batch(&goldens.sequences, &model);
        let d_outputs = outputs(3, goldens.get("d_logits").to_vec());
        check_directions(family, model, &batch, TRAINING, &d_outputs);
    }
}

#[test]
fn trained_weights_beside_adapters_agree_with_finite_differences() {
    let (mut model, goldens) = (classifier(&device(2), "bert", &dropout()), Goldens::open("bert"));
    model.add_adapters(&options()).expect("a transformer");
    disturb(&mut model);
    model.set_trainable(|_| true).expect("all of them");
    let batch = batch(&goldens.sequences, &model);
    let d_outputs = outputs(3, goldens.get("d_logits").to_vec());
    check_directions("bert", model, &batch, TRAINING, &d_outputs);
}

#[test]
fn only_the_first_factor_has_no_gradient_at_first() {
    let (mut model, goldens) = (classifier(&device(2), "bert", &json!({})), Goldens::open("bert"));
    model.add_adapters(&options()).expect("a transformer");
    let batch = batch(&goldens.sequences, &model);
    let d_outputs = outputs(3, goldens.get("d_logits").to_vec());
    let gradients = gradients(&model, &batch, Mode::Inference, &d_outputs);
    for (id, spec) in model.architecture().parameters.iter().enumerate() {
        let id = ParameterId(id);
        if gradients.has(id) {
            let zero = largest(&gradients.view(id).to_vec()) == 0.0;
            assert_eq!(zero, model.gradient_starts_at_zero(id), "{}", spec.name);
            assert_eq!(zero, spec.name.ends_with("adapter.down"), "{}", spec.name);
        }
    }
}

#[test]
fn a_saved_model_has_the_adapters_in_its_weights() {
    for (family, num_labels) in FAMILIES {
        let mut model = classifier(&device(2), family, &json!({}));
        let batch = batch(&Goldens::open(family).sequences, &model);
        let without = forward(&model, &batch);
        model.add_adapters(&options()).expect("a transformer");
        disturb(&mut model);
        let with = forward(&model, &batch);
        let difference = max_difference(&with.values, &without.values);
        assert!(difference > 1e-3, "{family}: the adapters change {difference}");

        let folder = tempfile::tempdir().expect("a folder");
        model.save("", &folder.path().join("model.safetensors")).expect("saved");
        let weights = Weights::open(folder.path()).expect("opened");
        let architecture = architecture(family, num_labels, &json!({}));
        let (merged, _) =
            Model::from_weights(&device(2), architecture, 0, &[("", &weights)]).expect("loaded");
        assert!(!merged.has_adapters());
        let found = forward(&merged, &batch);
        // Weights of size 1 are rounded once more, and sums of up to 32 products are in another
        // order, through two blocks.
        let allowed = 256.0 * f32::EPSILON * largest(&with.values).max(1.0);
        let difference = max_difference(&found.values, &with.values);
        assert!(difference <= allowed, "{family}: {difference}, allowed {allowed}");
    }
}

#[test]
fn adapters_that_cannot_be_are_refused() {
    let refused = |model: &mut Model, change: fn(&mut AdapterOptions)| {
        let mut options = options();
        change(&mut options);
        model.add_adapters(&options).unwrap_err().to_string()
    };
    let mut model = classifier(&device(1), "bert", &json!({}));
    let message = refused(&mut model, |options| options.rank = 0);
    assert!(message.contains("rank: expected at least 1, got 0"), "{message}");
    let message = refused(&mut model, |options| options.alpha = f32::NAN);
    assert!(message.contains("alpha"), "{message}");
    let message = refused(&mut model, |options| options.rank = 25);
    let expected = "rank: expected at most 24, the smaller width of the layer blocks.0.qkv, got 25";
    assert!(message.contains(expected), "{message}");
    let message = refused(&mut model, |options| options.rank = usize::MAX);
    assert!(message.contains("rank: expected at most 24"), "{message}");
    let message = refused(&mut model, |options| options.targets.push(AdapterTarget::MlpInput));
    assert!(message.contains("targets: expected each layer at most once"), "{message}");
    let message = refused(&mut model, |options| options.targets.clear());
    assert!(message.contains("at least one layer"), "{message}");
    assert!(!model.has_adapters());
    model.add_adapters(&options()).expect("the first time");
    let message = refused(&mut model, |_| ());
    assert!(message.contains("expected a model without adapters"), "{message}");
}
