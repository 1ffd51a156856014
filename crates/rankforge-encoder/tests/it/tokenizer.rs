use crate::common::{Copy, fixture};
use rankforge_encoder::{Input, Tokenizer};
use serde_json::{Value, json};

const PAIR: Input<'_> = Input::Pair("The river", "a cold, cold mountain");

fn load(copy: &Copy) -> Tokenizer {
    Tokenizer::load(copy.path()).expect("tokenizer")
}

fn plain() -> Tokenizer {
    Tokenizer::load(&fixture("ce_plain")).expect("tokenizer")
}

fn words(tokenizer: &str, ids: &[u32]) -> Vec<String> {
    let json: Value = serde_json::from_str(tokenizer).expect("JSON");
    let vocabulary = json["model"]["vocab"].as_object().expect("vocabulary");
    let word = |id: &u32| vocabulary.iter().find(|(_, known)| **known == *id).expect("known id").0;
    ids.iter().map(|id| word(id).clone()).collect()
}

#[test]
fn a_pair_goes_through_the_template_with_its_segments() {
    let json = std::fs::read_to_string(fixture("ce_plain/tokenizer.json")).expect("file");
    let tokens = plain().encode(&[PAIR]).expect("tokens").remove(0);
    let expected =
        ["[CLS]", "the", "river", "[SEP]", "a", "cold", ",", "cold", "mountain", "[SEP]"];
    assert_eq!(words(&json, &tokens.ids), expected);
    assert_eq!(tokens.type_ids, [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
    assert_eq!(tokens.truncated, 0);
}

#[test]
fn the_longer_text_is_cut_first_and_what_is_cut_is_counted() {
    let json = std::fs::read_to_string(fixture("ce_plain/tokenizer.json")).expect("file");
    let mut tokenizer = plain();
    let cut = |tokenizer: &Tokenizer| {
        let tokens = tokenizer.encode(&[PAIR]).expect("tokens").remove(0);
        (words(&json, &tokens.ids).join(" "), tokens.truncated)
    };
    tokenizer.set_max_length(Some(8));
    assert_eq!(cut(&tokenizer), ("[CLS] the river [SEP] a cold , [SEP]".to_owned(), 2));
    tokenizer.set_max_length(Some(6));
    assert_eq!(cut(&tokenizer), ("[CLS] the [SEP] a cold [SEP]".to_owned(), 4));
    tokenizer.set_max_length(None);
    assert_eq!(cut(&tokenizer).1, 0);
}

#[test]
fn padding_and_truncation_stored_in_the_file_are_overridden() {
    let copy = Copy::of("ce_plain");
    let padding = json!({
        "strategy": {"Fixed": 20}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "[PAD]",
    });
    copy.set("tokenizer.json", "padding", padding);
    let truncation = json!({
        "direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0,
    });
    copy.set("tokenizer.json", "truncation", truncation);
    assert_eq!(
        load(&copy).encode(&[PAIR]).expect("tokens"),
        plain().encode(&[PAIR]).expect("tokens")
    );
}

#[test]
fn the_order_of_many_inputs_is_kept() {
    let tokenizer = plain();
    let texts: Vec<String> = (0..500).map(|count| "moon ".repeat(count % 17)).collect();
    let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::Single(text)).collect();
    let tokens = tokenizer.encode(&inputs).expect("tokens");
    for (count, tokens) in tokens.iter().enumerate() {
        assert_eq!(tokens.ids.len(), count % 17 + 2);
    }
}

#[test]
fn model_max_length_is_read_and_huge_values_are_no_limit() {
    assert_eq!(plain().max_length(), Some(24));
    let copy = Copy::of("ce_plain");
    copy.set("tokenizer_config.json", "model_max_length", json!(1e30));
    assert_eq!(load(&copy).max_length(), None);
    copy.set("tokenizer_config.json", "model_max_length", json!("many"));
    let error = Tokenizer::load(copy.path()).err().expect("an error").to_string();
    assert!(error.contains("model_max_length") && error.contains("\"many\""), "{error}");
}

#[test]
fn a_bert_vocabulary_alone_gives_the_same_tokens() {
    let copy = Copy::of("ce_plain");
    let json: Value = crate::common::read_json(&copy.file("tokenizer.json"));
    let mut vocabulary: Vec<(&String, u64)> = json["model"]["vocab"]
        .as_object()
        .expect("vocabulary")
        .iter()
        .map(|(token, id)| (token, id.as_u64().expect("id")))
        .collect();
    vocabulary.sort_by_key(|(_, id)| *id);
    let lines: Vec<&str> = vocabulary.iter().map(|(token, _)| token.as_str()).collect();
    copy.write("vocab.txt", &(lines.join("\n") + "\n"));
    copy.remove("tokenizer.json");
    let inputs = [PAIR, Input::Single("UNBAKED Brëad [MASK] 東京 fish"), Input::Pair("", "")];
    let made = load(&copy);
    assert_eq!(made.encode(&inputs).expect("tokens"), plain().encode(&inputs).expect("tokens"));
    assert_eq!(made.vocab_size(), plain().vocab_size());

    let saved = tempfile::tempdir().expect("temporary directory");
    made.save(saved.path()).expect("saved");
    let again = Tokenizer::load(saved.path()).expect("tokenizer");
    assert_eq!(again.encode(&inputs).expect("tokens"), made.encode(&inputs).expect("tokens"));
}

#[test]
fn a_vocabulary_that_is_not_of_bert_asks_for_conversion() {
    let copy = Copy::of("ce_plain");
    copy.remove("tokenizer.json");
    copy.set("tokenizer_config.json", "tokenizer_class", json!("XLMRobertaTokenizer"));
    let error = Tokenizer::load(copy.path()).err().expect("an error").to_string();
    assert!(error.contains("tokenizer.json") && error.contains("AutoTokenizer"), "{error}");
}

#[test]
fn segments_are_left_out_where_the_python_class_leaves_them_out() {
    let copy = Copy::of("ce_plain");
    for class in ["MPNetTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend"] {
        copy.set("tokenizer_config.json", "tokenizer_class", json!(class));
        let tokens = load(&copy).encode(&[PAIR]).expect("tokens").remove(0);
        assert_eq!(tokens.type_ids, vec![0; tokens.ids.len()], "{class}");
    }
    let names = json!(["input_ids", "token_type_ids", "attention_mask"]);
    copy.set("tokenizer_config.json", "model_input_names", names);
    let tokens = load(&copy).encode(&[PAIR]).expect("tokens").remove(0);
    assert_eq!(tokens.type_ids.iter().sum::<u32>(), 6);
}

#[test]
fn the_tokens_of_a_prompt_are_counted_without_the_end() {
    let tokenizer = plain();
    assert_eq!(tokenizer.prompt_length("why is ").expect("length"), 3);
    let prompted = tokenizer.encode(&[Input::Single("why is snow cold")]).expect("tokens");
    let prompt = tokenizer.encode(&[Input::Single("why is ")]).expect("tokens");
    assert_eq!(prompted[0].ids[..3], prompt[0].ids[..3]);
}

#[test]
fn a_malformed_file_is_named() {
    let copy = Copy::of("ce_plain");
    copy.write("tokenizer.json", "{\"version\": \"1.0\",\n \"model\": 3}");
    let error = Tokenizer::load(copy.path()).err().expect("an error").to_string();
    assert!(
        error.contains("tokenizer.json") && error.contains("not a usable tokenizer"),
        "{error}"
    );
    assert!(Tokenizer::from_json("{").is_err());
}

#[test]
fn a_tokenizer_from_text_is_saved_with_what_python_needs() {
    let json = std::fs::read_to_string(fixture("ce_plain/tokenizer.json")).expect("file");
    let mut tokenizer = Tokenizer::from_json(&json).expect("tokenizer");
    tokenizer.set_max_length(Some(20));
    let saved = tempfile::tempdir().expect("temporary directory");
    tokenizer.save(saved.path()).expect("saved");
    let config = crate::common::read_json(&saved.path().join("tokenizer_config.json"));
    assert_eq!(config["tokenizer_class"], "PreTrainedTokenizerFast");
    assert_eq!(config["model_input_names"][1], "token_type_ids", "or Python reads no segments");
    assert_eq!(config["pad_token"], "[PAD]");
    assert_eq!(config["model_max_length"], 20);
    let written = std::fs::read_to_string(saved.path().join("tokenizer.json")).expect("file");
    assert_eq!(written, json);
}
