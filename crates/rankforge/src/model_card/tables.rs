use crate::metrics::Metrics;
use crate::trainer_state::{LogRecord, step_of};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How the names of metrics of the first stage begin.
const FIRST_STAGE: &str = "base_";

/// The result of an evaluator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationResult {
    /// Class of the evaluator, as in sentence-transformers.
    pub class_name: String,
    /// Name of the evaluation data.
    pub name: String,
    /// Key of the primary metric.
    pub primary_metric: String,
    /// Settings of the evaluator.
    pub config: Value,
    /// All metrics, under the keys of the evaluator.
    pub metrics: Metrics,
}

impl EvaluationResult {
    /// The key of a metric without the name of the data.
    pub(crate) fn short<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('_')).unwrap_or(key)
    }

    /// The metric of the first stage that stands beside the metric `key` of the model.
    pub(crate) fn of_first_stage(&self, key: &str) -> Option<f64> {
        let short = self.short(key);
        let name = key.strip_suffix(short).unwrap_or_default();
        self.metrics.get(&format!("{name}{FIRST_STAGE}{short}"))
    }

    /// Whether a metric is one of the first stage.
    pub(crate) fn is_of_first_stage(&self, key: &str) -> bool {
        self.short(key).starts_with(FIRST_STAGE)
    }

    /// The class name as words: `Cross Encoder Reranking` for `CrossEncoderRerankingEvaluator`; or
    /// the name that sentence-transformers has for the class.
    fn task(&self) -> String {
        match self.class_name.as_str() {
            "EmbeddingSimilarityEvaluator" => return "Semantic Similarity".to_owned(),
            "MSEEvaluator" => return "Knowledge Distillation".to_owned(),
            _ => {}
        }
        let class = self.class_name.strip_suffix("Evaluator").unwrap_or(&self.class_name);
        let mut task = String::new();
        for letter in class.chars() {
            let starts_word =
                letter.is_uppercase() && task.chars().next_back().is_some_and(char::is_lowercase);
            if starts_word {
                task.push(' ');
            }
            task.push(letter);
        }
        task
    }
}

/// One block of the evaluation section: a table with one column for each evaluator of the same
/// class and settings.
#[derive(Debug, serde::Serialize)]
pub(super) struct EvaluationBlock {
    task: String,
    class_name: String,
    datasets: Vec<String>,
    config: Option<String>,
    table: String,
}

pub(super) fn evaluation_blocks(results: &[EvaluationResult]) -> Vec<EvaluationBlock> {
    let mut groups: Vec<Vec<&EvaluationResult>> = Vec::new();
    for result in results {
        let same = |group: &&mut Vec<&EvaluationResult>| {
            group[0].class_name == result.class_name && group[0].config == result.config
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(result),
            None => groups.push(vec![result]),
        }
    }
    groups.iter().map(|group| block(group)).collect()
}

fn block(group: &[&EvaluationResult]) -> EvaluationBlock {
    let first = group[0];
    let datasets: Vec<String> =
        group.iter().map(|result| result.name.clone()).filter(|name| !name.is_empty()).collect();
    let heads: Vec<String> = match group {
        [_] => vec!["Value".to_owned()],
        _ => group.iter().map(|result| result.name.clone()).collect(),
    };
    let mut table =
        format!("| Metric | {} |\n|:--|{}\n", heads.join(" | "), "--:|".repeat(heads.len()));
    for key in first.metrics.0.keys() {
        let name = first.short(key);
        let bold = if *key == first.primary_metric { "**" } else { "" };
        table.push_str(&format!("| {bold}{name}{bold} |"));
        for result in group {
            let value = result.metrics.0.iter().find(|(key, _)| result.short(key) == name);
            let value = value.map_or("-".to_owned(), |(_, value)| format!("{value:.4}"));
            table.push_str(&format!(" {bold}{value}{bold} |"));
        }
        table.push('\n');
    }
    let empty = first.config.as_object().is_none_or(serde_json::Map::is_empty);
    EvaluationBlock {
        task: first.task(),
        class_name: first.class_name.clone(),
        datasets,
        config: (!empty).then(|| pretty(&first.config)),
        table,
    }
}

