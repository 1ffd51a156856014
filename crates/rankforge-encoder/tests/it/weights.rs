//! Reading and writing checkpoints: types, shards, tensor names, newly initialised tensors, and
//! malformed files.

use crate::common::{safetensors, tensors};
use crate::fixture::{FAMILIES, architecture, config, device, folder};
use rankforge_encoder::kernels::ParameterId;
use rankforge_encoder::{Architecture, HeadStage, Initializer, Model, TransformerTask, Weights};
use safetensors::tensor::SafeTensors;
use serde_json::json;
use std::path::Path;
use tempfile::TempDir;

/// A temporary model directory with these files.
fn directory(files: &[(&str, &[u8])]) -> TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    for (name, bytes) in files {
        std::fs::write(directory.path().join(name), bytes).expect("temporary file");
    }
    directory
}

/// A safetensors file with this header and data.
fn raw(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn open_error(files: &[(&str, &[u8])]) -> String {
    let directory = directory(files);
    match Weights::open(directory.path()) {
        Ok(_) => {
            let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
            panic!("expected an error for {names:?}, got Ok")
        }
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn assert_contains(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

/// The tensors of `numbers.safetensors` by type, as PyTorch converts them to f32.
#[test]
fn every_number_type_is_read_by_value() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/numbers");
    let weights = Weights::open(&folder).expect("fixture");
    let names = weights.names();
    let types: Vec<&str> =
        names.iter().copied().filter(|name| !name.ends_with(".float32")).collect();
    assert_eq!(types.len(), 14, "{types:?}");
    for name in types {
        let bits = |name: &str| -> Vec<u32> {
            let values = weights.read(name).expect("a real number");
            // Which NaN it is has no meaning.
            let bits = |value: f32| if value.is_nan() { u32::MAX } else { value.to_bits() };
            values.into_iter().map(bits).collect()
        };
        assert_eq!(bits(name), bits(&format!("{name}.float32")), "{name}");
    }
    let message = weights.read("c").expect_err("absent").to_string();
    assert_contains(&message, &["model.safetensors", "no tensor c"]);
}

#[test]
fn shards_are_read_as_one_checkpoint() {
    let all = tensors(&folder("bert"));
    let (first, second) = all.split_at(all.len() / 2);
    let shard_of =
        |index: usize| if index < first.len() { "1.safetensors" } else { "2.safetensors" };
    let map: serde_json::Map<_, _> = all
        .iter()
        .enumerate()
        .map(|(index, (name, _, _))| (name.clone(), json!(shard_of(index))))
        .collect();
    let index = json!({ "metadata": {}, "weight_map": map }).to_string();
    let directory = directory(&[
        ("model.safetensors.index.json", index.as_bytes()),
        ("1.safetensors", &safetensors(first)),
        ("2.safetensors", &safetensors(second)),
    ]);
    assert_eq!(tensors(directory.path()), all);

    // As in transformers, a tensor of a shard is there even if the index does not list it.
    let mut index: serde_json::Value = serde_json::from_str(&index).expect("JSON");
    index["weight_map"].as_object_mut().expect("object").remove(&all[0].0);
    let path = directory.path().join("model.safetensors.index.json");
    std::fs::write(path, index.to_string()).expect("file");
    assert_eq!(tensors(directory.path()), all);
}

#[test]
fn malformed_files_are_refused_with_their_name() {
    let f32_at = |start: u64, end: u64| {
        format!(r#"{{"dtype":"F32","shape":[2],"data_offsets":[{start},{end}]}}"#)
    };
    let one = |tensor: &str| format!(r#"{{"t":{tensor}}}"#);
    let two = |a: &str, b: &str| format!(r#"{{"t":{a},"u":{b}}}"#);
    let mut oversized_header = u64::MAX.to_le_bytes().to_vec();
    oversized_header.extend_from_slice(b"{}");
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (vec![], &["at least 8 bytes", "got 0"]),
        (vec![1, 2, 3], &["at least 8 bytes", "got 3"]),
        (oversized_header, &["at most 2 bytes", "18446744073709551615"]),
        (raw("{}", &[])[..9].to_vec(), &["at most 1 bytes", "got 2"]),
        (raw("not json", &[]), &["malformed JSON in the header"]),
        (raw("[1, 2]", &[]), &["expected a JSON object"]),
        (
            raw(r#"{"t":{"dtype":"F32"}}"#, &[]),
            &["tensor t", "expected dtype, shape and data_offsets"],
        ),
        (
            raw(&one(r#"{"dtype":"Q7","shape":[1],"data_offsets":[0,4]}"#), &[0; 4]),
            &["tensor t", "Q7"],
        ),
        (raw(&one(&f32_at(0, 8)), &[0; 4]), &["tensor t", "within the 4 bytes", "0..8"]),
        (raw(&one(&f32_at(8, 0)), &[0; 8]), &["tensor t", "8..0"]),
        (raw(&one(&f32_at(0, 4)), &[0; 8]), &["tensor t", "shape [2]", "got 4 bytes"]),
        (
            raw(&two(&f32_at(0, 8), &f32_at(4, 12)), &[0; 12]),
            &["tensor u", "after the data of t", "got 4"],
        ),
        (
            raw(
                &one(&format!(
                    r#"{{"dtype":"F32","shape":[{0},{0}],"data_offsets":[0,8]}}"#,
                    u64::MAX
                )),
                &[0; 8],
            ),
            &["tensor t", "got 8 bytes"],
        ),
    ];
    for (bytes, fragments) in &cases {
        let message = open_error(&[("model.safetensors", bytes)]);
        assert_contains(&message, &["model.safetensors"]);
        assert_contains(&message, fragments);
    }
}

#[test]
fn types_that_are_no_real_numbers_are_refused() {
    let bytes = raw(r#"{"t":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}"#, &[0; 8]);
    let directory = directory(&[("model.safetensors", &bytes)]);
    let weights = Weights::open(directory.path()).expect("well-formed");
    let message = weights.read("t").expect_err("complex").to_string();
    assert_contains(&message, &["model.safetensors", "tensor t", "expected F64, F32", "C64"]);
}

#[test]
fn integers_in_a_transformer_are_refused_as_they_are_quantised() {
    let name = "bert.encoder.layer.0.output.dense.bias";
    let header = json!({name: {"dtype": "I8", "shape": [24], "data_offsets": [0, 24]}});
    let directory = directory(&[("model.safetensors", &raw(&header.to_string(), &[1; 24]))]);
    let weights = Weights::open(directory.path()).expect("well-formed");
    let mut model = Model::new(&device(1), architecture("bert", 1, &json!({})), 0);
    let message = model.load("", &weights).expect_err("integers").to_string();
    assert_contains(&message, &["model.safetensors", name, "quantised", "got I8"]);
}

#[test]
fn malformed_indexes_are_refused_with_their_name() {
    let name = "model.safetensors.index.json";
    let shard = safetensors(&[("t".to_owned(), vec![1], vec![1.0])]);
    let cases: [(&str, &[&str]); 6] = [
        ("{", &["malformed JSON"]),
        ("{}", &["weight_map", "nothing"]),
        (
            r#"{"weight_map":{"t":"gone.safetensors"}}"#,
            &["tensor t", "gone.safetensors", "no such file"],
        ),
        (r#"{"weight_map":{"u":"a.safetensors"}}"#, &["tensor u", "does not contain it"]),
        (r#"{"weight_map":{"t":"../a.safetensors"}}"#, &["tensor t", "expected a file name"]),
        (r#"{"weight_map":{"t":7}}"#, &["tensor t", "got 7"]),
    ];
    for (index, fragments) in cases {
        let message = open_error(&[(name, index.as_bytes()), ("a.safetensors", &shard)]);
        assert_contains(&message, &[name]);
        assert_contains(&message, fragments);
    }
}

#[test]
fn the_error_for_a_directory_without_safetensors_says_how_to_convert() {
    let message = open_error(&[("pytorch_model.bin", b"pickle")]);
    assert_contains(&message, &["pytorch_model.bin", "convert", "weights_only=True"]);
    let message = open_error(&[("pytorch_model.bin.index.json", b"{}")]);
    assert_contains(&message, &["pytorch_model.bin.index.json", "convert", "save_pretrained"]);
    assert_contains(&open_error(&[]), &["expected model.safetensors", "neither"]);
}

#[test]
fn a_base_checkpoint_without_prefix_gets_a_newly_initialised_classifier() {
    let weights = Weights::open(&folder("bert-base")).expect("fixture");
    let architecture = architecture("bert", 2, &json!({}));
    let (model, reports) =
        Model::from_weights(&device(1), architecture, 7, &[("", &weights)]).expect("loads");
    assert_eq!(reports[0].missing, ["classifier.weight", "classifier.bias"]);
    assert!(reports[0].unused.is_empty(), "{reports:?}");
    let word = model.parameters().layout().find("embeddings.word").expect("in the arena");
    let expected = weights.read("embeddings.word_embeddings.weight").expect("fixture");
    assert_eq!(model.parameters().view(word).to_vec(), expected);
}

#[test]
fn the_transformer_of_a_classifier_checkpoint_is_read_without_its_head() {
    let weights = Weights::open(&folder("bert")).expect("fixture");
    let task = TransformerTask::FeatureExtraction;
    let architecture =
        Architecture::from_config(&config("bert"), Path::new("config.json"), &task).expect("valid");
    let mut model = Model::new(&device(1), architecture, 0);
    let report = model.load("", &weights).expect("loads");
    assert!(report.missing.is_empty(), "{report:?}");
    let head = [
        "bert.pooler.dense.bias",
        "bert.pooler.dense.weight",
        "classifier.bias",
        "classifier.weight",
    ];
    assert_eq!(report.unused, head);
    let directory = directory(&[]);
    model.save("", &directory.path().join("model.safetensors")).expect("saves");
    let saved = Weights::open(directory.path()).expect("saved");
    assert!(saved.shape("encoder.layer.0.attention.self.query.weight").is_some(), "no prefix");
}

#[test]
fn old_names_of_layer_norms_are_read_and_constants_are_not_reported() {
    let mut old = tensors(&folder("bert"));
    for (name, _, _) in &mut old {
        *name = name
            .replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta");
    }
    old.push(("bert.embeddings.position_ids".to_owned(), vec![2], vec![0.0, 1.0]));
    old.push(("cls.predictions.bias".to_owned(), vec![1], vec![0.0]));
    let directory = directory(&[("model.safetensors", &safetensors(&old))]);
    let weights = Weights::open(directory.path()).expect("valid");
    let mut model = Model::new(&device(1), architecture("bert", 1, &json!({})), 0);
    let report = model.load("", &weights).expect("loads");
    assert!(report.missing.is_empty(), "{report:?}");
    assert_eq!(report.unused, ["cls.predictions.bias"]);
}

#[test]
fn a_modernbert_language_model_shares_its_dense_head_with_the_classifier() {
    let mut language_model = tensors(&folder("modernbert"));
    language_model.retain(|(name, _, _)| !name.starts_with("classifier"));
    language_model.push(("decoder.bias".to_owned(), vec![60], vec![0.0; 60]));
    let directory = directory(&[("model.safetensors", &safetensors(&language_model))]);
    let weights = Weights::open(directory.path()).expect("valid");
    let mut model = Model::new(&device(1), architecture("modernbert", 1, &json!({})), 0);
    let report = model.load("", &weights).expect("loads");
    assert_eq!(report.missing, ["classifier.weight", "classifier.bias"]);
    assert_eq!(report.unused, ["decoder.bias"]);
}

#[test]
fn the_error_for_a_tensor_of_another_shape_has_both_shapes() {
    let weights = Weights::open(&folder("roberta")).expect("fixture");
    let mut model = Model::new(&device(1), architecture("roberta", 1, &json!({})), 0);
    let message = model.load("", &weights).expect_err("three labels").to_string();
    let parts = ["model.safetensors", "classifier.out_proj.weight", "[1, 24]", "[3, 24]"];
    assert_contains(&message, &parts);
}

#[test]
fn a_saved_classifier_equals_the_checkpoint_it_was_loaded_from() {
    for (family, num_labels) in FAMILIES {
        let weights = Weights::open(&folder(family)).expect("fixture");
        let mut model = Model::new(&device(1), architecture(family, num_labels, &json!({})), 0);
        model.load("", &weights).expect("loads");
        let directory = directory(&[("model.safetensors", b"an earlier file")]);
        let path = directory.path().join("model.safetensors");
        model.save("", &path).expect("saves");
        assert_eq!(tensors(directory.path()), tensors(&folder(family)), "{family}");
        let bytes = std::fs::read(&path).expect("saved");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).expect("the format's own reader");
        let format = metadata.metadata().as_ref().and_then(|metadata| metadata.get("format"));
        assert_eq!(format.map(String::as_str), Some("pt"));
        let files = std::fs::read_dir(directory.path()).expect("directory").count();
        assert_eq!(files, 1, "a temporary file was left behind");
    }
}

#[test]
fn the_error_of_a_failed_save_names_the_file() {
    let model = Model::new(&device(1), architecture("bert", 1, &json!({})), 0);
    let path = Path::new("no/such/directory/model.safetensors");
    let message = model.save("", path).expect_err("no directory").to_string();
    assert_contains(&message, &["no/such/directory/model.safetensors"]);
}

#[test]
fn newly_initialised_tensors_do_not_depend_on_those_that_are_loaded() {
    let weights = Weights::open(&folder("bert-base")).expect("fixture");
    let architecture = architecture("bert", 2, &json!({}));
    let mut initialised = Model::new(&device(1), architecture.clone(), 3);
    initialised.load("", &weights).expect("loads");
    let parameters = |seed: u64| {
        let modules = [("", &weights)];
        let (model, _) =
            Model::from_weights(&device(1), architecture.clone(), seed, &modules).expect("loads");
        model.parameters().flat().to_vec()
    };
    assert_eq!(parameters(3), initialised.parameters().flat().to_vec());
    assert_ne!(parameters(3), parameters(4));
}

#[test]
fn new_classifiers_are_initialised_as_in_transformers() {
    let wide = json!({ "hidden_size": 96, "intermediate_size": 8 });
    let bert = architecture("bert", 1, &wide);
    let modernbert = architecture("modernbert", 1, &wide);
    let initializer = |architecture: &Architecture, name: &str| {
        let spec = architecture.parameters.iter().find(|spec| spec.name == name);
        spec.unwrap_or_else(|| panic!("no {name}")).initializer
    };
    assert_eq!(initializer(&bert, "head.3.weight"), Initializer::Normal(0.2));
    assert_eq!(initializer(&bert, "head.3.bias"), Initializer::Zeros);
    let truncated =
        |deviation: f64| Initializer::TruncatedNormal { deviation: deviation as f32, cutoff: 2.0 };
    assert_eq!(initializer(&modernbert, "head.4.weight"), truncated(1.0 / 96_f64.sqrt()));
    assert_eq!(initializer(&modernbert, "head.1.weight"), truncated(0.2 / 6_f64.sqrt()));
    assert_eq!(initializer(&modernbert, "head.2.weight"), Initializer::Ones);

    // The standard deviation of the n = 96 x 96 weights of a dense layer has a relative standard
    // error of 1 / sqrt(2 n). The tolerance of 3 % is four of them. A normal distribution truncated
    // at two deviations d has a standard deviation of 0.8796 d.
    for (architecture, name, expected) in
        [(&bert, "head.1.weight", 0.2), (&modernbert, "head.1.weight", 0.8796 * 0.2 / 6_f64.sqrt())]
    {
        let model = Model::new(&device(1), architecture.clone(), 1);
        let id = model.parameters().layout().find(name).expect("in the arena");
        let values = model.parameters().view(id).to_vec();
        let squares: f64 = values.iter().map(|&value| f64::from(value).powi(2)).sum();
        let deviation = (squares / values.len() as f64).sqrt();
        assert!(
            (deviation / expected - 1.0).abs() < 0.03,
            "{name}: got a standard deviation of {deviation}, expected {expected}"
        );
        if let Initializer::TruncatedNormal { deviation, cutoff } = initializer(architecture, name)
        {
            assert!(values.iter().all(|value| value.abs() <= deviation * cutoff));
        }
    }
}

#[test]
fn the_parameters_of_a_module_are_saved_in_its_own_file() {
    let mut architecture =
        Architecture::static_embedding(5, 4, "0_StaticEmbedding", "embedding.weight");
    let mean = rankforge_encoder::kernels::ops::Pooling::Mean;
    let tanh = rankforge_encoder::kernels::ops::Activation::Tanh;
    architecture.push_stage(HeadStage::Pool { modes: vec![mean], skip_prompt: false }, "");
    let dense =
        HeadStage::Dense { inputs: 4, outputs: 3, bias: true, activation: tanh, residual: false };
    architecture.push_stage(dense, "1_Dense");
    assert_eq!(architecture.output_columns(), 3);
    let model = Model::new(&device(1), architecture, 0);
    let directory = directory(&[]);
    let path = directory.path().join("model.safetensors");
    model.save("1_Dense", &path).expect("saves");
    let saved = Weights::open(directory.path()).expect("saved");
    assert_eq!(saved.names(), ["linear.bias", "linear.weight"]);
    let values = saved.read("linear.weight").expect("saved");
    assert_eq!(values, model.parameters().view(ParameterId(1)).to_vec());
    // PyTorch initialises a linear layer of four inputs with values below 1 / sqrt(4).
    assert!(
        values.iter().all(|value| value.abs() < 0.5) && values.iter().any(|value| *value != 0.0)
    );
}
