//! Static models of teachers with BPE and Unigram tokenizers, beside model2vec.

use crate::common::options;
use rankforge_encoder::{DistillOptions, DualEncoder, EncodeOptions, TextModel, distill_static};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;

/// The golden values, which `fixtures/distillation.py` writes.
#[derive(Deserialize)]
struct Golden {
    family: String,
    files: Map<String, Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    dimension: Option<usize>,
    sif_coefficient: Option<f64>,
    pattern: Option<String>,
    vocabulary: Vec<String>,
    tokens: Vec<String>,
    rows: Vec<Vec<f32>>,
}

fn goldens() -> Vec<Golden> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/distillation.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Writes the teacher of golden values.
fn write_teacher(golden: &Golden, folder: &Path) {
    fs::create_dir(folder).unwrap();
    let families = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/families");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(families.join(&golden.family).join(name), folder.join(name)).unwrap();
    }
    for (name, content) in &golden.files {
        fs::write(folder.join(name), content.to_string()).unwrap();
    }
}

/// The tokens of a `tokenizer.json` in the order of their ids.
fn tokens(path: &Path) -> Vec<String> {
    let json: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match &json["model"]["vocab"] {
        Value::Array(pieces) => pieces.iter().map(|piece| text(&piece[0])).collect(),
        vocab => {
            let mut ids: Vec<(&String, &Value)> = vocab.as_object().unwrap().iter().collect();
            ids.sort_by_key(|(_, id)| id.as_u64());
            ids.into_iter().map(|(token, _)| token.clone()).collect()
        }
    }
}

#[test]
fn tables_of_bpe_and_unigram_teachers_are_those_of_model2vec() {
    for golden in goldens() {
        let folder = tempfile::tempdir().unwrap();
        let teacher = folder.path().join("teacher");
        write_teacher(&golden, &teacher);
        for (index, case) in golden.cases.iter().enumerate() {
            let what = format!("{}, case {index}", golden.family);
            let output = folder.path().join(index.to_string());
            let settings = DistillOptions {
                dimension: case.dimension,
                sif_coefficient: case.sif_coefficient,
                token_remove_pattern: case.pattern.clone(),
                vocabulary: case.vocabulary.clone(),
            };
            distill_static(&teacher, &output, &settings, &options()).unwrap();
            assert_eq!(tokens(&output.join("tokenizer.json")), case.tokens, "{what}");
            let model = DualEncoder::open_with(&output, &options()).unwrap();
            let table = model.model().parameters().flat().to_vec();
            let width = case.rows[0].len();
            assert_eq!(table.len(), case.rows.len() * width, "{what}");
            let known = golden.cases[0].tokens.len();
            for (id, expected) in case.rows.iter().enumerate() {
                // model2vec encodes the mark of a space in a new token as if it were a letter.
                if id >= known && case.tokens[id].contains('Ġ') {
                    continue;
                }
                let row = &table[id * width..(id + 1) * width];
                for (got, expected) in row.iter().zip(expected) {
                    let error = (got - expected).abs();
                    assert!(error < 2e-5, "{what}, {}: {got}, {expected}", case.tokens[id]);
                }
            }
        }
    }
}

#[test]
fn texts_become_the_new_tokens() {
    for golden in goldens() {
        let folder = tempfile::tempdir().unwrap();
        let (teacher, output) = (folder.path().join("teacher"), folder.path().join("static"));
        write_teacher(&golden, &teacher);
        let words = ["north", "worn sand"].map(str::to_owned);
        let settings = DistillOptions {
            dimension: None,
            sif_coefficient: None,
            vocabulary: words.to_vec(),
            ..DistillOptions::default()
        };
        distill_static(&teacher, &output, &settings, &options()).unwrap();
        let model = DualEncoder::open_with(&output, &options()).unwrap();
        // The embedding of a text of one token is its row, of unit length. The first word of a text
        // and a later one are the same token.
        let names = tokens(&output.join("tokenizer.json"));
        let encoded = |text: &str| {
            let found = model.tokenizer().encode(&[rankforge_encoder::Input::single(text)]);
            let ids = found.unwrap().pop().unwrap().ids;
            ids.into_iter().map(|id| names[id as usize].clone()).collect::<Vec<_>>()
        };
        let north = &encoded("north")[0];
        assert!(north.ends_with("north"), "{north}");
        assert_eq!(encoded("the north"), [encoded("the")[0].clone(), north.clone()]);
        assert_eq!(encoded("worn sand"), ["worn sand"]);
        assert!(!encoded("worn").contains(&"worn sand".to_owned()));
        let texts = ["north", "qqq"];
        let embeddings = model.encode_with(&texts, &EncodeOptions::default()).unwrap();
        assert_eq!(embeddings.rows, 2, "a text of unknown letters has an embedding too");
        assert!(embeddings.values.iter().all(|x| x.is_finite()));
    }
}
