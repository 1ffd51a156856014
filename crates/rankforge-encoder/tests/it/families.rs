//! Compares every family with transformers: config fields, hidden states, logits, gradients and
//! loss curves.

use crate::fixture::{
    FAMILIES, Goldens, architecture, batch, classifier, config, device, folder, largest,
    max_difference, outputs, zeros_like,
};
use rankforge_encoder::kernels::ops::{self, Activation, AdamW, Pooling};
use rankforge_encoder::kernels::{Arena, ParameterId};
use rankforge_encoder::{
    Architecture, EncoderError, HeadStage, Mlp, Mode, Model, Outputs, Positions, TransformerTask,
    Weights, Workspace,
};
use serde_json::{Value, json};
use std::path::Path;

/// Tolerance of hidden states and logits. Rounding errors of these tiny models are near 1e-6; a
/// wrong epsilon, offset or window changes the values by 1e-2 and more.
const FORWARD: f32 = 1e-4;

#[test]
fn hidden_states_equal_those_of_transformers() {
    for (family, _) in FAMILIES {
        let (model, goldens) = (classifier(&device(2), family, &json!({})), Goldens::open(family));
        let batch = batch(&goldens.sequences, &model);
        let states = model.hidden_states(&batch);
        assert_eq!(states.len(), model.architecture().encoder.blocks.len() + 1);
        for (index, state) in states.iter().enumerate() {
            let expected = goldens.get(&format!("hidden.{index}"));
            let difference = max_difference(&state.values, expected);
            assert!(difference <= FORWARD, "{family}, hidden state {index}: off by {difference}");
        }
    }
}

#[test]
fn logits_equal_those_of_transformers() {
    for (family, num_labels) in FAMILIES {
        let (model, goldens) = (classifier(&device(2), family, &json!({})), Goldens::open(family));
        let batch = batch(&goldens.sequences, &model);
        let mut workspace = Workspace::new(model.device());
        for keep in [false, true] {
            let logits = model.forward(&batch, Mode::Inference, keep, &mut workspace);
            assert_eq!((logits.rows, logits.columns), (3, num_labels));
            let difference = max_difference(&logits.values, goldens.get("logits"));
            assert!(difference <= FORWARD, "{family}, keep {keep}: off by {difference}");
        }
    }
}

#[test]
fn all_gradients_equal_those_of_pytorch() {
    for (family, _) in FAMILIES {
        let (model, goldens) = (classifier(&device(2), family, &json!({})), Goldens::open(family));
        let batch = batch(&goldens.sequences, &model);
        let (mut workspace, mut gradients) = (Workspace::new(model.device()), zeros_like(&model));
        model.forward(&batch, Mode::Inference, true, &mut workspace);
        let d_outputs = outputs(3, goldens.get("d_logits").to_vec());
        model.backward(&d_outputs, &batch, Mode::Inference, &mut workspace, &mut gradients);
        for (id, spec) in model.architecture().parameters.iter().enumerate() {
            let expected: Vec<f32> = spec
                .parts
                .iter()
                .flat_map(|part| goldens.get(&format!("gradients.{}", part.name)).to_vec())
                .collect();
            let found = gradients.view(ParameterId(id)).to_vec();
            // Relative to the largest gradient of the matrix: terms of a single element may cancel,
            // which leaves little but rounding errors.
            let (difference, scale) = (max_difference(&found, &expected), largest(&expected));
            assert!(
                difference <= 1e-3 * scale,
                "{family}, {}: off by {difference} of {scale}",
                spec.name
            );
        }
    }
}

#[test]
fn the_losses_of_ten_adamw_steps_equal_those_of_pytorch() {
    for (family, _) in FAMILIES {
        let goldens = Goldens::open(family);
        let mut model = classifier(&device(2), family, &json!({}));
        let batch = batch(&goldens.sequences, &model);
        let mut workspace = Workspace::new(model.device());
        let (mut first_moment, mut second_moment) = (zeros_like(&model), zeros_like(&model));
        for (index, &expected) in goldens.get("losses").iter().enumerate() {
            let mut gradients = zeros_like(&model);
            let logits = model.forward(&batch, Mode::Inference, true, &mut workspace);
            let (loss, d_logits) = binary_cross_entropy(&logits, goldens.get("labels"));
            assert!(
                (loss - expected).abs() <= 1e-4,
                "{family}, step {index}: got a loss of {loss}, expected {expected}"
            );
            model.backward(&d_logits, &batch, Mode::Inference, &mut workspace, &mut gradients);
            let step = index as u64 + 1;
            adamw_step(step, &mut gradients, &mut model, &mut first_moment, &mut second_moment);
        }
    }
}

