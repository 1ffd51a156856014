//! Runs with frozen parameters.

use crate::testing::{bits, timeless, trainer};
use rankforge::encoder::kernels::ParameterId;
use rankforge::encoder::{CrossEncoder, Model, TextModel};
use rankforge::training::{ResumeFrom, Trainer};
use safetensors::SafeTensors;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

/// Whether a parameter is trained: those of the head and of the second block are.
fn trained(name: &str) -> bool {
    name.contains("classifier") || name.contains("layer.1.")
}

/// A trainer that saves every second step and trains the parameters selected by [`trained`].
fn frozen(folder: &Path) -> Trainer<CrossEncoder> {
    let options = json!({
        "max_steps": 6, "save_strategy": "steps", "save_steps": 2, "logging_strategy": "steps",
        "logging_steps": 3, "weight_decay": 0.1,
    });
    let mut trainer = trainer(folder, options);
    trainer.model.parts_mut().model.set_trainable(trained).unwrap();
    trainer
}

/// Name and bits of every parameter.
pub(crate) fn parameters(model: &Model) -> Vec<(String, Vec<u32>)> {
    let specs = model.architecture().parameters.iter().enumerate();
    let values = |id: usize| model.parameters().view(ParameterId(id)).to_vec();
    specs
        .map(|(id, spec)| {
            let bits = values(id).into_iter().map(f32::to_bits).collect();
            (spec.parts[0].full_name(), bits)
        })
        .collect()
}

#[test]
fn frozen_parameters_keep_their_bits_and_the_others_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = frozen(folder.path());
    let before = parameters(trainer.model.model());
    trainer.train().unwrap();
    let after = parameters(trainer.model.model());
    let (mut moved, mut kept) = (0, 0);
    for ((name, old), (_, new)) in before.iter().zip(&after) {
        assert_eq!(old != new, trained(name), "{name}");
        if trained(name) { moved += 1 } else { kept += 1 }
    }
    assert!(moved > 5 && kept > 5, "{moved} trained, {kept} frozen");
}

#[test]
fn the_optimizer_file_contains_the_moments_of_trained_parameters_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = frozen(folder.path());
    trainer.train().unwrap();
    let bytes = std::fs::read(folder.path().join("checkpoint-2/optimizer.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let found: BTreeSet<String> = file.names().iter().map(|name| (*name).to_owned()).collect();
    let specs = &trainer.model.model().architecture().parameters;
    let parts = specs.iter().flat_map(|spec| &spec.parts);
    let names = parts.map(|part| part.full_name()).filter(|name| trained(name));
    let expected = names.flat_map(|name| [format!("exp_avg.{name}"), format!("exp_avg_sq.{name}")]);
    assert_eq!(found, expected.collect::<BTreeSet<_>>());
}

#[test]
fn a_run_with_frozen_parameters_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = frozen(folder.path());
    let expected = whole.train().unwrap();
    for step in [2, 4] {
        let other = tempfile::tempdir().unwrap();
        let mut resumed = frozen(other.path());
        let checkpoint = folder.path().join(format!("checkpoint-{step}"));
        resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
        let found = resumed.train().unwrap();
        let equal = bits(resumed.model.model()) == bits(whole.model.model());
        assert!(equal, "from step {step}: the parameters differ");
        assert_eq!(timeless(&found.state), timeless(&expected.state), "from step {step}");
    }
}

#[test]
fn a_checkpoint_with_other_trained_parameters_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = frozen(folder.path());
    run.train().unwrap();
    let trained = run.model.model().trainable_layout();
    let mut all = frozen(folder.path());
    all.model.parts_mut().model.set_trainable(|_| true).unwrap();
    assert_ne!(all.model.model().trainable_layout(), trained);
    all.arguments.resume_from_checkpoint = Some(ResumeFrom::Newest(true));
    let message = all.train().unwrap_err().to_string();
    assert!(message.contains("optimizer.safetensors"), "{message}");
    assert!(message.contains("tensors, got "), "{message}");
}
