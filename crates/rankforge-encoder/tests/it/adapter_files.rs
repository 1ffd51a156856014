//! Directories of adapters: those of peft and sentence-transformers are opened, and ours are
//! written and opened again.

use crate::common::{
    Copy, Recorder, assert_near, assert_rows, bits, fixture, options, pairs, read_json, recorded,
    texts,
};
use rankforge_encoder::kernels::ParameterId;
use rankforge_encoder::{
    CrossEncoder, DualEncoder, LoadOptions, LoraConfig, ModelKind, Packing, TargetModules,
    TextModel, adapter_base,
};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Path of a directory or file in `tests/fixtures/lora`.
fn adapter(name: &str) -> PathBuf {
    fixture("").join("../lora").join(name)
}

/// A copy of an adapter whose config is changed.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for entry in fs::read_dir(adapter(name)).expect("fixture") {
        let path = entry.expect("entry").path();
        if path.is_file() {
            fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("copied");
        }
    }
    let path = folder.path().join("adapter_config.json");
    let mut config = read_json(&path);
    let base = adapter(name).join(config["base_model_name_or_path"].as_str().expect("a path"));
    config["base_model_name_or_path"] = json!(base);
    change(&mut config);
    fs::write(path, config.to_string()).expect("written");
    folder
}

#[test]
fn adapters_of_peft_and_sentence_transformers_give_their_scores() {
    let expected = read_json(&adapter("expected.json"));
    for packing in [Packing::None, Packing::Instead] {
        let options = LoadOptions { packing, ..options() };
        for name in ["ce_peft", "ce_st"] {
            let model = CrossEncoder::open_with(adapter(name), &options).expect(name);
            assert!(!model.model().has_adapters(), "merged");
            let scores = model.predict(&pairs(&expected)).expect("scores");
            let wanted = expected["scores"][name].as_array().expect("scores");
            let wanted: Vec<f32> = wanted.iter().map(|x| x.as_f64().expect("x") as f32).collect();
            assert_near(&scores.values, &wanted, name);
        }
        for name in ["st_peft", "st_st"] {
            let model = DualEncoder::open_with(adapter(name), &options).expect(name);
            let embeddings = model.encode(&texts(&expected["texts"])).expect("embeddings");
            assert_rows(&embeddings, &expected["embeddings"][name]);
        }
    }
}

#[test]
fn the_kind_of_an_adapter_is_that_of_its_task() {
    let kind = |path: &Path| ModelKind::of_directory(path).expect("a model");
    for name in ["ce_peft", "ce_st"] {
        assert_eq!(kind(&adapter(name)), ModelKind::CrossEncoder, "{name}");
    }
    for name in ["st_peft", "st_st"] {
        assert_eq!(kind(&adapter(name)), ModelKind::SentenceTransformer, "{name}");
    }
    let folder = changed("ce_peft", |config| config["task_type"] = Value::Null);
    assert_eq!(kind(folder.path()), ModelKind::CrossEncoder, "that of the base model");
    assert_eq!(adapter_base(&fixture("ce_plain"), &options()).expect("a model"), None);
    let base =
        adapter_base(&adapter("ce_peft"), &options()).expect("an adapter").expect("a base model");
    assert!(base.join("model.safetensors").is_file());
}

#[test]
fn adapters_that_are_not_supported_say_why() {
    type Change = fn(&mut Value);
    let cases: [(Change, &[&str]); 8] = [
        (|config| config["peft_type"] = json!("IA3"), &["peft_type", "expected LORA", "IA3"]),
        (|config| config["use_dora"] = json!(true), &["use_dora", "DoRA", "merge_and_unload"]),
        (|config| config["lora_bias"] = json!(true), &["lora_bias", "biases of adapters"]),
        (|config| config["init_lora_weights"] = json!("pissa"), &["pissa", "the base model too"]),
        (|config| config["lora_alpha"] = json!("8"), &["lora_alpha", "a number"]),
        (|config| config["alpha_pattern"] = json!({"(": 1}), &["alpha_pattern"]),
        (
            |config| config["base_model_name_or_path"] = json!("org/model"),
            &["the base model `org/model` is no directory here", "--base-model"],
        ),
        (|config| config["base_model_name_or_path"] = Value::Null, &["base_model_name_or_path"]),
    ];
    for (change, parts) in cases {
        let folder = changed("ce_peft", change);
        let error = CrossEncoder::open_with(folder.path(), &options()).err().expect("an error");
        for part in parts {
            assert!(error.to_string().contains(part), "expected {part:?} in: {error}");
        }
    }
    let folder = changed("ce_peft", |config| {
        config["base_model_name_or_path"] = json!(adapter("ce_st"));
    });
    let error = CrossEncoder::open_with(folder.path(), &options()).err().expect("an error");
    assert!(error.to_string().contains("got another adapter"), "{error}");
}

