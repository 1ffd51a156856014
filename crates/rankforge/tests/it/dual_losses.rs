//! Every loss of dual encoders through a model: gradient caching, and short runs.

use crate::batches::{WHOLE, assert_same_gradients, chunks_of, gradients_of, prepared};
use crate::support::message;
use crate::testing::{arguments, bits, labeled_pairs, logged_values, pairs, timeless, tiny_dual};
use rankforge::data::{Rows, Value};
use rankforge::encoder::{DualEncoder, TextModel};
use rankforge::losses::{Loss, WithParameters, dual_encoder_loss};
use rankforge::training::{ResumeFrom, Trainer, TrainingSet};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::Arc;

/// A label for each row.
fn with_labels(rows: Rows, label: impl Fn(usize) -> Value) -> Rows {
    let count = rows.len();
    let mut columns = rows.into_columns();
    columns.retain(|(name, _)| name != "label");
    columns.push(("label".to_owned(), (0..count).map(label).collect()));
    Rows::new(columns).unwrap()
}

/// Anchors, positives, and negatives that are the positives of other rows.
fn triplets(count: usize) -> Rows {
    let mut columns = pairs(count).into_columns();
    let positives: Vec<Value> = columns[1].1.clone();
    let negatives = (0..count).map(|row| positives[(row + count / 2) % count].clone());
    columns.push(("negative".to_owned(), negatives.collect()));
    Rows::new(columns).unwrap()
}

/// The first text column alone.
fn single(rows: Rows) -> Rows {
    let mut columns = rows.into_columns();
    columns.truncate(1);
    Rows::new(columns).unwrap()
}

fn floats(count: usize, row: usize) -> Value {
    let number = |index: usize| Value::Float(((row * count + index) as f64 * 1.3).sin());
    Value::List((0..count).map(number).collect())
}

/// A loss by name and settings, and rows for it.
fn losses() -> Vec<(&'static str, Json, Rows)> {
    let count = 12;
    let graded = |row: usize| Value::Float((row * 5 % 7) as f64 / 6.0);
    let class = |row: usize| Value::Integer((row % 3) as i64);
    let classes = || with_labels(single(pairs(count)), class);
    let per_column = |row: usize| Value::List(vec![floats(16, row), floats(16, row + 99)]);
    vec![
        ("MultipleNegativesRankingLoss", json!({"scale": 5}), triplets(count)),
        ("CoSENTLoss", json!({"scale": 5}), with_labels(pairs(count), graded)),
        ("AnglELoss", json!({"scale": 5}), triplets(count)),
        ("CosineSimilarityLoss", json!({}), with_labels(pairs(count), graded)),
        ("ContrastiveLoss", json!({}), labeled_pairs(count)),
        ("OnlineContrastiveLoss", json!({}), labeled_pairs(count)),
        ("TripletLoss", json!({}), triplets(count)),
        ("BatchAllTripletLoss", json!({}), classes()),
        ("BatchHardTripletLoss", json!({}), classes()),
        ("BatchHardSoftMarginTripletLoss", json!({}), classes()),
        ("BatchSemiHardTripletLoss", json!({"distance_metric": "cosine"}), classes()),
        ("MarginMSELoss", json!({}), with_labels(triplets(count), graded)),
        ("DistillKLDivLoss", json!({}), with_labels(triplets(count), |row| floats(2, row))),
        ("MSELoss", json!({}), with_labels(pairs(count), |row| floats(16, row))),
        ("EmbedDistillLoss", json!({}), with_labels(pairs(count), per_column)),
        ("SoftmaxLoss", json!({"num_labels": 3}), with_labels(pairs(count), class)),
        (
            "EmbedDistillLoss",
            json!({"distance_metric": "mse", "projection_dim": 5}),
            with_labels(pairs(count), |row| floats(5, row)),
        ),
        ("GlobalOrthogonalRegularizationLoss", json!({}), pairs(count)),
        ("MegaBatchMarginLoss", json!({}), pairs(count)),
    ]
}

fn built(name: &str, options: &Json) -> Arc<dyn Loss> {
    dual_encoder_loss(name, options.as_object().unwrap()).unwrap().into()
}

/// The initial values of the loss's own parameters, for the tiny model.
fn own_parameters(loss: &dyn Loss, seed: u64) -> Vec<f32> {
    loss.parameters(16, seed).into_iter().flat_map(|parameter| parameter.values).collect()
}

