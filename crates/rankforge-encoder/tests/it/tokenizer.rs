use crate::common::{Copy, fixture};
use rankforge_encoder::{Input, Tokenizer};
use serde_json::{Value, json};

fn pair() -> Input<'static> {
    Input::pair("The river", "a cold, cold mountain")
}

fn load(copy: &Copy) -> Tokenizer {
    Tokenizer::load(copy.path()).expect("tokenizer")
}

fn plain() -> Tokenizer {
    Tokenizer::load(&fixture("ce_plain")).expect("tokenizer")
}

/// A tokenizer of the class that uses `tokenizer.json` as it is.
fn generic() -> Copy {
    let copy = Copy::of("ce_plain");
    copy.set("tokenizer_config.json", "tokenizer_class", json!("PreTrainedTokenizerFast"));
    copy
}

/// The tokens of these ids, in the vocabulary of a `tokenizer.json`.
fn words(tokenizer: &str, ids: &[u32]) -> Vec<String> {
    let json: Value = serde_json::from_str(tokenizer).expect("JSON");
    let vocabulary = json["model"]["vocab"].as_object().expect("vocabulary");
    let token = |id: &u32| vocabulary.iter().find(|(_, other)| **other == *id).expect("an id").0;
    ids.iter().map(|id| token(id).clone()).collect()
}

