//! Model directories whose files are JSON, but no model: each is refused with an error that names
//! the file and what is wrong in it, before anything of a size that it gives is allocated.

use crate::common::{Copy, Recorder, fixture, options, read_json, recorded};
use rankforge_encoder::{CrossEncoder, DualEncoder, EncoderError, LoadOptions, Tokenizer};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Value, json};
use std::sync::Arc;

/// Asserts that a message contains all `parts`.
#[track_caller]
fn assert_parts(error: &EncoderError, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

/// Asserts that a copy of the fixture `name`, with these fields of `file` set, is refused as a
/// cross-encoder with a message that contains all `parts`.
#[track_caller]
fn refuse(name: &str, file: &str, fields: Value, parts: &[&str]) {
    let copy = Copy::of(name);
    for (field, value) in fields.as_object().expect("fields") {
        copy.set(file, field, value.clone());
    }
    let error = CrossEncoder::open_with(copy.path(), &options()).err().expect("an error");
    assert_parts(&error, parts);
}

#[test]
fn sizes_that_no_model_has_are_refused_with_their_field() {
    for labels in [1 << 62, 1_000_000_000_000_u64, (1 << 24) + 1] {
        let fields = json!({"id2label": null, "num_labels": labels});
        let got = format!("got {labels}");
        let parts = ["config.json", "`num_labels`", "a positive integer of at most 2^24", &got];
        refuse("ce_plain", "config.json", fields, &parts);
    }
    for (field, parts) in [
        ("hidden_size", ["`hidden_size`", "at most 2^24"]),
        ("vocab_size", ["`vocab_size`", "at most 2^24"]),
        ("intermediate_size", ["`intermediate_size`", "at most 2^24"]),
        ("num_hidden_layers", ["`num_hidden_layers`", "at most 1024"]),
    ] {
        let mut fields = json!({});
        fields[field] = json!(1_u64 << 31);
        refuse("ce_plain", "config.json", fields, &parts);
    }
    for (folder, field) in
        [("2_Dense", "out_features"), ("2_Dense", "in_features"), ("3_LayerNorm", "dimension")]
    {
        let file = format!("{folder}/config.json");
        let mut fields = json!({});
        fields[field] = json!(1_u64 << 40);
        refuse("ce_modular", &file, fields, &[&file, &format!("`{field}`"), "at most 2^24"]);
    }
}

#[test]
fn sizes_are_compared_with_the_checkpoint_before_memory_is_taken_for_them() {
    // Each would take terabytes.
    let labels = json!({"id2label": null, "num_labels": 1 << 24, "hidden_size": 1 << 24});
    let parts = ["model.safetensors", "[107, 16777216]", "[107, 16]"];
    refuse("ce_plain", "config.json", labels, &parts);
    let layers = json!({"intermediate_size": 1 << 24, "num_hidden_layers": 1024});
    refuse("ce_plain", "config.json", layers, &["model.safetensors", "[16777216, 16]"]);
    let parts = ["4_Dense/model.safetensors", "linear.weight", "[16777216, 12]", "[1, 12]"];
    refuse("ce_modular", "4_Dense/config.json", json!({"out_features": 1 << 24}), &parts);
}

#[test]
fn a_model_for_which_there_is_no_memory_is_refused() {
    // Of a checkpoint with other tensors, every tensor of the model is missing and would be
    // initialised.
    let copy = Copy::of("ce_plain");
    let header = r#"{"other":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    let bytes = [&length[..], header.as_bytes(), &[0; 4]].concat();
    std::fs::write(copy.file("model.safetensors"), bytes).expect("file");
    copy.set("config.json", "hidden_size", json!(1 << 24));
    let error = CrossEncoder::open_with(copy.path(), &options()).err().expect("an error");
    let parts = ["more than memory can hold", "query.weight, of shape [16777216, 16777216]"];
    assert_parts(&error, &parts);

    let config = json!({"model_type": "bert", "hidden_size": 1 << 24, "num_attention_heads": 1});
    let tokenizer = Tokenizer::load(&fixture("base")).expect("tokenizer");
    let error = CrossEncoder::from_config(&config, tokenizer, &options()).err().expect("an error");
    assert_parts(&error, &["more than memory can hold", "[16777216, 16777216]"]);
}

#[test]
fn a_number_of_labels_that_no_model_has_is_refused_as_an_option() {
    for num_labels in [0, usize::MAX] {
        let options = LoadOptions { num_labels: Some(num_labels), ..options() };
        let error = CrossEncoder::open_with(fixture("base"), &options).err().expect("an error");
        assert_parts(&error, &["num_labels: expected a positive integer of at most 2^24, got"]);
    }
}

#[test]
fn a_config_that_is_no_object_is_refused() {
    for config in [json!([1]), json!("bert"), Value::Null] {
        let tokenizer = Tokenizer::load(&fixture("base")).expect("tokenizer");
        let error = CrossEncoder::from_config(&config, tokenizer, &options());
        let error = error.err().expect("an error");
        assert_parts(&error, &["config.json", "expected a JSON object"]);
    }
}

#[test]
fn a_static_embedding_of_no_width_is_refused() {
    for (name, tensor) in [("static_v6", "embedding.weight"), ("model2vec", "embeddings")] {
        let copy = Copy::of(name);
        let table = TensorView::new(Dtype::F32, vec![107, 0], &[]).expect("shape");
        let file = copy.file("model.safetensors");
        serialize_to_file([(tensor, table)], None, &file).expect("file");
        let error = DualEncoder::open_with(copy.path(), &options()).err().expect("an error");
        assert_parts(&error, &["model.safetensors", tensor, "the width, is positive", "[107, 0]"]);
    }
    for (width, part) in [(0, "width: expected a positive number, got 0"), (1 << 60, "memory")] {
        let tokenizer = Tokenizer::load(&fixture("base")).expect("tokenizer");
        let error = DualEncoder::new_static(tokenizer, width, &options()).err().expect("an error");
        assert_parts(&error, &[part]);
    }
}

#[test]
fn a_static_embedding_that_is_too_large_once_expanded_is_refused() {
    let copy = Copy::of("model2vec");
    let (rows, width) = (1 << 18, 1 << 18);
    let (table, mapping) = (vec![0; 2 * width], vec![0; 4 * rows]);
    let table = TensorView::new(Dtype::F16, vec![1, width], &table).expect("shape");
    let mapping = TensorView::new(Dtype::I32, vec![rows], &mapping).expect("shape");
    let tensors = [("embeddings", table), ("mapping", mapping)];
    serialize_to_file(tensors, None, &copy.file("model.safetensors")).expect("file");
    let error = DualEncoder::open_with(copy.path(), &options()).err().expect("an error");
    assert_parts(&error, &["more than memory can hold", "[262144, 262144]"]);
}

/// Values that an option may have too. Where they are from files, the error names these.
#[test]
fn errors_about_values_from_files_name_file_and_field() {
    let expected = "expected more than 3, the special tokens of a pair, got a maximum length of";
    let lengths = [
        ("sentence_bert_config.json", "max_seq_length", 0, 0),
        ("sentence_bert_config.json", "max_seq_length", 3, 3),
        ("tokenizer_config.json", "model_max_length", 2, 2),
    ];
    for (file, field, value, length) in lengths {
        let mut fields = json!({});
        fields[field] = json!(value);
        let (field, expected) =
            (format!("{file}: field `{field}`"), format!("{expected} {length}"));
        refuse("ce_v6", file, fields, &[&field, &expected]);
    }
    let config = json!({
        "model_type": "roberta", "vocab_size": 120, "hidden_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 5,
    });
    let tokenizer = Tokenizer::load(&fixture("base")).expect("tokenizer");
    let error = CrossEncoder::from_config(&config, tokenizer, &options()).err().expect("an error");
    assert_parts(
        &error,
        &["config.json: field `max_position_embeddings`", &format!("{expected} 3")],
    );

    let fields = json!({"id2label": null, "num_labels": 0});
    refuse("ce_plain", "config.json", fields, &["config.json: field `num_labels`", "got 0"]);
    let parts = ["config.json: field `id2label`", "a name for each label", "got {}"];
    refuse("ce_plain", "config.json", json!({"id2label": {}}), &parts);

    let settings = "config_sentence_transformers.json";
    let parts = ["json: field `default_prompt_name`: expected the name of a prompt", "`ask`"];
    refuse("ce_v6", settings, json!({"default_prompt_name": "x"}), &parts);
    for (field, value, parts) in [
        ("default_prompt_name", json!("x"), ["expected the name of a prompt", "got \"x\""]),
        ("truncate_dim", json!(0), ["expected a positive integer", "got 0"]),
    ] {
        let copy = Copy::of("st_v6");
        copy.set(settings, field, value);
        let error = DualEncoder::open_with(copy.path(), &options()).err().expect("an error");
        let place = format!("{settings}: field `{field}`");
        assert_parts(&error, &[&place, parts[0], parts[1]]);
    }
}

#[test]
fn modules_that_compute_something_else_are_refused() {
    for (name, file, fields, parts) in [
        (
            "st_v6",
            "3_Normalize/config.json",
            json!({"module_input_name": "token_embeddings"}),
            ["`module_input_name`", "expected \"sentence_embedding\""],
        ),
        (
            "st_v6",
            "1_Pooling/config.json",
            json!({"pooling_mode_median": true}),
            ["`pooling_mode_median`", "no such field"],
        ),
        (
            "ce_v6",
            "sentence_bert_config.json",
            json!({"tokenizer_name_or_path": "elsewhere"}),
            ["`tokenizer_name_or_path`", "elsewhere"],
        ),
        (
            "ce_v6",
            "config.json",
            json!({"per_layer_config": {"0": {}}}),
            ["`per_layer_config`", ""],
        ),
    ] {
        let copy = Copy::of(name);
        for (field, value) in fields.as_object().expect("fields") {
            copy.set(file, field, value.clone());
        }
        let error = match name {
            "st_v6" => DualEncoder::open_with(copy.path(), &options()).err(),
            _ => CrossEncoder::open_with(copy.path(), &options()).err(),
        };
        assert_parts(&error.expect("an error"), &[file, parts[0], parts[1]]);
    }
}

#[test]
fn settings_that_are_ignored_are_warned_about() {
    let copy = Copy::of("st_v6");
    let module = "sentence_bert_config.json";
    copy.set(module, "novelty", json!(1));
    copy.set(module, "model_args", json!({"attn_implementation": "eager"}));
    copy.set(module, "tokenizer_args", json!({"padding_side": "left", "trust_remote_code": true}));
    copy.set("2_Dense/config.json", "scale", json!(2));
    // A Dropout module needs no folder.
    let mut modules = read_json(&copy.file("modules.json"));
    let dropout = "sentence_transformers.models.Dropout";
    modules.as_array_mut().expect("array").push(json!({"path": "4_Dropout", "type": dropout}));
    copy.write("modules.json", &modules.to_string());
    let recorder = Arc::new(Recorder::default());
    DualEncoder::open_with(copy.path(), &recorded(&recorder)).expect("model");
    for parts in [
        [module, "unknown field `novelty`"],
        [module, "model_kwargs is not supported"],
        [module, "processor_kwargs.padding_side is not supported"],
        ["2_Dense/config.json", "`scale`"],
    ] {
        assert_eq!(recorder.count(&["warning", parts[0], parts[1]]), 1, "{:?}", recorder.lines());
    }
    assert_eq!(recorder.count(&["warning"]), 4, "{:?}", recorder.lines());

    let copy = Copy::of("ce_labels");
    copy.set("config.json", "id2label", json!({"0": "a"}));
    copy.set("config.json", "num_labels", json!(3));
    let recorder = Arc::new(Recorder::default());
    let model = CrossEncoder::open_with(copy.path(), &recorded(&recorder)).expect("model");
    assert_eq!(model.labels(), ["LABEL_0", "LABEL_1", "LABEL_2"]);
    assert_eq!(recorder.count(&["warning", "1 names", "num_labels is 3"]), 1);
}
