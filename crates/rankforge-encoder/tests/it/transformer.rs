//! Properties of every model: determinism, independence of the sequences in a batch, reuse of
//! memory, dropout, and the stages of the head.

use crate::fixture::{
    FAMILIES, Goldens, batch, classifier, device, max_difference, outputs, zeros_like,
};
use rankforge_encoder::kernels::ops::{Activation, Pooling};
use rankforge_encoder::kernels::{Indices, ParameterId, Ragged};
use rankforge_encoder::{Architecture, Batch, HeadStage, Mode, Model, Workspace};
use serde_json::json;

const TRAINING: Mode = Mode::Training { seed: 5, step: 3, chunk: 1 };

/// The outputs and all gradients of one training pass, as bits.
fn bits(model: &Model, batch: &Batch, mode: Mode, workspace: &mut Workspace) -> Vec<u32> {
    let outputs = model.forward(batch, mode, true, workspace);
    let mut gradients = zeros_like(model);
    let mut d_outputs = outputs.clone();
    d_outputs.values.fill(1.0);
    model.backward(&d_outputs, batch, mode, workspace, &mut gradients);
    let values = outputs.values.into_iter().chain(gradients.flat().to_vec());
    values.map(f32::to_bits).collect()
}

#[test]
fn a_training_pass_has_the_same_bits_for_any_number_of_threads() {
    for (family, _) in FAMILIES {
        let goldens = Goldens::open(family);
        let run = |threads: usize| {
            let model = classifier(&device(threads), family, &json!({}));
            let batch = batch(&goldens.sequences, &model);
            let mut workspace = Workspace::new(model.device());
            let first = bits(&model, &batch, TRAINING, &mut workspace);
            let second = bits(&model, &batch, TRAINING, &mut workspace);
            assert!(first == second, "{family}: two passes differ");
            first
        };
        assert!(run(1) == run(2), "{family}: passes with one and two threads differ");
    }
}

#[test]
fn a_workspace_that_was_used_for_a_larger_batch_gives_the_same_bits() {
    let (model, goldens) = (classifier(&device(1), "bert", &json!({})), Goldens::open("bert"));
    let (all, one) = (batch(&goldens.sequences, &model), batch(&goldens.sequences[..1], &model));
    let mut used = Workspace::new(model.device());
    model.forward(&all, Mode::Inference, false, &mut used);
    bits(&model, &all, TRAINING, &mut used);
    let capacity = used.capacity_in_bytes();
    let mut new = Workspace::new(model.device());
    let expected = bits(&model, &one, TRAINING, &mut new);
    assert!(expected == bits(&model, &one, TRAINING, &mut used));
    assert_eq!(used.capacity_in_bytes(), capacity, "a smaller batch must need no more memory");
    assert!(new.capacity_in_bytes() < capacity);
}

#[test]
fn inference_needs_less_memory_than_training_and_gives_the_same_outputs() {
    let (model, goldens) = (classifier(&device(1), "bert", &json!({})), Goldens::open("bert"));
    let batch = batch(&goldens.sequences, &model);
    let (mut inference, mut training) =
        (Workspace::new(model.device()), Workspace::new(model.device()));
    let without = model.forward(&batch, Mode::Inference, false, &mut inference);
    let with = model.forward(&batch, Mode::Inference, true, &mut training);
    assert_eq!(without, with);
    assert!(inference.capacity_in_bytes() < training.capacity_in_bytes());
}

#[test]
fn the_sequences_of_a_batch_are_independent() {
    for (family, _) in FAMILIES {
        let (model, goldens) = (classifier(&device(1), family, &json!({})), Goldens::open(family));
        let mut workspace = Workspace::new(model.device());
        let mut logits = |sequences: &[_]| {
            model.forward(&batch(sequences, &model), Mode::Inference, false, &mut workspace)
        };
        let together = logits(&goldens.sequences);
        for (row, sequence) in goldens.sequences.iter().enumerate() {
            let alone = logits(std::slice::from_ref(sequence));
            // In another batch the sequence may be in another row block, so sums may be rounded
            // differently. 1e-5 is 100 epsilons of logits near 1; a dependency on another sequence
            // would change them by 1e-2.
            let difference = max_difference(&alone.values, together.row(row));
            assert!(difference <= 1e-5, "{family}, sequence {row}: off by {difference}");
        }
    }
}

#[test]
fn dropout_is_a_function_of_seed_step_and_part() {
    let (model, goldens) =
        (classifier(&device(1), "roberta", &json!({})), Goldens::open("roberta"));
    let batch = batch(&goldens.sequences, &model);
    let mut workspace = Workspace::new(model.device());
    let mut logits =
        |mode: Mode, keep: bool| model.forward(&batch, mode, keep, &mut workspace).values;
    let expected = logits(TRAINING, true);
    assert_eq!(logits(TRAINING, false), expected, "logits differ without keep");
    for (seed, step, chunk) in [(6, 3, 1), (5, 4, 1), (5, 3, 2)] {
        assert_ne!(logits(Mode::Training { seed, step, chunk }, true), expected);
    }
    assert_ne!(logits(Mode::Inference, true), expected);
}

