//! Models that keep some of their layers.

use crate::common::{expected, fixture, options, pairs, read_json};
use rankforge_encoder::{
    Batch, CrossEncoder, DualEncoder, Input, LoadOptions, TextModel, train_word_piece,
};
use serde_json::json;

/// A classifier of a family with four layers and random parameters.
fn random(family: &str) -> CrossEncoder {
    let text = "the red house is near a green river";
    let tokenizer = train_word_piece(&[text, text], 60).expect("tokenizer");
    let config = json!({
        "model_type": family, "vocab_size": tokenizer.vocab_size(), "initializer_range": 0.2,
        "hidden_size": 24, "dim": 24, "num_attention_heads": 2, "n_heads": 2,
        "intermediate_size": 40, "hidden_dim": 40, "max_position_embeddings": 40,
        "num_hidden_layers": 4, "global_attn_every_n_layers": 2, "local_attention": 2,
    });
    let mut config = config;
    if family == "distilbert" {
        config["n_layers"] = json!(4);
    }
    let options = LoadOptions { num_labels: Some(1), ..options() };
    CrossEncoder::from_config(&config, tokenizer, &options).expect("model")
}

const FAMILIES: [&str; 5] = ["bert", "distilbert", "mpnet", "electra", "modernbert"];

/// Hidden states of a sentence after the embeddings and after each layer.
fn hidden(model: &CrossEncoder) -> Vec<Vec<f32>> {
    let text = Input::single("the green house is near the red river");
    let tokens = model.tokenizer().encode(&[text]).expect("tokens");
    let model = model.model();
    let batch = Batch::new(model.device(), &tokens, &model.architecture().encoder);
    model.hidden_states(&batch).iter().map(|state| state.values.clone()).collect()
}

#[test]
fn the_first_layers_compute_what_they_did() {
    for family in FAMILIES {
        let whole = random(family);
        let mut model = whole.clone();
        model.parts_mut().keep_layers(&[0, 1]).expect("two layers");
        let (found, before) = (hidden(&model), hidden(&whole));
        assert_eq!(found.len(), 3, "{family}");
        assert_eq!(found[..2], before[..2], "{family}");
        // ModernBERT has a norm after its last layer.
        assert_eq!(found[2] == before[2], family != "modernbert", "{family}");
    }
}

#[test]
fn kept_layers_are_saved_under_their_new_numbers() {
    for family in FAMILIES {
        let mut model = random(family);
        let layers: &[usize] = if family == "modernbert" { &[0, 3] } else { &[1, 3] };
        let windows = |model: &CrossEncoder| {
            let blocks = &model.model().architecture().encoder.blocks;
            blocks.iter().map(|block| block.window).collect::<Vec<_>>()
        };
        let all = windows(&model);
        model.parts_mut().keep_layers(layers).expect("two layers");
        assert_eq!(windows(&model), layers.iter().map(|i| all[*i]).collect::<Vec<_>>(), "{family}");
        let folder = tempfile::tempdir().expect("folder");
        model.save(&folder.path().join("model"), None).expect("saved");
        let path = folder.path().join("model");
        let read = CrossEncoder::open_with(&path, &options()).expect("model");
        assert_eq!(windows(&read), windows(&model), "{family}");
        assert_eq!(hidden(&read), hidden(&model), "{family}");
        let config = read_json(&path.join("config.json"));
        let field = if family == "distilbert" { "n_layers" } else { "num_hidden_layers" };
        assert_eq!(config[field], 2, "{family}");
    }
}

#[test]
fn classifiers_and_modules_stay_as_they_are() {
    let expected = expected();
    for name in ["ce_v6", "ce_roberta", "ce_modular", "ce_labels"] {
        let mut model = CrossEncoder::open_with(fixture(name), &options()).expect("model");
        let head = |model: &CrossEncoder| {
            let specs = model.model().architecture().parameters.iter();
            let head = specs.filter(|spec| spec.name.starts_with("head."));
            head.map(|spec| spec.name.clone()).collect::<Vec<_>>()
        };
        let (before, all) = (head(&model), model.predict(&pairs(&expected)).expect("scores"));
        model.parts_mut().keep_layers(&[1]).expect("one layer");
        assert_eq!(head(&model), before, "{name}");
        let scores = model.predict(&pairs(&expected)).expect("scores");
        assert_eq!(scores.columns, all.columns, "{name}");
        assert_ne!(scores.values, all.values, "{name}");
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("model");
        model.save(&path, None).expect("saved");
        let read = CrossEncoder::open_with(&path, &options()).expect("model");
        let again = read.predict(&pairs(&expected)).expect("scores");
        assert_eq!(again.values, scores.values, "{name}");
    }
}

#[test]
fn layers_that_a_model_lacks_are_refused() {
    let refused = |model: &mut dyn TextModel, layers: &[usize], part: &str| {
        let error = model.parts_mut().keep_layers(layers).expect_err("refused").to_string();
        assert!(error.contains(part), "{error}");
    };
    let mut bert = random("bert");
    for layers in [&[][..], &[4], &[1, 0], &[1, 1]] {
        refused(&mut bert, layers, "layers_to_keep: expected ascending numbers of layers from 0");
    }
    refused(&mut random("modernbert"), &[1, 2], "expected layer 0 among them");
    let mut table = DualEncoder::open_with(fixture("static_v6"), &options()).expect("model");
    refused(&mut table, &[0], "a static embedding model has no layers");
    bert.parts_mut().keep_layers(&[0, 1, 2, 3]).expect("all layers");
}
