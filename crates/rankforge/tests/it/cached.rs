//! Gradient caching by `Cached<L>`, for each loss that supports it.

use crate::batches::{WHOLE, assert_same_gradients, gradients_of, prepared, preparer};
use crate::testing::{PROMPTS, arguments, bits, pairs, timeless, tiny_bert, tiny_dual};
use rankforge::data::{Rows, Value};
use rankforge::encoder::{Batch, BatchBudget, Mode, Model, Outputs, TextModel, Workspace};
use rankforge::losses::{
    Cacheable, Cached, Loss, LossBatch, LossOutput, MultipleNegativesRankingLoss, dual_encoder,
};
use rankforge::training::{GradientCache, PreparedBatch, ResumeFrom, Trainer};
use serde_json::json;
use std::ops::Range;
use std::sync::Arc;

/// Anchors, positives, and negatives that are the positives of other rows.
fn triplets(count: usize) -> Rows {
    let mut columns = pairs(count).into_columns();
    let positives: Vec<Value> = columns[1].1.clone();
    let negatives = (0..count).map(|row| positives[(row + count / 2) % count].clone());
    columns.push(("negative".to_owned(), negatives.collect()));
    Rows::new(columns).unwrap()
}

/// The batch of five triplets for a model.
fn batch_of(model: &dyn TextModel, loss: &Arc<dyn Loss>, prompts: &[&str]) -> PreparedBatch {
    prepared(model, loss, &triplets(5), prompts)
}

/// Loss and gradients of a batch in chunks without gradient caching: the activations of every chunk
/// are kept.
fn without_caching(
    model: &Model,
    loss: &dyn Loss,
    batch: &PreparedBatch,
    chunks: &[Range<usize>],
) -> (LossOutput, Vec<f32>) {
    let (seed, step) = (batch.draw.seed, batch.draw.step);
    let mode = |part: usize| Mode::Training { seed, step, chunk: part as u64 };
    let ragged = |chunk: &Range<usize>| {
        Batch::new(model.device(), &batch.tokens[chunk.clone()], &model.architecture().encoder)
    };
    let mut workspaces = Vec::new();
    let mut outputs = Outputs::default();
    for (part, chunk) in chunks.iter().enumerate() {
        let mut workspace = Workspace::new(model.device());
        outputs.append(model.forward(&ragged(chunk), mode(part), true, &mut workspace));
        workspaces.push(workspace);
    }
    let (targets, device) = (&batch.targets, model.device());
    let rows = batch.plan_rows;
    let output = loss.compute(&LossBatch {
        outputs: &outputs,
        rows,
        targets,
        draw: batch.draw,
        layers: &[],
        parameters: &[],
        device,
    });
    let mut gradients = GradientCache::new(model).gradients;
    for (part, (chunk, workspace)) in chunks.iter().zip(&mut workspaces).enumerate() {
        let d_outputs = output.d_outputs.rows(chunk.clone());
        model.backward(&d_outputs, &ragged(chunk), mode(part), workspace, &mut gradients);
    }
    let gradients = gradients.flat().to_vec();
    (output, gradients)
}

/// The chunks of a batch within a budget.
fn chunks(batch: &PreparedBatch, budget: BatchBudget) -> Vec<Range<usize>> {
    budget.split(batch.tokens.iter().map(|tokens| tokens.ids.len()))
}

