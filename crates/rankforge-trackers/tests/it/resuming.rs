//! Runs that are resumed, and continue what a tracker has of them.

use crate::server::{Server, mlflow};
use crate::support::{TestRun, short, start};
use rankforge_trackers::{Outcome, RunStart};
use serde_json::{Value, json};
use std::path::Path;

/// The same run, resumed after two steps and some time.
fn resumed() -> RunStart {
    RunStart { step: 2, records: 2, time: 1.5e9 + 100.0, continues: true, ..start() }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn mlflow_opens_the_run_again_with_the_parameters_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_, request| Some(mlflow(request, "")));
    let variables = [("MLFLOW_TRACKING_URI", server.uri.as_str())];
    let first = TestRun::begin(folder.path(), &["mlflow"], &variables, &start(), short());
    first.end(Outcome::Interrupted);
    let before = server.requests().len();
    let mut second = TestRun::begin(folder.path(), &["mlflow"], &variables, &resumed(), short());
    second.log(3..4);
    assert_eq!(second.end(Outcome::Finished).warnings(), [""; 0]);
    let requests = &server.requests()[before..];
    assert!(requests[0].line.contains("runs/get?run_id=r1"), "{requests:?}");
    assert_eq!(requests[1].body, json!({"run_id": "r1", "status": "RUNNING"}));
    let parameters = json!([{"key": "run_name", "value": "None"}]);
    assert_eq!(requests[2].body, json!({"run_id": "r1", "params": parameters}));
    assert_eq!(requests.len(), 5, "{requests:?}");
    // A run that begins anew in the same directory is another one.
    let third = TestRun::begin(folder.path(), &["mlflow"], &variables, &start(), short());
    third.end(Outcome::Finished);
    assert_eq!(server.sent("runs/create").len(), 2);
    // The environment names a run of another directory.
    let other = tempfile::tempdir().unwrap();
    let named = [variables[0], ("MLFLOW_RUN_ID", "r9")];
    TestRun::begin(other.path(), &["mlflow"], &named, &start(), short()).end(Outcome::Finished);
    assert_eq!(server.sent("runs/update").last().unwrap()["run_id"], "r9");
}

#[test]
fn tensorboard_gets_another_file_in_the_same_directory() {
    let folder = tempfile::tempdir().unwrap();
    for start in [start(), resumed()] {
        let mut run = TestRun::begin(folder.path(), &["tensorboard"], &[], &start, short());
        run.log(start.step + 1..start.step + 4);
        assert_eq!(run.end(Outcome::Finished).warnings(), [""; 0]);
    }
    let runs = folder.path().join("runs");
    let [directory] = &names(&runs)[..] else { panic!("{:?}", names(&runs)) };
    let files = names(&runs.join(directory));
    let expected =
        [1_500_000_000, 1_500_000_100].map(|time| format!("events.out.tfevents.{time}.host.7.0"));
    assert_eq!(files, expected);
    // The event that drops what an earlier file has from step 3 on: `SessionLog` with START.
    let second = std::fs::read(runs.join(directory).join(&files[1])).unwrap();
    let restart = [0x10, 3, 0x3a, 2, 0x08, 1];
    assert!(second.windows(restart.len()).any(|bytes| bytes == restart), "{second:?}");
}

#[test]
fn wandb_gets_another_directory_of_the_same_run() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("WANDB_DIR", folder.path().to_str().unwrap())];
    // Of five lines the run that resumes computes three again; they come after all five.
    for (start, lines) in [(start(), 5), (resumed(), 8), (start(), 3)] {
        let mut run = TestRun::begin(folder.path(), &["wandb"], &variables, &start, short());
        let last = if lines == 5 { 6 } else { start.step + 4 };
        run.log(start.step + 1..last);
        assert_eq!(run.end(Outcome::Finished).warnings(), [""; 0]);
        let note = std::fs::read_to_string(folder.path().join("trackers/wandb.json")).unwrap();
        let note: Value = serde_json::from_str(&note).unwrap();
        assert_eq!(note["lines"], lines);
    }
    let runs = names(&folder.path().join("wandb"));
    let id = |run: &String| run.rsplit('-').next().unwrap().to_owned();
    let of_resumed = runs.iter().find(|run| run.contains("20170714_024140")).unwrap();
    assert_eq!(runs.len(), 3, "{runs:?}");
    assert_eq!(runs.iter().filter(|run| id(run) == id(of_resumed)).count(), 2, "{runs:?}");
}
