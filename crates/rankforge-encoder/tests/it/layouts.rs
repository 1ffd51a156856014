//! Model directories: every generation of layouts is read, the newest is written, and errors name
//! what is wrong.

use crate::common::{
    Copy, Recorder, assert_rows, bits, expected, fixture, options, pairs, read_json, recorded,
};
use rankforge_encoder::{
    CrossEncoder, DualEncoder, LoadOptions, OutputActivation, PredictOptions, TextModel, Tokenizer,
};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn load(path: &Path) -> CrossEncoder {
    CrossEncoder::open_with(path, &options()).expect("model")
}

/// Asserts that opening a cross-encoder fails with a message that contains all `parts`.
#[track_caller]
fn refuse(path: &Path, options: &LoadOptions, parts: &[&str]) {
    let error = CrossEncoder::open_with(path, options).err().expect("an error").to_string();
    for part in parts {
        assert!(error.contains(part), "expected {part:?} in: {error}");
    }
}

/// Asserts that opening a dual encoder fails with a message that contains all `parts`.
#[track_caller]
fn refuse_dual(path: &Path, parts: &[&str]) {
    let error = DualEncoder::open_with(path, &options()).err().expect("an error").to_string();
    for part in parts {
        assert!(error.contains(part), "expected {part:?} in: {error}");
    }
}

#[test]
fn scores_of_every_layout_equal_those_of_sentence_transformers() {
    let expected = expected();
    for (name, activation) in [
        ("ce_plain", OutputActivation::Sigmoid),
        ("ce_v3", OutputActivation::Identity),
        ("ce_v4", OutputActivation::Tanh),
        ("ce_v6", OutputActivation::Tanh),
        ("ce_labels", OutputActivation::Identity),
        ("ce_roberta", OutputActivation::Sigmoid),
        ("ce_modular", OutputActivation::Sigmoid),
    ] {
        let model = load(&fixture(name));
        assert_eq!(model.activation_fn(), activation, "{name}");
        let scores =
            model.predict_with(&pairs(&expected), &PredictOptions::default()).expect("scores");
        assert_rows(&scores, &expected["scores"][name]);
    }
}

#[test]
fn labels_are_read_from_the_config() {
    let model = load(&fixture("ce_labels"));
    assert_eq!(model.num_labels(), 3);
    assert_eq!(model.labels(), ["contradiction", "entailment", "neutral"]);
    assert_eq!(load(&fixture("ce_plain")).labels(), ["LABEL_0"]);
    assert_eq!(load(&fixture("ce_modular")).num_labels(), 1);
}

#[test]
fn an_activation_that_is_not_of_torch_is_replaced_by_the_default_with_a_warning() {
    let copy = Copy::of("ce_v6");
    copy.set("config_sentence_transformers.json", "activation_fn", json!("my_code.Swish"));
    let recorder = Arc::new(Recorder::default());
    let model = CrossEncoder::open_with(copy.path(), &recorded(&recorder)).expect("model");
    assert_eq!(model.activation_fn(), OutputActivation::Sigmoid);
    assert_eq!(recorder.count(&["warning", "my_code.Swish"]), 1);
    copy.set("config_sentence_transformers.json", "activation_fn", json!("torch.nn.Threshold"));
    refuse(copy.path(), &options(), &["activation_fn", "torch.nn.Threshold", "Sigmoid, Tanh"]);
    copy.set("config_sentence_transformers.json", "activation_fn", json!("torch.nn.Softmax"));
    refuse(copy.path(), &options(), &["activation_fn", "Softmax", "always 1"]);
}

#[test]
fn options_take_precedence_over_the_files() {
    let options = LoadOptions {
        activation_fn: Some(OutputActivation::Identity),
        max_length: Some(10),
        ..options()
    };
    let model = CrossEncoder::open_with(fixture("ce_v6"), &options).expect("model");
    assert_eq!(model.activation_fn(), OutputActivation::Identity);
    assert_eq!(model.max_length(), Some(10));
}

