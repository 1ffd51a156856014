use crate::error::Error;
use crate::label_columns::LABEL_COLUMNS;
use crate::model_card::data::{DatasetName, ReportedSet};
use crate::model_card::names::{dataset_link, joined_names};
use crate::model_card::tables::pretty;
use crate::words::thousands;
use rankforge_data::{Rows, Value};
use rankforge_encoder::{Input, Tokenizer};
use std::collections::BTreeMap;

/// Maximum number of rows that the statistics are computed on.
const STATISTICS_ROWS: usize = 100;
/// Maximum number of sample rows.
const SAMPLES: usize = 3;
/// Maximum number of characters of a sample text.
const SAMPLE_CHARACTERS: usize = 1000;
/// Maximum number of items of a sample list.
const SAMPLE_ITEMS: usize = 5;

/// The description of a data set, for the template of the card.
#[derive(Debug, serde::Serialize)]
pub(super) struct Description {
    kind: &'static str,
    name: String,
    link: Option<String>,
    size: String,
    statistics_rows: usize,
    columns: String,
    statistics: String,
    samples: String,
    loss: String,
    loss_config: String,
}

/// Describes a data set: names, size, statistics and samples.
///
/// # Errors
/// A row that cannot be read, or a text that the tokenizer cannot encode.
pub(super) fn describe(
    kind: &'static str,
    set: &ReportedSet<'_>,
    name: Option<&DatasetName>,
    tokenizer: &Tokenizer,
) -> Result<Description, Error> {
    let first: Vec<usize> = (0..set.rows.len().min(STATISTICS_ROWS)).collect();
    let rows = &typed(set.rows.read(&first)?, set.columns)?;
    let columns: Vec<String> =
        rows.column_names().iter().map(|name| format!("<code>{}</code>", html(name))).collect();
    let called = name.and_then(|name| name.name.as_ref().or(name.id.as_ref()));
    Ok(Description {
        kind,
        name: called.cloned().unwrap_or_else(|| match set.name {
            "" => "Unnamed Dataset".to_owned(),
            name => name.to_owned(),
        }),
        link: name.and_then(link),
        size: thousands(set.rows.len()),
        statistics_rows: rows.len(),
        columns: joined_names(&columns),
        statistics: statistics_table(rows, tokenizer)?,
        samples: samples_table(rows),
        loss: set.loss.name().to_owned(),
        loss_config: pretty(&set.loss.config()),
    })
}

/// The rows with a type for each column of a csv file: text columns hold texts, and others numbers
/// where all their cells are.
fn typed(rows: Rows, texts: Option<&[String]>) -> Result<Rows, Error> {
    let column = |(name, values): (String, Vec<Value>)| {
        let is_text = match texts {
            Some(texts) => texts.contains(&name),
            None => !LABEL_COLUMNS.contains(&name.as_str()),
        };
        let text = |value| match value {
            Value::Untyped(cell) => Value::Text(cell),
            value => value,
        };
        let narrowed: Vec<Value> = values.iter().cloned().map(Value::narrowed).collect();
        if is_text || narrowed.iter().any(|value| matches!(value, Value::Text(_))) {
            return (name, values.into_iter().map(text).collect());
        }
        (name, narrowed)
    };
    Ok(Rows::new(rows.into_columns().into_iter().map(column).collect())?)
}

/// A link to the data set, at its revision when there is one.
fn link(name: &DatasetName) -> Option<String> {
    let text = dataset_link(name)?;
    Some(match (&name.revision, &name.id) {
        (Some(revision), Some(id)) => {
            let short: String = revision.chars().take(7).collect();
            format!("{text} at [{short}](https://huggingface.co/datasets/{id}/tree/{revision})")
        }
        _ => text,
    })
}

fn statistics_table(rows: &Rows, tokenizer: &Tokenizer) -> Result<String, Error> {
    let mut heads = String::from("| |");
    let mut lines = String::from("|:--|");
    let mut types = String::from("| type |");
    let mut details = String::from("| details |");
    for (name, values) in rows.columns() {
        heads.push_str(&format!(" {} |", html(name)));
        lines.push_str(":--|");
        types.push_str(&format!(" {} |", type_name(values)));
        let label = LABEL_COLUMNS.contains(&name.as_str());
        details.push_str(&format!(" {} |", statistics(values, label, tokenizer)?));
    }
    Ok([heads, lines, types, details].join("\n"))
}

fn type_name(values: &[Value]) -> &'static str {
    let floats = values.iter().any(|value| matches!(value, Value::Float(_)));
    match values.first() {
        Some(Value::Text(_)) => "string",
        Some(Value::Integer(_) | Value::Float(_)) if floats => "float",
        Some(Value::Integer(_)) => "int",
        Some(Value::Boolean(_)) => "bool",
        Some(Value::List(_)) => "list",
        _ => "NoneType",
    }
}