#[test]
fn gradients_in_chunks_are_those_of_the_whole_batch() {
    for (name, options, rows) in losses() {
        let model = tiny_dual(0.0, 2, true);
        let loss = built(name, &options);
        let batch = prepared(&model, &loss, &rows, &[]);
        let model = model.model();
        let own = own_parameters(&*loss, 3);
        let loss = WithParameters { loss: &*loss, parameters: &own };
        let (whole, expected) = gradients_of(model, &loss, &batch, WHOLE);
        let (in_chunks, found) = gradients_of(model, &loss, &batch, chunks_of(5));
        assert_eq!(whole.d_parameters.len(), own.len(), "{name}");
        assert!((whole.value - in_chunks.value).abs() < 1e-4 * whole.value.abs(), "{name}");
        assert_same_gradients(&found, &expected, name);
    }
}

fn trainer(
    folder: &Path,
    (name, options, rows): &(&str, Json, Rows),
    more: Json,
) -> Trainer<DualEncoder> {
    let mut all = json!({
        "logging_strategy": "steps", "logging_steps": 10, "per_device_train_batch_size": 6,
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut options = options.clone();
    options["mini_batch_size"] = json!(5);
    let loss = built(name, &options);
    Trainer::new(tiny_dual(0.0, 1, false), arguments(folder, all), rows.clone(), loss)
}

#[test]
fn every_loss_trains_with_gradient_caching() {
    let before = bits(tiny_dual(0.0, 1, false).model());
    for parts in losses() {
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = trainer(folder.path(), &parts, json!({"max_steps": 2}));
        let loss = trainer.train().unwrap().training_loss;
        assert!(loss.is_finite() && loss > 0.0, "{}: {loss}", parts.0);
        assert!(bits(trainer.model.model()) != before, "{}", parts.0);
    }
}

#[test]
fn a_run_of_a_loss_with_parameters_resumes_to_the_same_bits() {
    let own = ["SoftmaxLoss", "EmbedDistillLoss"];
    let with_own = losses().into_iter().filter(|(name, options, _)| {
        own.contains(name) && (options["num_labels"].is_u64() || options["projection_dim"].is_u64())
    });
    let mut count = 0;
    for parts in with_own {
        let folder = tempfile::tempdir().unwrap();
        let steps = json!({"max_steps": 3, "save_strategy": "steps", "save_steps": 1});
        let mut whole = trainer(folder.path(), &parts, steps.clone());
        let expected = timeless(&whole.train().unwrap().state);
        let last = tensors_of_losses(&folder.path().join("checkpoint-3"));
        let other = tempfile::tempdir().unwrap();
        let mut resumed = trainer(other.path(), &parts, steps);
        let checkpoint = folder.path().join("checkpoint-2");
        resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
        assert_eq!(timeless(&resumed.train().unwrap().state), expected, "{}", parts.0);
        assert!(bits(resumed.model.model()) == bits(whole.model.model()), "{}", parts.0);
        assert_eq!(tensors_of_losses(&other.path().join("checkpoint-3")), last, "{}", parts.0);
        count += 1;
    }
    assert_eq!(count, 2);
}

#[test]
fn an_embedding_of_other_dimensions_is_refused_with_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let rows = with_labels(pairs(4), |row| floats(if row == 2 { 5 } else { 16 }, row));
    let parts = ("MSELoss", json!({}), rows);
    let trainer = trainer(folder.path(), &parts, json!({"max_steps": 1}));
    assert_eq!(
        message(trainer.check_rows()),
        "training data for MSELoss, row 3, column `label`: expected a list of 16 numbers, as the \
         model has 16 dimensions, or of 32, 16 for each text column, got a list of 5 \
         (projection_dim maps the embeddings to another number of dimensions)"
    );
}

#[test]
fn parameters_of_a_loss_begin_as_those_of_a_linear_layer_of_pytorch() {
    let loss = built("SoftmaxLoss", &json!({"num_labels": 40}));
    let parameters = loss.parameters(16, 3);
    let shapes: Vec<_> = parameters.iter().map(|p| (p.name, p.rows, p.columns)).collect();
    assert_eq!(shapes, [("classifier.weight", 40, 48), ("classifier.bias", 1, 40)]);
    let bound = 48_f32.powf(-0.5);
    for parameter in &parameters {
        assert!(parameter.values.iter().all(|value| value.abs() <= bound));
    }
    // The standard deviation of a uniform distribution is its half width divided by root 3, and
    // that of an estimate from 1,920 values about 1 % of it.
    let weight = &parameters[0].values;
    let variance = weight.iter().map(|x| x * x).sum::<f32>() / weight.len() as f32;
    assert!((variance.sqrt() / (bound / 3_f32.sqrt()) - 1.0).abs() < 0.05, "{variance}");
    assert_eq!(parameters, loss.parameters(16, 3));
    assert_ne!(parameters, loss.parameters(16, 4));
    let projection = built("MSELoss", &json!({"projection_dim": 5})).parameters(16, 1);
    assert_eq!((projection[0].name, projection[1].name), ("projection.weight", "projection.bias"));
    assert!(built("MSELoss", &json!({})).parameters(16, 1).is_empty());
}

/// The tensors of the optimizer file of a checkpoint that belong to losses.
fn tensors_of_losses(checkpoint: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = std::fs::read(checkpoint.join("optimizer.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let of_losses = file.iter().filter(|(name, _)| name.starts_with("loss."));
    let mut found: Vec<_> =
        of_losses.map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec())).collect();
    found.sort();
    found
}

fn softmax_rows() -> Rows {
    with_labels(pairs(12), |row| Value::Integer((row % 3) as i64))
}

#[test]
fn a_classifier_is_trained_with_the_model_and_is_no_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let parts = ("SoftmaxLoss", json!({"num_labels": 3}), softmax_rows());
    let options = json!({
        "max_steps": 60, "save_strategy": "steps", "save_steps": 30, "learning_rate": 1e-2,
        "eval_strategy": "steps", "eval_steps": 60,
    });
    let mut trainer = trainer(folder.path(), &parts, options);
    let eval = TrainingSet::new(parts.2.clone(), built(parts.0, &parts.1));
    trainer.eval_sets = vec![eval];
    let state = trainer.train().unwrap().state;
    let losses = logged_values(&state, "loss");
    let (first, last) = (losses[0].1, losses.last().unwrap().1);
    assert!(last < 0.7 * first, "from {first} to {last}");
    // The evaluation loss is that of the trained classifier, not of one that was drawn anew.
    let evaluated = logged_values(&state, "eval_loss")[0].1;
    assert!(evaluated < 0.7 * first, "{evaluated}");
    let [early, late] =
        [30, 60].map(|step| tensors_of_losses(&folder.path().join(format!("checkpoint-{step}"))));
    let names: Vec<&str> = late.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["loss.classifier.bias", "loss.classifier.weight"]);
    assert!(early[1].1 != late[1].1);
    let saved = folder.path().join("model");
    trainer.save_model(&saved).unwrap();
    let bytes = std::fs::read(saved.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert!(file.names().iter().all(|name| !name.contains("classifier")));
}