#[test]
fn a_checkpoint_without_a_classifier_gets_a_newly_initialised_one() {
    for name in ["base", "st_v6"] {
        let recorder = Arc::new(Recorder::default());
        let model = CrossEncoder::open_with(fixture(name), &recorded(&recorder)).expect("model");
        assert_eq!(model.num_labels(), 1);
        assert_eq!(recorder.count(&["warning", "newly initialised", "classifier.weight"]), 1);
        assert_eq!(recorder.count(&["opened as a cross-encoder"]), usize::from(name == "st_v6"));
        assert_eq!(model.prompts().len(), 0);
        let options = LoadOptions { num_labels: Some(4), ..options() };
        let model = CrossEncoder::open_with(fixture(name), &options).expect("model");
        assert_eq!(model.num_labels(), 4);
        assert_eq!(model.labels()[3], "LABEL_3");
        assert_eq!(model.activation_fn(), OutputActivation::Identity);
    }
}

#[test]
fn a_number_of_labels_that_the_classifier_does_not_have_is_refused() {
    let two = LoadOptions { num_labels: Some(2), ..options() };
    refuse(&fixture("ce_plain"), &two, &["classifier.weight", "[2, 16]", "[1, 16]"]);
    refuse(&fixture("ce_modular"), &two, &["num_labels: expected 1", "got 2"]);
}

#[test]
fn the_maximum_length_is_at_most_the_number_of_positions() {
    assert_eq!(load(&fixture("ce_plain")).max_length(), Some(24));
    let copy = Copy::of("ce_plain");
    copy.set("tokenizer_config.json", "model_max_length", json!(1e30));
    assert_eq!(load(copy.path()).max_length(), Some(32));
    copy.set("tokenizer_config.json", "model_max_length", json!(512));
    assert_eq!(load(copy.path()).max_length(), Some(32));
    let recorder = Arc::new(Recorder::default());
    let long = LoadOptions { max_length: Some(100), ..recorded(&recorder) };
    let model = CrossEncoder::open_with(copy.path(), &long).expect("model");
    assert_eq!(model.max_length(), Some(32));
    assert_eq!(recorder.count(&["warning", "100", "32"]), 1);
    let short = LoadOptions { max_length: Some(3), ..options() };
    refuse(copy.path(), &short, &["max_length", "more than 3, the special tokens", "got 3"]);
}

#[test]
fn roberta_has_two_positions_fewer_than_the_config_says() {
    let tokenizer = Tokenizer::load(&fixture("base")).expect("tokenizer");
    let config = json!({
        "model_type": "roberta", "vocab_size": 120, "hidden_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 22,
        "type_vocab_size": 1, "pad_token_id": 1, "hidden_act": "gelu", "layer_norm_eps": 1e-5,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02,
    });
    let model = CrossEncoder::from_config(&config, tokenizer, &options()).expect("model");
    assert_eq!(model.max_length(), Some(20));
    let long = "moon ".repeat(50);
    let scores = model
        .predict_with(&[(&long, &long)], &PredictOptions::default())
        .expect("a sequence of the maximum length has a position for each token");
    assert!(scores.values[0].is_finite());
}

#[test]
fn a_saved_cross_encoder_has_the_same_parameters_and_settings() {
    let folder = tempfile::tempdir().expect("temporary directory");
    for name in ["ce_plain", "ce_v3", "ce_v4", "ce_v6", "ce_labels", "ce_roberta", "ce_modular"] {
        let model = load(&fixture(name));
        let path = folder.path().join(name);
        model.save(&path, Some("# A card\n")).expect("saved");
        let recorder = Arc::new(Recorder::default());
        let again = CrossEncoder::open_with(&path, &recorded(&recorder)).expect("model");
        assert_eq!(recorder.lines(), Vec::<String>::new(), "{name}");
        assert_eq!(bits(again.model()), bits(model.model()), "{name}");
        assert_eq!(again.activation_fn(), model.activation_fn(), "{name}");
        assert_eq!(again.labels(), model.labels(), "{name}");
        assert_eq!(again.max_length(), model.max_length(), "{name}");
        assert_eq!(again.prompts(), model.prompts());
        assert_eq!(fs::read_to_string(path.join("README.md")).expect("card"), "# A card\n");
    }
}