/// The mean over all logits of `softplus(x) - x y`, and its gradient.
pub(crate) fn binary_cross_entropy(logits: &Outputs, labels: &[f32]) -> (f32, Outputs) {
    let count = labels.len() as f32;
    let pairs = || logits.values.iter().zip(labels);
    let loss = pairs().map(|(x, y)| x.max(0.0) - x * y + (-x.abs()).exp().ln_1p()).sum::<f32>();
    let d_logits = pairs().map(|(x, y)| (1.0 / (1.0 + (-x).exp()) - y) / count);
    (loss / count, outputs(logits.rows, d_logits.collect()))
}

/// One step with PyTorch's defaults and a learning rate of 1e-3.
fn adamw_step(
    step: u64,
    gradients: &mut Arena,
    model: &mut Model,
    first: &mut Arena,
    second: &mut Arena,
) {
    let config = AdamW {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
        step,
        gradient_scale: 1.0,
    };
    let parameters = model.parameters_mut().flat_mut();
    ops::adamw(&config, gradients.flat_mut(), parameters, first.flat_mut(), second.flat_mut());
}

#[test]
fn a_bert_checkpoint_without_head_gives_the_same_hidden_states() {
    let task = TransformerTask::FeatureExtraction;
    let path = Path::new("config.json");
    let architecture = Architecture::from_config(&config("bert-base"), path, &task).expect("valid");
    let weights = Weights::open(&folder("bert-base")).expect("fixture");
    let mut model = Model::new(&device(1), architecture, 0);
    let report = model.load("", &weights).expect("loads");
    assert!(report.missing.is_empty(), "{report:?}");
    assert_eq!(report.unused, ["pooler.dense.bias", "pooler.dense.weight"]);
    let goldens = Goldens::open("bert");
    let batch = batch(&goldens.sequences, &model);
    for (index, state) in model.hidden_states(&batch).iter().enumerate() {
        let difference = max_difference(&state.values, goldens.get(&format!("hidden.{index}")));
        assert!(difference <= FORWARD, "hidden state {index}: off by {difference}");
    }
}

#[test]
fn both_generations_of_modernbert_configs_give_the_same_architecture() {
    let text = std::fs::read(folder("modernbert").join("config_v4.json")).expect("fixture");
    let old: Value = serde_json::from_slice(&text).expect("fixture");
    let task = TransformerTask::SequenceClassification { num_labels: 1 };
    let old = Architecture::from_config(&old, Path::new("config.json"), &task).expect("valid");
    assert_eq!(old, architecture("modernbert", 1, &json!({})));
    let windows: Vec<_> = old.encoder.blocks.iter().map(|block| block.window).collect();
    assert_eq!(windows, [None, Some(4), None]);
    let norms: Vec<_> = old.encoder.blocks.iter().map(|block| block.attention_norm).collect();
    assert_eq!(norms, [false, true, true]);
}

fn read(config: &Value, task: &TransformerTask) -> Result<Architecture, EncoderError> {
    Architecture::from_config(config, Path::new("some/config.json"), task)
}

#[test]
fn absent_fields_have_the_defaults_of_transformers() {
    let task = TransformerTask::SequenceClassification { num_labels: 2 };
    let default =
        |model_type: &str| read(&json!({ "model_type": model_type }), &task).expect("defaults");
    let parameters = |architecture: &Architecture| -> usize {
        architecture.parameters.iter().map(|spec| spec.rows * spec.columns).sum()
    };
    // Parameters of `AutoModelForSequenceClassification.from_config` with the family's default
    // config.
    for (model_type, count) in [
        ("bert", 109_483_778),
        ("roberta", 124_646_402),
        ("xlm-roberta", 109_483_778),
        ("distilbert", 66_955_010),
        ("mpnet", 109_486_466),
        ("electra", 13_549_314),
        ("modernbert", 149_606_402),
    ] {
        assert_eq!(parameters(&default(model_type)), count, "{model_type}");
    }
    assert_eq!(default("bert").encoder.max_positions, 512);
    assert_eq!(default("roberta").encoder.positions, Positions::Learned { rows: 512, offset: 2 });
    assert_eq!(default("roberta").encoder.max_positions, 510);
    assert_eq!(default("mpnet").encoder.max_positions, 510);
    assert_eq!(default("modernbert").encoder.max_positions, 8192);
    assert_eq!(default("modernbert").encoder.blocks[1].window, Some(64));
    assert_eq!(default("modernbert").encoder.blocks[1].rotary_theta, Some(10_000.0));
    assert_eq!(default("modernbert").encoder.blocks[3].window, None);
    assert_eq!(default("modernbert").encoder.blocks[3].rotary_theta, Some(160_000.0));
}

