//! The model card: a README.md that says what a model is, how to use it, what it learned from and
//! how well it does, with the sections of sentence-transformers' cards.

mod architecture;
mod dataset;
mod tables;
mod usage;

pub use tables::EvaluationResult;

use crate::Error;
use crate::losses::Loss;
use crate::training::{TrainerState, TrainingArguments};
use indexmap::IndexMap;
use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;
use rankforge_data::Rows;
use rankforge_encoder::{EncoderError, Trainable};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const TEMPLATE: &str = include_str!("card.md.jinja");

/// Longest text of all data set names in the first sentence, before it says how many there are.
const LONGEST_DATASET_NAMES: usize = 200;

/// Rows of the training log from which on it is collapsed.
const COLLAPSED_LOG_ROWS: usize = 100;

/// Scores pairs with the output activation, for the examples of a card.
pub type ExampleScores<M> = fn(&M, &[(&str, &str)]) -> Result<Vec<f32>, EncoderError>;

/// What a card says and a run does not know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelCardData {
    /// Language codes.
    pub language: Vec<String>,
    /// Licence identifier.
    pub license: Option<String>,
    /// Title; without it the base model's name makes one.
    pub model_name: Option<String>,
    /// What the usage examples load; without it a placeholder.
    pub model_id: Option<String>,
    /// What the model is trained on.
    pub train_datasets: Vec<DatasetName>,
    /// What the loss is evaluated on.
    pub eval_datasets: Vec<DatasetName>,
    /// What it is for; the default follows the kind of model.
    pub task_name: Option<String>,
    /// Tags besides those that follow from the run.
    pub tags: Vec<String>,
}

/// A data set's name, and its place on the Hub when it has one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatasetName {
    /// What to call it.
    pub name: Option<String>,
    /// Its `owner/name` on the Hugging Face Hub.
    pub id: Option<String>,
    /// Its revision there.
    pub revision: Option<String>,
}

/// Seconds of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Timing {
    /// In training steps and checkpoints.
    pub training: f64,
    /// In evaluation.
    pub evaluation: f64,
}

/// What a run tells its card.
pub struct TrainingReport<'a> {
    /// How the model was trained.
    pub arguments: &'a TrainingArguments,
    /// The log, and the best step.
    pub state: &'a TrainerState,
    /// What it learned from.
    pub train_dataset: &'a Rows,
    /// What the evaluation loss is computed on.
    pub eval_dataset: Option<&'a Rows>,
    /// What was made small.
    pub loss: &'a dyn Loss,
    /// The latest result of each evaluator.
    pub evaluations: &'a [EvaluationResult],
    /// How long it took.
    pub timing: Timing,
}

/// The text of a model's card; `report` is there for trained models.
///
/// # Errors
/// When the tokenizer refuses a text of the first rows, or the examples cannot be scored.
pub fn render<M: Trainable>(
    model: &M,
    data: &ModelCardData,
    report: Option<&TrainingReport<'_>>,
    example_scores: Option<ExampleScores<M>>,
) -> Result<String, Error> {
    let reranker = model.model_type() == "CrossEncoder";
    let base_model = Some(model.base_model()).filter(|name| !name.is_empty());
    let names: Vec<String> = data.train_datasets.iter().filter_map(dataset_link).collect();
    let task = data.task_name.as_deref().unwrap_or(match (reranker, model.num_labels()) {
        (true, 1) => "text reranking and semantic search",
        (true, _) => "text pair classification",
        _ => "semantic search, semantic textual similarity, clustering and classification",
    });
    let mut datasets = Vec::new();
    if let Some(report) = report {
        let tokenizer = model.tokenizer();
        let mut push = |kind, rows, names: &[DatasetName]| {
            dataset::describe(kind, rows, names.first(), tokenizer)
                .map(|description| datasets.push(description))
        };
        push("Training", report.train_dataset, &data.train_datasets)?;
        if let Some(rows) = report.eval_dataset {
            push("Evaluation", rows, &data.eval_datasets)?;
        }
    }
    let evaluations = report.map_or(&[][..], |report| report.evaluations);
    let best_step = report.and_then(|report| {
        report.state.best_global_step.filter(|_| report.arguments.load_best_model_at_end)
    });
    let log =
        report.map(|report| tables::log_table(&report.state.log_history, evaluations, best_step));
    let collapse_log = log.as_ref().is_some_and(|log| log.lines().count() > COLLAPSED_LOG_ROWS + 2);
    let usage = usage::snippets(model, data, report, example_scores)?;
    let values = json!({
        "front_matter": front_matter(model, data, report),
        "title": title(model, data, &names),
        "reranker": reranker,
        "base_model": base_model,
        "base_model_link": base_model.map(model_link),
        "dataset_names": joined_names(&names),
        "datasets_are_many": names.len() > 1,
        "task": task,
        "dimension": model.model().architecture().output_columns(),
        "num_labels": model.num_labels(),
        "max_length": model.tokenizer().max_length(),
        "train_dataset_names": names,
        "languages": data.language.join(", "),
        "license": data.license,
        "architecture": architecture::tree(model),
        "usage": usage,
        "evaluations": tables::evaluation_blocks(evaluations),
        "datasets": datasets,
        "loss": report.map(|report| report.loss.name()),
        "loss_config": report.map(|report| pretty(&report.loss.config())),
        "non_default": report.map(|report| shown(report.arguments.non_default())),
        "arguments": report.map(|report| shown(report.arguments.to_map())),
        "log": log.filter(|log| !log.is_empty()),
        "collapse_log": collapse_log,
        "best_step": best_step,
        "training_time": report.map(|report| duration(report.timing.training)),
        "evaluation_time": report
            .filter(|report| report.timing.evaluation > 0.0)
            .map(|report| duration(report.timing.evaluation)),
        "total_time": report
            .map(|report| duration(report.timing.training + report.timing.evaluation)),
        "version": env!("CARGO_PKG_VERSION"),
        "citations": citations(report),
    });
    let text = environment()
        .get_template("card")
        .and_then(|template| template.render(minijinja::value::Serde(&values)))
        .map_err(|error| Error::Input(format!("model card: {error:#}")))?;
    Ok(without_triple_blank_lines(&text))
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build()
        .expect("the standard delimiters do not clash");
    environment.set_syntax(syntax);
    environment.add_template("card", TEMPLATE).expect("the template is well-formed");
    environment
}

