//! Tables as text: a header, a rule and aligned columns.

use crate::terminal::escaped;
use std::fmt;

/// A table. Columns of numbers are aligned right, except the first; others are aligned left.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these column names.
    pub(crate) fn new(header: &[&str]) -> Table {
        Table { header: header.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If the number of cells differs from the number of columns.
    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        // Before the widths are known.
        let safe = |cell: S| escaped(&cell.into()).into_owned();
        let row: Vec<String> = cells.into_iter().map(safe).collect();
        assert_eq!(
            row.len(),
            self.header.len(),
            "row {row:?} of a table with columns {:?}",
            self.header
        );
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.header.len();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| &row[column]).chain([&self.header[column]]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let right: Vec<bool> = (0..columns)
            .map(|column| column > 0 && self.rows.iter().all(|row| is_number(&row[column])))
            .collect();
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        for row in [&self.header, &rule].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                if right[column] {
                    line.push_str(&format!("{cell:>width$}"));
                } else {
                    line.push_str(&format!("{cell:<width$}"));
                }
                line.push_str("  ");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn is_number(cell: &str) -> bool {
    cell.chars().all(|character| character.is_ascii_digit() || "+-.,%e /∞".contains(character))
        || cell == "NaN"
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The text as one line of at most `width` characters: runs of white space become one space, and
/// a text that is too long ends with an ellipsis.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if folded.chars().count() <= width {
        return folded;
    }
    let kept: String = folded.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned_right_and_text_left() {
        let mut table = Table::new(&["metric", "value", "note"]);
        table.row(["map", "0.5", "good"]);
        table.row(["ndcg@10", "12.25", "ok"]);
        assert_eq!(
            table.to_string(),
            "metric   value  note\n\
             -------  -----  ----\n\
             map        0.5  good\n\
             ndcg@10  12.25  ok\n"
        );
    }

    #[test]
    fn thousands_are_separated() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1,000");
        assert_eq!(thousands(22_713_601), "22,713,601");
    }

    #[test]
    fn long_text_is_truncated_by_characters_not_bytes() {
        assert_eq!(shortened("one\n two", 20), "one two");
        assert_eq!(shortened("äöüäöü", 4), "äöü…");
    }
}
