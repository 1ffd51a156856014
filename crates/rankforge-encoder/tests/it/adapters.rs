//! Low-rank adapters: nothing changes at first, gradients and losses of ten steps as peft's, and
//! the weights that are saved.

use crate::families::binary_cross_entropy;
use crate::fixture::{
    FAMILIES, Goldens, architecture, batch, classifier, device, largest, max_difference, outputs,
};
use crate::gradients::{TRAINING, check_directions, dropout, gradients};
use rankforge_encoder::kernels::ops::{self, AdamW};
use rankforge_encoder::kernels::{Arena, ParameterId};
use rankforge_encoder::{
    Batch, LoraConfig, Mode, Model, Outputs, TargetModules, Weights, Workspace,
};
use safetensors::SafeTensors;
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;

/// Adapters beside every linear layer, with dropout, and a head that is trained as a whole.
pub(crate) fn config() -> LoraConfig {
    LoraConfig {
        r: 3,
        lora_alpha: 6.0,
        lora_dropout: 0.3,
        target_modules: Some(TargetModules::AllLinear),
        modules_to_save: vec!["classifier".to_owned()],
        ..LoraConfig::default()
    }
}

/// Adds adapters whose draws do not matter.
pub(crate) fn adapt(model: &mut Model) {
    model.add_adapter(&config(), 5).expect("a transformer");
}

fn names(names: &[&str]) -> Option<TargetModules> {
    Some(TargetModules::Names(names.iter().map(|name| (*name).to_owned()).collect()))
}

fn forward(model: &Model, batch: &Batch) -> Outputs {
    model.forward(batch, Mode::Inference, false, &mut Workspace::new(model.device()))
}

/// Gives every `lora_B`, which starts at zero, other values.
pub(crate) fn disturb(model: &mut Model) {
    let specs = model.architecture().parameters.clone();
    for (id, spec) in specs.iter().enumerate() {
        if spec.name.contains("lora_B") {
            let values: Vec<f32> =
                (0..spec.rows * spec.columns).map(|index| 0.2 * (index as f32).sin()).collect();
            model.parameters_mut().view_mut(ParameterId(id)).write(&values);
        }
    }
}

#[test]
fn new_adapters_change_no_output_and_freeze_the_rest() {
    for (family, _) in FAMILIES {
        let mut model = classifier(&device(2), family, &json!({}));
        let batch = batch(&Goldens::open(family).sequences, &model);
        let before = forward(&model, &batch);
        adapt(&mut model);
        assert_eq!(forward(&model, &batch), before, "{family}");
        let layout = model.trainable_layout();
        for (entry, spec) in layout.entries().iter().zip(&model.architecture().parameters) {
            let name = spec.parts[0].full_name();
            let trained = name.starts_with("adapter.") || name.contains("classifier");
            assert_eq!(entry.offset.is_some(), trained, "{family}, {name}");
        }
        let lora = model.lora().expect("adapters");
        let Some(TargetModules::Names(targets)) = &lora.target_modules else { panic!("{lora:?}") };
        let per_block = if family == "modernbert" { 4 } else { 6 };
        let in_blocks = targets.iter().filter(|name| name.contains("layer"));
        assert_eq!(in_blocks.count(), per_block * model.architecture().encoder.blocks.len());
        let outside = targets.iter().filter(|name| !name.contains("layer"));
        let outside: Vec<&str> = outside.map(String::as_str).collect();
        let expected: &[&str] = match family {
            "bert" => &["bert.pooler.dense"],
            "electra" => &["electra.embeddings_project"],
            "modernbert" => &["head.dense"],
            // The dense layer of the head is part of the saved `classifier`; DistilBERT's ends so.
            _ => &[],
        };
        assert_eq!(outside, expected, "{family}");
    }
}

#[test]
fn adapters_of_every_family_agree_with_finite_differences_under_dropout() {
    for (family, _) in FAMILIES {
        let (mut model, goldens) =
            (classifier(&device(2), family, &dropout()), Goldens::open(family));
        adapt(&mut model);
        disturb(&mut model);
        let batch = batch(&goldens.sequences, &model);
        let d_outputs = outputs(3, goldens.get("d_logits").to_vec());
        check_directions(family, model, &batch, TRAINING, &d_outputs);
    }
}

#[test]
fn trained_weights_beside_adapters_agree_with_finite_differences() {
    let (mut model, goldens) = (classifier(&device(2), "bert", &dropout()), Goldens::open("bert"));
    adapt(&mut model);
    disturb(&mut model);
    model.set_trainable(|_| true).expect("all of them");
    let batch = batch(&goldens.sequences, &model);
    let d_outputs = outputs(3, goldens.get("d_logits").to_vec());
    check_directions("bert", model, &batch, TRAINING, &d_outputs);
}

