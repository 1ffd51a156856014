//! Frozen parameters: no memory for their gradients, and the same gradients for the others.

use crate::fixture::{
    FAMILIES, Goldens, batch, classifier, device, largest, max_difference, outputs,
};
use crate::gradients::{TRAINING, dropout, gradients};
use rankforge_encoder::Model;
use rankforge_encoder::kernels::{Arena, ParameterId};

/// The gradients of a family's classifier, with all parameters trained and with those of the given
/// names.
fn both(family: &str, trained: impl Fn(&str) -> bool) -> (Model, Arena, Arena) {
    let (mut model, goldens) = (classifier(&device(2), family, &dropout()), Goldens::open(family));
    let batch = batch(&goldens.sequences, &model);
    let d_outputs = outputs(3, goldens.get("d_logits").to_vec());
    let all = gradients(&model, &batch, TRAINING, &d_outputs);
    model.set_trainable(trained).expect("whole matrices");
    let some = gradients(&model, &batch, TRAINING, &d_outputs);
    (model, all, some)
}

/// Names and ids of the parameters.
fn named(model: &Model) -> impl Iterator<Item = (String, ParameterId)> {
    let specs = model.architecture().parameters.iter().enumerate();
    specs.map(|(id, spec)| (spec.parts[0].full_name(), ParameterId(id)))
}

#[test]
fn the_gradients_of_trained_parameters_do_not_depend_on_frozen_ones() {
    for (family, _) in FAMILIES {
        let weights = |name: &str| !name.contains("embeddings") && !name.ends_with(".bias");
        let head = |name: &str| name.contains("classifier");
        let lowest = |name: &str| name.contains("embeddings");
        for (what, trained) in
            [("weights", &weights as &dyn Fn(&str) -> bool), ("head", &head), ("lowest", &lowest)]
        {
            let (model, all, some) = both(family, trained);
            assert!(some.layout().len() < all.layout().len(), "{family}, {what}");
            let mut compared = 0;
            for (name, id) in named(&model) {
                assert_eq!(some.has(id), trained(&name), "{family}, {what}, {name}");
                if some.has(id) {
                    let (expected, found) = (all.view(id).to_vec(), some.view(id).to_vec());
                    assert!(found == expected, "{family}, {what}, {name}");
                    assert!(largest(&found) > 0.0, "{family}, {what}, {name}: no gradient");
                    compared += 1;
                }
            }
            assert!(compared > 0, "{family}, {what}: nothing was trained");
        }
    }
}

#[test]
fn biases_can_be_trained_alone() {
    for (family, _) in FAMILIES {
        let (model, all, some) = both(family, |name| name.ends_with(".bias"));
        for (name, id) in named(&model).filter(|(_, id)| some.has(*id)) {
            let (expected, found) = (all.view(id).to_vec(), some.view(id).to_vec());
            // The sums over the tokens have another order.
            let allowed = 64.0 * f32::EPSILON * largest(&expected).max(1.0);
            assert!(max_difference(&found, &expected) <= allowed, "{family}, {name}");
        }
    }
}

#[test]
fn part_of_a_fused_matrix_cannot_be_frozen() {
    let mut model = classifier(&device(1), "bert", &dropout());
    let before = model.trainable_layout();
    let error = model.set_trainable(|name| name.contains("attention.self.query")).unwrap_err();
    let message = error.to_string();
    let expected = "expected all or none of bert.encoder.layer.0.attention.self.query.weight, \
                    bert.encoder.layer.0.attention.self.key.weight";
    assert!(message.contains(expected), "{message}");
    let error = model.set_trainable(|_| false).unwrap_err();
    assert!(error.to_string().contains("expected at least one, got none"), "{error}");
    assert_eq!(model.trainable_layout(), before);
}
