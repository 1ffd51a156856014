//! What is said about tokenizers that cannot be read as Python reads them, and what is kept of
//! their files.

use crate::common::{Copy, Recorder, options, read_json, recorded};
use rankforge_encoder::{CrossEncoder, Input, Tokenizer};
use serde_json::{Value, json};
use std::sync::Arc;

/// The fixture with other fields in `tokenizer_config.json`.
fn with_config(fields: Value) -> Copy {
    let copy = Copy::of("ce_plain");
    for (field, value) in fields.as_object().expect("an object") {
        copy.set("tokenizer_config.json", field, value.clone());
    }
    copy
}

fn error(copy: &Copy) -> String {
    Tokenizer::load(copy.path()).err().expect("an error").to_string()
}

#[test]
fn a_class_that_is_not_known_is_named_in_a_warning() {
    let copy = with_config(json!({"tokenizer_class": "BertJapaneseTokenizer"}));
    let recorder = Arc::new(Recorder::default());
    CrossEncoder::open_with(copy.path(), &recorded(&recorder)).expect("model");
    let parts = ["tokenizer_config.json", "tokenizer_class", "BertJapaneseTokenizer"];
    assert_eq!(recorder.count(&parts), 1, "{:?}", recorder.lines());
    copy.remove("tokenizer.json");
    let error = error(&copy);
    assert!(error.contains("tokenizer.json") && error.contains(parts[2]), "{error}");
}

