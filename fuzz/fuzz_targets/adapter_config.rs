//! `adapter_config.json` of adapters, beside the weights of one that peft saved and its base model,
//! both of which are the fixtures of the encoder's tests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rankforge::Device;
use rankforge_encoder::{CrossEncoder, LoadOptions, ModelKind, TextModel, adapter_base};
use rankforge_fuzz::{with_folder, write};
use std::path::Path;
use std::sync::OnceLock;

const FIXTURES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/rankforge-encoder/tests/fixtures");
const WEIGHTS: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/rankforge-encoder/tests/fixtures/lora/ce_peft/adapter_model.safetensors"
));

fuzz_target!(|data: &[u8]| {
    // Before memory is limited: it stays.
    let options = options();
    with_folder(data.len(), |folder| {
        write(folder, "adapter_config.json", data);
        write(folder, "adapter_model.safetensors", WEIGHTS);
        check(folder, options);
    });
});

/// The options that name the base model, with one device for all inputs.
fn options() -> &'static LoadOptions {
    static OPTIONS: OnceLock<LoadOptions> = OnceLock::new();
    OPTIONS.get_or_init(|| {
        let device = Device::cpu(Some(1)).expect("one thread starts");
        let base_model = Some(Path::new(FIXTURES).join("layouts/ce_plain"));
        LoadOptions { base_model, ..LoadOptions::new(&device) }
    })
}

/// A config that is accepted gives a whole model of the kind that it says, and without the name of
/// a base model in the options a directory that is there. A refusal names the files.
fn check(folder: &Path, options: &LoadOptions) {
    let named = |message: &str| {
        let place = folder.display().to_string();
        assert!(message.contains(&place), "{message}: does not name {place}");
    };
    match CrossEncoder::open_with(folder, options) {
        Ok(model) => {
            let plain = CrossEncoder::open_with(
                Path::new(FIXTURES).join("layouts/ce_plain"),
                &LoadOptions { base_model: None, ..options.clone() },
            );
            let plain = plain.expect("the fixture opens");
            assert_eq!(model.model().parameters().layout(), plain.model().parameters().layout());
            ModelKind::of_directory_with(folder, options).expect("it was accepted");
        }
        Err(error) => named(&error.to_string()),
    }
    match adapter_base(folder, &LoadOptions { base_model: None, ..options.clone() }) {
        Ok(base) => assert!(base.expect("there is an adapter").is_dir()),
        Err(error) => named(&error.to_string()),
    }
}
