//! Stand-ins for models, and a reporter that remembers.

use rankforge::Device;
use rankforge::data::{Rows, Value};
use rankforge::encoder::kernels::ops::Similarity;
use rankforge::encoder::{EncodeOptions, EncoderError, Outputs, Reporter};
use rankforge::evaluation::PairScorer;
use rankforge::mining::TextEncoder;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

/// Scores pairs by a function of their texts and remembers how many it was asked for, call by call.
pub(crate) struct Scorer<F> {
    score: F,
    pub(crate) calls: Mutex<Vec<usize>>,
}

pub(crate) fn scorer<F: Fn(&str, &str) -> f32 + Sync>(score: F) -> Scorer<F> {
    Scorer { score, calls: Mutex::new(Vec::new()) }
}

impl<F: Fn(&str, &str) -> f32 + Sync> PairScorer for Scorer<F> {
    fn score(
        &self,
        pairs: &[(&str, &str)],
        batch_size: usize,
        _reporter: &dyn Reporter,
    ) -> Result<Vec<f32>, EncoderError> {
        assert!(batch_size > 0);
        self.calls.lock().unwrap().push(pairs.len());
        Ok(pairs.iter().map(|(query, text)| (self.score)(query, text)).collect())
    }
}

/// Embeds the texts it knows, and remembers what it was asked for.
pub(crate) struct TableEncoder {
    vectors: HashMap<String, Vec<f32>>,
    similarity: Similarity,
    device: Device,
    pub(crate) fingerprint: String,
    pub(crate) calls: Mutex<Vec<(String, usize, EncodeOptions)>>,
}

impl TableEncoder {
    pub(crate) fn new<S: Into<String>>(
        vectors: impl IntoIterator<Item = (S, Vec<f32>)>,
    ) -> TableEncoder {
        TableEncoder {
            vectors: vectors.into_iter().map(|(text, vector)| (text.into(), vector)).collect(),
            similarity: Similarity::Cosine,
            device: Device::cpu(Some(2)).unwrap(),
            fingerprint: "table".to_owned(),
            calls: Mutex::new(Vec::new()),
        }
    }

    fn encode(&self, kind: &str, texts: &[&str], options: &EncodeOptions) -> Outputs {
        self.calls.lock().unwrap().push((kind.to_owned(), texts.len(), options.clone()));
        let values: Vec<f32> = texts.iter().flat_map(|text| self.vectors[*text].clone()).collect();
        Outputs { rows: texts.len(), columns: values.len() / texts.len(), values }
    }
}

impl TextEncoder for TableEncoder {
    fn encode_queries(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        _reporter: &dyn Reporter,
    ) -> Result<Outputs, EncoderError> {
        Ok(self.encode("queries", texts, options))
    }

    fn encode_documents(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        _reporter: &dyn Reporter,
    ) -> Result<Outputs, EncoderError> {
        Ok(self.encode("documents", texts, options))
    }

    fn similarity(&self) -> Similarity {
        self.similarity
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn fingerprint(&self, folder: &Path) -> Result<String, rankforge::Error> {
        assert!(folder.is_dir());
        Ok(self.fingerprint.clone())
    }
}

/// A table encoder of unit vectors by their angle in degrees.
pub(crate) fn by_angle(angles: &[(&str, f32)]) -> TableEncoder {
    TableEncoder::new(angles.iter().map(|(name, angle)| {
        let (sine, cosine) = angle.to_radians().sin_cos();
        (*name, vec![cosine, sine])
    }))
}

/// A table of these columns.
pub(crate) fn table(columns: Vec<(&str, Vec<Value>)>) -> Rows {
    Rows::new(columns.into_iter().map(|(name, values)| (name.to_owned(), values)).collect())
        .unwrap()
}

/// A text cell.
pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Keeps messages and warnings.
#[derive(Default)]
pub(crate) struct Heard {
    messages: Mutex<Vec<String>>,
    warnings: Mutex<Vec<String>>,
}

impl Heard {
    pub(crate) fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap().clone()
    }
}

impl Reporter for Heard {
    fn begin(&self, _task: &str, _total: Option<u64>, _unit: &str) {}
    fn advance(&self, _amount: u64) {}
    fn end(&self) {}
    fn message(&self, text: &str) {
        self.messages.lock().unwrap().push(text.to_owned());
    }
    fn warning(&self, text: &str) {
        self.warnings.lock().unwrap().push(text.to_owned());
    }
}

#[track_caller]
pub(crate) fn message<T>(result: Result<T, rankforge::Error>) -> String {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
