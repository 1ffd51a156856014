//! `rankforge info`: describes a model or a data set.

use crate::console::Console;
use crate::failure::CliError;
use crate::table::{Table, shortened, thousands};
use indexmap::IndexMap;
use rankforge::Precision;
use rankforge::base::{FileError, Reporter};
use rankforge::data::{Location, RowReader, Value, splits};
use rankforge::encoder::{
    CrossEncoder, DualEncoder, LoadOptions, ModelKind, Packing, Positions, TextModel,
};
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
/// Columns of objects, timestamps and other types that no command reads are listed as not readable.
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
const MODEL_FILES: [&str; 5] = [
    "modules.json",
    "config.json",
    "model.safetensors",
    "config_sentence_transformers.json",
    "adapter_config.json",
];

fn model_info(path: &Path, console: &Console) -> anyhow::Result<()> {
    let options = LoadOptions { packing: Packing::None, ..console.load_options()? };
    let mut facts = match ModelKind::of_directory(path)? {
        ModelKind::CrossEncoder => {
            let model = CrossEncoder::open_with(path, &options)?;
            let mut facts = model_facts(&model);
            facts.insert("labels", model.num_labels().into());
            facts.insert("activation_fn", model.activation_fn().class_name().into());
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

/// Statistics of a column.
#[derive(Debug, Default)]
struct Column {
    kind: Option<&'static str>,
    /// Whether the values have no form that can be read.
    unreadable: bool,
    missing: u64,
    /// Of numbers and booleans as they are, of the characters of texts and the elements of lists.
    values: Range,
    /// Of the characters of csv cells, which are texts unless all of them are numbers.
    cells: Range,
    example: String,
}

/// Least, sum, most and number of some values.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    least: f64,
    sum: f64,
    most: f64,
    count: u64,
}

impl Range {
    fn add(&mut self, value: f64) {
        if self.count == 0 {
            (self.least, self.most) = (value, value);
        }
        self.least = self.least.min(value);
        self.most = self.most.max(value);
        self.sum += value;
        self.count += 1;
    }

    fn mean(&self) -> f64 {
        self.sum / (self.count.max(1) as f64)
    }
}

impl Column {
    fn add(&mut self, value: &Value) {
        if let Value::Untyped(cell) = value {
            self.add_cell(cell);
            return;
        }
        let (kind, size) = match value {
            Value::Null | Value::Untyped(_) => {
                self.missing += 1;
                return;
            }
            Value::Text(text) => ("text", text.chars().count() as f64),
            Value::Integer(number) => ("integer", *number as f64),
            Value::Float(number) => ("number", *number),
            Value::Boolean(value) => ("boolean", f64::from(u8::from(*value))),
            Value::List(values) => ("list", values.len() as f64),
            Value::Unreadable(name) => (*name, 0.0),
        };
        self.unreadable |= matches!(value, Value::Unreadable(_));
        match (self.kind, kind) {
            (None, _) => {
                self.kind = Some(kind);
                self.example = shortened(&formatted(value), 60);
            }
            (Some("integer"), "number") | (Some("number"), "integer") => self.kind = Some("number"),
            (Some(earlier), kind) if earlier != kind => self.kind = Some("mixed"),
            _ => {}
        }
        self.values.add(size);
    }

    /// Adds a cell of a csv file. If any cell is not a number, the column is one of texts.
    fn add_cell(&mut self, cell: &str) {
        let (kind, number) = match Value::Untyped(cell.to_owned()).narrowed() {
            Value::Null => {
                self.missing += 1;
                return;
            }
            Value::Integer(number) => ("integer", number as f64),
            Value::Float(number) => ("number", number),
            _ => ("text", 0.0),
        };
        if self.kind.is_none() {
            self.example = shortened(cell, 60);
        }
        let order = [None, Some("integer"), Some("number"), Some("text")];
        let rank = |kind| order.iter().position(|other| *other == kind);
        if rank(Some(kind)) > rank(self.kind) {
            self.kind = Some(kind);
        }
        self.values.add(number);
        self.cells.add(cell.chars().count() as f64);
    }

    /// The range of the quantity named by [`Column::measure`].
    fn range(&self) -> Range {
        match self.kind {
            Some("text") if self.cells.count > 0 => self.cells,
            _ if self.unreadable => Range::default(),
            _ => self.values,
        }
    }

    fn json(&self) -> Json {
        let range = self.range();
        json!({
            "kind": self.kind,
            "readable": !self.unreadable,
            "missing": self.missing,
            "measure": self.measure(),
            "min": range.least,
            "mean": range.mean(),
            "max": range.most,
            "example": self.example,
        })
    }

    /// The quantity that `min`, `mean` and `max` describe.
    fn measure(&self) -> &'static str {
        match self.kind {
            _ if self.unreadable => "",
            Some("text") => "characters",
            Some("list") => "elements",
            Some("mixed") | None => "",
            _ => "value",
        }
    }

    /// The kind, for the table.
    fn shown_kind(&self) -> String {
        let kind = self.kind.unwrap_or("empty");
        if self.unreadable { format!("{kind} (not readable)") } else { kind.to_owned() }
    }
}

fn formatted(value: &Value) -> String {
    match value {
        Value::Null | Value::Unreadable(_) => String::new(),
        Value::Text(text) | Value::Untyped(text) => text.clone(),
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
        let mut reader = RowReader::open(&location, CHUNK)?;
        let names = reader.column_names().into_iter();
        columns.extend(names.map(|name| (name.to_owned(), Column::default())));
        for chunk in reader.by_ref() {
            let chunk = chunk?;
            console.progress.advance(chunk.len() as u64);
            for (name, values) in chunk.columns() {
                // A column that appears late is missing in the rows before.
                let late = || Column { missing: rows, ..Column::default() };
                let column = columns.entry(name.clone()).or_insert_with(late);
                values.iter().for_each(|value| column.add(value));
            }
            rows += chunk.len() as u64;
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
        let range = column.range();
        table.row([
            name.clone(),
            column.shown_kind(),
            thousands(column.missing),
            number(range.least),
            number(range.mean()),
            number(range.most),
            column.measure().to_owned(),
            column.example.clone(),
        ]);
    }
    text.push_str(&table.to_string());
    text
}
