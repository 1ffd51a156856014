use crate::common::{
    Copy, Recorder, assert_near, assert_rows, bits, expected, fixture, options, read_json,
    recorded, texts,
};
use rankforge_encoder::kernels::Precision;
use rankforge_encoder::kernels::ops::{Pooling, Similarity};
use rankforge_encoder::{
    DualEncoder, Embed, EncodeOptions, LoadOptions, ModelKind, Outputs, Side, TextModel, Tokenizer,
};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::json;
use std::sync::Arc;

fn load(name: &str) -> DualEncoder {
    DualEncoder::open_with(fixture(name), &options()).expect("model")
}

fn encode(model: &DualEncoder, texts: &[&str]) -> Outputs {
    model.encode_with(texts, &EncodeOptions::default()).expect("embeddings")
}

#[test]
fn embeddings_of_every_layout_equal_those_of_sentence_transformers() {
    let expected = expected();
    let texts = texts(&expected["texts"]);
    for name in ["st_v6", "st_old", "base", "static_v6", "static_old", "model2vec"] {
        let model = load(name);
        let embeddings = encode(&model, &texts);
        assert_eq!(embeddings.columns, model.dimension(), "{name}");
        assert_rows(&embeddings, &expected["embeddings"][name]);
    }
}

#[test]
fn half_precision_has_an_effect_only_on_models_with_linear_layers() {
    let expected = expected();
    let texts = texts(&expected["texts"]);
    for (name, linear) in
        [("st_v6", true), ("base", true), ("static_v6", false), ("model2vec", false)]
    {
        for precision in [Precision::BFloat16, Precision::Float16] {
            let model =
                DualEncoder::open_with(fixture(name), &LoadOptions { precision, ..options() })
                    .expect("model");
            assert_eq!(model.model().architecture().has_linear_layers(), linear, "{name}");
            let same = encode(&model, &texts).values == encode(&load(name), &texts).values;
            assert_eq!(same, !linear, "{name} {precision}");
        }
    }
}

#[test]
fn queries_get_their_prompt_which_pooling_may_exclude() {
    let expected = expected();
    let texts = texts(&expected["texts"]);
    for name in ["st_v6", "st_old"] {
        let model = load(name);
        let queries =
            model.encode_side(Side::Query, &texts, &EncodeOptions::default()).expect("embeddings");
        assert_rows(&queries, &expected["query_embeddings"][name]);
        let documents = model
            .encode_side(Side::Document, &texts, &EncodeOptions::default())
            .expect("embeddings");
        assert_rows(&documents, &expected["embeddings"][name]);
    }
}

#[test]
fn similarity_pooling_maximum_length_and_dimension_are_read_from_the_files() {
    let model = load("st_v6");
    assert_eq!(model.similarity(), Similarity::Dot);
    assert_eq!(model.similarity_name(), "dot");
    assert_eq!(model.pooling(), [Pooling::Mean, Pooling::Max]);
    assert_eq!(model.max_length(), Some(24));
    assert_eq!(load("st_old").max_length(), Some(12));
    assert_eq!(load("base").max_length(), Some(24));
    assert_eq!(load("base").similarity(), Similarity::Cosine);
    assert_eq!(load("static_v6").dimension(), 5);
    assert_eq!(load("static_v6").max_length(), None);
    assert!(load("static_old").is_static() && !model.is_static());
}

#[test]
fn embeddings_are_truncated_and_then_normalised() {
    let model = load("base");
    let whole = encode(&model, &["a cold river"]);
    let truncating = EncodeOptions {
        truncate_dim: Some(4),
        normalize_embeddings: true,
        ..EncodeOptions::default()
    };
    let truncated = model.encode_with(&["a cold river"], &truncating).expect("embeddings");
    let norm = whole.values[..4].iter().map(|value| value * value).sum::<f32>().sqrt();
    let normalised: Vec<f32> = whole.values[..4].iter().map(|value| value / norm).collect();
    assert_near(&truncated.values, &normalised, "truncated by the call");
    let truncating = LoadOptions { truncate_dim: Some(3), ..options() };
    let model = DualEncoder::open_with(fixture("base"), &truncating).expect("model");
    let truncated = encode(&model, &["a cold river"]);
    assert_near(&truncated.values, &whole.values[..3], "truncated by the model");
}

#[test]
fn an_empty_list_and_empty_texts_can_be_embedded() {
    let none = encode(&load("st_v6"), &[]);
    assert_eq!((none.rows, none.columns), (0, 8));
    let empty = encode(&load("static_v6"), &["", "the"]);
    assert_eq!(empty.row(0), [0.0; 5]);
    assert_ne!(empty.row(1), [0.0; 5]);
}

