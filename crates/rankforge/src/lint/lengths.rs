use crate::lint::table::{Cell, TextColumn, Texts};
use serde::Serialize;

/// How long the texts of a column are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LengthSummary {
    /// Name of the column.
    pub column: String,
    /// What the column is taken for: query, positive, negative or candidates.
    pub role: &'static str,
    /// Number of texts.
    pub texts: usize,
    /// Number of distinct texts, regardless of case and white space.
    pub distinct: usize,
    /// Median length.
    pub median: usize,
    /// Length that 95 % of the texts do not exceed.
    pub percentile_95: usize,
    /// Greatest length.
    pub most: usize,
    /// Number of texts by length: 0, 1, 2 to 3, 4 to 7 and so on, each range twice as wide.
    pub histogram: Vec<usize>,
}

impl LengthSummary {
    /// The lengths of the texts of a column; `lengths` has one for each distinct text.
    pub(super) fn of(column: &TextColumn<'_>, texts: &Texts<'_>, lengths: &[u32]) -> LengthSummary {
        let length = |cell: &Cell| lengths[cell.text as usize] as usize;
        let mut sorted: Vec<usize> = column.cells.iter().map(length).collect();
        sorted.sort_unstable();
        let mut seen = vec![false; texts.all().len()];
        column.cells.iter().for_each(|cell| seen[cell.text as usize] = true);
        let mut histogram = Vec::new();
        for length in &sorted {
            let range = (usize::BITS - length.leading_zeros()) as usize;
            histogram.resize(histogram.len().max(range + 1), 0);
            histogram[range] += 1;
        }
        let at = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
        };
        LengthSummary {
            column: column.name.to_owned(),
            role: column.role.name(),
            texts: sorted.len(),
            distinct: seen.into_iter().filter(|seen| *seen).count(),
            median: at(0.5),
            percentile_95: at(0.95),
            most: at(1.0),
            histogram,
        }
    }
}
