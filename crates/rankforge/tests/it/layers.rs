//! Losses of several layers of a model.

use crate::batches::{WHOLE, assert_same_gradients, chunks_of, gradients_of, prepared};
use crate::support::message;
use crate::testing::{arguments, bits, device, pairs, tiny_dual, tiny_static};
use rankforge::encoder::kernels::ParameterId;
use rankforge::encoder::kernels::ops::Pooling;
use rankforge::encoder::{
    Architecture, HeadStage, Model, TextModel, Tokens, TransformerTask, Weights,
};
use rankforge::losses::dual_encoder::{AdaptiveLayerLoss, MultipleNegativesRankingLoss};
use rankforge::losses::{Draw, Loss, Targets, dual_encoder_loss};
use rankforge::training::{GradientCache, PreparedBatch, ResumeFrom, Trainer};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// The golden values, which `fixtures/adaptive_layers.py` writes.
#[derive(Deserialize)]
struct Goldens {
    columns: Vec<Vec<Vec<u32>>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    settings: Map<String, Value>,
    value: f64,
    gradients: HashMap<String, [f64; 2]>,
}

/// The BERT of the fixtures with mean pooling.
fn bert() -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/families/bert-base");
    let config = std::fs::read(folder.join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let task = TransformerTask::FeatureExtraction;
    let mut architecture = Architecture::from_config(&config, Path::new("c.json"), &task).unwrap();
    let modes = vec![Pooling::Mean];
    architecture.push_stage(HeadStage::Pool { modes, skip_prompt: false }, "");
    let weights = Weights::open(&folder).unwrap();
    Model::from_weights(&device(), architecture, 0, &[("", &weights)]).unwrap().0
}

#[test]
fn values_and_gradients_agree_with_sentence_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adaptive_layers.json");
    let Goldens { columns, cases } = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let model = bert();
    let tokens = |ids: &Vec<u32>| Tokens {
        type_ids: vec![0; ids.len()],
        ids: ids.clone(),
        ..Tokens::default()
    };
    let batch = PreparedBatch {
        set: 0,
        rows: vec![0, 1, 2],
        tokens: columns.iter().flatten().map(tokens).collect(),
        plan_rows: 3,
        targets: Targets::None,
        draw: Draw { seed: 0, step: 0 },
    };
    for case in cases {
        let loss = dual_encoder_loss(&case.name, &case.settings).unwrap();
        let mut cache = GradientCache::new(&model);
        // Evaluation has no dropout, training has that of the config.
        let value = cache.loss(&model, &loss, &batch, WHOLE).value;
        let what = format!("{} {:?}", case.name, case.settings);
        assert!((value - case.value).abs() < 1e-4, "{what}: {value}, expected {}", case.value);
        let mut without = bert_without_dropout();
        let output = gradients(&mut without, &loss, &batch);
        compare(&without, &output, &case.gradients, &what);
    }
}

/// The same model with dropout off, for gradients.
fn bert_without_dropout() -> Model {
    let model = bert();
    let mut architecture = model.architecture().clone();
    let encoder = &mut architecture.encoder;
    encoder.embedding_dropout = 0.0;
    encoder.attention_dropout = 0.0;
    encoder.attention_output_dropout = 0.0;
    encoder.mlp_dropout = 0.0;
    encoder.mlp_output_dropout = 0.0;
    let mut plain = Model::new(&device(), architecture, 0);
    plain.parameters_mut().flat_mut().write(&model.parameters().flat().to_vec());
    plain
}

fn gradients(model: &mut Model, loss: &dyn Loss, batch: &PreparedBatch) -> GradientCache {
    let mut cache = GradientCache::new(model);
    cache.add_gradients(model, loss, batch, WHOLE, 1.0);
    cache
}

/// Compares the norm of each gradient, and its product with numbers that have no pattern.
fn compare(model: &Model, cache: &GradientCache, expected: &HashMap<String, [f64; 2]>, what: &str) {
    let mut compared = 0;
    for (id, spec) in model.architecture().parameters.iter().enumerate() {
        let gradient = cache.gradients.view(ParameterId(id));
        for part in &spec.parts {
            let name = part.name.trim_start_matches("bert.");
            let Some([norm, product]) = expected.get(name) else { panic!("{what}: {name}") };
            let values = gradient.slice_rows(part.rows.clone()).to_vec();
            let got = values.iter().map(|d| f64::from(*d).powi(2)).sum::<f64>().sqrt();
            let terms = values.iter().enumerate();
            let dot: f64 = terms.map(|(i, d)| f64::from(*d) * (0.7 * i as f64 + 0.1).sin()).sum();
            let error = 1e-3 * norm + 1e-5;
            assert!((got - norm).abs() < error, "{what}, {name}: {got}, expected {norm}");
            assert!((dot - product).abs() < 4.0 * error, "{what}, {name}: {dot}, not {product}");
            compared += 1;
        }
    }
    assert_eq!(compared, expected.len(), "{what}");
}

fn adaptive(settings: Value) -> Arc<dyn Loss> {
    let mut all = json!({"loss": {"name": "MultipleNegativesRankingLoss", "scale": 2.0}});
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    dual_encoder_loss("AdaptiveLayerLoss", all.as_object().unwrap()).unwrap().into()
}

#[test]
fn gradient_caching_gives_the_gradients_of_the_whole_batch() {
    let model = tiny_dual(0.0, 5, true);
    let loss = adaptive(json!({"n_layers_per_step": -1}));
    let batch = prepared(&model, &loss, &pairs(5), &[]);
    let (whole, expected) = gradients_of(model.model(), &*loss, &batch, WHOLE);
    let (cached, found) = gradients_of(model.model(), &*loss, &batch, chunks_of(3));
    assert!((whole.value - cached.value).abs() < 1e-5);
    assert_same_gradients(&found, &expected, "cached");
}

