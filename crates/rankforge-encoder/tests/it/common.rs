//! Helpers of the tests: fixture directories, copies of them to modify, and a recording reporter.

use rankforge_encoder::kernels::{Device, Isa};
use rankforge_encoder::{LoadOptions, Outputs, Reporter, Weights};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// Tolerance for the outputs of the fixture models, in units of epsilon * (1 + |expected|).
///
/// The models have two layers of width 16. An output is the result of some hundred sums of up to 32
/// terms, all of magnitude 1. Their rounding errors have random signs, so they mostly cancel.
const TOLERANCE: f32 = 256.0;

/// Path of a directory or file in `tests/fixtures/layouts`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/layouts").join(name)
}

/// Options with a device of two threads.
pub(crate) fn options() -> LoadOptions {
    let device = Device::cpu_with(Isa::best(), 2).expect("the best instruction set is available");
    LoadOptions::new(&device)
}

/// The golden values that sentence-transformers computed with the fixtures.
pub(crate) fn expected() -> Value {
    read_json(&fixture("expected.json"))
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("file")).expect("JSON")
}

/// The elements of a JSON array of strings.
pub(crate) fn texts(list: &Value) -> Vec<&str> {
    list.as_array().expect("array").iter().map(|text| text.as_str().expect("text")).collect()
}

/// The pairs of texts of the golden scores.
pub(crate) fn pairs(expected: &Value) -> Vec<(&str, &str)> {
    let pairs = expected["pairs"].as_array().expect("array");
    pairs.iter().map(texts).map(|pair| (pair[0], pair[1])).collect()
}

/// Asserts that outputs are near golden values, a JSON array of rows.
#[track_caller]
pub(crate) fn assert_rows(outputs: &Outputs, expected: &Value) {
    let rows = expected.as_array().expect("rows");
    assert_eq!(outputs.rows, rows.len());
    for (index, row) in rows.iter().enumerate() {
        let row: Vec<f32> = row
            .as_array()
            .expect("row")
            .iter()
            .map(|x| x.as_f64().expect("number") as f32)
            .collect();
        assert_near(outputs.row(index), &row, &format!("row {index}"));
    }
}

/// Asserts that values are equal but for rounding.
#[track_caller]
pub(crate) fn assert_near(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        let tolerance = TOLERANCE * f32::EPSILON * (1.0 + expected.abs());
        assert!((got - expected).abs() <= tolerance, "{what}: got {got}, expected {expected}");
    }
}

/// A reporter that records every call as a line of text.
#[derive(Default)]
pub(crate) struct Recorder {
    lines: Mutex<Vec<String>>,
}

impl Recorder {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    /// Number of lines that contain all of `parts`.
    pub(crate) fn count(&self, parts: &[&str]) -> usize {
        self.lines().iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }

    fn push(&self, line: String) {
        self.lines.lock().expect("no panic").push(line);
    }
}

impl Reporter for Recorder {
    fn begin(&self, task: &str, total: Option<u64>, unit: &str) {
        self.push(format!("begin {task} {total:?} {unit}"));
    }

    fn advance(&self, amount: u64) {
        self.push(format!("advance {amount}"));
    }

    fn end(&self) {
        self.push("end".to_owned());
    }

    fn message(&self, text: &str) {
        self.push(format!("message {text}"));
    }

    fn warning(&self, text: &str) {
        self.push(format!("warning {text}"));
    }
}

/// [`options`] with a recording reporter.
pub(crate) fn recorded(recorder: &Arc<Recorder>) -> LoadOptions {
    LoadOptions { reporter: recorder.clone(), ..options() }
}

/// A temporary copy of a fixture directory that a test may modify.
pub(crate) struct Copy {
    folder: TempDir,
}

impl Copy {
    pub(crate) fn of(name: &str) -> Copy {
        let folder = TempDir::new().expect("temporary directory");
        copy(&fixture(name), folder.path());
        Copy { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).expect("file");
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("file");
    }

    /// Changes the list of the tensors in a folder.
    pub(crate) fn change_tensors(&self, folder: &str, change: impl FnOnce(&mut Vec<Tensor>)) {
        let mut list = tensors(&self.file(folder));
        change(&mut list);
        let path = self.file(folder).join("model.safetensors");
        fs::write(path, safetensors(&list)).expect("file");
    }

    /// Renames the tensors in a folder.
    pub(crate) fn rename_tensors(&self, folder: &str, rename: impl Fn(&str) -> String) {
        let path = self.file(folder).join("model.safetensors");
        let bytes = fs::read(&path).expect("file");
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        let (header, data) = bytes[8..].split_at(length);
        let header: Value = serde_json::from_slice(header).expect("JSON");
        let tensors = header.as_object().expect("object").iter();
        let tensors = tensors.filter(|(name, _)| *name != "__metadata__");
        let renamed: Value = tensors.map(|(name, place)| (rename(name), place.clone())).collect();
        let header = renamed.to_string();
        let length = (header.len() as u64).to_le_bytes();
        let file = [&length[..], header.as_bytes(), data].concat();
        fs::write(path, file).expect("file");
    }

    /// Sets a field of a JSON file.
    pub(crate) fn set(&self, name: &str, field: &str, value: Value) {
        let mut json = read_json(&self.file(name));
        json[field] = value;
        self.write(name, &json.to_string());
    }
}

/// A tensor of a checkpoint: name, shape and elements.
pub(crate) type Tensor = (String, Vec<usize>, Vec<f32>);

/// All tensors in a folder.
pub(crate) fn tensors(folder: &Path) -> Vec<Tensor> {
    let weights = Weights::open(folder).expect("weights");
    let tensor = |name: &str| {
        let shape = weights.shape(name).expect("named").to_vec();
        (name.to_owned(), shape, weights.read(name).expect("readable"))
    };
    weights.names().into_iter().map(tensor).collect()
}

/// A safetensors file of f32 tensors.
pub(crate) fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("shape"))
    });
    safetensors::serialize(views, None).expect("safetensors")
}

/// Copies a directory with everything in it.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("folder") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            fs::create_dir(&target).expect("folder");
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("copy");
        }
    }
}

/// All parameters, as bits.
pub(crate) fn bits(model: &rankforge_encoder::Model) -> Vec<u32> {
    model.parameters().flat().to_vec().into_iter().map(f32::to_bits).collect()
}
