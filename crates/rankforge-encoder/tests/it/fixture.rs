//! The tiny models and golden values in `fixtures/families`.

use rankforge_encoder::kernels::{Arena, Device, Indices, Ragged};
use rankforge_encoder::{Architecture, Batch, Model, Outputs, TransformerTask, Weights};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Each family and the number of labels of its fixture.
pub(crate) const FAMILIES: [(&str, usize); 7] = [
    ("bert", 1),
    ("roberta", 3),
    ("xlm-roberta", 1),
    ("distilbert", 1),
    ("mpnet", 1),
    ("electra", 1),
    ("modernbert", 1),
];

/// The fixture directory of a family.
pub(crate) fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/families").join(family)
}

/// The `config.json` of a family.
pub(crate) fn config(family: &str) -> Value {
    let path = folder(family).join("config.json");
    serde_json::from_slice(&std::fs::read(path).expect("fixture")).expect("fixture")
}

/// The architecture of a family's classifier, from its config with some fields replaced.
pub(crate) fn architecture(family: &str, num_labels: usize, fields: &Value) -> Architecture {
    let mut config = config(family);
    for (name, value) in fields.as_object().expect("fields are an object") {
        config[name] = value.clone();
    }
    let task = TransformerTask::SequenceClassification { num_labels };
    Architecture::from_config(&config, Path::new("config.json"), &task).expect("fixture")
}

/// The classifier of a family with the weights of the fixture.
pub(crate) fn classifier(device: &Device, family: &str, fields: &Value) -> Model {
    let num_labels = FAMILIES.iter().find(|(name, _)| *name == family).expect("family").1;
    let architecture = architecture(family, num_labels, fields);
    let weights = Weights::open(&folder(family)).expect("fixture");
    let (model, reports) =
        Model::from_weights(device, architecture, 0, &[("", &weights)]).expect("fixture");
    assert!(reports[0].missing.is_empty() && reports[0].unused.is_empty(), "{reports:?}");
    model
}

/// The golden values of a family, and the inputs they were computed for.
pub(crate) struct Goldens {
    tensors: HashMap<String, Vec<f32>>,
    pub(crate) sequences: Vec<Sequence>,
}

/// Ids and segment ids of one sequence.
#[derive(Clone)]
pub(crate) struct Sequence {
    pub(crate) ids: Vec<u32>,
    pub(crate) type_ids: Vec<u32>,
}

impl Goldens {
    pub(crate) fn open(family: &str) -> Goldens {
        let bytes = std::fs::read(folder(family).join("goldens.safetensors")).expect("fixture");
        let file = SafeTensors::deserialize(&bytes).expect("fixture");
        let decode = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("f32"));
        let tensors: HashMap<String, Vec<f32>> = file
            .iter()
            .map(|(name, view)| (name.to_owned(), view.data().chunks(4).map(decode).collect()))
            .collect();
        let integers =
            |name: &str| tensors[name].iter().map(|&value| value as u32).collect::<Vec<u32>>();
        let (ids, type_ids) = (integers("ids"), integers("type_ids"));
        let mut end = 0;
        let sequence = |length: u32| {
            let tokens = end..end + length as usize;
            end = tokens.end;
            let (ids, type_ids) = (ids[tokens.clone()].to_vec(), type_ids[tokens].to_vec());
            Sequence { ids, type_ids }
        };
        let sequences = integers("lengths").into_iter().map(sequence).collect();
        Goldens { tensors, sequences }
    }

    pub(crate) fn get(&self, name: &str) -> &[f32] {
        self.tensors.get(name).unwrap_or_else(|| panic!("no golden values {name}"))
    }
}

/// The sequences as a ragged batch for `model`.
pub(crate) fn batch(sequences: &[Sequence], model: &Model) -> Batch {
    let (device, config) = (model.device(), &model.architecture().encoder);
    let ids: Vec<u32> = sequences.iter().flat_map(|sequence| sequence.ids.clone()).collect();
    let type_ids: Vec<u32> =
        sequences.iter().flat_map(|sequence| sequence.type_ids.clone()).collect();
    let positions = config.positions.offset().map(|offset| {
        let positions = |sequence: &Sequence| offset..offset + sequence.ids.len();
        let positions = sequences.iter().flat_map(positions).map(|position| position as u32);
        Indices::new(device, &positions.collect::<Vec<u32>>())
    });
    Batch {
        ragged: Ragged::new(device, sequences.iter().map(|sequence| sequence.ids.len())),
        ids: Indices::new(device, &ids),
        type_ids: (config.type_vocab_size > 0).then(|| Indices::new(device, &type_ids)),
        positions,
        prompt_tokens: None,
        layers: Vec::new(),
    }
}

/// A CPU device with this number of threads.
pub(crate) fn device(threads: usize) -> Device {
    Device::cpu(Some(threads)).expect("a CPU device")
}

/// An arena of zeros for the gradients of the parameters that are trained.
pub(crate) fn zeros_like(model: &Model) -> Arena {
    Arena::zeros(model.device(), model.trainable_layout())
}

/// Outputs of `rows` rows with these elements.
pub(crate) fn outputs(rows: usize, values: Vec<f32>) -> Outputs {
    Outputs { rows, columns: values.len() / rows, values }
}

/// Largest absolute difference, or NaN when an element is NaN.
pub(crate) fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "number of elements");
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    // `f32::max` ignores a NaN.
    differences
        .fold(0.0, |largest, next| if next > largest || next.is_nan() { next } else { largest })
}

/// Largest absolute value.
pub(crate) fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()))
}
