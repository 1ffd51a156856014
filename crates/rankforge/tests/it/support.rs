//! Fake models, a recording reporter, and helpers for rows.

use rankforge::Device;
use rankforge::data::{Rows, Value};
use rankforge::encoder::kernels::ops::Similarity;
use rankforge::encoder::{
    Embed, EncodeOptions, EncoderError, Outputs, PredictOptions, Reporter, Score, Side,
};
use std::collections::HashMap;
use std::sync::Mutex;

/// Scores pairs by a function of their texts, and records the number of pairs of each call.
pub(crate) struct Scorer<F> {
    score: F,
    pub(crate) calls: Mutex<Vec<usize>>,
}

pub(crate) fn scorer<F: Fn(&str, &str) -> f32 + Send + Sync>(score: F) -> Scorer<F> {
    Scorer { score, calls: Mutex::new(Vec::new()) }
}

impl<F: Fn(&str, &str) -> f32 + Send + Sync> Score for Scorer<F> {
    fn score(
        &self,
        pairs: &[(&str, &str)],
        options: &PredictOptions,
    ) -> Result<Vec<f32>, EncoderError> {
        assert!(options.batch_size > 0);
        self.calls.lock().unwrap().push(pairs.len());
        Ok(pairs.iter().map(|(query, text)| (self.score)(query, text)).collect())
    }
}

/// An encoder with a fixed table of embeddings, which records the arguments of each call.
pub(crate) struct TableEncoder {
    vectors: HashMap<String, Vec<f32>>,
    device: Device,
    pub(crate) fingerprint: String,
    pub(crate) calls: Mutex<Vec<(Side, usize, EncodeOptions)>>,
}

impl TableEncoder {
    pub(crate) fn new<S: Into<String>>(
        vectors: impl IntoIterator<Item = (S, Vec<f32>)>,
    ) -> TableEncoder {
        TableEncoder {
            vectors: vectors.into_iter().map(|(text, vector)| (text.into(), vector)).collect(),
            device: Device::cpu(Some(2)).unwrap(),
            fingerprint: "table".to_owned(),
            calls: Mutex::new(Vec::new()),
        }
    }
}

impl Embed for TableEncoder {
    fn embed(
        &self,
        side: Side,
        texts: &[&str],
        options: &EncodeOptions,
    ) -> Result<Outputs, EncoderError> {
        self.calls.lock().unwrap().push((side, texts.len(), options.clone()));
        let values: Vec<f32> = texts.iter().flat_map(|text| self.vectors[*text].clone()).collect();
        let columns = values.len() / texts.len();
        let mut outputs = Outputs { rows: texts.len(), columns, values };
        outputs = outputs.truncated(options.truncate_dim.unwrap_or(columns));
        if options.normalize_embeddings {
            outputs.normalize();
        }
        Ok(outputs)
    }

    fn similarity(&self) -> Similarity {
        Similarity::Cosine
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn fingerprint(&self) -> Result<String, EncoderError> {
        Ok(self.fingerprint.clone())
    }
}

/// A table encoder of two-dimensional unit vectors with these angles in degrees.
pub(crate) fn by_angle(angles: &[(&str, f32)]) -> TableEncoder {
    TableEncoder::new(angles.iter().map(|(name, angle)| {
        let (sine, cosine) = angle.to_radians().sin_cos();
        (*name, vec![cosine, sine])
    }))
}

/// Rows with these columns.
pub(crate) fn table(columns: Vec<(&str, Vec<Value>)>) -> Rows {
    Rows::new(columns.into_iter().map(|(name, values)| (name.to_owned(), values)).collect())
        .unwrap()
}

/// A text cell.
pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A cell with a list of texts.
pub(crate) fn list(texts: &[&str]) -> Value {
    Value::List(texts.iter().copied().map(text).collect())
}

pub(crate) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A reporter that records messages and warnings.
#[derive(Default)]
pub(crate) struct Recorder {
    messages: Mutex<Vec<String>>,
    warnings: Mutex<Vec<String>>,
}

impl Recorder {
    pub(crate) fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap().clone()
    }

    /// Whether a warning contains `text`.
    pub(crate) fn warned(&self, text: &str) -> bool {
        self.warnings().iter().any(|warning| warning.contains(text))
    }
}

impl Reporter for Recorder {
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

/// The message of an error.
#[track_caller]
pub(crate) fn message<T>(result: Result<T, rankforge::Error>) -> String {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => {
            let message = error.to_string();
            for part in ["Some(", "Text(", "List(", "Integer(", "Untyped("] {
                assert!(!message.contains(part), "Rust's debug text {part:?} in: {message}");
            }
            message
        }
    }
}
