//! The records of a run: messages `Record` of `wandb_internal.proto`, in the order in which wandb
//! writes them.

use crate::line::Line;
use crate::names::grouped;
use crate::notes::{note, recall};
use crate::outcome::Outcome;
use crate::protobuf::Message;
use crate::report_to::Tracker;
use crate::sink::{Failure, Sink};
use crate::start::RunStart;
use crate::wandb::record_log::RecordLog;
use crate::wandb::settings::WandbSettings;
use chrono::DateTime;
use rankforge_base::FileError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;

/// The oldest version of wandb that reads the records.
const OLDEST_READER: &str = "0.70.0";

/// What transformers' callback puts into the summary of a run only.
const SUMMARY_ONLY: [&str; 5] = [
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
    "train_loss",
    "total_flos",
];

/// The field of the step that all metrics are shown over.
const GLOBAL_STEP: &str = "train/global_step";

/// Fields of `Record`.
mod field {
    pub(super) const NUMBER: u32 = 1;
    pub(super) const HISTORY: u32 = 2;
    pub(super) const SUMMARY: u32 = 3;
    pub(super) const CONFIG: u32 = 5;
    pub(super) const METRIC: u32 = 12;
    pub(super) const RUN: u32 = 17;
    pub(super) const EXIT: u32 = 18;
    pub(super) const HEADER: u32 = 21;
}

/// What a resumed run has to know.
#[derive(Deserialize, Serialize)]
struct Note {
    id: String,
    folder: PathBuf,
    /// Number of lines so far: the server drops one whose number is not above all before it.
    lines: u64,
}

/// Writes the directory of an offline run.
pub(crate) struct WandbSink {
    settings: WandbSettings,
    start: RunStart,
    log: Option<RecordLog>,
    id: String,
    folder: PathBuf,
    /// Number of records so far.
    records: u64,
    /// Number of lines so far, those of the run that this one resumes included.
    lines: u64,
    last_time: f64,
}

impl WandbSink {
    pub(crate) fn new(settings: &WandbSettings, start: &RunStart) -> WandbSink {
        WandbSink {
            settings: settings.clone(),
            log: None,
            id: String::new(),
            folder: PathBuf::new(),
            records: 0,
            lines: start.records,
            last_time: start.time,
            start: start.clone(),
        }
    }

    /// Takes the id of the run that this one resumes, unless the environment names another, and
    /// counts on from its lines. Returns whether it resumes one.
    fn take_id(&mut self) -> bool {
        let note: Option<Note> = recall(&self.settings.output_dir, Tracker::Wandb);
        let named = &self.settings.id;
        let same = |note: &Note| named.as_ref().is_none_or(|id| *id == note.id);
        match note.filter(|note| self.start.continues && same(note)) {
            Some(note) => {
                self.lines = self.lines.max(note.lines);
                self.id = note.id;
                true
            }
            None => {
                self.id = named.clone().unwrap_or_else(random_id);
                false
            }
        }
    }

    fn note(&self) -> Result<(), Failure> {
        let (id, folder) = (self.id.clone(), self.folder.clone());
        let kept = Note { id, folder, lines: self.lines };
        Ok(note(&self.settings.output_dir, Tracker::Wandb, &kept)?)
    }

    /// Appends records, whose number and kind go around their content.
    fn append(&mut self, contents: Vec<(u32, Message)>) -> Result<(), Failure> {
        let mut records = Vec::new();
        for (kind, content) in contents {
            self.records += 1;
            let record = Message::default().integer(field::NUMBER, self.records);
            records.push(record.message(kind, &content));
        }
        Ok(self.log.as_mut().expect("the run was opened").append(&records)?)
    }

    /// `RunRecord`.
    fn run(&self, exists: bool) -> Message {
        let settings = &self.settings;
        let name = self.start.name.as_ref().or(settings.name.as_ref());
        let mut run = Message::default().text(1, &self.id);
        for (field, value) in [
            (2, &settings.entity),
            (3, &Some(settings.project.clone())),
            (6, &settings.group),
            (7, &settings.job_type),
            (8, &name.cloned()),
            (9, &settings.notes),
        ] {
            if let Some(value) = value {
                run = run.text(field, value);
            }
        }
        run = settings.tags.iter().fold(run, |run, tag| run.text(10, tag));
        run = run.text(13, &settings.host);
        let whole = self.start.time.floor();
        let nanoseconds = (self.start.time - whole) * 1e9;
        let time = Message::default().integer(1, whole as u64).integer(2, nanoseconds as u64);
        run = run.message(17, &time);
        // `wandb sync` then adds to what the server has of the run.
        if exists { run.integer(24, 1) } else { run }
    }