/// Compares a loss with gradient caching to the same loss without it.
fn check<L: Cacheable + Clone + 'static>(
    model_of: &dyn Fn(f64) -> Box<dyn TextModel>,
    loss: &L,
    prompts: &[&str],
) {
    let plain: Arc<dyn Loss> = Arc::new(loss.clone());
    for mini_batch_size in [1, 2, 4, 5, 64] {
        let cached: Arc<dyn Loss> = Arc::new(Cached { loss: loss.clone(), mini_batch_size });
        let what = format!("{} in chunks of {mini_batch_size}", cached.name());
        assert_eq!(cached.mini_batch_size(), Some(mini_batch_size));
        for dropout in [0.0, 0.3] {
            let model = model_of(dropout);
            let batch = batch_of(&*model, &cached, prompts);
            let budget = preparer(&*model, &cached, &triplets(5), prompts).budget(None);
            assert_eq!(budget.max_sequences, mini_batch_size);
            let chunks = chunks(&batch, budget);
            assert_eq!(chunks.len(), batch.tokens.len().div_ceil(mini_batch_size), "{what}");

            let (output, found) = gradients_of(model.model(), &*cached, &batch, budget);
            let (expected, kept) = without_caching(model.model(), &*plain, &batch, &chunks);
            assert_eq!(output.value.to_bits(), expected.value.to_bits(), "{what}");
            assert!(found == kept, "{what}: the second pass used other dropout masks");

            let mut cache = GradientCache::new(model.model());
            let evaluated = cache.loss(model.model(), &*cached, &batch, budget).value;
            assert_eq!(
                evaluated != output.value,
                dropout > 0.0,
                "{what}: dropout is active in training only"
            );
            if dropout > 0.0 {
                continue;
            }
            // Without dropout, chunks change only the order of summation.
            let (whole, expected) = gradients_of(model.model(), &*plain, &batch, WHOLE);
            let tolerance = 100.0 * f64::from(f32::EPSILON) * whole.value.abs();
            assert!((output.value - whole.value).abs() <= tolerance, "{what}");
            assert_same_gradients(&found, &expected, &what);
        }
    }
}

#[test]
fn the_ranking_loss_of_cross_encoders_is_the_same_in_chunks() {
    let model = |dropout| -> Box<dyn TextModel> { Box::new(tiny_bert(dropout, 2)) };
    let sampled = MultipleNegativesRankingLoss { num_negatives: Some(2), ..Default::default() };
    check(&model, &sampled, &[]);
    let all = MultipleNegativesRankingLoss { num_negatives: None, ..Default::default() };
    check(&model, &all, &["the ", "the ", "the "]);
}

#[test]
fn the_ranking_loss_of_dual_encoders_is_the_same_in_chunks() {
    let loss = dual_encoder::MultipleNegativesRankingLoss { scale: 5.0, ..Default::default() };
    let model = |dropout| -> Box<dyn TextModel> { Box::new(tiny_dual(dropout, 2, false)) };
    check(&model, &loss, &[]);
    // Some chunks contain sequences of both prompts.
    check(&model, &loss, &[PROMPTS[0], PROMPTS[1], PROMPTS[1]]);
}

#[test]
fn a_token_budget_splits_the_chunks_of_the_loss() {
    let model = tiny_dual(0.0, 2, true);
    let loss: Arc<dyn Loss> = Arc::new(Cached {
        loss: dual_encoder::MultipleNegativesRankingLoss::default(),
        mini_batch_size: 4,
    });
    let batch = batch_of(&model, &loss, &[]);
    let budget = preparer(&model, &loss, &triplets(5), &[]).budget(Some(17));
    assert_eq!(budget, BatchBudget { max_sequences: 4, max_tokens: 17 });
    let chunks = chunks(&batch, budget);
    assert!(chunks.len() > 15_usize.div_ceil(4), "{chunks:?}");
    let (_, found) = gradients_of(model.model(), &*loss, &batch, budget);
    let (_, kept) = without_caching(model.model(), &*loss, &batch, &chunks);
    assert!(found == kept);
}

/// A trainer with gradient caching that saves every step.
fn trainer(folder: &std::path::Path) -> Trainer<rankforge::encoder::DualEncoder> {
    let options = json!({
        "max_steps": 5, "save_strategy": "steps", "save_steps": 1, "logging_strategy": "steps",
        "logging_steps": 2, "max_tokens_per_chunk": 40,
    });
    let loss =
        Cached { loss: dual_encoder::MultipleNegativesRankingLoss::default(), mini_batch_size: 3 };
    Trainer::new(tiny_dual(0.2, 3, true), arguments(folder, options), triplets(14), loss)
}

#[test]
fn a_run_with_gradient_caching_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = trainer(folder.path());
    let expected = timeless(&whole.train().unwrap().state);
    for step in 1..5 {
        let other = tempfile::tempdir().unwrap();
        let mut resumed = trainer(other.path());
        let checkpoint = folder.path().join(format!("checkpoint-{step}"));
        resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
        let found = timeless(&resumed.train().unwrap().state);
        assert!(bits(resumed.model.model()) == bits(whole.model.model()), "from step {step}");
        assert_eq!(found, expected, "from step {step}");
    }
}