#[test]
fn patterns_of_learning_rates_find_the_parameters_of_a_loss() {
    let parts = ("SoftmaxLoss", json!({"num_labels": 3}), softmax_rows());
    let trained = |mapping: Json| {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({
            "max_steps": 3, "save_strategy": "steps", "save_steps": 1,
            "learning_rate_mapping": mapping,
        });
        trainer(folder.path(), &parts, options).train().unwrap();
        let [first, last] =
            [1, 3].map(|step| tensors_of_losses(&folder.path().join(format!("checkpoint-{step}"))));
        let moved = first.iter().zip(&last).map(|(a, b)| a.1 != b.1);
        moved.collect::<Vec<bool>>()
    };
    assert_eq!(trained(json!({})), [true, true]);
    assert_eq!(trained(json!({"classifier": 0.0})), [false, false]);
    assert_eq!(trained(json!({"classifier.bias": 0.0})), [false, true]);
}

#[test]
fn training_sets_with_classifiers_of_their_own_train_each() {
    let folder = tempfile::tempdir().unwrap();
    let parts = ("SoftmaxLoss", json!({"num_labels": 3}), softmax_rows());
    let options = json!({"max_steps": 4, "save_strategy": "steps", "save_steps": 4});
    let mut shared = trainer(folder.path(), &parts, options.clone());
    let first = shared.train_sets[0].clone();
    let named =
        |name: &str, set: &TrainingSet| TrainingSet { name: name.to_owned(), ..set.clone() };
    shared.train_sets = vec![named("a", &first), named("b", &first)];
    shared.train().unwrap();
    let names = |folder: &Path| {
        let tensors = tensors_of_losses(&folder.join("checkpoint-4"));
        tensors.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(folder.path()), ["loss.classifier.bias", "loss.classifier.weight"]);

    let other = tempfile::tempdir().unwrap();
    let mut apart = trainer(other.path(), &parts, options.clone());
    let second = TrainingSet::new(parts.2.clone(), built(parts.0, &parts.1));
    apart.train_sets = vec![named("a", &first), named("b", &second)];
    apart.train().unwrap();
    assert_eq!(
        names(other.path()),
        [
            "loss.a.classifier.bias",
            "loss.a.classifier.weight",
            "loss.b.classifier.bias",
            "loss.b.classifier.weight",
        ]
    );
    let tensors = tensors_of_losses(&other.path().join("checkpoint-4"));
    assert!(tensors[1].1 != tensors[3].1, "both classifiers have the same values");

    let untrained = built(parts.0, &json!({"num_labels": 4}));
    apart.eval_sets = vec![TrainingSet::new(parts.2.clone(), untrained)];
    apart.arguments = arguments(other.path(), json!({"eval_strategy": "steps"}));
    let text = message(apart.train());
    assert!(
        text.contains("loss of the evaluation data: expected a loss with parameters"),
        "{text}"
    );
}