    /// `ConfigRecord`: adapter, model and arguments.
    fn config(&self) -> Message {
        let mut config = self.start.settings();
        if let Some(adapter) = &self.start.adapter {
            config.insert("peft_config".to_owned(), adapter.clone());
        }
        config.insert("model/num_parameters".to_owned(), json!(self.start.num_parameters));
        let items = config.iter().map(|(name, value)| item(&[name], 1, value));
        items.fold(Message::default(), |config, item| config.message(1, &item))
    }

    /// `HistoryRecord` and `SummaryRecord` of a line.
    fn of_line(&mut self, line: &Line) -> Vec<(u32, Message)> {
        let single = |name: &str| SUMMARY_ONLY.contains(&name);
        let runtime = (line.time - self.start.time).max(0.0);
        let mut values: Vec<(String, Value)> = line
            .values
            .iter()
            .filter(|(name, _)| !single(name))
            .map(|(name, value)| (grouped(name), json!(value)))
            .collect();
        values.push((GLOBAL_STEP.to_owned(), json!(line.step)));
        values.push(("_timestamp".to_owned(), json!(line.time)));
        values.push(("_runtime".to_owned(), json!(runtime)));
        values.push(("_step".to_owned(), json!(self.lines)));
        let number = Message::default().integer(1, self.lines);
        // In a history the name is a path of one part, as wandb writes it.
        let history = values.iter().map(|(name, value)| item(&[name], 2, value));
        let history = history.fold(Message::default(), |all, item| all.message(1, &item));
        let history = history.message(2, &number);
        let alone = line.values.iter().filter(|(name, _)| single(name));
        values.extend(alone.map(|(name, value)| (name.clone(), json!(value))));
        let summary = values.iter().map(|(name, value)| item(&[name], 2, value));
        let mut summary = summary.fold(Message::default(), |all, item| all.message(1, &item));
        let seconds = json!(runtime as u64);
        summary = summary.message(1, &item(&["_wandb", "runtime"], 2, &seconds));
        self.lines += 1;
        self.last_time = line.time;
        vec![(field::SUMMARY, summary), (field::HISTORY, history)]
    }
}

impl Sink for WandbSink {
    fn begin(&mut self) -> Result<Option<String>, Failure> {
        let exists = self.take_id();
        let id = self.id.clone();
        let begun = DateTime::from_timestamp(self.start.time as i64, 0).unwrap_or_default();
        let name = format!("offline-run-{}-{id}", begun.format("%Y%m%d_%H%M%S"));
        let folder = self.settings.folder.join(name);
        self.folder.clone_from(&folder);
        for folder in [folder.join("files"), folder.join("logs")] {
            std::fs::create_dir_all(&folder).map_err(FileError::io(&folder))?;
        }
        self.log = Some(RecordLog::create(&folder.join(format!("run-{id}.wandb")))?);
        self.note()?;
        let producer = concat!("rankforge ", env!("CARGO_PKG_VERSION"));
        let version = Message::default().text(1, producer).text(2, OLDEST_READER);
        let mut records = vec![
            (field::HEADER, Message::default().message(1, &version)),
            (field::RUN, self.run(exists)),
            (field::CONFIG, self.config()),
        ];
        let defined = Message::default().integer(3, 1);
        records.push((field::METRIC, Message::default().text(1, GLOBAL_STEP).message(6, &defined)));
        let synced = Message::default().integer(1, 1).integer(3, 1);
        let every = Message::default().text(2, "*").text(4, GLOBAL_STEP).message(6, &synced);
        records.push((field::METRIC, every));
        self.append(records)?;
        let folder = folder.display();
        Ok(Some(format!("the run is in {folder}; to upload it: wandb sync {folder}")))
    }

    fn write(&mut self, lines: &[Line]) -> Result<(), Failure> {
        let records = lines.iter().flat_map(|line| self.of_line(line)).collect();
        self.append(records)?;
        self.note()
    }