#[test]
fn a_run_with_random_layers_resumes_to_the_same_bits() {
    let train = |folder: &Path, resume: Option<&Path>| {
        let options = json!({
            "max_steps": 4, "save_strategy": "steps", "save_steps": 1, "logging_strategy": "no",
        });
        let settings = json!({
            "matryoshka_dims": [16, 8, 4],
            "loss": {"name": "CachedMultipleNegativesRankingLoss", "mini_batch_size": 3},
        });
        let loss = dual_encoder_loss("Matryoshka2dLoss", settings.as_object().unwrap()).unwrap();
        let mut trainer =
            Trainer::new(tiny_dual(0.1, 1, false), arguments(folder, options), pairs(16), loss);
        trainer.arguments.resume_from_checkpoint =
            resume.map(|path| ResumeFrom::Path(path.to_owned()));
        trainer.train().unwrap();
        bits(trainer.model.model())
    };
    let folder = tempfile::tempdir().unwrap();
    let whole = train(folder.path(), None);
    let other = tempfile::tempdir().unwrap();
    assert!(train(other.path(), Some(&folder.path().join("checkpoint-2"))) == whole);
}

#[test]
fn layers_are_drawn_by_seed_and_step() {
    let loss = AdaptiveLayerLoss::new(MultipleNegativesRankingLoss::default());
    let run = |seed| (0..40).map(|step| loss.layers(Draw { seed, step }, 6)).collect::<Vec<_>>();
    assert!(run(1) == run(1) && run(1) != run(2));
    let drawn: HashSet<usize> = run(1).into_iter().flatten().collect();
    assert_eq!(drawn, (0..6).collect(), "each layer but the last is drawn");
    let draw = Draw { seed: 1, step: 0 };
    assert_eq!(loss.layers(draw, 1), [0]);
    let all = adaptive(json!({"n_layers_per_step": -1}));
    assert_eq!(all.layers(draw, 3), [0, 1, 2]);
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = arguments(folder.path(), json!({"max_steps": 1}));
    let loss = adaptive(json!({}));
    let mut trainer = Trainer::new(tiny_static(1), arguments, pairs(8), loss);
    let error = trainer.train().unwrap_err().to_string();
    assert!(error.contains("as the model has none, instead of AdaptiveLayerLoss"), "{error}");
    let inner = json!({"name": "MultipleNegativesRankingLoss", "scale": 0});
    for (name, settings, expected) in [
        ("AdaptiveLayerLoss", json!({}), "AdaptiveLayerLoss.loss.name: expected the name of"),
        ("AdaptiveLayerLoss", json!({"loss": inner}), "AdaptiveLayerLoss.loss.scale: expected"),
        ("AdaptiveLayerLoss", json!({"layers": 1}), "unknown field `layers`"),
        ("Matryoshka2dLoss", json!({"layers": 1}), "`matryoshka_dims`"),
        (
            "Matryoshka2dLoss",
            json!({"loss": inner, "matryoshka_dims": [8]}),
            "Matryoshka2dLoss.loss.scale: expected a number above 0",
        ),
        (
            "Matryoshka2dLoss",
            json!({"loss": {"name": "MultipleNegativesRankingLoss"}}),
            "Matryoshka2dLoss.matryoshka_dims: expected at least one",
        ),
    ] {
        let text = message(dual_encoder_loss(name, settings.as_object().unwrap()));
        assert!(text.contains(expected), "{text}");
    }
    let mut nested = json!({"loss": {"name": "AdaptiveLayerLoss"}});
    nested["loss"]["loss"] = json!({"name": "MultipleNegativesRankingLoss"});
    let text = message(dual_encoder_loss("AdaptiveLayerLoss", nested.as_object().unwrap()));
    assert!(text.contains("expected a loss of one layer inside"), "{text}");
    for (setting, value) in [("kl_temperature", -1), ("n_layers_per_step", 0)] {
        let mut settings = json!({"loss": {"name": "MultipleNegativesRankingLoss"}});
        settings[setting] = json!(value);
        let text = message(dual_encoder_loss("AdaptiveLayerLoss", settings.as_object().unwrap()));
        assert!(
            text.starts_with(&format!("AdaptiveLayerLoss.{setting}: expected at least")),
            "{text}"
        );
    }
}

/// `auto_find_batch_size` counts with this.
#[test]
fn the_gradients_of_layers_count_among_the_activations() {
    let model = tiny_dual(0.0, 5, true);
    let inner = json!({"name": "MultipleNegativesRankingLoss"});
    let held = |name: &str, settings: Value| {
        let loss: Arc<dyn Loss> =
            dual_encoder_loss(name, settings.as_object().unwrap()).unwrap().into();
        let batch = prepared(&model, &loss, &pairs(16), &[]);
        let tokens: usize = batch.tokens.iter().map(|sequence| sequence.ids.len()).sum();
        let layers = loss.layers(batch.draw, 2).len();
        let mut cache = GradientCache::new(model.model());
        cache.add_gradients(model.model(), &*loss, &batch, WHOLE, 1.0);
        let limit = 4 * tokens * model.model().activations_per_token(false, layers);
        (cache.activations_in_bytes() as f64, limit as f64)
    };
    let (plain, of_plain) = held("MultipleNegativesRankingLoss", json!({}));
    let adaptive = json!({"loss": inner, "n_layers_per_step": -1});
    let (layers, of_layers) = held("AdaptiveLayerLoss", adaptive);
    // Buffers are rounded up.
    let (more, counted) = (layers - plain, of_layers - of_plain);
    assert!(counted <= more && more <= 1.3 * counted, "{more}, of which {counted} are counted");
}