#[test]
fn only_the_first_factor_has_no_gradient_at_first() {
    let (mut model, goldens) = (classifier(&device(2), "bert", &json!({})), Goldens::open("bert"));
    adapt(&mut model);
    let batch = batch(&goldens.sequences, &model);
    let d_outputs = outputs(3, goldens.get("d_logits").to_vec());
    let gradients = gradients(&model, &batch, Mode::Inference, &d_outputs);
    for (id, spec) in model.architecture().parameters.iter().enumerate() {
        let id = ParameterId(id);
        if gradients.has(id) {
            let zero = largest(&gradients.view(id).to_vec()) == 0.0;
            assert_eq!(zero, model.gradient_starts_at_zero(id), "{}", spec.name);
            assert_eq!(zero, spec.name.contains("lora_A"), "{}", spec.name);
        }
    }
}

#[test]
fn a_saved_model_has_the_adapters_in_its_weights() {
    for (family, num_labels) in FAMILIES {
        let mut model = classifier(&device(2), family, &json!({}));
        let batch = batch(&Goldens::open(family).sequences, &model);
        let without = forward(&model, &batch);
        adapt(&mut model);
        disturb(&mut model);
        let with = forward(&model, &batch);
        let difference = max_difference(&with.values, &without.values);
        assert!(difference > 1e-3, "{family}: the adapters change {difference}");

        let folder = tempfile::tempdir().expect("a folder");
        model.save("", &folder.path().join("model.safetensors")).expect("saved");
        let weights = Weights::open(folder.path()).expect("opened");
        let architecture = architecture(family, num_labels, &json!({}));
        let (merged, _) =
            Model::from_weights(&device(2), architecture, 0, &[("", &weights)]).expect("loaded");
        assert!(!merged.has_adapters());
        let found = forward(&merged, &batch);
        model.merge_adapter().expect("matrices");
        assert!(!model.has_adapters() && forward(&model, &batch) == found, "{family}");
        // Weights of size 1 are rounded once more, and sums of up to 32 products are in another
        // order, through two blocks.
        let allowed = 256.0 * f32::EPSILON * largest(&with.values).max(1.0);
        let difference = max_difference(&found.values, &with.values);
        assert!(difference <= allowed, "{family}: {difference}, allowed {allowed}");
    }
}

/// A family's classifier with the adapters of peft in the fixture, and its golden values.
fn of_peft(family: &str) -> (Model, HashMap<String, Vec<f32>>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/lora");
    let bytes = std::fs::read(path.join(format!("{family}.safetensors"))).expect("fixture");
    let file = SafeTensors::deserialize(&bytes).expect("fixture");
    let decode = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("f32"));
    let goldens: HashMap<String, Vec<f32>> = file
        .iter()
        .map(|(name, view)| (name.to_owned(), view.data().chunks(4).map(decode).collect()))
        .collect();
    let target_modules = match family {
        "roberta" => names(&["query", "key", "value", "dense"]),
        "xlm-roberta" => Some(TargetModules::Pattern(r".*\.(key|intermediate\.dense)".to_owned())),
        "distilbert" => names(&["q_lin", "v_lin", "out_lin", "lin1", "lin2"]),
        "mpnet" => names(&["q", "v", "o"]),
        _ => Some(TargetModules::AllLinear),
    };
    let lora_alpha = match family {
        "bert" => 6.0,
        "roberta" => 3.0,
        _ => 8.0,
    };
    let use_rslora = family == "xlm-roberta";
    let config =
        LoraConfig { lora_dropout: 0.0, lora_alpha, target_modules, use_rslora, ..config() };
    let mut model = classifier(&device(2), family, &json!({}));
    model.add_adapter(&config, 1).expect("a transformer");
    let layout = model.trainable_layout();
    let specs = model.architecture().parameters.clone();
    let mut read = 0;
    for (id, spec) in specs.iter().enumerate().filter(|(id, _)| layout.has(ParameterId(*id))) {
        let values = &goldens[&format!("base_model.model.{}", spec.parts[0].name)];
        model.parameters_mut().view_mut(ParameterId(id)).write(values);
        read += 1;
    }
    let stored = goldens.keys().filter(|name| name.starts_with("base_model.")).count();
    assert_eq!(read, stored, "{family}: trained tensors");
    (model, goldens)
}

#[test]
fn outputs_and_gradients_of_every_family_equal_those_of_peft() {
    for (family, num_labels) in FAMILIES {
        let (model, goldens) = of_peft(family);
        let batch = batch(&Goldens::open(family).sequences, &model);
        let logits = forward(&model, &batch);
        // As the families' own logits and gradients: some hundred sums of up to 40 terms.
        let allowed = 1e-4 * largest(&goldens["logits"]).max(1.0);
        let difference = max_difference(&logits.values, &goldens["logits"]);
        assert!(difference <= allowed, "{family}: logits differ by {difference}");
        let d_logits = outputs(3, goldens["d_logits"].clone());
        assert_eq!(d_logits.columns, num_labels);
        let gradients = gradients(&model, &batch, Mode::Inference, &d_logits);
        for (id, spec) in model.architecture().parameters.iter().enumerate() {
            let id = ParameterId(id);
            if gradients.has(id) {
                let name = format!("gradients.base_model.model.{}", spec.parts[0].name);
                let (found, expected) = (gradients.view(id).to_vec(), &goldens[&name]);
                let difference = max_difference(&found, expected);
                let allowed = 1e-4 * largest(expected).max(1.0);
                assert!(difference <= allowed, "{family}, {name}: off by {difference}");
            }
        }
    }
}