#[test]
fn a_vocabulary_that_the_class_cannot_use_is_refused() {
    let copy = with_config(json!({"tokenizer_class": "XLMRobertaTokenizer"}));
    let error = error(&copy);
    let parts = ["tokenizer.json", "model", "XLMRobertaTokenizer", "Unigram", "tokenizer_class"];
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn fields_with_unusable_tokens_are_named() {
    for (field, value) in [
        ("cls_token", Value::Null),
        ("sep_token", json!(3)),
        ("mask_token", json!({"lstrip": true})),
        ("added_tokens_decoder", json!({"x": {"content": "<e>"}})),
        ("added_tokens_decoder", json!({"7": "<e>"})),
        ("extra_special_tokens", json!("<e>")),
        ("additional_special_tokens", json!([3])),
        ("do_lower_case", json!("no")),
    ] {
        let error = error(&with_config(json!({ field: value })));
        assert!(error.contains("tokenizer_config.json") && error.contains(field), "{error}");
    }
    let copy = Copy::of("ce_plain");
    copy.write("added_tokens.json", "{\"<e>\": \"7\"}");
    let error = error(&copy);
    assert!(error.contains("added_tokens.json") && error.contains("<e>"), "{error}");
}

#[test]
fn an_added_token_without_a_row_in_the_embedding_table_is_refused() {
    let copy = Copy::of("ce_plain");
    let refused = |text: &str| {
        let error = CrossEncoder::open_with(copy.path(), &options()).err().expect("an error");
        let error = error.to_string();
        let start = format!("{}: the token ", copy.file(text.split(' ').next().unwrap()).display());
        let rest = text.split_once(' ').expect("file and token").1;
        assert!(error.starts_with(&format!("{start}{rest}, but ")), "{error}");
        assert!(error.contains("107 rows") && error.contains("config.json"), "{error}");
    };
    copy.write("added_tokens.json", "{\"<e>\": 500}");
    refused("added_tokens.json \"<e>\" has id 500 there and is loaded as 107");
    copy.write("added_tokens.json", "{}");
    copy.write("special_tokens_map.json", "{\"additional_special_tokens\": [\"<f>\"]}");
    refused("special_tokens_map.json \"<f>\" has id 107");
    copy.write("special_tokens_map.json", "{}");
    copy.set("tokenizer_config.json", "mask_token", json!({"content": "<m>"}));
    refused("tokenizer_config.json \"<m>\" has id 107");
    copy.set("tokenizer_config.json", "added_tokens_decoder", json!({"300": {"content": "<g>"}}));
    copy.set("tokenizer_config.json", "mask_token", json!("[MASK]"));
    refused("tokenizer_config.json \"<g>\" has id 300 there and is loaded as 107");
    copy.write("tokenizer_config.json", "{}");
    let mut json = read_json(&copy.file("tokenizer.json"));
    json["model"]["vocab"]["word"] = json!(108);
    copy.write("tokenizer.json", &json.to_string());
    refused("tokenizer.json \"word\" has id 108");
}

#[test]
fn an_empty_line_of_a_vocabulary_needs_no_row_in_the_embedding_table() {
    let copy = Copy::of("ce_plain");
    let before = CrossEncoder::open_with(copy.path(), &options()).expect("model");
    let vocabulary = read_json(&copy.file("tokenizer.json"))["model"]["vocab"].clone();
    let vocabulary = vocabulary.as_object().expect("vocabulary");
    let mut lines: Vec<&str> = vocabulary.keys().map(String::as_str).collect();
    lines.sort_by_key(|token| vocabulary[*token].as_u64());
    copy.remove("tokenizer.json");
    for end in ["\n\n", "\n\n\n", "\r\n \n"] {
        copy.write("vocab.txt", &(lines.join("\n") + end));
        let model = CrossEncoder::open_with(copy.path(), &options()).expect("model");
        let pairs = [("the sea", "the shore"), ("", "a")];
        assert_eq!(model.predict(&pairs).expect("scores"), before.predict(&pairs).expect("scores"));
    }
    copy.write("vocab.txt", &(lines.join("\n") + "\n\nword\n"));
    let error = CrossEncoder::open_with(copy.path(), &options()).err().expect("an error");
    let error = error.to_string();
    let path = copy.file("vocab.txt").display().to_string();
    assert!(error.starts_with(&format!("{path}: the token \"word\" has id 108, but")), "{error}");
}

#[test]
fn a_default_token_of_the_class_needs_a_row_only_where_a_text_has_it() {
    // By default this class also has <s> and </s>, which are not in the vocabulary.
    let copy = with_config(json!({"tokenizer_class": "MPNetTokenizer"}));
    let model = CrossEncoder::open_with(copy.path(), &options()).expect("model");
    model.predict(&[("the sea", "</ s>")]).expect("scores");
    let error = model.predict(&[("the sea", "</s>")]).expect_err("an error").to_string();
    assert!(error.contains("\"</s>\"") && error.contains("107 rows"), "{error}");
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("saved");
    model.save(&path, None).expect("saved");
    let again = CrossEncoder::open_with(&path, &options()).expect("model");
    assert!(again.predict(&[("the sea", "</s>")]).is_err());
}

#[test]
fn fields_that_nothing_here_reads_are_kept() {
    let copy = with_config(json!({"chat_template": "{{ messages }}", "custom": [1, 2]}));
    let others = ["chat_template.jinja", "chat_template.json", "bpe.codes", "spm.model"];
    others.iter().for_each(|name| copy.write(name, "kept"));
    let before = read_json(&copy.file("tokenizer_config.json"));
    let model = CrossEncoder::open_with(copy.path(), &options()).expect("model");
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("saved");
    // The second model takes the place of the first, with all its files.
    for _ in 0..2 {
        model.save(&path, None).expect("saved");
    }
    assert_eq!(read_json(&path.join("tokenizer_config.json")), before);
    for name in others {
        assert_eq!(std::fs::read_to_string(path.join(name)).expect("file"), "kept");
    }
}

#[test]
fn a_file_that_agrees_with_its_class_is_saved_unchanged() {
    let copy = Copy::of("ce_plain");
    let tokenizer = Tokenizer::load(copy.path()).expect("tokenizer");
    let saved = tempfile::tempdir().expect("temporary directory");
    tokenizer.save(saved.path()).expect("saved");
    let read = |path| std::fs::read(path).expect("file");
    let written = read(saved.path().join("tokenizer.json"));
    assert_eq!(written, read(copy.file("tokenizer.json")));
}

#[test]
fn a_saved_tokenizer_names_its_class_whatever_model_it_is_saved_with() {
    let copy = Copy::of("ce_plain");
    copy.write("tokenizer_config.json", "{}");
    // The class of a BERT model converts to lower case, whatever `tokenizer.json` says.
    let mut json = read_json(&copy.file("tokenizer.json"));
    json["normalizer"]["lowercase"] = json!(false);
    copy.write("tokenizer.json", &json.to_string());
    let saved = tempfile::tempdir().expect("temporary directory");
    Tokenizer::load(copy.path()).expect("tokenizer").save(saved.path()).expect("saved");
    let config = saved.path().join("config.json");
    std::fs::write(config, r#"{"model_type": "roberta"}"#).expect("written");
    let again = Tokenizer::load(saved.path()).expect("tokenizer");
    let encode = |text| again.encode(&[Input::pair(text, "a")]).expect("tokens").remove(0);
    assert_eq!(encode("THE SEA"), encode("the sea"));
    assert_eq!(encode("sea").type_ids.last(), Some(&1));
}
