//! What `lint` prints for people to read.

use crate::table::{Table, shortened, thousands};
use rankforge::lint::{Example, Finding, LengthSummary, Lint, Place, Severity};
use std::path::Path;

/// Maximum number of characters of a text.
const SHOWN: usize = 90;

/// The lengths of each column, the labels, a line about each finding and its examples.
pub(crate) fn describe(lint: &Lint, written: Option<(&Path, usize)>) -> String {
    let mut text = format!("{}\n\n{}", rows_of(lint.rows), lengths(&lint.columns));
    if let Some(labels) = &lint.labels {
        let counts: Vec<String> = labels
            .counts
            .iter()
            .map(|(label, found)| format!("{label}: {}", count(*found)))
            .collect();
        let (least, most) = (labels.least, labels.most);
        let of =
            if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) };
        let mean = labels.mean;
        text.push_str(&format!(
            "\n{}: {} labels from {least} to {most}, mean {mean:.3}{of}\n",
            labels.column,
            count(labels.labels)
        ));
    }
    if lint.findings.is_empty() {
        text.push_str("\nnothing found\n");
    }
    for finding in &lint.findings {
        text.push_str(&one(finding, lint.rows));
    }
    if let Some((path, rows)) = written {
        text.push_str(&format!("\n{}: {}\n", rows_of(rows), path.display()));
    }
    text
}

fn rows_of(number: usize) -> String {
    if number == 1 { "1 row".to_owned() } else { format!("{} rows", count(number)) }
}

fn count(number: usize) -> String {
    thousands(number as u64)
}

fn lengths(columns: &[LengthSummary]) -> String {
    let ranges = columns.iter().map(|column| column.histogram.len()).max().unwrap_or(0);
    let most = if ranges < 2 { 0 } else { (1_u64 << (ranges - 1)) - 1 };
    let histogram = format!("lengths 0, 1, 2-3, ... {}", thousands(most));
    let header =
        ["column", "taken as", "texts", "distinct", "median", "95 %", "longest", &histogram];
    let mut table = Table::new(&header);
    for column in columns {
        let numbers =
            [column.texts, column.distinct, column.median, column.percentile_95, column.most];
        let cells = numbers.into_iter().map(count);
        let names = [column.column.clone(), column.role.to_owned()];
        table.row(names.into_iter().chain(cells).chain([bars(&column.histogram)]));
    }
    table.to_string()
}

/// A bar for each number, as high as its share of the largest one.
fn bars(numbers: &[usize]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = numbers.iter().copied().max().unwrap_or(0);
    let bar = |number: &usize| match number {
        0 => '·',
        number => BARS[(number * BARS.len()).div_ceil(most) - 1],
    };
    numbers.iter().map(bar).collect()
}

/// A finding, what to do about it, and its examples.
fn one(finding: &Finding, rows: usize) -> String {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let share = 100.0 * finding.rows as f64 / rows.max(1) as f64;
    let name = finding.kind.name();
    let mut text = format!("\n{severity}: {name}, {} ({share:.2} %)\n", rows_of(finding.rows));
    let fix = match &finding.setting {
        Some(setting) => Some(setting.clone()),
        None if finding.kind.is_removable() => {
            Some(format!("repeat this command with --remove {name} --output FILE"))
        }
        None => None,
    };
    if let Some(fix) = fix {
        text.push_str(&format!("  to fix: {fix}\n"));
    }
    for Example { here, there } in &finding.examples {
        text.push_str(&format!("  {}\n", place(here)));
        if let Some(there) = there {
            text.push_str(&format!("    beside {}\n", place(there)));
        }
    }
    text
}

fn place(place: &Place) -> String {
    let Place { data, row, column, text } = place;
    let of = data.as_ref().map_or(String::new(), |data| format!("{data}, "));
    format!("{of}row {row}, {column}: {}", shortened(text, SHOWN))
}
