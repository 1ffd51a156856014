//! Trackers that fail or hang: the run goes on, at once, and is told once.

use crate::server::{Server, mlflow};
use crate::support::{TestRun, short, start};
use rankforge_trackers::{Limits, Outcome};
use serde_json::json;
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "a test of how long something takes")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_server_that_never_answers_takes_no_time_until_the_end_which_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| None);
    let variables = [("MLFLOW_TRACKING_URI", server.uri.as_str())];
    let limits = Limits { request: Duration::from_secs(60), ..short() };
    let begun = now();
    let mut run = TestRun::begin(folder.path(), &["mlflow"], &variables, &start(), limits);
    run.log(1..201);
    let logged = begun.elapsed();
    assert!(logged < Duration::from_millis(500), "logging took {logged:?}");
    let told = run.end(Outcome::Finished);
    let whole = begun.elapsed();
    assert!(whole < Duration::from_secs(5), "the run took {whole:?}");
    assert_eq!(told.warnings(), ["mlflow: 200 of 200 log records did not get there in time"]);
}

#[test]
fn a_server_that_does_not_answer_in_time_is_named_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| None);
    let variables = [("MLFLOW_TRACKING_URI", server.uri.as_str())];
    let mut run = TestRun::begin(folder.path(), &["mlflow"], &variables, &start(), short());
    run.log(1..3);
    let warnings = run.end(Outcome::Failed).warnings();
    let text = "no answer within 0.3 s; the run goes on, it is tried again";
    assert_eq!(warnings[0], format!("mlflow: {}: {text}", server.uri));
    assert!(warnings[1].starts_with("mlflow: 2 of 2 log records did not get there"));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn a_server_that_fails_is_tried_again_and_gets_everything_once_it_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|number, request| match number {
        // The second failure comes after the run was created.
        0 | 2 => Some((500, json!({"message": "try later"}))),
        _ => Some(mlflow(request, "")),
    });
    let variables = [("MLFLOW_TRACKING_URI", server.uri.as_str())];
    let limits = Limits { end: Duration::from_secs(10), ..short() };
    let mut run = TestRun::begin(folder.path(), &["mlflow"], &variables, &start(), limits);
    run.log(1..4);
    while server.sent("runs/log-batch").len() < 3 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = run.end(Outcome::Finished);
    let warnings = told.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let text = "500 Internal Server Error try later; the run goes on, it is tried again";
    assert!(warnings[0].contains(text), "{warnings:?}");
    assert_eq!(server.sent("runs/create").len(), 2, "one that failed and one");
    assert_eq!(server.sent("runs/update").last().unwrap()["status"], "FINISHED");
}

#[test]
fn a_server_that_always_fails_loses_the_records_with_a_count() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| Some((500, json!({}))));
    let variables = [("MLFLOW_TRACKING_URI", server.uri.as_str())];
    let mut run = TestRun::begin(folder.path(), &["mlflow"], &variables, &start(), short());
    run.log(1..11);
    let warnings = run.end(Outcome::Finished).warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("500 Internal Server Error; the run goes on"), "{warnings:?}");
    assert_eq!(warnings[1], "mlflow: 10 of 10 log records did not get there");
}

#[test]
fn a_server_that_refuses_gets_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| Some((401, json!({"message": "who are you?"}))));
    let variables = [("MLFLOW_TRACKING_URI", server.uri.as_str())];
    let mut run = TestRun::begin(folder.path(), &["mlflow"], &variables, &start(), short());
    run.log(1..11);
    let warnings = run.end(Outcome::Finished).warnings();
    assert!(warnings[0].contains("401 Unauthorized who are you?"), "{warnings:?}");
    assert!(warnings[0].contains("the run goes on, it gets no more"), "{warnings:?}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_directory_that_cannot_be_written_is_a_warning_and_other_trackers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    // Also a superuser cannot make a directory in a file.
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let variables = [("WANDB_DIR", file.to_str().unwrap())];
    let trackers = ["wandb", "tensorboard"];
    let mut run = TestRun::begin(folder.path(), &trackers, &variables, &start(), short());
    run.log(1..11);
    let told = run.end(Outcome::Finished);
    let warnings = told.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with(&format!("wandb: {}", file.display())), "{warnings:?}");
    assert!(warnings[0].contains("the run goes on, it gets no more"), "{warnings:?}");
    assert_eq!(warnings[1], "wandb: 10 of 10 log records did not get there");
    assert!(told.messages()[0].starts_with("tensorboard: "), "{:?}", told.messages());
}
