//! `rankforge info`: describes a model or a data set.

use crate::console::Console;
use crate::failure::CliError;
use crate::table::{Table, shortened, thousands};
use indexmap::IndexMap;
use rankforge::Precision;
use rankforge::base::{FileError, Reporter};
use rankforge::data::{Location, RowReader, Value, splits};
use rankforge::encoder::{CrossEncoder, DualEncoder, ModelKind, Positions, TextModel};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// Number of rows that are read at a time.
const CHUNK: usize = 8192;

/// Describe a model or a data set
///
/// For a model: architecture, number of parameters, maximum input length, labels or dimensions,
/// output activation, layout of the files, instruction set and threads of this machine, and how
/// matrix products are computed in each precision. For a data set: splits, rows, and for each
/// column its kind, number of missing values, range of values or of lengths, and first value.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge info models/reranker
  rankforge info data/pairs.parquet
  rankforge info data/stsb --json")]
pub(crate) struct InfoArgs {
    /// Directory of a model; or a data set file or directory
    #[arg(value_name = "MODEL|DATASET")]
    path: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// If there is neither a model nor a data set at the path, or it is malformed.
pub(crate) fn run(args: &InfoArgs, console: &Console) -> anyhow::Result<()> {
    let path = &args.path;
    let is_model = MODEL_FILES.iter().any(|name| path.join(name).is_file());
    std::fs::metadata(path).map_err(FileError::io(path))?;
    if is_model { model_info(path, console) } else { dataset_info(path, console) }
}

/// Every model directory has at least one of these files.
const MODEL_FILES: [&str; 4] =
    ["modules.json", "config.json", "model.safetensors", "config_sentence_transformers.json"];

fn model_info(path: &Path, console: &Console) -> anyhow::Result<()> {
    let options = console.load_options()?;
    let mut facts = match ModelKind::of_directory(path)? {
        ModelKind::CrossEncoder => {
            let model = CrossEncoder::open_with(path, &options)?;
            let mut facts = model_facts(&model);
            facts.insert("labels", model.num_labels().into());
            facts.insert("activation_fn", format!("{:?}", model.activation_fn()).into());
            facts
        }
        ModelKind::SentenceTransformer => {
            let model = DualEncoder::open_with(path, &options)?;
            let mut facts = model_facts(&model);
            facts.insert("dimensions", model.dimension().into());
            facts.insert("similarity", model.similarity_name().into());
            facts
        }
    };
    facts.insert("layout", layout(path).into());
    let text = || {
        let mut table = Table::new(&["property", "value"]);
        for (name, value) in &facts {
            let formatted = match value {
                Json::String(text) => text.clone(),
                Json::Number(number) => number.as_u64().map_or(number.to_string(), thousands),
                Json::Null => "no limit".to_owned(),
                other => other.to_string(),
            };
            table.row([name.replace('_', " "), formatted]);
        }
        table.to_string()
    };
    console.result(text, &facts)
}

fn model_facts(text_model: &impl TextModel) -> IndexMap<&'static str, Json> {
    let model = text_model.model();
    let architecture = model.architecture();
    let encoder = &architecture.encoder;
    let parameters: usize =
        architecture.parameters.iter().map(|spec| spec.rows * spec.columns).sum();
    let mut facts = IndexMap::from([("type", json!(text_model.kind().to_string()))]);
    if encoder.blocks.is_empty() {
        facts.insert("architecture", "static embeddings".into());
    } else {
        facts.insert("architecture", encoder.model_type.as_str().into());
        facts.insert("layers", encoder.blocks.len().into());
        facts.insert("hidden_size", encoder.hidden_size.into());
        facts.insert("heads", encoder.heads.into());
        let positions = match encoder.positions {
            Positions::None => "none",
            Positions::Learned { .. } => "learned",
            Positions::LearnedWithRelativeBias { .. } => "learned, and relative bias",
            Positions::Rotary => "rotary",
        };
        facts.insert("positions", positions.into());
    }
    facts.insert("parameters", parameters.into());
    facts.insert("max_length", text_model.max_length().map_or(Json::Null, Into::into));
    facts.insert("vocabulary", text_model.tokenizer().vocab_size().into());
    facts.insert("device", model.device().to_string().into());
    if architecture.has_linear_layers() {
        let names = ["fp32_products", "bf16_products", "fp16_products"];
        for (name, precision) in names.into_iter().zip(Precision::ALL) {
            facts.insert(name, model.device().product_path(precision).into());
        }
    }
    facts
}

/// The contents of a JSON file, or null if there is no such file.
fn read_json(path: &Path) -> anyhow::Result<Json> {
    if !path.is_file() {
        return Ok(Json::Null);
    }
    let text = std::fs::read_to_string(path)?;
    serde_json::from_str(&text)
        .map_err(|error| CliError::input(format!("{}: {error}", path.display())).into())
}

