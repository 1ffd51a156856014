use crate::error::Error;
use crate::training::compare::run_summary::RunSummary;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Runs side by side: a row for each figure, a column for each run.
pub struct Comparison {
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// Names of the runs, all different.
    pub names: Vec<String>,
    /// The metrics of the models.
    pub metrics: Vec<ComparisonRow>,
    /// Speed and memory.
    pub speed: Vec<ComparisonRow>,
    /// Fields of the recipes that differ.
    pub fields: Vec<ComparisonRow>,
    /// Hashes of models and data, and environments, that differ.
    pub origin: Vec<ComparisonRow>,
}

/// A figure of all runs.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparisonRow {
    /// Its name.
    pub name: String,
    /// Its value in each run; `None` where a run has none.
    pub values: Vec<Option<Value>>,
}

/// Fields of a recipe that say where files go and how a run is called, and so always differ.
const OF_PLACE: [&str; 2] = ["arguments.output_dir", "arguments.run_name"];

impl Comparison {
    /// Compares runs.
    ///
    /// # Errors
    /// No run, or the same folder twice.
    pub fn new(runs: Vec<RunSummary>) -> Result<Comparison, Error> {
        if runs.is_empty() {
            return Err(Error::argument("runs", "at least one", "none"));
        }
        let mut folders = HashSet::new();
        for run in &runs {
            let folder = run.folder.canonicalize().unwrap_or_else(|_| run.folder.clone());
            if !folders.insert(folder) {
                let expected = "each folder once";
                return Err(Error::argument("runs", expected, run.folder.display()));
            }
        }
        let differing = |maps: Vec<Map<String, Value>>| -> Vec<ComparisonRow> {
            let rows = rows(&maps).into_iter().filter(|row| !OF_PLACE.contains(&&*row.name));
            rows.filter(|row| row.values.iter().any(|value| *value != row.values[0])).collect()
        };
        Ok(Comparison {
            names: names(&runs),
            metrics: rows(&runs.iter().map(RunSummary::metrics).collect::<Vec<_>>()),
            speed: rows(&runs.iter().map(RunSummary::speed).collect::<Vec<_>>()),
            fields: differing(runs.iter().map(|run| run.fields.clone()).collect()),
            origin: differing(runs.iter().map(RunSummary::origin).collect()),
            runs,
        })
    }

    /// All figures, as JSON.
    pub fn to_json(&self) -> Value {
        let runs = self.runs.iter().zip(&self.names).map(|(run, name)| {
            json!({
                "name": name,
                "folder": run.folder.to_string_lossy(),
                "step": run.step,
                "model_step": run.model_step,
                "metrics": run.metrics(),
                "speed": run.speed(),
                "origin": run.origin(),
            })
        });
        let rows = |rows: &[ComparisonRow]| -> Map<String, Value> {
            rows.iter().map(|row| (row.name.clone(), json!(row.values))).collect()
        };
        json!({
            "runs": runs.collect::<Vec<_>>(),
            "different_fields": rows(&self.fields),
            "different_origin": rows(&self.origin),
        })
    }
}

/// The names of the runs, with their folders where two have the same.
fn names(runs: &[RunSummary]) -> Vec<String> {
    let name = |run: &RunSummary| {
        let same = runs.iter().filter(|other| other.name == run.name).count();
        if same == 1 { run.name.clone() } else { run.folder.display().to_string() }
    };
    runs.iter().map(name).collect()
}

/// A row for each name, in the order in which the names occur first.
fn rows(maps: &[Map<String, Value>]) -> Vec<ComparisonRow> {
    let mut rows: Vec<ComparisonRow> = Vec::new();
    for name in maps.iter().flat_map(Map::keys) {
        if !rows.iter().any(|row| row.name == *name) {
            let values = maps.iter().map(|map| map.get(name).cloned()).collect();
            rows.push(ComparisonRow { name: name.clone(), values });
        }
    }
    rows
}