    fn end(&mut self, outcome: Outcome) -> Result<(), Failure> {
        // As wandb: 255 for a run that was interrupted, 1 for one that failed.
        let code = match outcome {
            Outcome::Finished => 0,
            Outcome::Failed => 1,
            Outcome::Interrupted => 255,
        };
        let seconds = (self.last_time - self.start.time).max(0.0);
        let exit = Message::default().integer(1, code).integer(2, seconds as u64);
        self.append(vec![(field::EXIT, exit)])?;
        self.log = None;
        Ok(())
    }
}

/// An item of a config, history or summary: its name, which is in `field`, and its value as JSON.
fn item(name: &[&str], field: u32, value: &Value) -> Message {
    let item = name.iter().fold(Message::default(), |item, part| item.text(field, part));
    item.text(16, &value.to_string())
}

/// Eight letters and digits, as wandb makes them.
fn random_id() -> String {
    const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    // The keys of the standard library's hashers are random.
    let mut number = RandomState::new().build_hasher().finish();
    let mut digit = || {
        let digit = DIGITS[(number % 36) as usize];
        number /= 36;
        char::from(digit)
    };
    (0..8).map(|_| digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use rankforge_base::hexadecimal;
    use std::path::Path;

    fn sink(variables: &[(&str, &str)], start: RunStart) -> WandbSink {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let environment =
            Environment { variables: variables.collect(), hostname: "h".to_owned(), process: 1 };
        let settings = WandbSettings::new(&environment, Path::new("run"), &mut Vec::new());
        WandbSink::new(&settings.unwrap().unwrap(), &start)
    }

    #[test]
    fn records_have_the_bytes_that_wandb_gives_them() {
        let golden: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/records.json")).unwrap();
        let numbered = |number: u64, kind: u32, content: &Message| {
            let record = Message::default().integer(field::NUMBER, number).message(kind, content);
            json!(hexadecimal(&record.0))
        };
        let start = RunStart { time: 1.5e9, records: 7, ..RunStart::default() };
        let mut of_history = sink(&[], start);
        let values = vec![("loss".to_owned(), 0.625), ("train_runtime".to_owned(), 2.0)];
        let line = Line { step: 300, time: 1.5e9 + 0.25, values };
        let records = of_history.of_line(&line);
        let (kind, history) = records.last().unwrap();
        assert_eq!(numbered(1, *kind, history), golden["history"]);

        let variables = [("WANDB_PROJECT", "p"), ("WANDB_TAGS", "one,two"), ("WANDB_NAME", "x")];
        let start =
            RunStart { time: 1.5e9 + 0.5, name: Some("n".to_owned()), ..RunStart::default() };
        let mut of_run = sink(&variables, start);
        of_run.id = "abcd1234".to_owned();
        let run = of_run.run(true);
        assert_eq!(numbered(2, field::RUN, &run), golden["run"]);

        let exit = Message::default().integer(1, 255).integer(2, 9);
        assert_eq!(numbered(300, field::EXIT, &exit), golden["exit"]);
    }

    #[test]
    fn modes_that_are_disabled_or_unknown_are_no_runs() {
        let settings = |name: &str, value: &str| {
            let variables = [(name.to_owned(), value.to_owned())].into();
            let environment = Environment { variables, ..Environment::default() };
            let mut warnings = Vec::new();
            let found = WandbSettings::new(&environment, Path::new("run"), &mut warnings);
            (found.map(|settings| settings.is_some()), warnings)
        };
        for (name, value) in [("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true")] {
            let (written, warnings) = settings(name, value);
            assert!(written == Ok(false) && warnings.len() == 1, "{name}: {warnings:?}");
        }
        let (written, warnings) = settings("WANDB_MODE", "online");
        assert!(written == Ok(true) && warnings[0].contains("wandb sync"), "{warnings:?}");
        assert_eq!(settings("WANDB_MODE", "offline"), (Ok(true), Vec::new()));
        for (name, value) in [("WANDB_MODE", "on"), ("WANDB_RUN_ID", "../a")] {
            let error = settings(name, value).0.unwrap_err();
            assert!(error.expected.contains(name) && error.got == value, "{error}");
        }
    }
}
