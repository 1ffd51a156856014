//! Headers of safetensors files and the indices of sharded ones.
//!
//! The first byte says what the others are: a whole file; a header; or the index of the shards
//! `a.safetensors` and `b.safetensors`. Two bytes before a header are the number of bytes of data
//! that the target writes after it; the target also writes the length of the header before it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rankforge_encoder::Weights;
use rankforge_fuzz::{with_folder, write};
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    with_folder(data.len() + (1 << 16), |folder| match kind % 3 {
        0 => check_file(folder, data),
        1 => {
            let Some((&[low, high], header)) = data.split_first_chunk() else { return };
            check_file(folder, &file(header, usize::from(u16::from_le_bytes([low, high]))));
        }
        _ => check_index(folder, data),
    });
});

/// A header with its length before it and some data after it.
fn file(header: &[u8], data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    // 1.0 in f32; other types get some number.
    bytes.extend([0, 0, 0x80, 0x3f].iter().cycle().take(data));
    bytes
}

fn check_file(folder: &Path, bytes: &[u8]) {
    write(folder, "model.safetensors", bytes);
    let ours = Weights::open(folder);
    if let Ok(weights) = &ours {
        check_tensors(weights, bytes.len());
    }
    // What the format's own crate takes, we take, and read the same from it.
    if let Ok(theirs) = SafeTensors::deserialize(bytes) {
        let ours = ours.expect("the safetensors crate accepts it");
        assert_eq!(ours.names().len(), theirs.len());
        for (name, view) in theirs.iter() {
            assert_eq!(ours.shape(name), Some(view.shape()), "{name}");
            if view.dtype() == Dtype::F32 {
                let numbers = ours.read(name).expect("F32 can be read");
                let bytes: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
                assert_eq!(bytes, view.data(), "{name}");
            }
        }
    }
}

fn check_index(folder: &Path, index: &[u8]) {
    let a = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let b = br#"{"b":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]}}"#;
    write(folder, "a.safetensors", &file(a, 8));
    write(folder, "b.safetensors", &file(b, 4));
    write(folder, "model.safetensors.index.json", index);
    if let Ok(weights) = Weights::open(folder) {
        check_tensors(&weights, 8);
        for name in weights.names() {
            assert_eq!(weights.path(name), folder.join(format!("{name}.safetensors")));
        }
    }
}

/// Every tensor that is listed can be read, unless its type is one that we do not read.
fn check_tensors(weights: &Weights, file_bytes: usize) {
    let names = weights.names();
    assert!(names.is_sorted(), "{names:?}");
    for name in names {
        let shape = weights.shape(name).expect("it is listed");
        let numbers: usize = shape.iter().product();
        // The smallest types have four bits.
        assert!(numbers <= 2 * file_bytes, "{name}: {shape:?} in {file_bytes} bytes");
        match weights.read(name) {
            Ok(read) => assert_eq!(read.len(), numbers, "{name}"),
            Err(error) => {
                let message = error.to_string();
                assert!(message.contains("expected F64, F32"), "{message}");
            }
        }
    }
    assert!(weights.read("no such tensor").is_err() || weights.shape("no such tensor").is_some());
}