#[test]
fn a_pair_gets_the_special_tokens_and_segments_of_the_template() {
    let json = std::fs::read_to_string(fixture("ce_plain/tokenizer.json")).expect("file");
    let tokens = plain().encode(&[pair()]).expect("tokens").remove(0);
    let expected =
        ["[CLS]", "the", "river", "[SEP]", "a", "cold", ",", "cold", "mountain", "[SEP]"];
    assert_eq!(words(&json, &tokens.ids), expected);
    assert_eq!(tokens.type_ids, [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
    assert!(!tokens.truncated);
}

#[test]
fn the_longer_text_is_truncated_first() {
    let json = std::fs::read_to_string(fixture("ce_plain/tokenizer.json")).expect("file");
    let mut tokenizer = plain();
    let encode = |tokenizer: &Tokenizer| {
        let tokens = tokenizer.encode(&[pair()]).expect("tokens").remove(0);
        (words(&json, &tokens.ids).join(" "), tokens.truncated)
    };
    tokenizer.set_max_length(Some(8));
    assert_eq!(encode(&tokenizer), ("[CLS] the river [SEP] a cold , [SEP]".to_owned(), true));
    tokenizer.set_max_length(Some(6));
    assert_eq!(encode(&tokenizer), ("[CLS] the [SEP] a cold [SEP]".to_owned(), true));
    tokenizer.set_max_length(None);
    assert!(!encode(&tokenizer).1);
}

#[test]
fn padding_and_truncation_stored_in_the_file_are_ignored() {
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
        load(&copy).encode(&[pair()]).expect("tokens"),
        plain().encode(&[pair()]).expect("tokens")
    );
}

#[test]
fn many_inputs_are_tokenised_in_order() {
    let tokenizer = plain();
    let texts: Vec<String> = (0..500).map(|count| "moon ".repeat(count % 17)).collect();
    let inputs: Vec<Input<'_>> = texts.iter().map(Input::single).collect();
    let tokens = tokenizer.encode(&inputs).expect("tokens");
    for (count, tokens) in tokens.iter().enumerate() {
        assert_eq!(tokens.ids.len(), count % 17 + 2);
    }
}

#[test]
fn model_max_length_is_read_and_huge_values_mean_no_limit() {
    assert_eq!(plain().max_length(), Some(24));
    let copy = Copy::of("ce_plain");
    copy.set("tokenizer_config.json", "model_max_length", json!(1e30));
    assert_eq!(load(&copy).max_length(), None);
    copy.set("tokenizer_config.json", "model_max_length", json!("many"));
    let error = Tokenizer::load(copy.path()).err().expect("an error").to_string();
    assert!(error.contains("model_max_length") && error.contains("\"many\""), "{error}");
}

#[test]
fn a_vocab_txt_of_bert_gives_the_same_tokens_as_its_tokenizer_json() {
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
    let inputs = [pair(), Input::single("UNBAKED Brëad [MASK] 東京 fish"), Input::pair("", "")];
    let converted = load(&copy);
    let expected = plain().encode(&inputs).expect("tokens");
    assert_eq!(converted.encode(&inputs).expect("tokens"), expected);
    assert_eq!(converted.vocab_size(), plain().vocab_size());

    let saved = tempfile::tempdir().expect("temporary directory");
    converted.save(saved.path()).expect("saved");
    let again = Tokenizer::load(saved.path()).expect("tokenizer");
    assert_eq!(again.encode(&inputs).expect("tokens"), expected);
}

#[test]
fn the_error_for_a_vocabulary_of_another_family_says_how_to_convert_it() {
    let copy = Copy::of("ce_plain");
    copy.remove("tokenizer.json");
    copy.set("tokenizer_config.json", "tokenizer_class", json!("XLMRobertaTokenizer"));
    let error = Tokenizer::load(copy.path()).err().expect("an error").to_string();
    assert!(error.contains("tokenizer.json") && error.contains("AutoTokenizer"), "{error}");
}

#[test]
fn segments_are_omitted_where_the_python_class_omits_them() {
    let copy = Copy::of("ce_plain");
    for class in ["MPNetTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend"] {
        copy.set("tokenizer_config.json", "tokenizer_class", json!(class));
        let tokens = load(&copy).encode(&[pair()]).expect("tokens").remove(0);
        assert_eq!(tokens.type_ids, vec![0; tokens.ids.len()], "{class}");
    }
    let names = json!(["input_ids", "token_type_ids", "attention_mask"]);
    copy.set("tokenizer_config.json", "model_input_names", names);
    let tokens = load(&copy).encode(&[pair()]).expect("tokens").remove(0);
    assert_eq!(tokens.type_ids.iter().sum::<u32>(), 6);
}

#[test]
fn the_length_of_a_prompt_excludes_the_special_token_at_its_end() {
    let tokenizer = plain();
    assert_eq!(tokenizer.prompt("why is ").expect("tokens").expect("a prompt").tokens(), 3);
    let prompted = tokenizer.encode(&[Input::single("why is snow cold")]).expect("tokens");
    let prompt = tokenizer.encode(&[Input::single("why is ")]).expect("tokens");
    assert_eq!(prompted[0].ids[..3], prompt[0].ids[..3]);
}

#[test]
fn the_error_for_a_malformed_file_names_it() {
    let copy = Copy::of("ce_plain");
    copy.write("tokenizer.json", "{\"version\": \"1.0\",\n \"model\": 3}");
    let error = Tokenizer::load(copy.path()).err().expect("an error").to_string();
    assert!(error.contains("tokenizer.json") && error.contains("not a valid tokenizer"), "{error}");
    assert!(Tokenizer::from_json("{").is_err());
}

#[test]
fn a_file_that_is_cut_off_is_refused_wherever_it_ends() {
    // The parts in front of the vocabulary; files are written in this order.
    let decoder = r#""decoder": {"type": "WordPiece", "prefix": "\u0023\u0023", "cleanup": true},"#;
    let json = format!("{{\"version\": \"1.0\", \"normalizer\": {{\"type\": \"NFC\"}}, {decoder}");
    for length in 0..json.len() {
        let error = Tokenizer::from_json(&json[..length]).err().expect("an error").to_string();
        assert!(error.contains("not a valid tokenizer"), "{error}");
    }
}

#[test]
fn a_template_that_names_what_is_not_there_is_refused() {
    let copy = generic();
    let template = crate::common::read_json(&copy.file("tokenizer.json"))["post_processor"].take();
    let mut unknown = template.clone();
    unknown["pair"][0]["SpecialToken"]["id"] = json!("[START]");
    let mut second = template.clone();
    second["single"][1]["Sequence"]["id"] = json!("B");
    let inside = json!({"type": "Sequence", "processors": [unknown.clone()]});
    for (processor, part) in [(unknown, "[START]"), (second, "second text"), (inside, "[START]")] {
        copy.set("tokenizer.json", "post_processor", processor);
        let error = Tokenizer::load(copy.path()).err().expect("an error").to_string();
        assert!(error.contains("tokenizer.json") && error.contains(part), "{error}");
    }
}

#[test]
fn a_template_that_repeats_omits_or_swaps_texts_is_refused() {
    let copy = generic();
    let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    let special = || json!({"SpecialToken": {"id": "[X]", "type_id": 7}});
    let (a, b) = (text("A"), text("B"));
    let pair = || json!([a.clone(), b.clone()]);
    for (single, pair, part) in [
        (json!([a.clone(), a.clone(), special()]), pair(), "a single text"),
        (json!([special()]), pair(), "a single text"),
        (json!([a.clone()]), json!([b.clone(), a.clone()]), "a pair"),
        (json!([a.clone()]), json!([a.clone(), b.clone(), a.clone()]), "a pair"),
        (json!([a.clone()]), json!([a.clone(), special()]), "a pair"),
    ] {
        let processor = json!({
            "type": "TemplateProcessing", "single": single, "pair": pair,
            "special_tokens": {"[X]": {"id": "[X]", "ids": [9999], "tokens": ["[X]"]}},
        });
        let inside = json!({"type": "Sequence", "processors": [processor.clone()]});
        for processor in [processor, inside] {
            copy.set("tokenizer.json", "post_processor", processor);
            let error = Tokenizer::load(copy.path()).err().expect("an error").to_string();
            assert!(error.contains("tokenizer.json") && error.contains(part), "{error}");
            assert!(error.contains("each text once, and in order"), "{error}");
        }
    }
}

#[test]
fn a_tokenizer_without_config_is_saved_with_a_config_that_transformers_can_open() {
    let json = std::fs::read_to_string(fixture("ce_plain/tokenizer.json")).expect("file");
    let mut tokenizer = Tokenizer::from_json(&json).expect("tokenizer");
    tokenizer.set_max_length(Some(20));
    let saved = tempfile::tempdir().expect("temporary directory");
    tokenizer.save(saved.path()).expect("saved");
    let config = crate::common::read_json(&saved.path().join("tokenizer_config.json"));
    assert_eq!(config["tokenizer_class"], "PreTrainedTokenizerFast");
    assert_eq!(
        config["model_input_names"][1], "token_type_ids",
        "transformers would give no segment ids"
    );
    assert_eq!(config["pad_token"], "[PAD]");
    assert_eq!(config["model_max_length"], 20);
    let written = std::fs::read_to_string(saved.path().join("tokenizer.json")).expect("file");
    assert_eq!(written, json);
}