fn title<M: Trainable>(model: &M, data: &ModelCardData, datasets: &[String]) -> String {
    if let Some(name) = &data.model_name {
        return name.clone();
    }
    let kind =
        if model.model_type() == "CrossEncoder" { "CrossEncoder" } else { "SentenceTransformer" };
    match (model.base_model(), datasets) {
        ("", _) => kind.to_owned(),
        (base, []) => format!("{kind} based on {base}"),
        (base, _) => {
            let names: Vec<&str> =
                data.train_datasets.iter().filter_map(|dataset| dataset.name.as_deref()).collect();
            format!("{kind} based on {base} finetuned on {}", joined_names(&names))
        }
    }
}

/// `a`, `a and b`, `a, b and c`, or how many when that is long.
fn joined_names(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let joined = match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    };
    if joined.len() > LONGEST_DATASET_NAMES { names.len().to_string() } else { joined }
}

fn dataset_link(dataset: &DatasetName) -> Option<String> {
    let name = dataset.name.as_ref().or(dataset.id.as_ref())?;
    Some(match &dataset.id {
        Some(id) => format!("[{name}](https://huggingface.co/datasets/{id})"),
        None => name.clone(),
    })
}

/// A link for names as on the Hub; a local path stays as it is.
fn model_link(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    let hub =
        parts.len() == 2 && parts.iter().all(|part| !part.is_empty() && !part.starts_with('.'));
    // `models/bert` looks like a name on the Hub, but is a folder here.
    if hub && !std::path::Path::new(name).exists() {
        format!("[{name}](https://huggingface.co/{name})")
    } else {
        format!("`{name}`")
    }
}

fn front_matter<M: Trainable>(
    model: &M,
    data: &ModelCardData,
    report: Option<&TrainingReport<'_>>,
) -> String {
    let reranker = model.model_type() == "CrossEncoder";
    let mut tags = vec!["sentence-transformers".to_owned()];
    tags.extend(if reranker {
        vec!["cross-encoder".to_owned(), "reranker".to_owned()]
    } else {
        vec!["sentence-similarity".to_owned(), "feature-extraction".to_owned()]
    });
    tags.extend(data.tags.iter().cloned());
    if let Some(report) = report {
        let mut derived = vec![
            format!("dataset_size:{}", report.train_dataset.len()),
            "generated_from_trainer".to_owned(),
            format!("loss:{}", report.loss.name()),
        ];
        derived.sort();
        tags.extend(derived);
    }
    let pipeline = match (reranker, model.num_labels()) {
        (true, 1) => "text-ranking",
        (true, _) => "text-classification",
        _ => "sentence-similarity",
    };
    let mut fields: IndexMap<&str, Value> = IndexMap::new();
    match data.language.as_slice() {
        [] => {}
        [one] => drop(fields.insert("language", one.as_str().into())),
        several => drop(fields.insert("language", several.into())),
    }
    if let Some(license) = &data.license {
        fields.insert("license", license.as_str().into());
    }
    fields.insert("tags", tags.into());
    // A path of this machine would mean nothing to a reader of the card.
    if model_link(model.base_model()).starts_with('[') {
        fields.insert("base_model", model.base_model().into());
    }
    let ids: Vec<&str> = data.train_datasets.iter().filter_map(|d| d.id.as_deref()).collect();
    if !ids.is_empty() {
        fields.insert("datasets", ids.into());
    }
    fields.insert("pipeline_tag", pipeline.into());
    fields.insert("library_name", "sentence-transformers".into());
    let evaluations = report.map_or(&[][..], |report| report.evaluations);
    if !evaluations.is_empty() {
        fields.insert("metrics", tables::metric_names(evaluations).into());
        let name = data.model_name.clone();
        let name = name.unwrap_or_else(|| title(model, data, &[]));
        fields.insert("model-index", tables::model_index(&name, evaluations));
    }
    let mut yaml = String::new();
    for (name, value) in fields {
        yaml.push_str(&format!("{name}:"));
        push_yaml(&mut yaml, &value, 0);
    }
    yaml
}

