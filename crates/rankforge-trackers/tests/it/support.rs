//! A run that logs, and what it is told.

use rankforge_base::Reporter;
use rankforge_trackers::{
    Environment, Folders, Limits, Outcome, ReportTo, RunStart, Settings, Trackers,
};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Keeps messages and warnings.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) messages: Mutex<Vec<String>>,
    pub(crate) warnings: Mutex<Vec<String>>,
}

impl Recorder {
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap().clone()
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
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

/// Limits that let a test end soon.
pub(crate) fn short() -> Limits {
    Limits { queue: 50, request: Duration::from_millis(300), end: Duration::from_secs(1) }
}

/// A run in `folder` with trackers and variables.
pub(crate) struct TestRun {
    pub(crate) trackers: Trackers,
    pub(crate) told: Arc<Recorder>,
}

pub(crate) fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Environment { variables: variables.collect(), hostname: "host".to_owned(), process: 7 }
}

pub(crate) fn start() -> RunStart {
    let Value::Object(arguments) = json!({"learning_rate": 5e-5, "run_name": null}) else {
        unreachable!()
    };
    RunStart {
        name: Some("first".to_owned()),
        arguments,
        num_parameters: 12,
        time: 1.5e9,
        ..RunStart::default()
    }
}

impl TestRun {
    pub(crate) fn begin(
        folder: &Path,
        report_to: &[&str],
        variables: &[(&str, &str)],
        start: &RunStart,
        limits: Limits,
    ) -> TestRun {
        let folders = Folders { output_dir: folder, logging_dir: None };
        let report_to = ReportTo::from_names(report_to).unwrap();
        let settings = Settings::new(&report_to, &environment(variables), folders).unwrap();
        let told = Arc::new(Recorder::default());
        let reporter: Arc<dyn Reporter> = told.clone();
        TestRun { trackers: Trackers::begin(&settings, start, limits, &reporter), told }
    }

    /// Logs a loss at each step.
    pub(crate) fn log(&mut self, steps: std::ops::Range<u64>) {
        for step in steps {
            self.trackers.log(&line(step));
        }
    }

    pub(crate) fn end(self, outcome: Outcome) -> Arc<Recorder> {
        self.trackers.end(outcome);
        self.told
    }
}

pub(crate) fn line(step: u64) -> Map<String, Value> {
    let time = 1.5e9 + step as f64;
    let line = json!({"step": step, "epoch": 0.5, "loss": 1.0 / step as f64, "time": time,
                      "grad_norm": null});
    line.as_object().unwrap().clone()
}
