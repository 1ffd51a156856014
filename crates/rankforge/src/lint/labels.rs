use crate::lint::finding::{Collected, Example, Finding, Kind, Place};
use crate::lint::table::Table;
use serde::Serialize;

/// The labels of the data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelSummary {
    /// Name of the column.
    pub column: String,
    /// Number of labels.
    pub labels: usize,
    /// Least label.
    pub least: f64,
    /// Mean of the labels.
    pub mean: f64,
    /// Greatest label.
    pub most: f64,
    /// How often each label occurs, ascending; empty where there are more than 20 of them.
    pub counts: Vec<(f64, usize)>,
}

/// Most distinct labels that are counted.
const COUNTED: usize = 20;
/// Share of all labels below which one is rare.
const RARE: f64 = 0.1;

impl LabelSummary {
    /// The labels of a table; `None` without labels.
    pub(super) fn of(table: &Table<'_>) -> Option<LabelSummary> {
        let (name, rows) = table.labels.as_ref()?;
        let mut sorted: Vec<f64> = rows.iter().flatten().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let counts = sorted.chunk_by(|a, b| a == b).map(|equal| (equal[0], equal.len()));
        let counts: Vec<(f64, usize)> = counts.take(COUNTED + 1).collect();
        Some(LabelSummary {
            column: (*name).to_owned(),
            labels: sorted.len(),
            least: *sorted.first()?,
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            most: *sorted.last()?,
            counts: if counts.len() > COUNTED { Vec::new() } else { counts },
        })
    }

    /// The finding that one of two labels is rare.
    pub(super) fn imbalance(&self, table: &Table<'_>, examples: usize) -> Option<Finding> {
        let [(low, lows), (high, highs)] = self.counts[..] else { return None };
        let (rare, count, other) =
            if lows < highs { (low, lows, highs) } else { (high, highs, lows) };
        if count as f64 >= RARE * self.labels as f64 {
            return None;
        }
        let mut collected = Collected::new(Kind::ImbalancedLabels, examples);
        for (row, labels) in table.labels.as_ref()?.1.iter().enumerate() {
            if labels.contains(&rare) {
                let column = self.column.clone();
                let here = Place { data: None, row: row + 1, column, text: rare.to_string() };
                collected.add(row, || Example { here, there: None });
            }
        }
        let weight = (other as f64 / count as f64).round();
        let positive = rare == high && (low, high) == (0.0, 1.0);
        collected.finding(positive.then(|| format!("[loss] pos_weight = {weight}")))
    }
}