#[test]
fn the_newest_layout_is_written() {
    let copy = Copy::of("ce_v4");
    copy.set("config.json", "architectures", json!(["BertForMaskedLM"]));
    copy.set("config.json", "torch_dtype", json!("float16"));
    copy.set("config.json", "unknown_key", json!([1, {"b": 2.5}]));
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("saved");
    load(copy.path()).save(&path, None).expect("saved");

    let config = read_json(&path.join("config.json"));
    assert_eq!(config["architectures"], json!(["BertForSequenceClassification"]));
    assert_eq!(config["unknown_key"], json!([1, {"b": 2.5}]));
    assert_eq!(config["dtype"], "float32");
    assert_eq!(config["id2label"], json!({"0": "LABEL_0"}));
    for removed in ["sentence_transformers", "torch_dtype", "num_labels"] {
        assert!(config.get(removed).is_none(), "{removed} was saved");
    }
    let theirs = fixture("ce_v6");
    for name in ["modules.json", "sentence_bert_config.json"] {
        assert_eq!(read_json(&path.join(name)), read_json(&theirs.join(name)), "{name}");
    }
    let config = read_json(&path.join("config_sentence_transformers.json"));
    assert_eq!(config["activation_fn"], "torch.nn.modules.activation.Tanh");
    assert_eq!(config["model_type"], "CrossEncoder");
    let keys: Vec<&String> = config.as_object().expect("object").keys().collect();
    assert!(keys.is_sorted(), "{keys:?}");
}

#[test]
fn the_module_configs_of_a_modular_model_are_saved_unchanged() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("saved");
    load(&fixture("ce_modular")).save(&path, None).expect("saved");
    let theirs = fixture("ce_modular");
    for name in [
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "3_LayerNorm/config.json",
        "4_Dense/config.json",
    ] {
        assert_eq!(read_json(&path.join(name)), read_json(&theirs.join(name)), "{name}");
    }
}

#[test]
fn parameters_are_read_back_from_a_saved_directory() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let model = load(&fixture("ce_modular"));
    let path = folder.path().join("checkpoint");
    model.save_files(&path, None).expect("saved");
    let mut other = model.clone();
    other.model_mut().parameters_mut().flat_mut().fill(0.5);
    other.load_parameters(&path).expect("read");
    assert_eq!(bits(other.model()), bits(model.model()));
}

#[test]
fn saving_replaces_an_earlier_model_and_nothing_else() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("model");
    let model = load(&fixture("ce_plain"));
    model.save(&path, None).expect("saved");
    load(&fixture("ce_modular")).save(&path, None).expect("saved over it");
    assert!(path.join("4_Dense/model.safetensors").is_file());
    model.save(&path, None).expect("saved over it");
    assert!(!path.join("4_Dense").exists());
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);

    fs::create_dir(path.join("checkpoint-500")).expect("folder");
    let error = model.save(&path, None).expect_err("an error").to_string();
    assert!(error.contains("checkpoint-500") && error.contains("not replaced"), "{error}");
    assert!(path.join("checkpoint-500").is_dir() && path.join("model.safetensors").is_file());

    let notes = folder.path().join("notes");
    fs::create_dir(&notes).expect("folder");
    model.save(&notes, None).expect("saved into an empty directory");
    let thesis = folder.path().join("thesis");
    fs::create_dir(&thesis).expect("folder");
    fs::write(thesis.join("chapter1.txt"), "Once").expect("file");
    let error = model.save(&thesis, None).expect_err("an error").to_string();
    assert!(error.contains("is not a model directory"), "{error}");
    let file = thesis.join("chapter1.txt");
    let error = model.save(&file, None).expect_err("an error").to_string();
    assert!(error.contains("got a file"), "{error}");
    assert_eq!(fs::read_to_string(&file).expect("file"), "Once");
}

