//! Checkpoints and configs that do not have the same tensors: what a model lacks is never random
//! without a word.

use crate::common::{Copy, Recorder, bits, fixture, options, recorded};
use rankforge_encoder::{CrossEncoder, DualEncoder, EncoderError, TextModel};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// The error of opening a directory, by name a cross-encoder (`ce_...`) or a dual encoder.
#[track_caller]
fn error(name: &str, path: &Path) -> EncoderError {
    match name.starts_with("ce_") {
        true => CrossEncoder::open_with(path, &options()).err(),
        false => DualEncoder::open_with(path, &options()).err(),
    }
    .expect("an error")
}

#[track_caller]
fn assert_parts(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

/// The parameters of a directory, as bits.
fn parameters(name: &str, path: &Path) -> Vec<u32> {
    match name.starts_with("ce_") {
        true => bits(CrossEncoder::open_with(path, &options()).expect("model").model()),
        false => bits(DualEncoder::open_with(path, &options()).expect("model").model()),
    }
}

#[test]
fn layers_that_the_checkpoint_lacks_are_refused_by_name() {
    for (name, prefix) in [("ce_plain", "bert."), ("ce_modular", ""), ("st_v6", ""), ("base", "")] {
        let copy = Copy::of(name);
        copy.set("config.json", "num_hidden_layers", json!(5));
        let error = error(name, copy.path());
        // 5 tensors of the embeddings, and 16 of each layer.
        let parts = [
            "model.safetensors: 48 of the 85 tensors of the transformer are missing: ",
            &format!("{prefix}encoder.layer.2.attention.self.query.weight, "),
            " and 40 more",
        ];
        assert_parts(&error.to_string(), &parts);
        assert_parts(&error.hint().expect("a hint"), &["its config"]);
    }
}

#[test]
fn a_single_tensor_of_the_transformer_that_is_missing_is_refused() {
    let copy = Copy::of("st_v6");
    let name = "embeddings.token_type_embeddings.weight";
    copy.change_tensors("", |list| list.retain(|(tensor, ..)| tensor != name));
    let error = error("st_v6", copy.path());
    assert_parts(&error.to_string(), &["1 of the 37 tensors of the transformer", name]);
    assert_parts(&error.to_string(), &["is missing: "]);
    // The pooler, which this model does not use, has nothing to do with it.
    let hint = error.hint().expect("a hint");
    assert_eq!(hint, "the checkpoint is incomplete, or its config describes a larger model");
    for other in ["embeddings.segment_embeddings.weight".to_owned(), format!("model.{name}")] {
        copy.change_tensors("", |list| list.push((other.clone(), vec![1], vec![0.0])));
        let error = self::error("st_v6", copy.path());
        assert_parts(&error.hint().expect("a hint"), &[&other]);
    }
}

#[test]
fn names_under_a_prefix_that_nobody_reads_are_refused() {
    for (name, prefix) in [("ce_plain", "0.auto_model."), ("st_v6", "encoder.model.")] {
        let copy = Copy::of(name);
        copy.rename_tensors("", |tensor| format!("{prefix}{tensor}"));
        let error = error(name, copy.path());
        assert_parts(&error.to_string(), &["37 of the 37 tensors of the transformer"]);
        assert_parts(&error.hint().expect("a hint"), &[prefix, "prefix that should be removed"]);
    }
}

#[test]
fn names_are_read_without_the_parts_of_wrappers() {
    type Rename = fn(&str) -> String;
    let cases: [(&str, &str, Rename); 13] = [
        ("ce_plain", "", |name| format!("_orig_mod.{name}")),
        ("ce_plain", "", |name| format!("module.{name}")),
        ("ce_plain", "", |name| format!("module._orig_mod.{name}")),
        ("ce_plain", "", |name| format!("_orig_mod.module.{name}")),
        ("ce_plain", "", |name| format!("_forward_module._fsdp_wrapped_module.{name}")),
        ("ce_plain", "", |name| name.replace("bert.", "bert._orig_mod.")),
        ("ce_plain", "", |name| name.replace("layer.1.", "layer.1._checkpoint_wrapped_module.")),
        ("ce_plain", "", |name| format!("bert.{name}")),
        ("ce_plain", "", |name| format!("_orig_mod.{}", name.replace("bert.", ""))),
        ("st_v6", "", |name| format!("module.{name}")),
        ("st_v6", "2_Dense", |name| format!("_orig_mod.{name}")),
        ("static_v6", "", |name| format!("_orig_mod.{name}")),
        ("model2vec", "", |name| format!("module.{name}")),
    ];
    for (name, folder, rename) in cases {
        let copy = Copy::of(name);
        copy.rename_tensors(folder, rename);
        let got = parameters(name, copy.path());
        assert_eq!(got, parameters(name, &fixture(name)), "{name} {}", rename("bert.x"));
    }
}

#[test]
fn two_tensors_of_one_name_are_refused() {
    let copy = Copy::of("ce_plain");
    copy.change_tensors("", |list| {
        let (name, shape, values) = list[0].clone();
        list.push((format!("_orig_mod.{name}"), shape, values));
    });
    let message = error("ce_plain", copy.path()).to_string();
    assert_parts(&message, &["expected one tensor bert.", "_orig_mod.bert.", "wrappers"]);
}

#[test]
fn layers_that_the_config_lacks_are_warned_about() {
    for name in ["ce_plain", "base"] {
        let copy = Copy::of(name);
        copy.set("config.json", "num_hidden_layers", json!(1));
        let recorder = Arc::new(Recorder::default());
        match name {
            "base" => drop(DualEncoder::open_with(copy.path(), &recorded(&recorder))),
            _ => drop(CrossEncoder::open_with(copy.path(), &recorded(&recorder))),
        }
        let parts = ["warning", "config does not describe", "encoder.layer.1.", "and 8 more"];
        assert_eq!(recorder.count(&parts), 1, "{:?}", recorder.lines());
        // The pooler of a dual encoder is no part of the transformer.
        let count = recorder.count(&["message", "not used", "pooler.dense.weight"]);
        assert_eq!(count, usize::from(name == "base"), "{:?}", recorder.lines());
    }
}

#[test]
fn a_classification_head_is_new_as_a_whole_or_complete() {
    let cases: [(&str, &[&str]); 3] = [
        ("pooler", &["2 of the 4", "bert.pooler.dense.weight, bert.pooler.dense.bias"]),
        ("classifier.bias", &["1 of the 4", "missing: classifier.bias"]),
        ("pooler.dense.bias", &["1 of the 4", "missing: bert.pooler.dense.bias"]),
    ];
    for (removed, parts) in cases {
        let copy = Copy::of("ce_plain");
        copy.change_tensors("", |list| list.retain(|(name, ..)| !name.contains(removed)));
        let message = error("ce_plain", copy.path()).to_string();
        assert_parts(&message, &["tensors of the classification head ", " missing: "]);
        assert_parts(&message, parts);
    }
    for removed in [["pooler", "classifier"], ["classifier", "classifier"]] {
        let copy = Copy::of("ce_plain");
        let is_kept = |name: &str| !removed.iter().any(|part| name.contains(part));
        copy.change_tensors("", |list| list.retain(|(name, ..)| is_kept(name)));
        let recorder = Arc::new(Recorder::default());
        CrossEncoder::open_with(copy.path(), &recorded(&recorder)).expect("a new head");
        let parts = ["warning", "newly initialised", "classifier.weight, classifier.bias"];
        assert_eq!(recorder.count(&parts), 1, "{:?}", recorder.lines());
    }
}

#[test]
fn the_file_of_a_module_has_the_tensors_of_its_config_and_no_others() {
    for (folder, removed) in [("2_Dense", "linear.bias"), ("3_LayerNorm", "norm.weight")] {
        let copy = Copy::of("ce_modular");
        copy.change_tensors(folder, |list| list.retain(|(name, ..)| name != removed));
        let message = error("ce_modular", copy.path()).to_string();
        let parts = [folder, "1 of the 2 tensors of", "is missing", removed];
        assert_parts(&message, &parts);
    }
    let copy = Copy::of("ce_modular");
    copy.set("2_Dense/config.json", "bias", json!(false));
    let message = error("ce_modular", copy.path()).to_string();
    assert_parts(&message, &["2_Dense", "config does not describe: linear.bias"]);
}