#[test]
fn a_base_model_can_be_given_for_an_adapter_alone() {
    let folder = changed("ce_peft", |config| config["base_model_name_or_path"] = json!("a/b"));
    let base_model = Some(fixture("ce_plain"));
    let given = LoadOptions { base_model, ..options() };
    let model = CrossEncoder::open_with(folder.path(), &given).expect("a base model");
    let expected = CrossEncoder::open_with(adapter("ce_peft"), &options()).expect("a base model");
    assert_eq!(bits(model.model()), bits(expected.model()));
    let error = CrossEncoder::open_with(fixture("ce_plain"), &given).err().expect("an error");
    assert!(error.to_string().contains("base_model: expected a directory with"), "{error}");
}

#[test]
fn an_adapter_beside_a_whole_model_is_of_that_model() {
    let folder = changed("ce_peft", |config| config["base_model_name_or_path"] = json!("a/b"));
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(fixture("ce_plain").join(name), folder.path().join(name)).expect("copied");
    }
    let model = CrossEncoder::open_with(folder.path(), &options()).expect("a base model");
    let expected = CrossEncoder::open_with(adapter("ce_peft"), &options()).expect("a base model");
    assert_eq!(bits(model.model()), bits(expected.model()));
}

#[test]
fn labels_are_kept_where_the_base_model_has_others() {
    let options = LoadOptions { num_labels: Some(3), ..options() };
    let mut model = CrossEncoder::open_with(fixture("base"), &options).expect("a model");
    model.add_adapter(&all_linear(), 7).expect("a transformer");
    let folder = tempfile::tempdir().expect("folder");
    model.save(&folder.path().join("model"), None).expect("saved");
    let opened = CrossEncoder::open(folder.path().join("model")).expect("opened");
    assert_eq!(opened.labels(), model.labels());
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let base_model = Some(fixture("ce_roberta"));
    let other = LoadOptions { base_model, ..options() };
    let error = CrossEncoder::open_with(adapter("ce_peft"), &other).err().expect("an error");
    let message = error.to_string();
    assert!(message.contains("modules that the base model does not have"), "{message}");
    let folder = changed("ce_peft", |_| ());
    fs::remove_file(folder.path().join("adapter_model.safetensors")).expect("removed");
    let error = CrossEncoder::open_with(folder.path(), &options()).err().expect("an error");
    assert!(error.to_string().contains("expected adapter_model.safetensors"), "{error}");
}

#[test]
fn tensors_of_a_head_that_the_model_lacks_are_told() {
    let recorder = Arc::new(Recorder::default());
    DualEncoder::open_with(adapter("ce_peft"), &recorded(&recorder)).expect("a transformer");
    assert_eq!(recorder.count(&["message", "of the adapter that are not used", "classifier"]), 1);
}

/// Gives every trained parameter other values.
fn disturb(model: &mut dyn TextModel) {
    let layout = model.model().trainable_layout();
    for id in (0..layout.entries().len()).map(ParameterId).filter(|id| layout.has(*id)) {
        let values = model.model().parameters().view(id).to_vec();
        let moved = values.iter().enumerate().map(|(at, x)| x + 0.1 * (at as f32 + 1.0).sin());
        model.model_mut().parameters_mut().view_mut(id).write(&moved.collect::<Vec<f32>>());
    }
}

fn all_linear() -> LoraConfig {
    LoraConfig { r: 2, target_modules: Some(TargetModules::AllLinear), ..LoraConfig::default() }
}