#[test]
fn dropout_of_the_classification_head_follows_the_family() {
    let dropouts = |fields: Value| -> Vec<f32> {
        let task = TransformerTask::SequenceClassification { num_labels: 1 };
        let stages = read(&fields, &task).expect("valid").head;
        let probability = |stage: &HeadStage| match stage {
            HeadStage::Dropout(probability) => Some(*probability),
            _ => None,
        };
        stages.iter().filter_map(probability).collect()
    };
    let config = |model_type: &str, classifier_dropout: Value| {
        json!({
            "model_type": model_type,
            "hidden_dropout_prob": 0.3,
            "classifier_dropout": classifier_dropout,
        })
    };
    assert_eq!(dropouts(config("bert", Value::Null)), [0.3]);
    assert_eq!(dropouts(config("bert", json!(0.5))), [0.5]);
    assert_eq!(dropouts(config("bert", json!(0))), [0.0]);
    assert_eq!(dropouts(config("electra", Value::Null)), [0.3, 0.3]);
    assert_eq!(dropouts(config("roberta", json!(0.5))), [0.5, 0.5]);
    assert_eq!(dropouts(config("mpnet", json!(0.5))), [0.3, 0.3]);
    assert_eq!(dropouts(config("modernbert", json!(0.5))), [0.5]);
    assert_eq!(dropouts(json!({ "model_type": "modernbert" })), [0.0]);
    assert_eq!(dropouts(json!({ "model_type": "distilbert" })), [0.2]);
    assert_eq!(dropouts(json!({ "model_type": "distilbert", "seq_classif_dropout": 0.4 })), [0.4]);
}

#[test]
fn activations_and_pooling_modes_have_the_names_of_transformers() {
    let activation = |name: &str| {
        read(
            &json!({ "model_type": "bert", "hidden_act": name }),
            &TransformerTask::FeatureExtraction,
        )
        .map(|architecture| architecture.encoder.mlp)
    };
    for (name, expected) in [
        ("gelu", Activation::Gelu),
        ("gelu_new", Activation::GeluTanh),
        ("gelu_pytorch_tanh", Activation::GeluTanh),
        ("relu", Activation::Relu),
        ("silu", Activation::Silu),
        ("swish", Activation::Silu),
        ("linear", Activation::Identity),
    ] {
        assert_eq!(activation(name).expect("known"), Mlp::Plain(expected), "{name}");
    }
    let task = TransformerTask::SequenceClassification { num_labels: 1 };
    for (name, expected) in [("cls", Pooling::Cls), ("mean", Pooling::Mean)] {
        let config = json!({ "model_type": "modernbert", "classifier_pooling": name });
        let head = read(&config, &task).expect("known").head;
        assert_eq!(head[0], HeadStage::Pool { modes: vec![expected], skip_prompt: false });
    }
}

