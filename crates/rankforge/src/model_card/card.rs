use crate::error::Error;
use crate::model_card::data::{ModelCardData, TrainingReport};
use crate::model_card::dataset::{self, Description};
use crate::model_card::front_matter::front_matter;
use crate::model_card::names::{dataset_link, joined_names, model_link, num_labels, title};
use crate::model_card::{architecture, names, tables, usage};
use crate::words::duration;
use indexmap::IndexMap;
use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;
use rankforge_encoder::TextModel;
use serde_json::{Value, json};

const TEMPLATE: &str = include_str!("card.md.jinja");

/// A training log with more rows than this is collapsed.
const COLLAPSED_LOG_ROWS: usize = 100;

/// Renders a model card, as Markdown with YAML front matter. `report` describes the training run,
/// if there was one.
///
/// # Errors
/// A row that cannot be read, a text that the tokenizer cannot encode, or examples that the model
/// cannot score.
pub fn render(
    model: &dyn TextModel,
    data: &ModelCardData,
    report: Option<&TrainingReport<'_>>,
) -> Result<String, Error> {
    let labels = num_labels(model);
    let base_model = Some(model.base_model()).filter(|name| !name.is_empty());
    let dataset_names: Vec<String> = data.train_datasets.iter().filter_map(dataset_link).collect();
    let task = data.task_name.as_deref().unwrap_or(match labels {
        Some(1) => "text reranking and semantic search",
        Some(_) => "text pair classification",
        None => "semantic search, semantic textual similarity, clustering and classification",
    });
    let datasets = match report {
        None => Vec::new(),
        Some(report) => describe_sets(model, data, report)?,
    };
    let evaluations = report.map_or(&[][..], |report| report.evaluations);
    let best_step = report.and_then(|report| report.best_step);
    let log =
        report.map(|report| tables::log_table(&report.state.log_history, evaluations, best_step));
    let collapse_log = log.as_ref().is_some_and(|log| log.lines().count() > COLLAPSED_LOG_ROWS + 2);
    let usage = usage::snippets(model, data, report)?;
    let values = json!({
        "front_matter": front_matter(model, data, report, &usage.examples),
        "title": title(model, data, &dataset_names),
        "reranker": labels.is_some(),
        "base_model": base_model,
        "base_model_link": base_model.map(model_link),
        "dataset_names": joined_names(&dataset_names),
        "datasets_are_many": dataset_names.len() > 1,
        "task": task,
        "dimension": names::dimension(model),
        "similarity": names::similarity(model),
        "num_labels": labels.unwrap_or(0),
        "max_length": model.max_length(),
        "train_dataset_names": dataset_names,
        "languages": data.language.join(", "),
        "license": data.license,
        "architecture": architecture::tree(model),
        "adapter": architecture::adapter_in_words(model),
        "usage": usage,
        "evaluations": tables::evaluation_blocks(evaluations),
        "datasets": datasets,
        "non_default": report.map(|report| shown(report.arguments.non_default())),
        "arguments": report.map(|report| shown(report.arguments.to_map())),
        "environment": environment_of(model, report),
        "cpu_time": report.and_then(|report| report.timing.cpu).map(duration),
        "log": log.filter(|log| !log.is_empty()),
        "collapse_log": collapse_log,
        "best_step": best_step,
        "training_time": report.map(|report| duration(report.timing.training)),
        "evaluation_time": report
            .filter(|report| report.timing.evaluation > 0.0)
            .map(|report| duration(report.timing.evaluation)),
        "total_time": report
            .map(|report| duration(report.timing.training + report.timing.evaluation)),
        "citations": citations(report),
    });
    let text = environment()
        .get_template("card")
        .and_then(|template| template.render(minijinja::value::Serde(&values)))
        .map_err(|error| Error::Card { message: format!("{error:#}") })?;
    Ok(without_triple_blank_lines(&text))
}

/// Describes all training and evaluation sets.
fn describe_sets(
    model: &dyn TextModel,
    data: &ModelCardData,
    report: &TrainingReport<'_>,
) -> Result<Vec<Description>, Error> {
    let mut descriptions = Vec::new();
    let sides = [
        ("Training", &report.train_sets, &data.train_datasets),
        ("Evaluation", &report.eval_sets, &data.eval_datasets),
    ];
    for (kind, sets, names) in sides {
        for (index, set) in sets.iter().enumerate() {
            let described = dataset::describe(kind, set, names.get(index), model.tokenizer())?;
            descriptions.push(described);
        }
    }
    Ok(descriptions)
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
    for set in report.into_iter().flat_map(|report| &report.train_sets) {
        for loss in set.losses() {
            let citation = loss.citation().trim();
            if !citation.is_empty() {
                citations.insert(loss.name().to_owned(), citation.to_owned());
            }
        }
    }
    citations
}

/// The arguments that a model may depend on: not where its files were, nor what was logged.
fn shown(arguments: serde_json::Map<String, Value>) -> Vec<(String, String)> {
    const OTHERS: [&str; 10] = [
        "output_dir",
        "logging_dir",
        "logging_strategy",
        "logging_first_step",
        "logging_steps",
        "report_to",
        "resume_from_checkpoint",
        "run_name",
        "save_total_limit",
        "write_report",
    ];
    let shown = arguments.into_iter().filter(|(name, _)| !OTHERS.contains(&name.as_str()));
    shown.map(|(name, value)| (name, value.to_string())).collect()
}

/// Where the model was trained, by name.
fn environment_of(
    model: &dyn TextModel,
    report: Option<&TrainingReport<'_>>,
) -> Vec<(&'static str, String)> {
    let mut lines = vec![("rankforge", env!("CARGO_PKG_VERSION").to_owned())];
    if let Some(report) = report {
        let device = model.model().device();
        if let Some(isa) = device.isa() {
            lines.push(("Instruction set", isa.to_string()));
        }
        let precision = report.arguments.precision();
        lines.push(("Matrix products", device.product_path(precision)));
        lines.push(("Threads", device.workers().count().to_string()));
    }
    lines
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