#[test]
fn a_model_without_blocks_and_with_mean_pooling_averages_embeddings() {
    let mut architecture = Architecture::static_embedding(4, 2, "", "embedding.weight");
    let pool = HeadStage::Pool { modes: vec![Pooling::Mean], skip_prompt: false };
    architecture.push_stage(pool, "");
    let mut model = Model::new(&device(1), architecture, 0);
    let table = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    model.parameters_mut().view_mut(ParameterId(0)).write(&table);
    let batch = Batch {
        ragged: Ragged::new(model.device(), [2, 0, 1]),
        ids: Indices::new(model.device(), &[0, 3, 1]),
        type_ids: None,
        positions: None,
        prompt_tokens: None,
        layers: Vec::new(),
    };
    let mut workspace = Workspace::new(model.device());
    let embeddings = model.forward(&batch, Mode::Inference, true, &mut workspace);
    assert_eq!(embeddings, outputs(3, vec![3.0, 4.0, 0.0, 0.0, 2.0, 3.0]));
    let mut gradients = zeros_like(&model);
    let d_outputs = outputs(3, vec![2.0, 4.0, 9.0, 9.0, 1.0, 1.0]);
    model.backward(&d_outputs, &batch, Mode::Inference, &mut workspace, &mut gradients);
    assert_eq!(gradients.flat().to_vec(), [1.0, 2.0, 1.0, 1.0, 0.0, 0.0, 1.0, 2.0]);
}

#[test]
fn head_stages_compute_their_formulas() {
    let mut architecture = Architecture::static_embedding(2, 2, "", "embedding.weight");
    let modes = vec![Pooling::Cls, Pooling::Max];
    architecture.push_stage(HeadStage::Pool { modes, skip_prompt: true }, "");
    let dense = |inputs, outputs| HeadStage::Dense {
        inputs,
        outputs,
        bias: true,
        activation: Activation::Relu,
        residual: true,
    };
    architecture.push_stage(dense(4, 4), "2_Dense");
    architecture.push_stage(dense(4, 2), "3_Dense");
    architecture.push_stage(HeadStage::Normalize, "");
    let names: Vec<_> = architecture.parameters.iter().map(|spec| spec.name.clone()).collect();
    let expected =
        ["embeddings.word", "head.1.weight", "head.1.bias", "head.2.weight", "head.2.bias"];
    assert_eq!(names[..5], expected);
    assert_eq!(names[5], "head.2.residual.weight");
    let mut model = Model::new(&device(1), architecture, 0);
    let values: [&[f32]; 6] = [
        &[1.0, 2.0, -3.0, 5.0],
        &[1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        &[1.0, 1.0, 0.0, 3.0],
        &[0.0; 8],
        &[1.0, -1.0],
        &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    ];
    for (id, values) in values.iter().enumerate() {
        model.parameters_mut().view_mut(ParameterId(id)).write(values);
    }
    // Pooling without the token of the prompt: first token [1, 2], maximum [1, 5].
    // First dense: relu([1, -2, 5, 0] + [1, 1, 0, 3]) + [1, 2, 1, 5] = [3, 2, 6, 8].
    // Second dense: relu([1, -1]) + [3, 6] = [4, 6].
    // Normalisation: [4, 6] / sqrt(52).
    let batch = Batch {
        ragged: Ragged::new(model.device(), [3]),
        ids: Indices::new(model.device(), &[1, 0, 1]),
        type_ids: None,
        positions: None,
        prompt_tokens: Some(Indices::new(model.device(), &[1])),
        layers: Vec::new(),
    };
    let mut workspace = Workspace::new(model.device());
    let embeddings = model.forward(&batch, Mode::Inference, false, &mut workspace);
    let length = 52_f32.sqrt();
    // The normalisation rounds values below 1 three times.
    let difference = max_difference(&embeddings.values, &[4.0 / length, 6.0 / length]);
    assert!(difference <= 4.0 * f32::EPSILON, "{embeddings:?}");
}

#[test]
fn a_batch_without_sequences_has_no_outputs() {
    for family in ["bert", "modernbert"] {
        let model = classifier(&device(2), family, &json!({}));
        let empty = batch(&[], &model);
        let mut workspace = Workspace::new(model.device());
        let logits = model.forward(&empty, TRAINING, true, &mut workspace);
        assert_eq!((logits.rows, logits.columns, logits.values.len()), (0, 1, 0));
        let mut gradients = zeros_like(&model);
        model.backward(&logits, &empty, TRAINING, &mut workspace, &mut gradients);
        assert!(gradients.flat().to_vec().iter().all(|&gradient| gradient == 0.0));
    }
}

#[test]
#[should_panic(expected = "needs a forward pass with keep")]
fn backward_without_kept_activations_panics() {
    let (model, goldens) = (classifier(&device(1), "bert", &json!({})), Goldens::open("bert"));
    let batch = batch(&goldens.sequences, &model);
    let (mut workspace, mut gradients) = (Workspace::new(model.device()), zeros_like(&model));
    let outputs = model.forward(&batch, Mode::Inference, false, &mut workspace);
    model.backward(&outputs, &batch, Mode::Inference, &mut workspace, &mut gradients);
}
