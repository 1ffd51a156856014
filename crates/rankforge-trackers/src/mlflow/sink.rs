//! A run of a server: experiment, parameters, metrics, end.

use crate::line::Line;
use crate::mlflow::client::{Client, Refused};
use crate::mlflow::parameters::parameters;
use crate::mlflow::settings::{Experiment, MlflowSettings};
use crate::names::allowed_by_mlflow;
use crate::notes::{note, recall};
use crate::outcome::Outcome;
use crate::report_to::Tracker;
use crate::sink::{Failure, Sink};
use crate::start::RunStart;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// The most parameters, and the most metrics, that the server takes at once.
const PARAMETERS: usize = 100;
const METRICS: usize = 1000;

/// What a resumed run has to know.
#[derive(Deserialize, Serialize)]
struct Note {
    uri: String,
    run_id: String,
}

/// Sends to a server.
pub(crate) struct MlflowSink {
    settings: MlflowSettings,
    start: RunStart,
    limit: Duration,
    client: Option<Client>,
    /// The run, once it exists.
    run_id: Option<String>,
    experiment_id: String,
    last_time: f64,
}

impl MlflowSink {
    /// A sink whose requests take no longer than `limit`.
    pub(crate) fn new(settings: &MlflowSettings, start: &RunStart, limit: Duration) -> MlflowSink {
        MlflowSink {
            settings: settings.clone(),
            limit,
            client: None,
            run_id: None,
            experiment_id: String::new(),
            last_time: start.time,
            start: start.clone(),
        }
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("the run was opened")
    }

    /// The run that exists already: that of the environment, else that of the run that is resumed.
    fn existing(&self) -> Option<String> {
        self.settings.run_id.clone().or_else(|| {
            let note: Option<Note> = recall(&self.settings.output_dir, Tracker::Mlflow);
            let same = |note: &Note| self.start.continues && note.uri == self.settings.uri;
            note.filter(same).map(|note| note.run_id)
        })
    }

    /// The id of the experiment, which is created if there is none of its name.
    fn experiment(&self) -> Result<String, Refused> {
        let name = match &self.settings.experiment {
            Experiment::Id(id) => return Ok(id.clone()),
            Experiment::Name(name) => name,
        };
        let query = [("experiment_name", name.as_str())];
        match self.client().get("experiments/get-by-name", &query) {
            Ok(found) => Ok(text(&found["experiment"]["experiment_id"])),
            Err(refused) if refused.code == "RESOURCE_DOES_NOT_EXIST" => {
                let created = self.client().post("experiments/create", &json!({"name": name}))?;
                Ok(text(&created["experiment_id"]))
            }
            Err(refused) => Err(refused),
        }
    }

    /// Creates the run.
    fn create(&mut self) -> Result<String, Refused> {
        self.experiment_id = self.experiment()?;
        let tags = self.settings.tags.iter();
        let tags: Vec<Value> =
            tags.map(|(key, value)| json!({"key": key, "value": value})).collect();
        let mut run = json!({
            "experiment_id": self.experiment_id,
            "start_time": milliseconds(self.start.time),
            "tags": tags,
        });
        if let Some(name) = &self.start.name {
            run["run_name"] = json!(name);
        }
        let created = self.client().post("runs/create", &run)?;
        Ok(text(&created["run"]["info"]["run_id"]))
    }

    /// Opens a run that exists. Returns the names of the parameters that it has.
    fn open(&mut self, run_id: &str) -> Result<Vec<String>, Refused> {
        let found = self.client().get("runs/get", &[("run_id", run_id)])?;
        self.experiment_id = text(&found["run"]["info"]["experiment_id"]);
        let running = json!({"run_id": run_id, "status": "RUNNING"});
        self.client().post("runs/update", &running)?;
        let known = found["run"]["data"]["params"].as_array().cloned().unwrap_or_default();
        Ok(known.iter().map(|parameter| text(&parameter["key"])).collect())
    }

    /// Sends the parameters that the run does not have: it takes no other value for those.
    /// Returns the names of those whose values are too long for the server.
    fn send_parameters(&self, run_id: &str, known: &[String]) -> Result<Vec<String>, Refused> {
        let settings = self.start.settings();
        let (mut parameters, dropped) = parameters(&settings, self.settings.flatten);
        parameters.truncate(self.settings.max_params.unwrap_or(usize::MAX));
        parameters.retain(|(name, _)| !known.contains(name));
        for some in parameters.chunks(PARAMETERS) {
            let params = some.iter().map(|(name, value)| json!({"key": name, "value": value}));
            let params: Vec<Value> = params.collect();
            self.client().post("runs/log-batch", &json!({"run_id": run_id, "params": params}))?;
        }
        Ok(dropped)
    }
}

impl Sink for MlflowSink {
    fn begin(&mut self) -> Result<Option<String>, Failure> {
        if self.client.is_none() {
            self.client = Some(Client::new(&self.settings, self.limit)?);
        }
        let (run_id, known) = match self.run_id.clone().or_else(|| self.existing()) {
            Some(run_id) => {
                let known = self.open(&run_id)?;
                (run_id, known)
            }
            None => (self.create()?, Vec::new()),
        };
        // From here on, another attempt goes on with this run.
        self.run_id = Some(run_id.clone());
        let uri = self.settings.uri.clone();
        let kept = Note { uri: uri.clone(), run_id: run_id.clone() };
        note(&self.settings.output_dir, Tracker::Mlflow, &kept)?;
        let dropped = self.send_parameters(&run_id, &known)?;
        let mut place = format!("{uri}/#/experiments/{}/runs/{run_id}", self.experiment_id);
        if !dropped.is_empty() {
            place.push_str(&format!(", without {}: too long", dropped.join(", ")));
        }
        Ok(Some(place))
    }

    fn write(&mut self, lines: &[Line]) -> Result<(), Failure> {
        let metrics: Vec<Value> = lines.iter().flat_map(metrics).collect();
        for some in metrics.chunks(METRICS) {
            let body = json!({"run_id": self.run_id, "metrics": some});
            self.client().post("runs/log-batch", &body)?;
        }
        self.last_time = lines.last().map_or(self.last_time, |line| line.time);
        Ok(())
    }

    fn end(&mut self, outcome: Outcome) -> Result<(), Failure> {
        let status = match outcome {
            Outcome::Finished => "FINISHED",
            Outcome::Failed => "FAILED",
            Outcome::Interrupted => "KILLED",
        };
        let end_time = milliseconds(self.last_time);
        let body = json!({"run_id": self.run_id, "status": status, "end_time": end_time});
        self.client().post("runs/update", &body)?;
        Ok(())
    }
}

/// The metrics of a line, as the API takes them.
fn metrics(line: &Line) -> Vec<Value> {
    let metric = |(name, value): &(String, f64)| {
        json!({
            "key": allowed_by_mlflow(name),
            "value": value,
            "timestamp": milliseconds(line.time),
            "step": line.step,
        })
    };
    line.values.iter().map(metric).collect()
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