#[test]
fn chunks_of_tokens_hold_no_more_but_for_a_single_text() {
    let model = tiny_dual(0.0, 2, true);
    let options = json!({"mini_batch_num_tokens": 14, "mini_batch_size": 2});
    let loss = built("CachedMultipleNegativesRankingLoss", &options);
    let preparer = crate::batches::preparer(&model, &loss, &pairs(12), &[]);
    let budget = preparer.budget(None);
    assert_eq!((budget.max_sequences, budget.max_tokens), (usize::MAX, 14));
    assert_eq!(preparer.budget(Some(9)).max_tokens, 9);
    let batch = prepared(&model, &loss, &pairs(12), &[]);
    let lengths: Vec<usize> = batch.tokens.iter().map(|tokens| tokens.ids.len()).collect();
    let chunks = budget.split(lengths.iter().copied());
    assert!(chunks.len() > 2 && chunks.iter().any(|chunk| chunk.len() > 1), "{chunks:?}");
    for chunk in chunks {
        let tokens: usize = lengths[chunk.clone()].iter().sum();
        assert!(tokens <= 14 || chunk.len() == 1, "{tokens} tokens in {chunk:?}");
    }
    let (whole, expected) = gradients_of(model.model(), &*loss, &batch, WHOLE);
    let (in_chunks, found) = gradients_of(model.model(), &*loss, &batch, budget);
    assert!((whole.value - in_chunks.value).abs() < 1e-4 * whole.value.abs());
    assert_same_gradients(&found, &expected, "chunks of 14 tokens");
}

#[test]
fn a_classifier_is_trained_on_several_layers() {
    let folder = tempfile::tempdir().unwrap();
    let wrapped = json!({
        "loss": {"name": "SoftmaxLoss", "num_labels": 3}, "n_layers_per_step": -1,
        "kl_temperature": 0.0,
    });
    let parts = ("AdaptiveLayerLoss", wrapped, softmax_rows());
    let options = json!({
        "max_steps": 60, "save_strategy": "steps", "save_steps": 30, "learning_rate": 1e-2,
    });
    let run = |folder: &Path| {
        let options = arguments(folder, options.clone());
        let loss = built(parts.0, &parts.1);
        Trainer::new(tiny_dual(0.0, 1, false), options, parts.2.clone(), loss)
    };
    let mut whole = run(folder.path());
    whole.train().unwrap();
    let tensors =
        [30, 60].map(|step| tensors_of_losses(&folder.path().join(format!("checkpoint-{step}"))));
    assert_eq!(tensors[0].len(), 2);
    assert!(tensors[0].iter().zip(&tensors[1]).all(|(early, late)| early.1 != late.1));
    let other = tempfile::tempdir().unwrap();
    let mut resumed = run(other.path());
    let checkpoint = folder.path().join("checkpoint-30");
    resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
    resumed.train().unwrap();
    assert!(bits(resumed.model.model()) == bits(whole.model.model()));
    assert_eq!(tensors_of_losses(&other.path().join("checkpoint-60")), tensors[1]);
}
