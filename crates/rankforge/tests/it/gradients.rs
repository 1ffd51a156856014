//! Gradients: in chunks, accumulated over batches, and their random choices.

use crate::batches::{WHOLE, assert_same_gradients, chunks_of, gradients_of, prepared, preparer};
use crate::testing::{arguments, labeled_pairs, logged_values, loss, pairs, tiny_bert};
use rankforge::encoder::{BatchBudget, TextModel};
use rankforge::training::{GradientCache, SetBatch, Trainer};
use serde_json::json;

#[test]
fn chunks_give_the_loss_and_gradients_of_the_whole_batch() {
    let model = tiny_bert(0.0, 2);
    let losses = [
        (loss("BinaryCrossEntropyLoss", json!({})), labeled_pairs(9)),
        (loss("MultipleNegativesRankingLoss", json!({"num_negatives": 3})), pairs(6)),
        (loss("CachedMultipleNegativesRankingLoss", json!({"num_negatives": null})), pairs(4)),
    ];
    for (loss, rows) in losses {
        let batch = prepared(&model, &loss, &rows, &[]);
        let (whole, expected) = gradients_of(model.model(), &*loss, &batch, WHOLE);
        let longest = batch.tokens.iter().map(|tokens| tokens.ids.len()).max().unwrap();
        let tokens = |max_tokens: usize| BatchBudget { max_tokens, ..WHOLE };
        let both = BatchBudget { max_sequences: 3, max_tokens: 60 };
        let budgets = [1, 4, 64].map(chunks_of).into_iter();
        for budget in budgets.chain([tokens(1), tokens(2 * longest), both]) {
            let what = format!("{} with {budget:?}", loss.name());
            let (output, found) = gradients_of(model.model(), &*loss, &batch, budget);
            let tolerance = 100.0 * f64::from(f32::EPSILON) * whole.value.abs();
            assert!((output.value - whole.value).abs() <= tolerance, "{what}");
            assert_same_gradients(&found, &expected, &what);
            let without =
                GradientCache::new(model.model()).loss(model.model(), &*loss, &batch, budget);
            assert!((without.value - whole.value).abs() <= tolerance, "{what}, evaluated");
        }
    }
}

#[test]
fn two_accumulated_batches_of_four_equal_one_of_eight() {
    let folder = tempfile::tempdir().unwrap();
    let run = |batch_size: usize, accumulation: usize| {
        // With a large epsilon, AdamW's update is nearly proportional to the gradient and does not
        // amplify rounding errors.
        let options = json!({
            "per_device_train_batch_size": batch_size, "gradient_accumulation_steps": accumulation,
            "max_steps": 6, "adam_epsilon": 1.0, "learning_rate": 0.5, "max_grad_norm": 0.0,
            "logging_strategy": "steps", "logging_steps": 1,
        });
        let mut trainer = Trainer::new(
            tiny_bert(0.0, 1),
            arguments(folder.path(), options),
            labeled_pairs(24),
            loss("BinaryCrossEntropyLoss", json!({})),
        );
        let state = trainer.train().unwrap().state;
        let losses: Vec<f64> = logged_values(&state, "loss").into_iter().map(|(_, l)| l).collect();
        (losses, trainer.model.model().parameters().flat().to_vec())
    };
    let (losses, parameters) = run(8, 1);
    let (accumulated_losses, accumulated) = run(4, 2);
    assert_eq!(losses.len(), 6);
    for (left, right) in losses.iter().zip(&accumulated_losses) {
        assert!((left - right).abs() <= 1000.0 * f64::from(f32::EPSILON), "{left} {right}");
    }
    // Six steps of at most 0.5 · gradient, with gradients of order 1 and some hundred roundings
    // each.
    assert_same_gradients(&accumulated, &parameters, "parameters");
}

#[test]
fn the_last_accumulation_of_an_epoch_averages_over_its_batches() {
    // 20 rows in batches of 4, of which 4 are accumulated: the second step has the fifth batch
    // only.
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "gradient_accumulation_steps": 4, "max_steps": 2, "learning_rate": 0.0,
        "logging_strategy": "steps", "logging_steps": 1,
    });
    let loss = loss("BinaryCrossEntropyLoss", json!({}));
    let (rows, arguments) = (labeled_pairs(20), arguments(folder.path(), options));
    let mut trainer = Trainer::new(tiny_bert(0.0, 1), arguments, rows.clone(), loss.clone());
    let state = trainer.train().unwrap().state;
    let batch = prepared(&trainer.model, &loss, &rows, &[]);
    let model = trainer.model.model();
    let whole = GradientCache::new(model).loss(model, &*loss, &batch, WHOLE);
    let logged = logged_values(&state, "loss");
    let mean = (4.0 * logged[0].1 + logged[1].1) / 5.0;
    assert!((mean - whole.value).abs() < 1e-6, "{mean} {}", whole.value);
    assert_eq!(state.epoch, 1.0);
}

#[test]
fn gradients_accumulate_and_a_loss_that_is_not_finite_adds_nothing() {
    let model = tiny_bert(0.0, 2);
    let loss = loss("BinaryCrossEntropyLoss", json!({}));
    let batch = prepared(&model, &loss, &labeled_pairs(5), &[]);
    let mut cache = GradientCache::new(model.model());
    for _ in 0..2 {
        cache.add_gradients(model.model(), &*loss, &batch, WHOLE, 0.5);
    }
    let twice = cache.gradients.flat().to_vec();
    let broken = crate::broken::broken(1..usize::MAX, false);
    let output = cache.add_gradients(model.model(), &*broken, &batch, WHOLE, 1.0);
    assert!(output.value.is_nan());
    assert!(cache.gradients.flat().to_vec() == twice, "something was added");
    let (_, once) = gradients_of(model.model(), &*loss, &batch, WHOLE);
    assert_same_gradients(&twice, &once, "two halves");
}

#[test]
fn random_choices_are_a_function_of_the_step() {
    let model = tiny_bert(0.3, 2);
    let rows = SetBatch { set: 0, rows: (0..6).collect() };
    // The in-batch negatives that the loss samples.
    let ranking = loss("MultipleNegativesRankingLoss", json!({"num_negatives": 2}));
    let sampling = preparer(&model, &ranking, &pairs(6), &[]);
    let tokens = |step| sampling.prepare(&rows, step).unwrap().tokens;
    assert_eq!(tokens(4), tokens(4));
    assert_ne!(tokens(4), tokens(5));
    // The dropout masks.
    let entropy = loss("BinaryCrossEntropyLoss", json!({}));
    let dropping = preparer(&model, &entropy, &labeled_pairs(6), &[]);
    let gradients = |step| {
        let batch = dropping.prepare(&rows, step).unwrap();
        gradients_of(model.model(), &*entropy, &batch, WHOLE).1
    };
    assert!(gradients(4) == gradients(4));
    assert!(gradients(4) != gradients(5));
}
