//! The log of a run as a file of JSON lines, which other programs read while the run goes on.

use crate::trainer_state::{LogRecord, step_of};
use rankforge_base::{FileError, write_atomically};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The file in the output directory of a run.
pub(crate) const LOG_FILE: &str = "log.jsonl";

/// Writes the log of a run, one JSON object a line.
///
/// A line is a record of `log_history` in `trainer_state.json`, behind `step` and `epoch`, and
/// before what was measured:
///
/// | field | lines | unit |
/// |---|---|---|
/// | `time` | all | seconds since 1970, UTC |
/// | `samples_per_second` | of losses | rows, without the time of evaluations |
/// | `tokens_per_second` | of losses | tokens, likewise |
/// | `memory_bytes` | of losses, on Linux | the process in RAM |
/// | `peak_memory_bytes` | of losses, on Linux | the most of it so far |
///
/// Rates are those since the previous line of losses. A run that resumes keeps the lines up to the
/// step of its checkpoint; where they are missing, as in another directory, the records of the
/// checkpoint stand in their place, without what was measured.
pub(super) struct LogFile {
    path: PathBuf,
    file: Option<File>,
    failed: bool,
}

impl LogFile {
    /// A log that creates its file with the first line.
    pub(super) fn new(output_dir: &Path) -> LogFile {
        LogFile { path: output_dir.join(LOG_FILE), file: None, failed: false }
    }

    /// Appends a line. `earlier` are the records before it, of which the file is made if this is
    /// the first line of a run that resumes.
    ///
    /// # Errors
    /// The first line that cannot be written; later ones are dropped.
    pub(super) fn write(
        &mut self,
        line: &LogRecord,
        earlier: &[LogRecord],
    ) -> Result<(), FileError> {
        if self.failed {
            return Ok(());
        }
        let result = self.append(line, earlier);
        self.failed = result.is_err();
        result
    }

    fn append(&mut self, line: &LogRecord, earlier: &[LogRecord]) -> Result<(), FileError> {
        let mut text = Value::Object(line.clone()).to_string();
        text.push('\n');
        let io = FileError::io(&self.path);
        match &mut self.file {
            // One call for each line, so that a reader sees whole lines.
            Some(file) => file.write_all(text.as_bytes()).map_err(io),
            None => {
                let text = self.lines_of(earlier) + &text;
                write_atomically(&self.path, text.as_bytes())?;
                let file = OpenOptions::new().append(true).open(&self.path).map_err(io)?;
                self.file = Some(file);
                Ok(())
            }
        }
    }

    /// The lines of `records`: those that are in the file already, else the records themselves.
    fn lines_of(&self, records: &[LogRecord]) -> String {
        let mut known: HashMap<Option<u64>, Vec<LogRecord>> = HashMap::new();
        if !records.is_empty() {
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
            for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
                known.entry(step_of(&line)).or_default().push(line);
            }
        }
        let mut text = String::new();
        for record in records {
            let of_step = known.get(&step_of(record)).map_or(&[][..], Vec::as_slice);
            let holds = |line: &&LogRecord| {
                record.iter().all(|(name, value)| line.get(name) == Some(value))
            };
            let line = of_step.iter().find(holds).cloned();
            let line = line.unwrap_or_else(|| position_first(record));
            text.push_str(&Value::Object(line).to_string());
            text.push('\n');
        }
        text
    }
}

/// The record with `step` and `epoch` before its other fields.
pub(super) fn position_first(record: &LogRecord) -> LogRecord {
    const POSITION: [&str; 2] = ["step", "epoch"];
    let at = POSITION.iter().filter_map(|name| record.get_key_value(*name));
    let others = record.iter().filter(|(name, _)| !POSITION.contains(&name.as_str()));
    at.chain(others).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Seconds since 1970, UTC.
pub(super) fn unix_seconds() -> f64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a line of the log file says when it was written"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
