//! The tables of static models: every number type, and the tensors of model2vec.

use crate::common::{Copy, Recorder, bits, options, recorded};
use rankforge_encoder::{DualEncoder, TextModel};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use std::path::Path;
use std::sync::Arc;

/// Number of token ids, and width of the table.
const IDS: usize = 107;
const WIDTH: usize = 6;

/// A tensor: name, type, shape and bytes.
type Typed = (&'static str, Dtype, Vec<usize>, Vec<u8>);

/// A copy of a static model with these tensors.
fn with_tensors(name: &str, tensors: &[Typed]) -> Copy {
    let copy = Copy::of(name);
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.clone(), bytes).expect("shape"))
    });
    serialize_to_file(views, None, &copy.file("model.safetensors")).expect("written");
    copy
}

fn open(path: &Path) -> DualEncoder {
    DualEncoder::open_with(path, &options()).expect("model")
}

/// Small integers, the same in every type that holds them.
fn values(count: usize) -> Vec<i8> {
    (0..count).map(|index| (index * 37 % 127) as i8).collect()
}

fn bytes<const SIZE: usize>(values: &[i8], encode: impl Fn(i8) -> [u8; SIZE]) -> Vec<u8> {
    values.iter().flat_map(|&value| encode(value)).collect()
}

/// `values` in several number types.
fn in_types(values: &[i8]) -> Vec<(Dtype, Vec<u8>)> {
    vec![
        (Dtype::F64, bytes(values, |value| f64::from(value).to_le_bytes())),
        (Dtype::F32, bytes(values, |value| f32::from(value).to_le_bytes())),
        (Dtype::F16, bytes(values, |value| half::f16::from(value).to_le_bytes())),
        (Dtype::BF16, bytes(values, |value| half::bf16::from(value).to_le_bytes())),
        (Dtype::I8, bytes(values, i8::to_le_bytes)),
        (Dtype::U8, bytes(values, i8::to_le_bytes)),
        (Dtype::I32, bytes(values, |value| i32::from(value).to_le_bytes())),
        (Dtype::I64, bytes(values, |value| i64::from(value).to_le_bytes())),
    ]
}

#[test]
fn tables_of_every_number_type_are_read_by_value() {
    let values = values(IDS * WIDTH);
    for (layout, name) in [("static_v6", "embedding.weight"), ("model2vec", "embeddings")] {
        for (dtype, bytes) in in_types(&values) {
            let copy = with_tensors(layout, &[(name, dtype, vec![IDS, WIDTH], bytes)]);
            let expected: Vec<u32> =
                values.iter().map(|&value| f32::from(value).to_bits()).collect();
            let recorder = Arc::new(Recorder::default());
            let model = DualEncoder::open_with(copy.path(), &recorded(&recorder)).expect("model");
            assert_eq!(bits(model.model()), expected, "{layout} {dtype:?}");
            let told = recorder.count(&["message", &format!("table is of type {dtype};")]);
            let is_float = [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16].contains(&dtype);
            assert_eq!(told, usize::from(!is_float), "{layout} {dtype}");
        }
    }
}

#[test]
fn shared_rows_and_weights_of_every_number_type_are_read_by_value() {
    let (table, weights) = (values(128 * WIDTH), values(IDS));
    let mapping = values(IDS);
    let expected: Vec<u32> = (0..IDS * WIDTH)
        .map(|index| {
            let (id, column) = (index / WIDTH, index % WIDTH);
            let value = table[mapping[id] as usize * WIDTH + column];
            (f32::from(value) * f32::from(weights[id])).to_bits()
        })
        .collect();
    for (types, weight_types) in in_types(&table).into_iter().zip(in_types(&weights)) {
        let (mapping_type, mapping) = match in_types(&mapping).into_iter() {
            mut all if weight_types.0 == Dtype::I8 => all.nth(4).expect("I8"),
            mut all if weight_types.0 == Dtype::I32 => all.nth(6).expect("I32"),
            mut all if weight_types.0 == Dtype::U8 => all.nth(5).expect("U8"),
            mut all => all.nth(7).expect("I64"),
        };
        let copy = with_tensors(
            "model2vec",
            &[
                ("embeddings", types.0, vec![128, WIDTH], types.1),
                ("weights", weight_types.0, vec![IDS], weight_types.1),
                ("mapping", mapping_type, vec![IDS], mapping),
            ],
        );
        assert_eq!(bits(open(copy.path()).model()), expected, "{:?}", types.0);
    }
}

#[test]
fn tensors_that_are_no_table_mapping_or_weights_are_refused() {
    let table = |shape: Vec<usize>| ("embeddings", Dtype::I8, shape, vec![1; IDS * WIDTH]);
    let ones = |name, dtype: Dtype, shape| -> Typed {
        (name, dtype, shape, vec![1; IDS * dtype.bitsize() / 8])
    };
    let whole = || table(vec![IDS, WIDTH]);
    let cases: [(Vec<Typed>, &[&str]); 5] = [
        (vec![table(vec![IDS * WIDTH])], &["tensor embeddings", "two dimensions", "[642]"]),
        (
            vec![whole(), ones("weights", Dtype::I8, vec![IDS, 1])],
            &["tensor weights", "expected shape [107]", "[107, 1]"],
        ),
        (
            vec![whole(), ones("mapping", Dtype::F16, vec![IDS])],
            &["tensor mapping", "expected integers", "F16"],
        ),
        (
            vec![whole(), ("mapping", Dtype::I8, vec![IDS], vec![0xff; IDS])],
            &["tensor mapping", "indices from 0", "-1"],
        ),
        (
            vec![("embeddings", Dtype::C64, vec![IDS, WIDTH], vec![0; IDS * WIDTH * 8])],
            &["tensor embeddings", "C64"],
        ),
    ];
    for (tensors, parts) in cases {
        let copy = with_tensors("model2vec", &tensors);
        let error = DualEncoder::open_with(copy.path(), &options()).err().expect("an error");
        let message = error.to_string();
        for part in parts.iter().chain(&["model.safetensors"]) {
            assert!(message.contains(part), "expected {part:?} in: {message}");
        }
    }
}
