//! The log of a run, with what was measured beside it.

use crate::trainer_state::{LogRecord, step_of};
use crate::training::log_file::LOG_FILE;
use serde_json::Value;
use std::path::Path;

/// Records of a log, oldest first.
pub(crate) struct RunLog {
    records: Vec<LogRecord>,
}

impl RunLog {
    /// The log file in `folder`, which has times, rates and memory, or `records` if there is none
    /// that can be read.
    pub(crate) fn read(folder: &Path, records: &[LogRecord]) -> RunLog {
        let text = std::fs::read_to_string(folder.join(LOG_FILE)).unwrap_or_default();
        let lines: Result<Vec<LogRecord>, _> = text.lines().map(serde_json::from_str).collect();
        match lines {
            Ok(lines) if lines.len() >= records.len() => RunLog { records: lines },
            _ => RunLog { records: records.to_vec() },
        }
    }

    /// The records.
    pub(crate) fn records(&self) -> &[LogRecord] {
        &self.records
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.records.iter().any(|record| record.contains_key(key))
    }

    /// Steps and values of the records that have a number under `key`.
    fn values(&self, key: &str) -> impl DoubleEndedIterator<Item = (u64, f64)> {
        self.records.iter().filter_map(move |record| {
            let step = step_of(record)?;
            Some((step, record.get(key)?.as_f64()?))
        })
    }

    /// The first value of `key`, with its step.
    pub(crate) fn first(&self, key: &str) -> Option<(u64, f64)> {
        self.values(key).next()
    }

    /// The last value of `key`, with its step.
    pub(crate) fn last(&self, key: &str) -> Option<(u64, f64)> {
        self.values(key).next_back()
    }

    /// The harmonic mean of rates over equally many rows each.
    pub(crate) fn mean(&self, key: &str) -> Option<f64> {
        let rates: Vec<f64> = self.values(key).map(|(_, rate)| rate).collect();
        let times: f64 = rates.iter().map(|rate| 1.0 / rate).sum();
        (!rates.is_empty()).then(|| rates.len() as f64 / times)
    }

    pub(crate) fn largest(&self, key: &str) -> Option<f64> {
        self.values(key).map(|(_, value)| value).reduce(f64::max)
    }

    /// Minutes since the first record, and values of `key`.
    pub(crate) fn over_minutes(&self, key: &str) -> Vec<(f64, f64)> {
        let time = |record: &LogRecord| record.get("time").and_then(Value::as_f64);
        let Some(begin) = self.records.iter().find_map(time) else { return Vec::new() };
        let point =
            |record: &LogRecord| Some(((time(record)? - begin) / 60.0, record.get(key)?.as_f64()?));
        self.records.iter().filter_map(point).collect()
    }
}