#[test]
fn a_saved_dual_encoder_has_the_same_parameters_and_embeddings() {
    let folder = tempfile::tempdir().expect("temporary directory");
    for name in ["st_v6", "st_old", "base", "static_v6", "static_old", "model2vec"] {
        let model = load(name);
        let path = folder.path().join(name);
        model.save(&path, None).expect("saved");
        let recorder = Arc::new(Recorder::default());
        let again = DualEncoder::open_with(&path, &recorded(&recorder)).expect("model");
        assert_eq!(recorder.lines(), Vec::<String>::new(), "{name}");
        assert_eq!(bits(again.model()), bits(model.model()), "{name}");
        assert_eq!(again.max_length(), model.max_length(), "{name}");
        assert_eq!(again.similarity(), model.similarity(), "{name}");
        assert_eq!(again.dimension(), model.dimension(), "{name}");
        assert_eq!(again.prompts(), model.prompts());
        let texts = ["The moon is dark", ""];
        assert_eq!(encode(&again, &texts), encode(&model, &texts), "{name}");
    }
}

#[test]
fn saved_files_equal_those_of_sentence_transformers() {
    let folder = tempfile::tempdir().expect("temporary directory");
    for (name, files) in [
        (
            "st_v6",
            vec![
                "modules.json",
                "sentence_bert_config.json",
                "1_Pooling/config.json",
                "2_Dense/config.json",
                "3_Normalize/config.json",
                "tokenizer_config.json",
            ],
        ),
        ("static_v6", vec!["modules.json", "tokenizer.json"]),
    ] {
        let path = folder.path().join(name);
        load(name).save(&path, None).expect("saved");
        for file in files {
            assert_eq!(read_json(&path.join(file)), read_json(&fixture(name).join(file)), "{file}");
        }
        let mut ours = read_json(&path.join("config_sentence_transformers.json"));
        let mut theirs = read_json(&fixture(name).join("config_sentence_transformers.json"));
        ours["__version__"] = json!(null);
        theirs["__version__"] = json!(null);
        assert_eq!(ours, theirs);
    }
}

#[test]
fn the_maximum_length_of_a_static_model_is_stored_in_its_tokenizer() {
    let copy = Copy::of("static_v6");
    let truncation = json!({
        "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0,
    });
    copy.set("tokenizer.json", "truncation", truncation);
    let stored = DualEncoder::open_with(copy.path(), &options()).expect("model");
    let whole = load("static_v6");
    assert_eq!(encode(&stored, &["sun moon star"]), encode(&whole, &["sun moon"]));
    let one = LoadOptions { max_length: Some(1), ..options() };
    let model = DualEncoder::open_with(fixture("static_v6"), &one).expect("model");
    assert_eq!(encode(&model, &["sun moon star"]), encode(&whole, &["sun"]));
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("saved");
    model.save(&path, None).expect("saved");
    let again = DualEncoder::open_with(&path, &options()).expect("model");
    assert_eq!(again.max_length(), Some(1));
}

#[test]
fn the_truncation_side_of_a_static_model_is_stored_in_its_tokenizer() {
    let copy = Copy::of("static_v6");
    let truncation = json!({
        "direction": "Left", "max_length": 2, "strategy": "LongestFirst", "stride": 0,
    });
    copy.set("tokenizer.json", "truncation", truncation);
    let whole = load("static_v6");
    let stored = DualEncoder::open_with(copy.path(), &options()).expect("model");
    assert_eq!(encode(&stored, &["sun moon star"]), encode(&whole, &["moon star"]));
    let one = LoadOptions { max_length: Some(1), ..options() };
    let shorter = DualEncoder::open_with(copy.path(), &one).expect("model");
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("saved");
    shorter.save(&path, None).expect("saved");
    let again = DualEncoder::open_with(&path, &options()).expect("model");
    assert_eq!(encode(&again, &["sun moon star"]), encode(&whole, &["star"]));
}

