//! Tiny models and corpora.

use rankforge_encoder::{
    DualEncoder, Embed, EncodeOptions, EncoderError, LoadOptions, Outputs, Side, train_word_piece,
};
use rankforge_index::bm25::Language;
use rankforge_index::{BuildOptions, CorpusSource, Embedder, Index, ModelEntry};
use rankforge_kernels::ops::Similarity;
use rankforge_kernels::{Device, Workers};
use serde_json::json;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const WORDS: [&str; 24] = [
    "bees", "honey", "river", "salt", "paper", "wood", "owl", "night", "iron", "rust", "glass",
    "sand", "bread", "yeast", "polar", "bear", "leaf", "autumn", "milk", "sour", "bat", "echo",
    "nest", "tree",
];

/// A folder with a corpus and room for indexes.
pub(crate) struct TestDir {
    directory: TempDir,
    pub(crate) workers: Workers,
}

/// The text of a row: five words that depend on its number.
pub(crate) fn text(row: usize) -> String {
    let word = |place: usize| WORDS[(row * (2 * place + 1) + row / 7 + place) % WORDS.len()];
    (0..5).map(word).collect::<Vec<_>>().join(" ")
}

impl TestDir {
    pub(crate) fn new() -> TestDir {
        TestDir { directory: tempfile::tempdir().unwrap(), workers: Workers::new(Some(2)).unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> CorpusSource {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
        CorpusSource::new(self.path(name))
    }

    /// Rows `first..end` with the ids `d<row>` and a number as metadata.
    pub(crate) fn corpus(&self, name: &str, first: usize, end: usize) -> CorpusSource {
        let rows = (first..end)
            .map(|row| json!({ "id": format!("d{row}"), "text": text(row), "year": 1900 + row }));
        self.write(name, &rows.map(|row| format!("{row}\n")).collect::<String>())
    }

    /// Options with blocks of 8 rows and BM25.
    pub(crate) fn options(&self) -> BuildOptions {
        BuildOptions {
            block_rows: 8,
            bm25: Some(Language::English),
            ..BuildOptions::new(self.workers.clone())
        }
    }

    pub(crate) fn open(&self, name: &str) -> Index {
        Index::open(&self.path(name)).unwrap()
    }
}

/// A random static model of 20 dimensions.
pub(crate) fn model() -> DualEncoder {
    model_of(20)
}

pub(crate) fn model_of(dimension: usize) -> DualEncoder {
    let texts: Vec<String> = (0..60).map(text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let options = LoadOptions::new(&Device::cpu(Some(2)).unwrap());
    DualEncoder::new_static(train_word_piece(&texts, 200).unwrap(), dimension, &options).unwrap()
}

pub(crate) fn embedder(encoder: &dyn Embed) -> Embedder<'_> {
    let model = ModelEntry {
        path: PathBuf::from("models/tiny"),
        max_length: None,
        precision: "fp32".to_owned(),
    };
    Embedder { encoder, model, options: EncodeOptions::default() }
}

/// A model that fails at its `fails_at`-th call, as a process that is killed there does.
pub(crate) struct Interrupted<'a> {
    pub(crate) encoder: &'a dyn Embed,
    pub(crate) calls: std::sync::atomic::AtomicUsize,
    pub(crate) fails_at: usize,
}

impl Embed for Interrupted<'_> {
    fn embed(
        &self,
        side: Side,
        texts: &[&str],
        options: &EncodeOptions,
    ) -> Result<Outputs, EncoderError> {
        let call = self.calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if call >= self.fails_at {
            return Err(EncoderError::Prompt { name: "interrupted".to_owned(), known: vec![] });
        }
        self.encoder.embed(side, texts, options)
    }

    fn similarity(&self) -> Similarity {
        self.encoder.similarity()
    }

    fn device(&self) -> &Device {
        self.encoder.device()
    }

    fn fingerprint(&self) -> Result<String, EncoderError> {
        self.encoder.fingerprint()
    }
}

/// All files below a folder, with their contents; the names of tantivy's files are random and
/// therefore cut to their extensions, and `skipped` are left out.
pub(crate) fn files(folder: &Path, skipped: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !skipped.contains(&&*name) {
                found.push((name, std::fs::read(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
