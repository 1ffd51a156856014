//! Models whose weights are packed for inference.

use crate::adapters;
use crate::common::{fixture, options};
use crate::fixture::{FAMILIES, Goldens, architecture, batch, classifier};
use rankforge_encoder::kernels::{Device, Isa, Precision};
use rankforge_encoder::{
    CrossEncoder, EncoderError, LoadOptions, LoraConfig, Mode, Model, Packing, TextModel, Workspace,
};
use serde_json::json;

/// The logits of a model for the golden sequences of a family.
fn logits(model: &Model, family: &str) -> Vec<f32> {
    let batch = batch(&Goldens::open(family).sequences, model);
    let mut workspace = Workspace::new(model.device());
    model.forward(&batch, Mode::Inference, false, &mut workspace).values
}

fn devices() -> Vec<Device> {
    let isas = Isa::available().into_iter();
    let cpus = isas.map(|isa| Device::cpu_with(isa, 2).expect("the machine has it"));
    cpus.chain([Device::reference().expect("one thread starts")]).collect()
}

#[test]
fn packed_models_give_the_same_bits_in_every_precision_on_every_device() {
    // With 64 columns the parts of the last block's fused projection begin at panels.
    let wide = json!({ "hidden_size": 64, "num_attention_heads": 4 });
    for device in devices() {
        let mut models: Vec<(&str, Model)> = FAMILIES
            .iter()
            .map(|&(family, _)| (family, classifier(&device, family, &json!({}))))
            .collect();
        models.push(("bert", Model::new(&device, architecture("bert", 1, &wide), 3)));
        for (family, mut model) in models {
            for precision in Precision::ALL {
                model.set_precision(precision);
                let expected = logits(&model, family);
                for packing in [Packing::Beside, Packing::Instead] {
                    let mut packed = model.clone();
                    packed.pack(packing);
                    let what = format!("{family} in {precision}, {packing:?}, on {device:?}");
                    assert_eq!(packed.has_matrices(), packing == Packing::Beside, "{what}");
                    assert!(logits(&packed, family) == expected, "{what}");
                }
            }
        }
    }
}

#[test]
fn all_matrices_go_where_panels_allow_it_and_embeddings_and_norms_stay() {
    let wide = json!({ "hidden_size": 64, "num_attention_heads": 4 });
    let device = Device::cpu_with(Isa::best(), 1).expect("the best instruction set");
    let mut model = Model::new(&device, architecture("bert", 1, &wide), 3);
    model.pack(Packing::Instead);
    let layout = model.parameters().layout();
    for entry in layout.entries() {
        let is_linear = entry.rows > 1 && entry.columns > 1 && entry.name.ends_with(".weight");
        let is_linear = is_linear || entry.name == "head.3.weight";
        let expected = !is_linear || entry.name.contains("embeddings");
        assert_eq!(entry.offset.is_some(), expected, "{}", entry.name);
    }
}

#[test]
fn adapters_stay_beside_packed_weights() {
    let device = Device::cpu_with(Isa::best(), 2).expect("the best instruction set");
    let mut model = classifier(&device, "bert", &json!({}));
    adapters::adapt(&mut model);
    adapters::disturb(&mut model);
    let expected = logits(&model, "bert");
    model.pack(Packing::Instead);
    assert!(logits(&model, "bert") == expected);
}

#[test]
fn changed_parameters_or_precision_are_not_hidden_by_packed_weights() {
    let device = Device::cpu_with(Isa::best(), 2).expect("the best instruction set");
    let mut model = classifier(&device, "bert", &json!({}));
    let (mut packed, before) = (model.clone(), logits(&model, "bert"));
    for change in
        [(|model: &mut Model| model.set_precision(Precision::Float16)) as fn(&mut Model), |model| {
            model.parameters_mut().flat_mut().fill(0.25)
        }]
    {
        packed.pack(Packing::Beside);
        change(&mut model);
        change(&mut packed);
        let after = logits(&model, "bert");
        assert!(after != before && logits(&packed, "bert") == after);
    }
}

#[test]
fn a_model_without_matrices_refuses_what_needs_them() {
    let options = LoadOptions { packing: Packing::Instead, ..options() };
    let path = fixture("ce_plain");
    let mut model = CrossEncoder::open_with(&path, &options).expect("model");
    assert!(model.predict(&[("a", "b")]).is_ok());
    let folder = tempfile::tempdir().expect("folder");
    let refused: [(&str, Result<(), EncoderError>); 5] = [
        ("save", model.save(&folder.path().join("model"), None)),
        ("digest", model.parts().digest().map(|_| ())),
        ("load", model.load_parameters(&path)),
        ("train", model.model_mut().set_trainable(|_| true)),
        ("adapt", model.add_adapter(&LoraConfig::default(), 1)),
    ];
    for (what, result) in refused {
        let message = result.expect_err(what).to_string();
        assert!(message.contains("Packing::Instead"), "{what}: {message}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0, "nothing is left");
}