#[test]
fn special_tokens_and_segments_without_an_embedding_are_refused() {
    let special =
        |id: u32| json!({ "type": "BertProcessing", "sep": ["[SEP]", id], "cls": ["[CLS]", id] });
    let segments = json!({
        "type": "TemplateProcessing", "special_tokens": {},
        "single": [{ "Sequence": { "id": "A", "type_id": 0 } }],
        "pair": [
            { "Sequence": { "id": "A", "type_id": 0 } },
            { "Sequence": { "id": "B", "type_id": 2 } },
        ],
    });
    for (processor, expected) in [(special(9999), "10000 ids"), (segments, "segment 2")] {
        let copy = Copy::of("st_old");
        // This class uses the post-processor of `tokenizer.json`.
        copy.set("tokenizer_config.json", "tokenizer_class", json!("PreTrainedTokenizerFast"));
        let names = json!(["input_ids", "token_type_ids", "attention_mask"]);
        copy.set("tokenizer_config.json", "model_input_names", names);
        copy.set("tokenizer.json", "post_processor", processor);
        let error = DualEncoder::open_with(copy.path(), &options()).err().expect("an error");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_new_static_model_has_a_normally_distributed_row_per_token() {
    let tokenizer = Tokenizer::load(&fixture("base")).expect("tokenizer");
    let model = DualEncoder::new_static(tokenizer.clone(), 64, &options()).expect("model");
    assert_eq!(model.dimension(), 64);
    assert_eq!(model.model().parameters().layout().len(), 107 * 64);
    let values = model.model().parameters().flat().to_vec();
    let deviation =
        (values.iter().map(|x| f64::from(x * x)).sum::<f64>() / values.len() as f64).sqrt();
    // The standard error of the relative deviation of n normal numbers is 1 / sqrt(2 n). The
    // tolerance is four of them.
    assert!(
        (deviation * 8.0 - 1.0).abs() < 4.0 / (2.0 * values.len() as f64).sqrt(),
        "{deviation}"
    );
    let again = DualEncoder::new_static(tokenizer, 64, &options()).expect("model");
    assert_eq!(bits(again.model()), bits(model.model()));
    assert_eq!(model.kind(), ModelKind::SentenceTransformer);
}

#[test]
fn do_lower_case_of_older_configs_is_applied() {
    let copy = Copy::of("st_old");
    copy.set("tokenizer_config.json", "do_lower_case", json!(false));
    let cased = DualEncoder::open_with(copy.path(), &options()).expect("model");
    assert_ne!(encode(&cased, &["SEA"]), encode(&cased, &["sea"]));
    copy.set("sentence_bert_config.json", "do_lower_case", json!(true));
    let lower = DualEncoder::open_with(copy.path(), &options()).expect("model");
    assert_eq!(encode(&lower, &["SEA"]), encode(&lower, &["sea"]));
    let folder = tempfile::tempdir().expect("temporary directory");
    let path = folder.path().join("saved");
    lower.save(&path, None).expect("saved");
    let again = DualEncoder::open_with(&path, &options()).expect("model");
    assert_eq!(encode(&again, &["SEA"]), encode(&lower, &["sea"]));
}

#[test]
fn the_config_of_a_model2vec_directory_determines_normalisation() {
    let copy = Copy::of("model2vec");
    copy.remove("modules.json");
    let model = DualEncoder::open_with(copy.path(), &options()).expect("model");
    let texts = ["sun and moon"];
    assert_eq!(encode(&model, &texts), encode(&load("model2vec"), &texts));
    copy.set("config.json", "normalize", json!(false));
    let model = DualEncoder::open_with(copy.path(), &options()).expect("model");
    let norm = encode(&model, &texts).values.iter().map(|value| value * value).sum::<f32>();
    assert!((norm - 1.0).abs() > 1e-3, "{norm}");
}

#[test]
fn a_model2vec_table_without_a_mapping_has_one_row_per_token() {
    let copy = Copy::of("model2vec");
    let values = load("static_old").model().parameters().flat().to_vec();
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let tensor = TensorView::new(Dtype::F32, vec![107, 6], &bytes).expect("tensor");
    serialize_to_file([("embeddings", tensor)], None, &copy.file("model.safetensors"))
        .expect("file");
    copy.remove("modules.json");
    copy.set("config.json", "normalize", json!(false));
    let recorder = Arc::new(Recorder::default());
    let model = DualEncoder::open_with(copy.path(), &recorded(&recorder)).expect("model");
    assert_eq!(recorder.lines(), Vec::<String>::new());
    let texts = ["sun and moon"];
    assert_eq!(encode(&model, &texts), encode(&load("static_old"), &texts));
    model.save(copy.path(), None).expect("saved over it");
    let again = DualEncoder::open_with(copy.path(), &recorded(&recorder)).expect("model");
    assert_eq!(bits(again.model()), bits(model.model()));
}