/// The layout of a model directory, by the files and fields that tell the layouts apart.
fn layout(path: &Path) -> &'static str {
    let config = read_json(&path.join("config.json")).unwrap_or_default();
    if path.join("modules.json").is_file() {
        "sentence-transformers, modules.json"
    } else if !config["sentence_transformers"].is_null() {
        "sentence-transformers 4.0 to 5.3"
    } else if !config["sbert_ce_default_activation_function"].is_null() {
        "sentence-transformers before 4.0"
    } else if path.join("config.json").is_file() {
        "transformers checkpoint"
    } else {
        "weights and tokenizer only"
    }
}

/// Statistics of a column. `least`, `sum` and `most` are of the quantity named by
/// [`Column::measure`].
#[derive(Debug, Default)]
struct Column {
    kind: Option<&'static str>,
    missing: u64,
    least: f64,
    sum: f64,
    most: f64,
    count: u64,
    example: String,
}

impl Column {
    fn add(&mut self, value: &Value) {
        let (kind, size) = match value {
            Value::Null => {
                self.missing += 1;
                return;
            }
            Value::Text(text) => ("text", text.chars().count() as f64),
            Value::Integer(number) => ("integer", *number as f64),
            Value::Float(number) => ("number", *number),
            Value::Boolean(value) => ("boolean", f64::from(u8::from(*value))),
            Value::List(values) => ("list", values.len() as f64),
        };
        match (self.kind, kind) {
            (None, _) => {
                self.kind = Some(kind);
                self.example = shortened(&formatted(value), 60);
                (self.least, self.most) = (size, size);
            }
            (Some("integer"), "number") | (Some("number"), "integer") => self.kind = Some("number"),
            (Some(earlier), kind) if earlier != kind => self.kind = Some("mixed"),
            _ => {}
        }
        self.least = self.least.min(size);
        self.most = self.most.max(size);
        self.sum += size;
        self.count += 1;
    }

    fn json(&self) -> Json {
        json!({
            "kind": self.kind,
            "missing": self.missing,
            "measure": self.measure(),
            "min": self.least,
            "mean": self.mean(),
            "max": self.most,
            "example": self.example,
        })
    }

    /// The quantity that `min`, `mean` and `max` describe.
    fn measure(&self) -> &'static str {
        match self.kind {
            Some("text") => "characters",
            Some("list") => "elements",
            Some("mixed") | None => "",
            _ => "value",
        }
    }

    fn mean(&self) -> f64 {
        self.sum / (self.count.max(1) as f64)
    }
}

fn formatted(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::List(values) => {
            format!("[{}]", values.iter().map(formatted).collect::<Vec<_>>().join(", "))
        }
    }
}

fn dataset_info(path: &Path, console: &Console) -> anyhow::Result<()> {
    let mut results = Vec::new();
    let mut text = String::new();
    for (split, files) in splits(path)? {
        let location =
            Location { path: path.to_owned(), split: Some(split.clone()), ..Location::default() };
        console.progress.begin(&format!("Reading {split}"), None, "rows");
        let mut columns: IndexMap<String, Column> = IndexMap::new();
        let mut rows = 0_u64;
        for chunk in RowReader::open(&location, CHUNK)? {
            let chunk = chunk?;
            rows += chunk.len() as u64;
            console.progress.advance(chunk.len() as u64);
            for (name, values) in chunk.columns() {
                let column = columns.entry(name.clone()).or_default();
                values.iter().for_each(|value| column.add(value));
            }
        }
        console.progress.end();
        text.push_str(&describe(&split, files.len(), rows, &columns));
        let columns: IndexMap<_, _> =
            columns.iter().map(|(name, column)| (name.clone(), column.json())).collect();
        let names: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
        results.push(json!({ "split": split, "files": names, "rows": rows, "columns": columns }));
    }
    console.result(|| text, &json!({ "path": path.to_string_lossy(), "splits": results }))
}

/// One line about a split, and a table of its columns.
fn describe(split: &str, files: usize, rows: u64, columns: &IndexMap<String, Column>) -> String {
    let plural = if files == 1 { "" } else { "s" };
    let mut text = format!("{split}: {} rows in {files} file{plural}\n", thousands(rows));
    let mut table =
        Table::new(&["column", "kind", "missing", "min", "mean", "max", "measure", "first value"]);
    for (name, column) in columns {
        let number = |value: f64| {
            let text = format!("{value:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        table.row([
            name.clone(),
            column.kind.unwrap_or("empty").to_owned(),
            thousands(column.missing),
            number(column.least),
            number(column.mean()),
            number(column.most),
            column.measure().to_owned(),
            column.example.clone(),
        ]);
    }
    text.push_str(&table.to_string());
    text
}
