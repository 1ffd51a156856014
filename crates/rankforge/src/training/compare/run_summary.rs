use crate::error::Error;
use crate::trainer_state::{TrainerState, step_of};
use crate::training::checkpoint::{STATE, read_json};
use crate::training::log_file::LOG_FILE;
use crate::training::record::{RECIPE, RUN_RECORD, RunRecord};
use crate::training::report::RunLog;
use rankforge_base::FileError;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What the folder of a run says of it, whether the run has ended or not.
pub struct RunSummary {
    /// The folder.
    pub folder: PathBuf,
    /// `run_name`, or else the name of the folder.
    pub name: String,
    /// The last step of the log.
    pub step: u64,
    /// The step whose parameters the model has: the last one, or the best if the run took that.
    pub model_step: u64,
    /// Hashes and environments; `None` for a run of a version that did not write them.
    pub record: Option<RunRecord>,
    /// The fields of the recipe, such as `arguments.learning_rate`, with their values; empty for a
    /// run without a recipe.
    pub fields: Map<String, Value>,
    pub(super) log: RunLog,
}

impl RunSummary {
    /// Reads the folder of a run.
    ///
    /// # Errors
    /// A folder that is not that of a run, or one whose files cannot be read.
    pub fn read(folder: &Path) -> Result<RunSummary, Error> {
        std::fs::metadata(folder).map_err(FileError::io(folder))?;
        let [state, log, run] = [STATE, LOG_FILE, RUN_RECORD].map(|name| folder.join(name));
        if !run.is_file() && !state.is_file() {
            let message = format!(
                "expected the folder of a run (arguments.output_dir), got one with neither \
                 {RUN_RECORD} nor {STATE}"
            );
            return Err(FileError::content(folder, message).into());
        }
        if !log.is_file() && !state.is_file() {
            let message = format!("the run has no log yet, neither {LOG_FILE} nor {STATE}");
            return Err(FileError::content(folder, message).into());
        }
        let state: Option<TrainerState> = state.is_file().then(|| read_json(&state)).transpose()?;
        let history = state.as_ref().map_or(&[][..], |state| &state.log_history);
        let log = RunLog::read(folder, history);
        let fields = recipe_fields(&folder.join(RECIPE))?;
        let name = fields.get("arguments.run_name").and_then(Value::as_str).map(str::to_owned);
        let of_folder = || {
            let folder = folder.canonicalize().ok()?;
            Some(folder.file_name()?.to_string_lossy().into_owned())
        };
        let step = log.records().iter().filter_map(step_of).max().unwrap_or(0);
        let takes_best = fields.get("arguments.load_best_model_at_end") == Some(&Value::Bool(true));
        let best = state.and_then(|state| state.best_global_step).filter(|_| takes_best);
        Ok(RunSummary {
            folder: folder.to_owned(),
            name: name.or_else(of_folder).unwrap_or_else(|| folder.display().to_string()),
            step,
            model_step: best.unwrap_or(step),
            record: RunRecord::read(folder)?,
            fields,
            log,
        })
    }

    /// The metrics of the model: those of its last evaluation up to the step of its parameters, and
    /// the mean loss of the training.
    pub fn metrics(&self) -> Map<String, Value> {
        let mut metrics = Map::new();
        for record in self.log.records() {
            let before = step_of(record).is_some_and(|step| step <= self.model_step);
            for (name, value) in record {
                let is_metric = name.starts_with("eval_") && !is_speed(name) && before;
                if is_metric || name == "train_loss" {
                    metrics.insert(name.clone(), value.clone());
                }
            }
        }
        metrics
    }

    /// Speed and memory: rows and tokens per second in training, its seconds, the peak memory of
    /// the process in bytes.
    pub fn speed(&self) -> Map<String, Value> {
        let figures = [
            ("samples_per_second", self.log.mean("samples_per_second")),
            ("tokens_per_second", self.log.mean("tokens_per_second")),
            ("train_runtime", self.log.last("train_runtime").map(|(_, seconds)| seconds)),
            ("peak_memory_bytes", self.log.largest("peak_memory_bytes")),
        ];
        let known = figures.into_iter().filter_map(|(name, value)| Some((name, value?)));
        known.map(|(name, value)| (name.to_owned(), value.into())).collect()
    }

    /// What the run came from and where it was computed, by name: hashes of model and data,
    /// version, instruction set, threads.
    pub fn origin(&self) -> Map<String, Value> {
        let mut origin = Map::new();
        let Some(RunRecord { definition, environments }) = &self.record else { return origin };
        origin.insert("model".to_owned(), definition.model.clone().into());
        for (what, sets) in
            [("training data", &definition.train_sets), ("evaluation data", &definition.eval_sets)]
        {
            for set in sets {
                let name = format!("{what} {}", set.name);
                origin.insert(name.trim_end().to_owned(), set.content.clone().into());
            }
        }
        if let Some(last) = environments.last() {
            origin.insert("version".to_owned(), last.version.clone().into());
            origin.insert("instruction set".to_owned(), last.instruction_set.clone().into());
            origin.insert("matrix products".to_owned(), last.matrix_products.clone().into());
            origin.insert("threads".to_owned(), last.threads.into());
        }
        origin
    }
}

/// Whether a field of an evaluation is a time.
fn is_speed(name: &str) -> bool {
    ["eval_runtime", "eval_samples_per_second", "eval_steps_per_second"].contains(&name)
}

/// The fields of a recipe in the order of the file; none if there is no file.
fn recipe_fields(path: &Path) -> Result<Map<String, Value>, Error> {
    let mut fields = Map::new();
    if path.is_file() {
        let text = std::fs::read_to_string(path).map_err(FileError::io(path))?;
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| FileError::content(path, error.message()))?;
        let value = serde_json::to_value(&table).expect("TOML without dates is JSON");
        flatten("", &value, &mut fields);
    }
    Ok(fields)
}

/// `section.field`, with the index of an item of a list of sections.
fn flatten(prefix: &str, value: &Value, fields: &mut Map<String, Value>) {
    let name = |part: &str| match prefix {
        "" => part.to_owned(),
        _ => format!("{prefix}.{part}"),
    };
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| flatten(&name(key), value, fields))
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&format!("{prefix}[{index}]"), item, fields);
            }
        }
        other => drop(fields.insert(prefix.to_owned(), other.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_fields_of_a_recipe_are_named_by_their_sections() {
        let mut fields = Map::new();
        let value = json!({"a": {"b": 1, "c": [1, 2]}, "d": [{"e": "x"}, {"e": "y"}]});
        flatten("", &value, &mut fields);
        let expected = json!({"a.b": 1, "a.c": [1, 2], "d[0].e": "x", "d[1].e": "y"});
        assert_eq!(Value::Object(fields), expected);
    }
}