/// Names of all metrics, without duplicates, in the order of their first appearance.
pub(super) fn metric_names(results: &[EvaluationResult]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for result in results {
        for key in result.metrics.0.keys().map(|key| result.short(key)) {
            if !names.iter().any(|name| name == key) {
                names.push(key.to_owned());
            }
        }
    }
    names
}

/// The `model-index` of the front matter.
pub(super) fn model_index(name: &str, results: &[EvaluationResult]) -> Value {
    let results: Vec<Value> = results
        .iter()
        .map(|result| {
            let task = result.task();
            let data = if result.name.is_empty() { "Unknown" } else { &result.name };
            let metrics: Vec<Value> = result
                .metrics
                .0
                .iter()
                // The Hub refuses a result that is not a number.
                .filter(|(_, value)| value.is_finite())
                .map(|(key, value)| {
                    let short = result.short(key);
                    json!({"type": short, "value": value, "name": title_case(short)})
                })
                .collect();
            json!({
                "task": {"type": task.to_lowercase().replace(' ', "-"), "name": task},
                "dataset": {"name": data.replace(['_', '-'], " "), "type": data},
                "metrics": metrics,
            })
        })
        .collect();
    json!([{"name": name, "results": results}])
}

fn title_case(key: &str) -> String {
    let words = key.split('_').map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>())
    });
    words.flatten().collect::<Vec<_>>().join(" ")
}

/// The training log as a table with a row for each step that has a loss or an evaluation; empty
/// when there is no such step.
pub(super) fn log_table(
    log: &[LogRecord],
    evaluations: &[EvaluationResult],
    best_step: Option<u64>,
) -> String {
    let mut columns = vec![
        ("Training Loss".to_owned(), "loss".to_owned()),
        ("Validation Loss".to_owned(), "eval_loss".to_owned()),
    ];
    columns.extend(named_losses(log));
    for EvaluationResult { primary_metric, .. } in evaluations {
        let key = format!("eval_{primary_metric}");
        if !columns.iter().any(|(_, known)| *known == key) {
            columns.push((primary_metric.clone(), key));
        }
    }
    let mut rows: BTreeMap<u64, LogRecord> = BTreeMap::new();
    for record in log {
        if let Some(step) =
            step_of(record).filter(|_| columns.iter().any(|(_, key)| record.contains_key(key)))
        {
            rows.entry(step).or_default().extend(record.clone());
        }
    }
    columns.retain(|(_, key)| rows.values().any(|row| row.contains_key(key)));
    if rows.is_empty() {
        return String::new();
    }
    let heads: Vec<&str> = columns.iter().map(|(head, _)| head.as_str()).collect();
    let lines = "--:|".repeat(heads.len() + 2);
    let mut table = format!("| Epoch | Step | {} |\n|{lines}\n", heads.join(" | "));
    for (step, row) in rows {
        let number = |key: &str| {
            let value = row.get(key).and_then(Value::as_f64);
            value.map_or("-".to_owned(), |value| format!("{value:.4}"))
        };
        let mut cells = vec![number("epoch"), step.to_string()];
        cells.extend(columns.iter().map(|(_, key)| number(key)));
        let bold = if best_step == Some(step) { "**" } else { "" };
        let cells: Vec<String> = cells
            .into_iter()
            .map(|cell| if cell == "-" { cell } else { format!("{bold}{cell}{bold}") })
            .collect();
        table.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    table
}

/// Heading and log key of the loss of each named evaluation set: `nq loss` for `eval_nq_loss`.
fn named_losses(log: &[LogRecord]) -> Vec<(String, String)> {
    let mut columns: Vec<(String, String)> = Vec::new();
    for key in log.iter().flat_map(LogRecord::keys) {
        let Some(name) = key.strip_prefix("eval_").and_then(|key| key.strip_suffix("_loss")) else {
            continue;
        };
        if !columns.iter().any(|(_, known)| known == key) {
            columns.push((format!("{name} loss"), key.clone()));
        }
    }
    columns
}

/// A value as indented JSON.
pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON prints")
}