#[test]
fn errors_about_missing_files_name_them() {
    refuse(Path::new("no/such/model"), &options(), &["no/such/model", "no such model directory"]);
    refuse(&fixture("expected.json"), &options(), &["expected.json", "got a file"]);
    refuse(&fixture(""), &options(), &["without config.json"]);
    let copy = Copy::of("ce_plain");
    copy.remove("model.safetensors");
    refuse(copy.path(), &options(), &["model.safetensors"]);
    copy.write("pytorch_model.bin", "");
    refuse(copy.path(), &options(), &["pytorch_model.bin"]);
    let copy = Copy::of("ce_modular");
    copy.remove("2_Dense/model.safetensors");
    refuse(copy.path(), &options(), &["2_Dense"]);
    let copy = Copy::of("ce_modular");
    copy.remove("2_Dense/config.json");
    refuse(copy.path(), &options(), &["2_Dense/config.json"]);
}

#[test]
fn errors_about_malformed_json_name_line_and_column() {
    for name in ["config.json", "tokenizer_config.json", "modules.json"] {
        let copy = Copy::of("ce_v6");
        copy.write(name, "{\n  \"model_type\": \"bert\",,\n}");
        refuse(copy.path(), &options(), &[name, "line 2 column"]);
    }
    let copy = Copy::of("ce_v6");
    copy.write("config.json", "[]");
    refuse(copy.path(), &options(), &["config.json", "expected a JSON object", "an array"]);
}

#[test]
fn errors_about_fields_of_the_wrong_type_say_what_was_expected() {
    for (file, field, value, parts) in [
        ("config.json", "id2label", json!(["a"]), ["id2label", "an object"]),
        ("config.json", "architectures", json!("Bert"), ["architectures", "an array"]),
        ("config.json", "hidden_size", json!("16"), ["hidden_size", "\"16\""]),
        ("config.json", "model_type", json!("mamba"), ["model_type", "bert"]),
        ("config_sentence_transformers.json", "prompts", json!(["a"]), ["prompts", "an object"]),
        ("config_sentence_transformers.json", "prompts", json!({"a": 3}), ["prompts", "3"]),
        ("config_sentence_transformers.json", "activation_fn", json!(3), ["activation_fn", "3"]),
        ("config_sentence_transformers.json", "default_prompt_name", json!("x"), ["\"x\"", "ask"]),
        ("sentence_bert_config.json", "max_seq_length", json!(-1), ["max_seq_length", "-1"]),
        ("sentence_bert_config.json", "query_length", json!(32), ["query_length", "32"]),
    ] {
        let copy = Copy::of("ce_v6");
        copy.set(file, field, value);
        refuse(copy.path(), &options(), &parts);
    }
}

#[test]
fn unsupported_modules_are_refused() {
    let modules = |class: &str, path: &str| {
        let first = json!({"idx": 0, "name": "0", "path": "",
            "type": "sentence_transformers.base.modules.transformer.Transformer"});
        json!([first, {"idx": 1, "name": "1", "path": path, "type": class}]).to_string()
    };
    for (class, path, parts) in [
        ("my_package.Head", "1_Head", ["my_package.Head", "custom modules"]),
        ("sentence_transformers.models.LSTM", "1_LSTM", ["LSTM", "Pooling"]),
        ("sentence_transformers.models.Pooling", "../1_Pooling", ["path", "inside"]),
        ("sentence_transformers.models.Pooling", "/1_Pooling", ["path", "inside"]),
        (
            "sentence_transformers.models.Normalize",
            "1_Normalize",
            ["Normalize", "exactly one Pooling module"],
        ),
    ] {
        let copy = Copy::of("st_v6");
        copy.write("modules.json", &modules(class, path));
        refuse_dual(copy.path(), &parts);
    }
    let copy = Copy::of("ce_v6");
    let score = "sentence_transformers.cross_encoder.modules.logit_score.LogitScore";
    copy.write("modules.json", &modules(score, "1_LogitScore"));
    copy.set("sentence_bert_config.json", "transformer_task", json!("text-generation"));
    refuse(copy.path(), &options(), &["language model", "not supported"]);
    let copy = Copy::of("ce_plain");
    copy.set("config.json", "architectures", json!(["Qwen3ForCausalLM"]));
    refuse(copy.path(), &options(), &["language model", "not supported"]);
    refuse_dual(&fixture("ce_v6"), &["CrossEncoder", "SentenceTransformer"]);
}

