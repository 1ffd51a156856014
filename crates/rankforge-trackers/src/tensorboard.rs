//! Event files of TensorBoard: records in the framing of TFRecord files, each a message `Event`.

use crate::environment::Environment;
use crate::folders::Folders;
use crate::line::Line;
use crate::names::grouped;
use crate::notes::{note, recall};
use crate::outcome::Outcome;
use crate::protobuf::Message;
use crate::report_to::Tracker;
use crate::sink::{Failure, Sink};
use crate::start::RunStart;
use chrono::DateTime;
use rankforge_base::FileError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where the files go.
#[derive(Clone, Debug)]
pub(crate) struct TensorBoardSettings {
    output_dir: PathBuf,
    /// The directory that the user chose.
    folder: Option<PathBuf>,
    host: String,
    process: u32,
}

impl TensorBoardSettings {
    /// `logging_dir`, else `TENSORBOARD_LOGGING_DIR`, else a directory in `runs` of the output
    /// directory, named as transformers does.
    pub(crate) fn new(environment: &Environment, folders: Folders<'_>) -> TensorBoardSettings {
        let variable = environment.get("TENSORBOARD_LOGGING_DIR").map(PathBuf::from);
        TensorBoardSettings {
            output_dir: folders.output_dir.to_owned(),
            folder: folders.logging_dir.map(Path::to_owned).or(variable),
            host: environment.host().to_owned(),
            process: environment.process,
        }
    }
}

/// The version of the format, which the first event of a file names.
const VERSION: &str = "brain.Event:2";

/// What a resumed run has to know.
#[derive(Deserialize, Serialize)]
struct Note {
    folder: PathBuf,
}

/// Writes an event file.
pub(crate) struct TensorBoardSink {
    settings: TensorBoardSettings,
    start: RunStart,
    path: PathBuf,
    file: Option<File>,
}

impl TensorBoardSink {
    pub(crate) fn new(settings: &TensorBoardSettings, start: &RunStart) -> TensorBoardSink {
        let settings = settings.clone();
        TensorBoardSink { settings, start: start.clone(), path: PathBuf::new(), file: None }
    }

    /// The directory of the run: the one that it had before, if it resumes.
    fn folder(&self) -> PathBuf {
        let TensorBoardSettings { output_dir, folder, host, .. } = &self.settings;
        let before = || {
            let note: Option<Note> = recall(output_dir, Tracker::TensorBoard);
            note.filter(|_| self.start.continues).map(|note| note.folder)
        };
        folder.clone().or_else(before).unwrap_or_else(|| {
            let begun = DateTime::from_timestamp(self.start.time as i64, 0).unwrap_or_default();
            output_dir.join("runs").join(format!("{}_{host}", begun.format("%b%d_%H-%M-%S")))
        })
    }

    fn append(&mut self, events: &[Message]) -> Result<(), Failure> {
        let file = self.file.as_mut().expect("the run was opened");
        let bytes: Vec<u8> = events.iter().flat_map(framed).collect();
        Ok(file.write_all(&bytes).map_err(FileError::io(&self.path))?)
    }
}

impl Sink for TensorBoardSink {
    fn begin(&mut self) -> Result<Option<String>, Failure> {
        let folder = self.folder();
        std::fs::create_dir_all(&folder).map_err(FileError::io(&folder))?;
        let TensorBoardSettings { output_dir, host, process, .. } = &self.settings;
        let time = self.start.time;
        let name = |number: usize| {
            folder.join(format!("events.out.tfevents.{}.{host}.{process}.{number}", time as u64))
        };
        // Readers take the files of a directory in the order of their names.
        self.path = (0..).map(name).find(|path| !path.exists()).expect("a number that is free");
        let file = OpenOptions::new().append(true).create_new(true).open(&self.path);
        self.file = Some(file.map_err(FileError::io(&self.path))?);
        note(output_dir, Tracker::TensorBoard, &Note { folder: folder.clone() })?;
        let mut events = vec![Message::default().double(1, time).text(3, VERSION)];
        if !self.start.continues {
            let (arguments, model) = (&self.start.arguments, &self.start.model);
            events.push(text_event(time, "args", arguments));
            events.push(text_event(time, "model_config", model));
        }
        if self.start.step > 0 {
            // Readers drop what an earlier file has from this step on.
            let started = Message::default().integer(1, 1);
            let first = Message::default().double(1, time).integer(2, self.start.step + 1);
            events.push(first.message(7, &started));
        }
        self.append(&events)?;
        Ok(Some(format!("tensorboard --logdir {}", folder.display())))
    }

    fn write(&mut self, lines: &[Line]) -> Result<(), Failure> {
        let events: Vec<Message> = lines.iter().map(scalar_event).collect();
        self.append(&events)
    }

    fn end(&mut self, _outcome: Outcome) -> Result<(), Failure> {
        self.file = None;
        Ok(())
    }
}

/// An event with all numbers of a line.
fn scalar_event(line: &Line) -> Message {
    let value = |(name, value): &(String, f64)| {
        Message::default().text(1, &grouped(name)).float(2, *value as f32)
    };
    let summary = line.values.iter().map(value);
    let summary = summary.fold(Message::default(), |summary, value| summary.message(1, &value));
    Message::default().double(1, line.time).integer(2, line.step).message(5, &summary)
}

/// An event with a text: settings as JSON, indented so that Markdown leaves them as they are.
fn text_event(time: f64, tag: &str, settings: &Map<String, Value>) -> Message {
    const STRING: u64 = 7;
    let text = serde_json::to_string_pretty(settings).expect("JSON prints");
    let text = text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let one = Message::default().message(2, &Message::default().integer(1, 1));
    let tensor = Message::default().integer(1, STRING).message(2, &one).text(8, &text);
    let plugin = Message::default().text(1, "text");
    let metadata = Message::default().message(1, &plugin);
    let value = Message::default().text(1, &format!("{tag}/text_summary"));
    let value = value.message(8, &tensor).message(9, &metadata);
    let summary = Message::default().message(1, &value);
    Message::default().double(1, time).message(5, &summary)
}

/// A record: its length and content, each followed by a checksum.
fn framed(event: &Message) -> Vec<u8> {
    let length = (event.0.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), &event.0, &masked(&event.0)].concat()
}

/// The checksum CRC-32C, rotated and shifted, as checksums of checksums would be weak.
fn masked(bytes: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(bytes);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_file_has_the_bytes_that_tensorboard_gives_it() {
        let version = Message::default().double(1, 1.5e9).text(3, VERSION);
        let values = vec![("loss".to_owned(), 0.625), ("eval_dev_ndcg@10".to_owned(), 0.1)];
        let line = Line { step: 300, time: 1.5e9 + 0.25, values };
        let bytes = [framed(&version), framed(&scalar_event(&line))].concat();
        assert_eq!(bytes, include_bytes!("../tests/fixtures/events.tfevents"));
    }
}