#[test]
fn a_reranker_with_adapters_is_written_without_its_base_and_opens_again() {
    let expected = read_json(&adapter("expected.json"));
    for base in ["ce_plain", "ce_v6", "ce_roberta", "ce_labels", "ce_modular", "base"] {
        let options = LoadOptions { seed: 3, ..options() };
        let mut model = CrossEncoder::open_with(fixture(base), &options).expect(base);
        model.add_adapter(&all_linear(), 7).expect(base);
        disturb(&mut model);
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("model");
        model.save(&path, None).expect("saved");
        assert!(!path.join("model.safetensors").exists());
        assert!(!path.join("config.json").exists(), "transformers would look for weights");
        let size = fs::metadata(path.join("adapter_model.safetensors")).expect("a file").len();
        let whole = model.model().parameters().layout().len() as u64 * 4;
        assert!(size < whole, "{base}: {size} bytes of {whole}");
        // Another seed: nothing that was drawn may be missing in the files.
        let again = LoadOptions { seed: 4, ..options.clone() };
        let merged = CrossEncoder::open_with(&path, &again).expect(base);
        let scores = |model: &CrossEncoder| model.predict(&pairs(&expected)).expect("scores");
        assert_near(&scores(&merged).values, &scores(&model).values, base);
        assert_eq!(merged.labels(), model.labels(), "{base}");
        assert_eq!(ModelKind::of_directory(&path).expect("a model"), ModelKind::CrossEncoder);

        let mut other = CrossEncoder::open_with(fixture(base), &options).expect(base);
        other.add_adapter(&all_linear(), 8).expect(base);
        other.load_parameters(&path).expect("the same adapters");
        assert_eq!(bits(other.model()), bits(model.model()), "{base}");
        assert_eq!(other.parts().digest().expect("matrices"), model.parts().digest().expect("too"));

        let plain = folder.path().join("plain");
        merged.save(&plain, None).expect("saved");
        assert!(plain.join("model.safetensors").exists());
        assert!(!plain.join("adapter_config.json").exists());
        let plain = CrossEncoder::open_with(&plain, &options).expect("a plain model");
        assert_eq!(bits(plain.model()), bits(merged.model()), "{base}");
    }
}

#[test]
fn a_dual_encoder_with_adapters_keeps_and_trains_its_modules() {
    let expected = read_json(&adapter("expected.json"));
    let mut model = DualEncoder::open_with(fixture("st_v6"), &options()).expect("a model");
    model.add_adapter(&all_linear(), 7).expect("a transformer");
    let layout = model.model().trainable_layout();
    let trained = layout.entries().iter().filter(|entry| entry.offset.is_some());
    assert!(trained.clone().any(|entry| entry.name.starts_with("head.")), "the module Dense");
    disturb(&mut model);
    let folder = tempfile::tempdir().expect("folder");
    model.save(&folder.path().join("model"), None).expect("saved");
    let merged = DualEncoder::open_with(folder.path().join("model"), &options()).expect("opened");
    let embeddings =
        |model: &DualEncoder| model.encode(&texts(&expected["texts"])).expect("embeddings").values;
    assert_near(&embeddings(&merged), &embeddings(&model), "embeddings");
    let config = read_json(&folder.path().join("model/adapter_config.json"));
    assert_eq!(config["task_type"], "FEATURE_EXTRACTION");
    assert_eq!(config["modules_to_save"], Value::Null);
    assert!(config["target_modules"].to_string().contains("encoder.layer.0.attention.self.query"));
}

#[test]
fn only_a_model_as_it_was_opened_gets_an_adapter() {
    let refused = |model: &mut CrossEncoder| {
        model.add_adapter(&all_linear(), 1).expect_err("an error").to_string()
    };
    let mut merged = CrossEncoder::open_with(adapter("ce_peft"), &options()).expect("a model");
    let message = refused(&mut merged);
    assert!(message.contains("opened from a directory without an adapter"), "{message}");
    let mut trained = CrossEncoder::open_with(fixture("ce_plain"), &options()).expect("a model");
    trained.model_mut().parameters_mut().flat_mut().fill(0.5);
    let message = refused(&mut trained);
    assert!(message.contains("save it first"), "{message}");
    let mut student = CrossEncoder::open_with(fixture("ce_plain"), &options()).expect("a model");
    student.parts_mut().keep_layers(&[0]).expect("one layer");
    let message = refused(&mut student);
    assert!(message.contains("one without such a directory"), "{message}");
    let copy = Copy::of("static_v6");
    let mut tables = DualEncoder::open_with(copy.path(), &options()).expect("a model");
    let message = tables.add_adapter(&all_linear(), 1).expect_err("no layers").to_string();
    assert!(message.contains("adapter: expected"), "{message}");
}
