//! Outputs of layers below the last.

use crate::fixture::{Goldens, batch, device, largest, max_difference, outputs};
use crate::gradients::{TRAINING, check_directions, every_head_stage, gradients, prompted};
use rankforge_encoder::kernels::ops::Pooling;
use rankforge_encoder::{
    Architecture, HeadStage, Mode, Model, Outputs, TransformerTask, Workspace,
};
use std::path::Path;

/// A family without a head of its own, with a pooling.
fn pooled(family: &str, modes: Vec<Pooling>) -> Model {
    let (config, task) = (crate::fixture::config(family), TransformerTask::FeatureExtraction);
    let path = Path::new("config.json");
    let mut architecture = Architecture::from_config(&config, path, &task).expect("fixture");
    architecture.push_stage(HeadStage::Pool { modes, skip_prompt: false }, "");
    Model::new(&device(2), architecture, 9)
}

#[test]
fn outputs_of_a_layer_are_the_head_of_its_hidden_states() {
    for family in ["bert", "electra", "modernbert"] {
        for mode in [Pooling::Mean, Pooling::Cls] {
            let model = pooled(family, vec![mode]);
            let sequences = &Goldens::open(family).sequences;
            let plain = batch(sequences, &model);
            let mut workspace = Workspace::new(model.device());
            let last = model.forward(&plain, Mode::Inference, false, &mut workspace);
            let states = model.hidden_states(&plain);
            let blocks = model.architecture().encoder.blocks.len();
            // In any order.
            let layers: Vec<usize> = (0..blocks).map(|layer| (layer + 1) % blocks).collect();
            let wide = plain.with_layers(&layers);
            let found = model.forward(&wide, Mode::Inference, false, &mut workspace);
            let width = last.columns;
            assert_eq!(found.columns, width * (blocks + 1), "{family}");
            let same = max_difference(&found.columns(0..width).values, &last.values);
            assert!(same <= 1e-5, "{family}, {mode:?}: the last layer is off by {same}");
            for (place, layer) in layers.iter().enumerate() {
                let part = found.columns((place + 1) * width..(place + 2) * width);
                let mut first = 0;
                for (sequence, part) in sequences.iter().zip(part.values.chunks(width)) {
                    let tokens = states[*layer].rows(first..first + sequence.ids.len());
                    first += sequence.ids.len();
                    let count = if mode == Pooling::Cls { 1 } else { tokens.rows };
                    for (column, got) in part.iter().enumerate() {
                        let sum: f32 = (0..count).map(|token| tokens.row(token)[column]).sum();
                        let expected = sum / count as f32;
                        assert!((got - expected).abs() < 1e-5, "{family}, layer {layer}");
                    }
                }
            }
        }
    }
}

/// A gradient of the outputs of the last layer and `layers` others.
fn wide(d_outputs: &Outputs, layers: usize) -> Outputs {
    let (rows, columns) = (d_outputs.rows, d_outputs.columns * (layers + 1));
    outputs(rows, (0..rows * columns).map(|index| (index as f32 * 0.7).cos()).collect())
}

#[test]
fn gradients_through_layers_agree_with_finite_differences_under_dropout() {
    let model = Model::new(&device(2), every_head_stage(), 9);
    let (batch, d_outputs) = prompted(&model);
    check_directions("layers", model, &batch.with_layers(&[1, 0]), TRAINING, &wide(&d_outputs, 2));
    for family in ["electra", "modernbert"] {
        let model = pooled(family, vec![Pooling::Cls]);
        let batch = batch_of(family, &model).with_layers(&[1]);
        let width = model.architecture().output_columns();
        let d_outputs = wide(&outputs(3, vec![0.0; 3 * width]), 1);
        check_directions(family, model, &batch, TRAINING, &d_outputs);
    }
}

fn batch_of(family: &str, model: &Model) -> rankforge_encoder::Batch {
    batch(&Goldens::open(family).sequences, model)
}

#[test]
fn frozen_parts_leave_the_gradients_of_the_others_as_they_are() {
    let mut model = Model::new(&device(2), every_head_stage(), 9);
    let (batch, d_outputs) = prompted(&model);
    let (batch, d_outputs) = (batch.with_layers(&[0, 1]), wide(&d_outputs, 2));
    let all = gradients(&model, &batch, TRAINING, &d_outputs);
    // The head alone reads all layers, also those that no gradient has to reach.
    for part in ["linear", "layer.1", "embeddings"] {
        model.set_trainable(|name| name.contains(part)).expect("whole matrices");
        let some = gradients(&model, &batch, TRAINING, &d_outputs);
        let ids = (0..model.architecture().parameters.len())
            .map(rankforge_encoder::kernels::ParameterId)
            .filter(|id| some.has(*id));
        let mut compared = 0;
        for id in ids {
            let (expected, found) = (all.view(id).to_vec(), some.view(id).to_vec());
            assert!(found == expected && largest(&found) > 0.0, "{part}, {id:?}");
            compared += 1;
        }
        assert!(compared > 0, "{part}");
    }
}

#[test]
#[should_panic(expected = "a layer that is not below the last of a model with 2 blocks")]
fn the_last_layer_is_none_of_the_layers_below_it() {
    let model = pooled("bert", vec![Pooling::Mean]);
    let batch = batch_of("bert", &model).with_layers(&[2]);
    model.forward(&batch, Mode::Inference, false, &mut Workspace::new(model.device()));
}
