use crate::line::Line;
use crate::mlflow::MlflowSink;
use crate::outcome::Outcome;
use crate::report_to::Tracker;
use crate::settings::Settings;
use crate::sink::Sink;
use crate::start::RunStart;
use crate::tensorboard::TensorBoardSink;
use crate::wandb::WandbSink;
use crate::worker::{Worker, wait_for};
use rankforge_base::Reporter;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// How much trackers may cost a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Log records that wait for each tracker, at most; further ones are dropped.
    pub queue: usize,
    /// How long a request to a server may take.
    pub request: Duration,
    /// How long the end of a run waits for all trackers together.
    pub end: Duration,
}

impl Default for Limits {
    /// 1,000 records, 10 seconds, 15 seconds.
    fn default() -> Limits {
        Limits { queue: 1000, request: Duration::from_secs(10), end: Duration::from_secs(15) }
    }
}

/// The trackers of a run in progress, each on a thread of its own.
///
/// What fails is a warning, and never an error: a tracker that cannot be reached is tried again
/// until the run ends, and one that fails for good gets no more. Dropping the value ends the run as
/// [`Outcome::Failed`].
pub struct Trackers {
    workers: Vec<Worker>,
    limits: Limits,
}

impl Trackers {
    /// Starts a thread for each tracker of the settings.
    pub fn begin(
        settings: &Settings,
        start: &RunStart,
        limits: Limits,
        reporter: &Arc<dyn Reporter>,
    ) -> Trackers {
        let mut sinks: Vec<(Tracker, Box<dyn Sink>)> = Vec::new();
        if let Some(settings) = &settings.tensorboard {
            sinks.push((Tracker::TensorBoard, Box::new(TensorBoardSink::new(settings, start))));
        }
        if let Some(settings) = &settings.mlflow {
            let sink = MlflowSink::new(settings, start, limits.request);
            sinks.push((Tracker::Mlflow, Box::new(sink)));
        }
        if let Some(settings) = &settings.wandb {
            sinks.push((Tracker::Wandb, Box::new(WandbSink::new(settings, start))));
        }
        let worker = |(tracker, sink)| Worker::start(tracker, sink, limits.queue, reporter);
        Trackers { workers: sinks.into_iter().map(worker).collect(), limits }
    }

    /// Hands a line of the log to all trackers, and returns at once. `step` and `time` (seconds
    /// since 1970) are where and when it was; every other number is a metric.
    pub fn log(&mut self, line: &Map<String, Value>) {
        if !self.workers.is_empty() {
            let line = Line::new(line);
            self.workers.iter_mut().for_each(|worker| worker.give(&line));
        }
    }

    /// Ends the run, and waits for the trackers no longer than [`Limits::end`].
    pub fn end(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        self.workers.iter_mut().for_each(|worker| worker.end(outcome));
        wait_for(&self.workers, self.limits.end);
        self.workers.clear();
    }
}

impl Drop for Trackers {
    fn drop(&mut self) {
        self.finish(Outcome::Failed);
    }
}
