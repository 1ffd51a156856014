//! Replacing the parameters of a model by those of a directory: all of them, or none.

use crate::common::{Copy, bits, fixture, options};
use rankforge_encoder::{CrossEncoder, TextModel};
use serde_json::{Value, json};
use std::fs;

fn load(name: &str) -> CrossEncoder {
    CrossEncoder::open_with(fixture(name), &options()).expect("model")
}

/// Asserts that loading the parameters of a directory fails with a message that contains all
/// `parts`, and leaves the model as it was.
#[track_caller]
fn refuse(model: &mut CrossEncoder, directory: &Copy, parts: &[&str]) {
    let before = bits(model.model());
    let error = model.load_parameters(directory.path()).expect_err("an error").to_string();
    for part in parts {
        assert!(error.contains(part), "expected {part:?} in: {error}");
    }
    assert_eq!(bits(model.model()), before, "{error}");
}

/// A model whose parameters differ from those of every fixture.
fn filled(name: &str) -> CrossEncoder {
    let mut model = load(name);
    model.model_mut().parameters_mut().flat_mut().fill(0.5);
    model
}

#[test]
fn parameters_are_replaced_only_when_all_modules_fit() {
    // The transformer, which is read first, is complete in each.
    let mut model = filled("ce_modular");
    let copy = Copy::of("ce_modular");
    copy.remove("4_Dense/model.safetensors");
    refuse(&mut model, &copy, &["4_Dense", "expected model.safetensors"]);

    let other = fixture("st_v6/2_Dense/model.safetensors");
    fs::copy(other, copy.file("4_Dense/model.safetensors")).expect("copied");
    refuse(&mut model, &copy, &["4_Dense", "linear.", "expected shape", "[1"]);

    let copy = Copy::of("ce_modular");
    let header = |dtype: &str| {
        let tensor = |range: [u32; 2], shape: Value| {
            let mut tensor = json!({"dtype": dtype, "shape": shape});
            tensor["data_offsets"] = json!(range);
            tensor
        };
        json!({"linear.weight": tensor([0, 48], json!([1, 12])),
               "linear.bias": tensor([48, 52], json!([1]))})
        .to_string()
    };
    let file = |header: String| {
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], header.as_bytes(), &[0; 52]].concat()
    };
    fs::write(copy.file("4_Dense/model.safetensors"), file(header("I32"))).expect("written");
    refuse(&mut model, &copy, &["4_Dense", "expected F64, F32", "I32"]);
    fs::write(copy.file("4_Dense/model.safetensors"), file(header("F32"))).expect("written");
    model.load_parameters(copy.path()).expect("fits");

    let mut plain = filled("ce_plain");
    refuse(
        &mut plain,
        &Copy::of("ce_modular"),
        &["2 of the", "tensors of the model are missing", "classifier"],
    );
}