#[test]
fn the_losses_of_ten_adamw_steps_equal_those_of_peft() {
    for (family, _) in FAMILIES {
        let (mut model, goldens) = of_peft(family);
        let known = Goldens::open(family);
        let batch = batch(&known.sequences, &model);
        let mut workspace = Workspace::new(model.device());
        let zeros = |model: &Model| Arena::zeros(model.device(), model.trainable_layout());
        let (mut first, mut second) = (zeros(&model), zeros(&model));
        for (index, &expected) in goldens["losses"].iter().enumerate() {
            let mut gradients = zeros(&model);
            let logits = model.forward(&batch, Mode::Inference, true, &mut workspace);
            let (loss, d_logits) = binary_cross_entropy(&logits, known.get("labels"));
            assert!(
                (loss - expected).abs() <= 1e-5,
                "{family}, step {index}: got a loss of {loss}, expected {expected}"
            );
            model.backward(&d_logits, &batch, Mode::Inference, &mut workspace, &mut gradients);
            let config = AdamW {
                learning_rate: 1e-3,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                weight_decay: 0.01,
                step: index as u64 + 1,
                gradient_scale: 1.0,
            };
            let layout = model.trainable_layout();
            let ids = (0..layout.entries().len()).map(ParameterId);
            for id in ids.filter(|id| layout.has(*id)) {
                let parameters = model.parameters_mut().view_mut(id);
                let moments = (first.view_mut(id), second.view_mut(id));
                ops::adamw(&config, gradients.view_mut(id), parameters, moments.0, moments.1);
            }
        }
    }
}

#[test]
fn adapters_that_cannot_be_are_refused() {
    type Change = fn(&mut LoraConfig);
    let mut model = classifier(&device(1), "bert", &json!({}));
    let cases: [(Change, &str); 9] = [
        (|config| config.r = 0, "r: expected at least 1, got 0"),
        (|config| config.lora_alpha = f64::NAN, "lora_alpha: expected a finite number, got NaN"),
        (|config| config.lora_dropout = 1.0, "lora_dropout: expected a number in [0, 1), got 1"),
        (
            |config| config.r = 25,
            "r: expected at most 24, the smaller width of bert.encoder.layer.0",
        ),
        (|config| config.r = usize::MAX, "r: expected at most 24"),
        (
            |config| config.target_modules = names(&["qury"]),
            "target_modules: expected names of linear layers of the model (query, key, value, \
             dense, classifier), got \"qury\"",
        ),
        (
            |config| config.target_modules = names(&["classifier"]),
            "target_modules: expected modules such as query, key, value, dense, classifier, got \
             none that is not saved as a whole",
        ),
        (
            |config| config.target_modules = Some(TargetModules::Pattern("(".to_owned())),
            "target_modules: expected a regular expression",
        ),
        (
            |config| config.modules_to_save.push("head".to_owned()),
            "modules_to_save: expected ends of paths of modules of the model, got \"head\"",
        ),
    ];
    for (change, expected) in cases {
        let mut config = config();
        change(&mut config);
        let message = model.add_adapter(&config, 5).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
    }
    let mut queries = config();
    queries.modules_to_save.push("query".to_owned());
    let message = model.add_adapter(&queries, 5).expect_err("part of a matrix").to_string();
    assert!(message.contains("expected all or none of"), "{message}");
    assert!(!model.has_adapters());
    adapt(&mut model);
    let message = model.add_adapter(&config(), 5).expect_err("a second one").to_string();
    assert!(message.contains("expected a model without adapters"), "{message}");
}

#[test]
fn defaults_are_those_of_peft_where_it_has_some() {
    let config = LoraConfig { target_modules: None, ..config() };
    for (family, _) in FAMILIES {
        let mut model = classifier(&device(1), family, &json!({}));
        match (model.add_adapter(&config, 5), family) {
            (Ok(()), "bert" | "roberta" | "xlm-roberta" | "electra") => {
                let lora = model.lora().expect("adapters");
                let Some(TargetModules::Names(names)) = &lora.target_modules else { panic!() };
                assert_eq!(names.len(), 4, "{family}: queries and values of two blocks");
                let is_known = |name: &String| name.ends_with("query") || name.ends_with("value");
                assert!(names.iter().all(is_known), "{names:?}");
            }
            (Err(error), "distilbert" | "mpnet" | "modernbert") => {
                let expected = format!("as peft has no default for {family}");
                assert!(error.to_string().contains(&expected), "{error}");
            }
            (other, _) => panic!("{family}: {other:?}"),
        }
    }
}
