//! Integration tests of rankforge-data.

mod arrow;
mod beir;
mod collection;
mod compressed;
mod malformed;
mod nano_beir;
mod read;
mod round_trip;
mod rows;
mod steps;
mod streamed;
mod write;

use rankforge_data::{DataError, Location, Rows, Value, load_rows};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A temporary directory, deleted when it is dropped.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and its parent directories, and returns its path.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Names of the files, sorted.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn at(path: &Path) -> Location {
    Location { path: path.to_owned(), ..Location::default() }
}

fn load(path: &Path) -> Result<Rows, DataError> {
    load_rows(&at(path))
}

/// Asserts that `result` is an error whose message contains all `parts`.
#[track_caller]
fn assert_refused<T>(result: Result<T, DataError>, parts: &[&str]) {
    let message = match result {
        Ok(_) => panic!("expected an error with {parts:?}, got Ok"),
        Err(error) => error.to_string(),
    };
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
    for part in ["Some(", "None", "Text(", "List(", "Integer(", "Untyped(", "Utf8", "Timestamp("] {
        assert!(!message.contains(part), "Rust's debug text {part:?} in: {message}");
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}
