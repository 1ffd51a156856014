//! Gradients of a batch: in chunks, accumulated over batches, with prompts.

use crate::testing::{
    arguments, assert_same_gradients, device, figures, gradients_of, labelled_pairs, loss, pairs,
    prepared, tiny_bert,
};
use rankforge::encoder::kernels::Arena;
use rankforge::encoder::{Batch, Mode, Outputs, Silent, Tokens, Workspace};
use rankforge::training::{Chunking, Dataset, Preparer, Trainer, loss_without_gradients};
use serde_json::json;

#[test]
fn gradient_caching_gives_the_numbers_of_the_whole_batch_for_every_loss() {
    let model = tiny_bert(0.0, 2);
    let losses = [
        (loss("BinaryCrossEntropyLoss", json!({})), labelled_pairs(9)),
        (loss("MultipleNegativesRankingLoss", json!({"num_negatives": 3})), pairs(6)),
        (loss("CachedMultipleNegativesRankingLoss", json!({"num_negatives": null})), pairs(4)),
    ];
    for (loss, rows) in losses {
        let batch = prepared(&model, &*loss, &rows);
        let (whole, expected) = gradients_of(model.model(), &*loss, &batch, Chunking::default());
        let longest = batch.tokens.iter().map(|tokens| tokens.ids.len()).max().unwrap();
        let chunkings = [(Some(1), None), (Some(4), None), (Some(64), None)];
        let budgets = [(None, Some(1)), (None, Some(2 * longest)), (Some(3), Some(60))];
        for (mini_batch_size, max_tokens) in chunkings.into_iter().chain(budgets) {
            let chunking = Chunking { mini_batch_size, max_tokens };
            let what = format!("{} with {chunking:?}", loss.name());
            let (output, found) = gradients_of(model.model(), &*loss, &batch, chunking);
            let tolerance = 100.0 * f64::from(f32::EPSILON) * whole.value.abs();
            assert!((output.value - whole.value).abs() <= tolerance, "{what}");
            assert_same_gradients(&found, &expected, &what);
            let mut workspace = Workspace::new(&device());
            let without =
                loss_without_gradients(model.model(), &*loss, &batch, &chunking, &mut workspace);
            assert!((without.value - whole.value).abs() <= tolerance, "{what}, evaluated");
        }
    }
}

#[test]
fn chunks_respect_both_limits_and_keep_the_order() {
    let lengths = [5, 5, 5, 30, 2, 2, 2];
    let sequences: Vec<Tokens> = lengths
        .iter()
        .map(|&length| Tokens { ids: vec![0; length], ..Tokens::default() })
        .collect();
    let split =
        |mini_batch_size, max_tokens| Chunking { mini_batch_size, max_tokens }.split(&sequences);
    assert_eq!(split(None, None), vec![0..7; 1]);
    assert_eq!(split(Some(3), None), [0..3, 3..6, 6..7]);
    assert_eq!(split(None, Some(10)), [0..2, 2..3, 3..4, 4..7], "a longer one goes alone");
    assert_eq!(split(Some(2), Some(10)), [0..2, 2..3, 3..4, 4..6, 6..7]);
    assert_eq!(Chunking::default().split(&[]), vec![0..0; 1]);
}

#[test]
fn both_passes_of_gradient_caching_draw_the_same_dropout() {
    let model = tiny_bert(0.3, 2);
    let loss = loss("MultipleNegativesRankingLoss", json!({"num_negatives": 2}));
    let batch = prepared(&model, &*loss, &pairs(5));
    let chunking = Chunking { mini_batch_size: Some(4), max_tokens: None };
    let (output, found) = gradients_of(model.model(), &*loss, &batch, chunking);
    // The same without caching: every chunk keeps its own activations.
    let chunks = chunking.split(&batch.tokens);
    assert!(chunks.len() > 2);
    let model = model.model();
    let mode = |part| Mode::Training { seed: 7, step: 3, part: part as u64 };
    let ragged = |chunk: &std::ops::Range<usize>| {
        Batch::new(model.device(), &batch.tokens[chunk.clone()], &model.architecture().encoder)
    };
    let mut workspaces: Vec<Workspace> = chunks.iter().map(|_| Workspace::new(&device())).collect();
    let mut outputs = Outputs { columns: 1, ..Outputs::default() };
    for (part, chunk) in chunks.iter().enumerate() {
        let more = model.forward(&ragged(chunk), mode(part), true, &mut workspaces[part]);
        outputs.rows += more.rows;
        outputs.values.extend(more.values);
    }
    let expected = loss.compute(&outputs, batch.plan_rows, &batch.labels);
    let mut gradients = Arena::zeros(&device(), model.parameters().layout().clone());
    for (part, chunk) in chunks.iter().enumerate() {
        let values = expected.d_outputs.values[chunk.clone()].to_vec();
        let d_outputs = Outputs { rows: chunk.len(), columns: 1, values };
        let workspace = &mut workspaces[part];
        model.backward(&d_outputs, &ragged(chunk), mode(part), workspace, &mut gradients);
    }
    assert_eq!(output.value.to_bits(), expected.value.to_bits());
    assert!(found == gradients.flat().to_vec(), "the replayed masks differ");
    let (inference, _) =
        (loss_without_gradients(model, &*loss, &batch, &chunking, &mut workspaces[0]), ());
    assert_ne!(inference.value, output.value, "dropout is on in training only");
}

