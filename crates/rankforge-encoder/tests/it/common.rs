//! What the tests share: fixture directories, a reporter that remembers, copies to spoil.

use rankforge_encoder::kernels::{Device, Isa};
use rankforge_encoder::{LoadOptions, Outputs, Reporter};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;

/// Rounding steps between texts and outputs of the two-layer models of width 16 in the fixtures:
/// some hundred sums of up to 32 numbers each, all of size 1, of which few line up.
const ROUNDINGS: f32 = 256.0;

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/layouts").join(name)
}

pub(crate) fn options() -> LoadOptions {
    let device = Device::cpu_with(Isa::best(), 2).expect("the best instruction set is there");
    LoadOptions::new(&device)
}

/// What Python made of the fixtures.
pub(crate) fn expected() -> Value {
    read_json(&fixture("expected.json"))
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("file")).expect("JSON")
}

pub(crate) fn texts(list: &Value) -> Vec<&str> {
    list.as_array().expect("array").iter().map(|text| text.as_str().expect("text")).collect()
}

pub(crate) fn pairs(expected: &Value) -> Vec<(&str, &str)> {
    let pairs = expected["pairs"].as_array().expect("array");
    pairs.iter().map(texts).map(|pair| (pair[0], pair[1])).collect()
}

/// Compares outputs with rows of numbers.
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

#[track_caller]
pub(crate) fn assert_near(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        let tolerance = ROUNDINGS * f32::EPSILON * (1.0 + expected.abs());
        assert!((got - expected).abs() <= tolerance, "{what}: got {got}, expected {expected}");
    }
}

/// Remembers what it is told.
#[derive(Default)]
pub(crate) struct Recorder {
    lines: Mutex<Vec<String>>,
}

impl Recorder {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    /// The lines that contain all of `parts`.
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

/// A copy of a fixture that a test may spoil.
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

    /// Sets a field of a JSON file.
    pub(crate) fn set(&self, name: &str, field: &str, value: Value) {
        let mut json = read_json(&self.file(name));
        json[field] = value;
        self.write(name, &json.to_string());
    }
}

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

/// The bits of all parameters.
pub(crate) fn bits(model: &rankforge_encoder::Model) -> Vec<u32> {
    model.parameters().flat().to_vec().into_iter().map(f32::to_bits).collect()
}
