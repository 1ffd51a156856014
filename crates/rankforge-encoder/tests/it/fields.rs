//! Every field of a model's JSON files, and every type of its value, as sentence-transformers reads
//! it: the outputs of a changed model are the same, or both refuse it.

use crate::common::{Copy, assert_near, options, read_json};
use rankforge_encoder::{CrossEncoder, DualEncoder, LoadOptions};
use serde_json::Value;
use std::path::Path;

/// A value that means that the field is removed.
const REMOVED: &str = "(removed)";

/// What a model gives: its outputs, and the names of the labels of a cross-encoder.
struct Answer {
    outputs: Vec<f32>,
    labels: Vec<String>,
}

fn answer(model: &str, path: &Path, options: &LoadOptions) -> Result<Answer, String> {
    let text = |error: rankforge_encoder::EncoderError| error.to_string();
    if model.starts_with("ce_") {
        let encoder = CrossEncoder::open_with(path, options).map_err(text)?;
        let pair = ("How does bread grow?", "Flour and water.");
        let outputs = encoder.predict(&[pair]).map_err(text)?.values;
        return Ok(Answer { outputs, labels: encoder.labels().to_vec() });
    }
    let encoder = DualEncoder::open_with(path, options).map_err(text)?;
    let outputs = encoder.encode_query(&["ships sail why"]).map_err(text)?;
    Ok(Answer { outputs: outputs.values, labels: Vec::new() })
}

#[test]
fn fields_are_read_as_by_sentence_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fields.json");
    let cases = read_json(&path);
    let options = options();
    let (mut refused, mut read) = (0, 0);
    for case in cases.as_array().expect("cases") {
        let model = case["model"].as_str().expect("model");
        let file = case["file"].as_str().expect("file");
        let copy = Copy::of(model);
        let mut content = read_json(&copy.file(file));
        let object = content.as_object_mut().expect("object");
        for (field, value) in case["fields"].as_object().expect("fields") {
            match value == REMOVED {
                true => drop(object.shift_remove(field)),
                false => drop(object.insert(field.clone(), value.clone())),
            }
        }
        copy.write(file, &content.to_string());
        let what = format!("{model} {file} {}", case["fields"]);
        match (answer(model, copy.path(), &options), &case["result"]) {
            (Err(message), Value::Null) => {
                refused += 1;
                let parts = [file, ".safetensors", "input width"];
                assert!(parts.iter().any(|part| message.contains(part)), "{what}: {message}");
            }
            (Ok(_), Value::Null) => panic!("{what}: expected an error"),
            (Err(message), _) => panic!("{what}: {message}"),
            (Ok(answer), expected) => {
                read += 1;
                let numbers = expected["outputs"].as_array().expect("outputs");
                let numbers: Vec<f32> =
                    numbers.iter().map(|x| x.as_f64().expect("number") as f32).collect();
                assert_near(&answer.outputs, &numbers, &what);
                assert_labels(&answer.labels, &expected["labels"], &what);
            }
        }
    }
    assert!(refused > 80 && read > 120, "{refused} refused, {read} read");
}

/// Compares labels with pairs (index, name).
fn assert_labels(labels: &[String], expected: &Value, what: &str) {
    for pair in expected.as_array().into_iter().flatten() {
        let index = pair[0].as_u64().expect("index") as usize;
        // transformers keeps names of labels that there are not.
        if index < labels.len() {
            assert_eq!(pair[1], labels[index].as_str(), "{what}");
        }
    }
}