#[test]
fn errors_about_a_config_name_file_and_field() {
    let cases = [
        (json!({}), "model_type", "nothing"),
        (json!({ "model_type": "gpt2" }), "model_type", "modernbert"),
        (json!({ "model_type": "bert", "hidden_size": "big" }), "hidden_size", "\"big\""),
        (json!({ "model_type": "bert", "hidden_size": 0 }), "hidden_size", "got 0"),
        (json!({ "model_type": "bert", "hidden_size": 1_u64 << 31 }), "hidden_size", "2^24"),
        (
            json!({ "model_type": "bert", "num_hidden_layers": 1_u64 << 31 }),
            "num_hidden_layers",
            "1024",
        ),
        (json!({ "model_type": "distilbert", "n_layers": 1_u64 << 31 }), "n_layers", "1024"),
        (
            json!({ "model_type": "modernbert", "num_hidden_layers": 1_u64 << 31 }),
            "num_hidden_layers",
            "1024",
        ),
        (
            json!({ "model_type": "modernbert", "max_position_embeddings": 1_u64 << 31 }),
            "max_position_embeddings",
            "2^20",
        ),
        (json!({ "model_type": "bert", "vocab_size": -1 }), "vocab_size", "got -1"),
        (json!({ "model_type": "bert", "vocab_size": null }), "vocab_size", "got null"),
        (
            json!({ "model_type": "modernbert", "classifier_bias": null, "norm_bias": null }),
            "norm_bias",
            "got null",
        ),
        (
            json!({ "model_type": "bert", "quantization_config": { "quant_method": "gptq" } }),
            "quantization_config",
            "gptq",
        ),
        (json!({ "model_type": "bert", "num_hidden_layers": 1.5 }), "num_hidden_layers", "got 1.5"),
        (json!({ "model_type": "bert", "num_attention_heads": 7 }), "num_attention_heads", "768"),
        (json!({ "model_type": "bert", "hidden_dropout_prob": 1.0 }), "hidden_dropout_prob", "1.0"),
        (json!({ "model_type": "bert", "layer_norm_eps": -1e-5 }), "layer_norm_eps", ">= 0"),
        (json!({ "model_type": "bert", "hidden_act": "mish" }), "hidden_act", "\"mish\""),
        (json!({ "model_type": "bert", "is_decoder": true }), "is_decoder", "got true"),
        (
            json!({ "model_type": "bert", "position_embedding_type": "relative_key" }),
            "position_embedding_type",
            "relative_key",
        ),
        (
            json!({ "model_type": "roberta", "max_position_embeddings": 2 }),
            "max_position_embeddings",
            "more than 2",
        ),
        (
            json!({ "model_type": "mpnet", "relative_attention_num_buckets": 16 }),
            "relative_attention_num_buckets",
            "got 16",
        ),
        (
            json!({ "model_type": "distilbert", "sinusoidal_pos_embds": true }),
            "sinusoidal_pos_embds",
            "true",
        ),
        (
            json!({ "model_type": "modernbert", "layer_types": ["full_attention"] }),
            "layer_types",
            "22",
        ),
        (
            json!({ "model_type": "modernbert", "rope_parameters": {
                "full_attention": { "rope_type": "yarn", "rope_theta": 1.0 } } }),
            "rope_parameters.full_attention",
            "yarn",
        ),
        (
            json!({ "model_type": "modernbert", "rope_scaling": { "factor": 2 } }),
            "rope_scaling",
            "null",
        ),
        (
            json!({ "model_type": "modernbert", "local_rope_theta": null }),
            "local_rope_theta",
            "null",
        ),
        (
            json!({ "model_type": "modernbert", "initializer_cutoff_factor": 1e-50 }),
            "initializer_cutoff_factor",
            "at least 0.1",
        ),
        (
            json!({ "model_type": "modernbert", "hidden_activation": "relu" }),
            "hidden_activation",
            "relu",
        ),
        (
            json!({ "model_type": "modernbert", "num_attention_heads": 256 }),
            "num_attention_heads",
            "even",
        ),
    ];
    for (config, field, fragment) in cases {
        let message = match read(&config, &TransformerTask::FeatureExtraction) {
            Ok(_) => panic!("expected an error for {config}, got Ok"),
            Err(error) => error.to_string(),
        };
        for part in ["some/config.json", &format!("`{field}`"), fragment] {
            assert!(message.contains(part), "expected {part:?} in: {message}");
        }
    }
    for num_labels in [0, 1 << 40, usize::MAX] {
        let labels = TransformerTask::SequenceClassification { num_labels };
        assert!(read(&json!({ "model_type": "bert" }), &labels).is_err(), "{num_labels}");
    }
    assert!(read(&json!([1]), &TransformerTask::FeatureExtraction).is_err());
}

/// As transformers 5.23 reads configs of these fields.
#[test]
fn fields_are_read_under_all_their_names() {
    let encoder =
        |config: Value| read(&config, &TransformerTask::FeatureExtraction).expect("valid").encoder;
    // The names that all families have win over those of the family.
    let config = encoder(json!({ "model_type": "distilbert", "dim": 768, "hidden_size": 24,
        "n_layers": 6, "num_hidden_layers": 2, "n_heads": 12, "num_attention_heads": 3 }));
    assert_eq!((config.hidden_size, config.blocks.len(), config.heads), (24, 2, 3));
    let config = encoder(json!({ "model_type": "distilbert", "dim": 48, "n_layers": 3 }));
    assert_eq!((config.hidden_size, config.blocks.len()), (48, 3));

    let local = |fields: Value| {
        let mut config = json!({ "model_type": "modernbert", "num_hidden_layers": 2 });
        config.as_object_mut().expect("object").extend(fields.as_object().expect("object").clone());
        let block = encoder(config).blocks[1];
        (block.window.expect("a window"), block.rotary_theta.expect("rotary"))
    };
    assert_eq!(local(json!({})), (64, 10_000.0));
    assert_eq!(local(json!({ "local_attention": 9, "sliding_window": 7 })), (7, 10_000.0));
    assert_eq!(local(json!({ "rope_scaling": { "rope_type": "default" } })), (64, 10_000.0));
    // The old fields of the rotary base are read only where the new one is missing.
    let new = json!({ "sliding_attention": { "rope_theta": 50 } });
    assert_eq!(local(json!({ "local_rope_theta": null, "rope_parameters": new })), (64, 50.0));
    assert_eq!(local(json!({ "local_rope_theta": 7, "rope_parameters": {} })), (64, 7.0));
}