#[test]
fn modules_that_do_not_fit_together_are_refused() {
    let copy = Copy::of("ce_modular");
    copy.set("3_LayerNorm/config.json", "dimension", json!(13));
    refuse(copy.path(), &options(), &["LayerNorm", "13", "12"]);
    let copy = Copy::of("ce_modular");
    copy.set("4_Dense/config.json", "module_output_name", json!("sentence_embedding"));
    refuse(copy.path(), &options(), &["scores"]);
    let copy = Copy::of("ce_modular");
    copy.set("4_Dense/config.json", "module_input_name", json!("token_embeddings"));
    refuse(copy.path(), &options(), &["token_embeddings"]);
    let copy = Copy::of("ce_modular");
    copy.set("4_Dense/config.json", "out_features", json!(2));
    refuse(copy.path(), &options(), &["linear.weight", "[2, 12]", "[1, 12]"]);
    let copy = Copy::of("st_v6");
    copy.set("1_Pooling/config.json", "pooling_mode", json!("median"));
    refuse_dual(copy.path(), &["pooling_mode", "median", "lasttoken"]);
}

#[test]
fn a_tokenizer_with_more_ids_than_embeddings_is_refused() {
    let copy = Copy::of("ce_plain");
    copy.set("config.json", "vocab_size", json!(50));
    refuse(copy.path(), &options(), &["107", "50"]);
    let copy = Copy::of("static_v6");
    let mut tokenizer = read_json(&copy.file("tokenizer.json"));
    tokenizer["model"]["vocab"]["extra"] = json!(107);
    copy.write("tokenizer.json", &tokenizer.to_string());
    refuse_dual(copy.path(), &["108", "107"]);
}

#[test]
fn truncated_weights_are_refused() {
    for length in [0, 7, 100, 20_000] {
        let copy = Copy::of("ce_plain");
        let bytes = fs::read(copy.file("model.safetensors")).expect("file");
        fs::write(copy.file("model.safetensors"), &bytes[..length]).expect("file");
        refuse(copy.path(), &options(), &["model.safetensors"]);
    }
}

#[test]
fn options_that_the_model_does_not_have_are_refused() {
    let truncated = LoadOptions { truncate_dim: Some(3), ..options() };
    refuse(&fixture("ce_plain"), &truncated, &["truncate_dim"]);
    let wrong = LoadOptions { classifier_dropout: Some(1.5), ..options() };
    refuse(&fixture("ce_plain"), &wrong, &["classifier_dropout", "1.5"]);
    let labels = LoadOptions { num_labels: Some(3), ..options() };
    let error = DualEncoder::open_with(fixture("st_v6"), &labels).err().expect("an error");
    assert!(error.to_string().contains("num_labels"));
}

#[test]
fn the_classifier_dropout_option_is_saved_in_the_config() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("saved");
    let options = LoadOptions { classifier_dropout: Some(0.25), ..options() };
    let model = CrossEncoder::open_with(fixture("ce_plain"), &options).expect("model");
    model.save(&path, None).expect("saved");
    assert_eq!(read_json(&path.join("config.json"))["classifier_dropout"], 0.25);
}

#[test]
fn cross_encoders_do_not_open_as_dual_encoders() {
    for (name, what) in [
        ("ce_plain", "BertForSequenceClassification with one label in config.json"),
        ("ce_v3", "`sbert_ce_default_activation_function` in config.json"),
        ("ce_v4", "`sentence_transformers` in config.json"),
        ("ce_roberta", "XLMRobertaForSequenceClassification with one label in config.json"),
        ("ce_v6", "CrossEncoder"),
        ("ce_modular", "CrossEncoder"),
    ] {
        let error = DualEncoder::open_with(fixture(name), &options()).err().expect("an error");
        let error = error.to_string();
        assert!(error.contains("expected a ") && error.contains(what), "{name}: {error}");
    }
    // A classifier with several labels may be trained further as a dual encoder.
    assert!(DualEncoder::open_with(fixture("ce_labels"), &options()).is_ok());
}