#[test]
fn two_accumulated_batches_of_four_are_one_of_eight() {
    let folder = tempfile::tempdir().unwrap();
    let run = |batch_size: usize, accumulation: usize| {
        // A large epsilon makes the step proportional to the gradient, so that rounding stays small.
        let options = json!({
            "per_device_train_batch_size": batch_size, "gradient_accumulation_steps": accumulation,
            "max_steps": 6, "adam_epsilon": 1.0, "learning_rate": 0.5, "max_grad_norm": 0.0,
            "logging_strategy": "steps", "logging_steps": 1,
        });
        let mut trainer = Trainer::new(
            tiny_bert(0.0, 1),
            arguments(folder.path(), options),
            labelled_pairs(24),
            loss("BinaryCrossEntropyLoss", json!({})),
            &Silent,
        );
        trainer.train().unwrap();
        let losses: Vec<f64> =
            figures(&trainer.state, "loss").into_iter().map(|(_, l)| l).collect();
        (losses, trainer.model.model().parameters().flat().to_vec())
    };
    let (losses, parameters) = run(8, 1);
    let (accumulated_losses, accumulated) = run(4, 2);
    assert_eq!(losses.len(), 6);
    for (left, right) in losses.iter().zip(&accumulated_losses) {
        assert!((left - right).abs() <= 1000.0 * f64::from(f32::EPSILON), "{left} {right}");
    }
    // Six steps of at most 0.5 · gradient, gradients of order 1 with some hundred roundings each.
    assert_same_gradients(&accumulated, &parameters, "parameters");
}

#[test]
fn the_last_group_of_an_epoch_averages_over_what_it_has() {
    // 20 rows, batches of 4, groups of 4: a second step over the fifth batch alone.
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "gradient_accumulation_steps": 4, "max_steps": 2, "learning_rate": 0.0,
        "logging_strategy": "steps", "logging_steps": 1,
    });
    let mut trainer = Trainer::new(
        tiny_bert(0.0, 1),
        arguments(folder.path(), options),
        labelled_pairs(20),
        loss("BinaryCrossEntropyLoss", json!({})),
        &Silent,
    );
    trainer.train().unwrap();
    let rows = labelled_pairs(20);
    let batch = prepared(&trainer.model, &*trainer.loss, &rows);
    let mut workspace = Workspace::new(&device());
    let model = trainer.model.model();
    let whole =
        loss_without_gradients(model, &*trainer.loss, &batch, &Chunking::default(), &mut workspace);
    let logged = figures(&trainer.state, "loss");
    let mean = (4.0 * logged[0].1 + logged[1].1) / 5.0;
    assert!((mean - whole.value).abs() < 1e-6, "{mean} {}", whole.value);
    assert_eq!(trainer.state.epoch, 1.0);
}

#[test]
fn a_prompt_goes_before_the_first_text_of_every_input() {
    let model = tiny_bert(0.0, 1);
    let loss = loss("BinaryCrossEntropyLoss", json!({}));
    let rows = labelled_pairs(3);
    let dataset = Dataset::new(&rows, "test data").unwrap();
    let prepare = |prompt: Option<&str>| {
        let tokenizer = model.tokenizer().clone();
        let prompt = prompt.map(str::to_owned);
        Preparer::new(dataset, &*loss, tokenizer, prompt, 7)
            .unwrap()
            .prepare(&[0, 1, 2], 0)
            .unwrap()
    };
    let (without, with) = (prepare(None), prepare(Some("the bird ")));
    assert_eq!((without.prompt_tokens, with.prompt_tokens), (0, 3), "with the first special token");
    for (without, with) in without.tokens.iter().zip(&with.tokens) {
        assert_eq!(with.ids.len(), without.ids.len() + 2);
        assert_eq!(with.ids[3..], without.ids[1..]);
    }
}
