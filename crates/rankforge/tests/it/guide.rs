//! Training with a guide model.

use crate::testing::{PROMPTS, arguments, bits, pairs, tiny_dual, tiny_static};
use rankforge::encoder::{DualEncoder, LoadOptions, TextModel};
use rankforge::losses::dual_encoder::{GISTEmbedLoss, GuideModel};
use rankforge::losses::{Loss, dual_encoder_loss};
use rankforge::training::{ResumeFrom, Trainer};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

fn loss(guide: DualEncoder) -> GISTEmbedLoss {
    let guide = GuideModel::new("tiny", Arc::new(guide)).unwrap();
    GISTEmbedLoss { guide, temperature: 0.1, ..GISTEmbedLoss::default() }
}

fn trainer(folder: &Path, loss: impl Loss + 'static) -> Trainer<DualEncoder> {
    let options = json!({
        "max_steps": 4, "save_strategy": "steps", "save_steps": 1, "learning_rate": 1e-2,
        "prompts": {"query": PROMPTS[0], "answer": PROMPTS[1]}, "logging_strategy": "no",
    });
    Trainer::new(tiny_dual(0.1, 1, false), arguments(folder, options), pairs(16), loss)
}

#[test]
fn a_run_with_a_guide_resumes_to_the_same_bits_and_refuses_another_guide() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = trainer(folder.path(), loss(tiny_static(3)));
    whole.train().unwrap();
    let resume = |guide: DualEncoder| {
        let other = tempfile::tempdir().unwrap();
        let mut resumed = trainer(other.path(), loss(guide));
        let checkpoint = folder.path().join("checkpoint-2");
        resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
        resumed.train().map(|_| bits(resumed.model.model()))
    };
    assert!(resume(tiny_static(3)).unwrap() == bits(whole.model.model()));
    let error = resume(tiny_static(4)).unwrap_err().to_string();
    assert!(error.contains("guide_fingerprint"), "{error}");
}

#[test]
fn the_guide_has_a_tokenizer_of_its_own_and_caching_gives_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("guide");
    tiny_static(3).save(&saved, None).unwrap();
    let train = |name: &str, sizes: serde_json::Value| {
        let mut settings = json!({"guide": saved.to_str().unwrap(), "temperature": 0.1});
        settings.as_object_mut().unwrap().extend(sizes.as_object().unwrap().clone());
        let mut loss = dual_encoder_loss(name, settings.as_object().unwrap()).unwrap();
        loss.open(&LoadOptions::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = trainer(folder.path(), loss);
        trainer.model = tiny_dual(0.0, 1, false);
        trainer.train().unwrap().training_loss
    };
    let whole = train("GISTEmbedLoss", json!({}));
    let cached = train("CachedGISTEmbedLoss", json!({"mini_batch_size": 3}));
    assert!((whole - cached).abs() < 1e-3 && whole > 0.1, "{whole} and {cached}");
}
