//! What the command prints and writes.

use crate::commands::evaluate::cascade::args::CascadeArgs;
use crate::commands::evaluate::cascade::first_stages::Opened;
use crate::commands::evaluate::cascade::index_search::IndexSearch;
use crate::commands::evaluate::cascade::plan::{Kind, Mode, Plan};
use crate::commands::evaluate::shared::SharedArgs;
use crate::console::Console;
use crate::table::{Table, thousands};
use indexmap::IndexMap;
use rankforge::base::{AtomicFile, FileError, write_atomically};
use rankforge::encoder::{CrossEncoder, DualEncoder, TextModel};
use rankforge::evaluation::cascade::{CascadeReport, Collection, PageText, Stage, html_report};
use rankforge_index::{RankedQuery, write_run};
use serde_json::json;

/// The files that the flags ask for.
pub(super) struct Outputs<'a> {
    args: &'a CascadeArgs,
}

impl<'a> Outputs<'a> {
    /// Makes the directory of run files, and checks that the files can be written before the work
    /// of hours is done.
    ///
    /// # Errors
    /// If they cannot be written, or an id cannot stand in a run file.
    pub(super) fn new(
        args: &'a CascadeArgs,
        collection: &Collection<'_>,
    ) -> anyhow::Result<Outputs<'a>> {
        if let Some(folder) = &args.trec {
            collection.check_run_ids()?;
            std::fs::create_dir_all(folder).map_err(FileError::io(folder))?;
        }
        if let Some(path) = &args.report {
            // Made and dropped: an earlier report stays until there is a new one.
            AtomicFile::create(path)?;
        }
        Ok(Outputs { args })
    }

    /// The settings of the run and of every part of the cascade, and the name of the data set.
    pub(super) fn settings(
        &self,
        plan: &Plan,
        opened: &Opened,
        reranker: Option<&CrossEncoder>,
        shared: &SharedArgs,
    ) -> PageText {
        let args = self.args;
        let mut settings = IndexMap::new();
        let mut add = |part: String, rows: Vec<(&str, String)>| {
            let rows = rows.into_iter().map(|(name, value)| (name.to_owned(), value));
            settings.insert(part, rows.collect::<IndexMap<_, _>>());
        };
        let model_rows = |model: &dyn TextModel| {
            let length = model.max_length().map_or("none".to_owned(), |tokens| tokens.to_string());
            vec![
                ("model", model.base_model().to_owned()),
                ("max_length", length),
                ("precision", model.model().precision().to_string()),
            ]
        };
        let bm25 = ("BM25", "k1 = 1.2, b = 0.75, English stemmer and stop words".to_owned());
        for stage in &plan.stages {
            let rows = match stage.kind {
                Kind::Bm25 => vec![bm25.clone()],
                Kind::Dense(encoder) => dense_rows(&opened.encoders[encoder], model_rows),
                Kind::Index(index) => index_rows(plan, &opened.indexes, index, model_rows),
                Kind::Hybrid(encoder) => {
                    let mut rows = dense_rows(&opened.encoders[encoder], model_rows);
                    let fusion = format!("reciprocal rank, k = {}", plan.rrf_k);
                    rows.extend([bm25.clone(), ("fusion", fusion)]);
                    rows
                }
            };
            add(format!("first stage {}", stage.name), rows);
        }
        if let Some(model) = reranker {
            let mut rows = model_rows(model);
            rows.push(("activation_fn", model.activation_fn().python_name().to_owned()));
            add("reranker".to_owned(), rows);
        }
        let folder = args.dataset.file_name().unwrap_or(args.dataset.as_os_str());
        let folder = folder.to_string_lossy().into_owned();
        let name = Some(shared.name.clone()).filter(|name| !name.is_empty()).unwrap_or(folder);
        let depths: Vec<String> = args.depth.iter().map(usize::to_string).collect();
        add(
            "run".to_owned(),
            vec![
                ("data set", args.dataset.display().to_string()),
                ("split", args.split.clone()),
                ("depths", depths.join(", ")),
            ],
        );
        PageText { title: format!("Cascade on {name}"), settings }
    }

    /// Writes the files.
    ///
    /// # Errors
    /// If one cannot be written.
    pub(super) fn write(
        &self,
        collection: &Collection<'_>,
        stages: &[Stage],
        report: &CascadeReport,
        text: &PageText,
    ) -> anyhow::Result<()> {
        if let Some(folder) = &self.args.trec {
            for stage in stages {
                let name = stage.name();
                let rankings = stage.by_id(collection).into_iter();
                let rankings = rankings.map(|(id, ranking)| RankedQuery { id, ranking });
                let rankings: Vec<RankedQuery> = rankings.collect();
                write_run(&folder.join(format!("{name}.trec")), &rankings, &name)?;
            }
        }
        if let Some(path) = &self.args.report {
            write_atomically(path, html_report(report, text)?.as_bytes())?;
        }
        Ok(())
    }
}