fn statistics(values: &[Value], label: bool, tokenizer: &Tokenizer) -> Result<String, Error> {
    let numbers: Vec<f64> = values.iter().filter_map(number).collect();
    match type_name(values) {
        "string" => {
            let texts: Vec<Input<'_>> = values
                .iter()
                .filter_map(|value| match value {
                    Value::Text(text) => Some(Input::single(text)),
                    _ => None,
                })
                .collect();
            let lengths = tokenizer.encode(&texts)?;
            let lengths: Vec<f64> = lengths.iter().map(|tokens| tokens.ids.len() as f64).collect();
            Ok(range(&lengths, " tokens", 0))
        }
        "float" => Ok(range(&numbers, "", 2)),
        "int" if !label && distinct(values).len() > SAMPLE_ITEMS => Ok(range(&numbers, "", 2)),
        "int" | "bool" => Ok(shares(values)),
        "list" => {
            let lengths: Vec<f64> = values
                .iter()
                .filter_map(|value| match value {
                    Value::List(items) => Some(items.len() as f64),
                    _ => None,
                })
                .collect();
            let equal = lengths.iter().all(|length| *length == lengths[0]);
            if equal {
                return Ok(format!("<ul><li>{} elements</li></ul>", lengths[0]));
            }
            Ok(range(&lengths, " elements", 0))
        }
        _ => Ok(String::new()),
    }
}

fn distinct(values: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for value in values {
        *counts.entry(plain(value)).or_insert(0) += 1;
    }
    counts
}

/// Each distinct value with its share of the rows, in percent.
fn shares(values: &[Value]) -> String {
    let counts = distinct(values);
    let about = if counts.len() > 1 { "~" } else { "" };
    let items: String = counts
        .iter()
        .map(|(value, count)| {
            let share = 100.0 * *count as f64 / values.len() as f64;
            format!("<li>{value}: {about}{share:.2}%</li>")
        })
        .collect();
    format!("<ul>{items}</ul>")
}

fn range(numbers: &[f64], unit: &str, decimals: usize) -> String {
    let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mean = numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
    format!(
        "<ul><li>min: {low:.decimals$}{unit}</li><li>mean: {mean:.2}{unit}</li>\
         <li>max: {high:.decimals$}{unit}</li></ul>"
    )
}

fn samples_table(rows: &Rows) -> String {
    let names: Vec<String> = rows.column_names().iter().map(|name| html(name)).collect();
    let mut table = format!("| {} |\n|{}", names.join(" | "), ":--|".repeat(names.len()));
    for row in 0..rows.len().min(SAMPLES) {
        table.push_str("\n|");
        for (_, values) in rows.columns() {
            table.push_str(&format!(" <code>{}</code> |", sample(&values[row])));
        }
    }
    table
}

fn sample(value: &Value) -> String {
    match value {
        Value::Text(text) => {
            let mut shown: String = text.chars().take(SAMPLE_CHARACTERS).collect();
            if shown.len() < text.len() {
                shown.push_str("...");
            }
            html(&shown)
        }
        Value::List(items) => {
            let mut shown: Vec<String> = items.iter().take(SAMPLE_ITEMS).map(sample).collect();
            if items.len() > SAMPLE_ITEMS {
                shown.push("...".to_owned());
            }
            format!("[{}]", shown.join(", "))
        }
        other => plain(other),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Text(text) | Value::Untyped(text) => text.clone(),
        Value::Unreadable(name) => format!("({name})"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(truth) => truth.to_string(),
        Value::List(_) => sample(value),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// Escapes the characters that would end a Markdown table cell or start an HTML tag.
fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('|', "&#124;")
        .replace("\r\n", "<br>")
        .replace(['\n', '\r'], "<br>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_escaped_and_truncated() {
        let value = Value::Text("a | b\n<script>".to_owned());
        assert_eq!(sample(&value), "a &#124; b<br>&lt;script&gt;");
        let long = sample(&Value::Text("é".repeat(1001)));
        assert_eq!(long.chars().count(), 1003);
        assert!(long.ends_with("..."));
    }

    #[test]
    fn labels_are_counted_in_percent() {
        let two = [Value::Integer(0), Value::Integer(0), Value::Integer(1)];
        assert_eq!(shares(&two), "<ul><li>0: ~66.67%</li><li>1: ~33.33%</li></ul>");
        assert_eq!(shares(&two[..2]), "<ul><li>0: 100.00%</li></ul>");
    }
}