/// A value in YAML's block style; texts are quoted as JSON, which YAML reads.
fn push_yaml(yaml: &mut String, value: &Value, indent: usize) {
    let pad = " ".repeat(indent);
    match value {
        Value::Array(items) => {
            yaml.push('\n');
            for item in items {
                yaml.push_str(&format!("{pad}-"));
                push_yaml(yaml, item, indent + 2);
            }
        }
        Value::Object(map) => {
            // The first field of an item stands behind its dash.
            let mut inline = yaml.ends_with('-');
            if !inline {
                yaml.push('\n');
            }
            for (name, field) in map {
                yaml.push_str(&if inline { " ".to_owned() } else { pad.clone() });
                yaml.push_str(&format!("{name}:"));
                // A list stands under its field, not further in.
                push_yaml(yaml, field, if field.is_array() { indent } else { indent + 2 });
                inline = false;
            }
        }
        Value::String(text) if is_plain(text) => yaml.push_str(&format!(" {text}\n")),
        other => yaml.push_str(&format!(" {other}\n")),
    }
}

/// Whether YAML reads the text as the same text without quotes.
fn is_plain(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || "-_/.".contains(c);
    let inner = |c: char| letters(c) || c == ' ' || c == ':' || c == '@';
    let word = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(letters)
        && text.chars().all(inner)
        && !text.contains(": ")
        && !word.contains(&text.to_lowercase().as_str())
}

fn citations(report: Option<&TrainingReport<'_>>) -> IndexMap<String, String> {
    let mut citations = IndexMap::new();
    let sentence_transformers = "@inproceedings{reimers-2019-sentence-bert,\n    \
        title = \"Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks\",\n    \
        author = \"Reimers, Nils and Gurevych, Iryna\",\n    \
        booktitle = \"Proceedings of the 2019 Conference on Empirical Methods in Natural \
        Language Processing\",\n    month = \"11\",\n    year = \"2019\",\n    \
        publisher = \"Association for Computational Linguistics\",\n    \
        url = \"https://arxiv.org/abs/1908.10084\",\n}";
    citations.insert("Sentence Transformers".to_owned(), sentence_transformers.to_owned());
    if let Some(report) = report.filter(|report| !report.loss.citation().trim().is_empty()) {
        citations.insert(report.loss.name().to_owned(), report.loss.citation().trim().to_owned());
    }
    citations
}

fn shown(arguments: serde_json::Map<String, Value>) -> Vec<(String, String)> {
    arguments.into_iter().map(|(name, value)| (name, value.to_string())).collect()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON prints")
}

/// `12.3 seconds`, `4.5 minutes`, `1.2 hours`.
fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.1} seconds")
    } else if seconds < 3600.0 {
        format!("{:.1} minutes", seconds / 60.0)
    } else {
        format!("{:.1} hours", seconds / 3600.0)
    }
}

fn without_triple_blank_lines(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut blank = 0;
    for line in text.lines() {
        blank = if line.trim().is_empty() { blank + 1 } else { 0 };
        if blank < 2 {
            kept.push_str(line.trim_end());
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_is_block_style_yaml_with_quotes_where_they_are_needed() {
        let mut yaml = "model-index:".to_owned();
        let value = json!([{"name": "a: b", "results": [{"task": {"type": "x"}, "value": 0.5}]}]);
        push_yaml(&mut yaml, &value, 0);
        let expected = "model-index:\n- name: \"a: b\"\n  results:\n  - task:\n      type: x\n    \
                        value: 0.5\n";
        assert_eq!(yaml, expected);
        assert!(!is_plain("no") && !is_plain("- x") && !is_plain("3.5") && is_plain("loss:BCE"));
    }

    #[test]
    fn names_are_joined_until_they_are_too_many() {
        assert_eq!(joined_names(&["a", "b", "c"]), "a, b and c");
        let long = vec!["name of a data set"; 20];
        assert_eq!(joined_names(&long), "20");
    }

    #[test]
    fn a_local_path_is_no_link() {
        assert_eq!(model_link("org/name"), "[org/name](https://huggingface.co/org/name)");
        assert_eq!(model_link("/models/org/name"), "`/models/org/name`");
        assert_eq!(model_link("./name"), "`./name`");
    }
}