fn index_rows<'a>(
    plan: &Plan,
    opened: &[IndexSearch],
    index: usize,
    model_rows: impl Fn(&dyn TextModel) -> Vec<(&'a str, String)>,
) -> Vec<(&'a str, String)> {
    let mode = match opened[index].mode {
        Mode::Dense => "dense".to_owned(),
        Mode::Bm25 => "bm25".to_owned(),
        Mode::Hybrid => format!("hybrid, reciprocal rank, k = {}", plan.rrf_k),
    };
    let path = plan.indexes[index].path.display().to_string();
    let mut rows = vec![("index", path), ("mode", mode)];
    let encoder = opened[index].encoder.as_ref();
    rows.extend(encoder.map(|model| dense_rows(model, model_rows)).into_iter().flatten());
    rows
}

fn dense_rows<'a>(
    encoder: &DualEncoder,
    model_rows: impl Fn(&dyn TextModel) -> Vec<(&'a str, String)>,
) -> Vec<(&'a str, String)> {
    let mut rows = model_rows(encoder);
    rows.push(("similarity", encoder.similarity_name().to_owned()));
    rows.push(("dimension", encoder.dimension().to_string()));
    rows
}

/// Prints the report.
///
/// # Errors
/// If standard output is closed.
pub(super) fn print(
    report: &CascadeReport,
    text: &PageText,
    console: &Console,
) -> anyhow::Result<()> {
    let json = || -> anyhow::Result<serde_json::Value> {
        let mut json = serde_json::to_value(report)?;
        json["title"] = json!(text.title);
        json["settings"] = json!(text.settings);
        Ok(json)
    };
    if console.json { console.print_json(&json()?) } else { console.result(|| tables(report), &()) }
}

/// The stages, and the differences of their first metric.
fn tables(report: &CascadeReport) -> String {
    let mut text = counts(report);
    let times = ["ms/query", "p50", "p95"];
    let header: Vec<&str> = ["stage"]
        .into_iter()
        .chain(report.metrics.iter().map(String::as_str))
        .chain(times)
        .collect();
    let mut table = Table::new(&header);
    for stage in &report.stages {
        let metrics = stage.metrics.0.values().map(|value| format!("{value:.4}"));
        let time = stage.seconds_per_query;
        let times = [time.mean, time.p50, time.p95].map(|seconds| format!("{:.2}", seconds * 1e3));
        table.row([stage.name.clone()].into_iter().chain(metrics).chain(times));
    }
    text.push_str(&table.to_string());
    if report.differences.is_empty() {
        return text;
    }
    let metric = &report.metrics[0];
    let percent = report.bootstrap.confidence * 100.0;
    text.push_str(&format!(
        "\nDifferences of {metric}, with {percent} % intervals from {} resamples of the queries:\n",
        thousands(report.bootstrap.resamples as u64)
    ));
    let mut table = Table::new(&["stage", "against", "difference", "from", "to"]);
    for row in &report.differences {
        let interval = row.metrics[metric];
        let figures = [interval.difference, interval.low, interval.high];
        let figures = figures.map(|figure| format!("{figure:+.4}"));
        table.row([row.stage.clone(), row.against.clone()].into_iter().chain(figures));
    }
    text.push_str(&table.to_string());
    text
}

/// How many queries and documents there are, and what is missing.
fn counts(report: &CascadeReport) -> String {
    let number = |count: usize| thousands(count as u64);
    let mut text =
        format!("{} queries, {} documents", number(report.queries), number(report.documents));
    if report.queries_without_judgements > 0 {
        let count = number(report.queries_without_judgements);
        text.push_str(&format!("; left out: {count} queries without a relevant document"));
    }
    if report.missing_documents > 0 {
        let count = number(report.missing_documents);
        text.push_str(&format!("; counted as missed: {count} documents that the corpus lacks"));
    }
    text.push('\n');
    text
}
