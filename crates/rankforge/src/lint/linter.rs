use crate::error::Error;
use crate::lint::checks::Checked;
use crate::lint::finding::{Finding, Kind};
use crate::lint::held_out::leaks;
use crate::lint::labels::LabelSummary;
use crate::lint::lengths::LengthSummary;
use crate::lint::near_duplicates::{groups, words};
use crate::lint::table::{Table, Texts};
use rankforge_data::Rows;
use rankforge_kernels::Workers;
use serde::Serialize;
use std::collections::HashSet;

/// Settings of [`Lint::of`].
pub struct LintOptions<'a> {
    /// Least Jaccard similarity of the sets of three successive words of near duplicates.
    pub near_duplicate_threshold: f64,
    /// Length from which on a text is long; `None` for none.
    pub max_length: Option<usize>,
    /// The length of a text; `None` for its number of words.
    pub length: Option<&'a (dyn Fn(&str) -> usize + Sync)>,
    /// Most examples of each finding.
    pub examples: usize,
    /// Name of the training data, for errors.
    pub name: &'a str,
}

impl Default for LintOptions<'_> {
    fn default() -> Self {
        LintOptions {
            near_duplicate_threshold: 0.8,
            max_length: Some(380),
            length: None,
            examples: 3,
            name: "the training data",
        }
    }
}

/// Data that training must not contain.
#[derive(Clone, Copy, Debug)]
pub struct HeldOut<'a> {
    /// Name, for messages.
    pub name: &'a str,
    /// Its rows, with columns in the order of the training data.
    pub rows: &'a Rows,
}

/// What training data look like, and what is wrong with them.
///
/// The first column of texts is the query. With a column of labels and one other column of texts,
/// that one has candidates whose labels say whether they answer the query (1 or 0); otherwise the
/// second column has positives and the others negatives. A column may have a list of texts in each
/// row. Other columns are not looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lint {
    /// Number of rows.
    pub rows: usize,
    /// Lengths of the texts of each column.
    pub columns: Vec<LengthSummary>,
    /// Labels, where there are any.
    pub labels: Option<LabelSummary>,
    /// What is wrong, in the order of [`Kind::ALL`].
    pub findings: Vec<Finding>,
}

impl Lint {
    /// Examines training data.
    ///
    /// # Errors
    /// Data without a column of texts or with labels that are no numbers, by their names; a
    /// threshold outside (0, 1].
    pub fn of(
        rows: &Rows,
        held_out: &[HeldOut<'_>],
        options: &LintOptions<'_>,
        workers: &Workers,
    ) -> Result<Lint, Error> {
        let threshold = options.near_duplicate_threshold;
        if !(threshold > 0.0 && threshold <= 1.0) {
            let field = "near_duplicate_threshold";
            return Err(Error::argument(field, "a number above 0, at most 1", threshold));
        }
        let mut texts = Texts::default();
        let table = Table::of(options.name, rows, &mut texts)?;
        let held_out = held_out
            .iter()
            .map(|data| Ok((data.name.to_owned(), Table::of(data.name, data.rows, &mut texts)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let words = words(texts.all(), workers);
        let groups = groups(texts.all(), &words, threshold, workers);
        let lengths = match options.length {
            Some(length) => lengths(&texts, length, workers),
            None => words.into_iter().map(|words| words.count).collect(),
        };
        let examples = options.examples;
        let checked = Checked { table: &table, texts: &texts, groups: &groups, examples };
        let labels = LabelSummary::of(&table);
        let mut findings = vec![
            checked.empty_texts(),
            checked.positives_as_negatives(),
            checked.near_duplicates(),
            checked.queries_as_documents(),
            options.max_length.and_then(|limit| checked.long_texts(&lengths, limit)),
            labels.as_ref().and_then(|labels| labels.imbalance(&table, examples)),
            checked.repeated_texts(),
        ];
        findings.extend(checked.repeated_rows());
        findings.extend(leaks(&checked, &held_out));
        let mut findings: Vec<Finding> = findings.into_iter().flatten().collect();
        findings.sort_by_key(|found| Kind::ALL.iter().position(|kind| *kind == found.kind));
        let summary = |column| LengthSummary::of(column, &texts, &lengths);
        let columns = table.columns.iter().map(summary).collect();
        Ok(Lint { rows: rows.len(), columns, labels, findings })
    }

    /// The rows without any finding of these kinds, ascending. Of duplicates the first stays.
    pub fn without(&self, kinds: &[Kind]) -> Vec<usize> {
        let findings = self.findings.iter().filter(|found| kinds.contains(&found.kind));
        let removed: HashSet<usize> =
            findings.flat_map(|found| found.row_indices.iter().copied()).collect();
        (0..self.rows).filter(|row| !removed.contains(row)).collect()
    }
}

/// The length of each distinct text.
fn lengths(
    texts: &Texts<'_>,
    length: &(dyn Fn(&str) -> usize + Sync),
    workers: &Workers,
) -> Vec<u32> {
    let mut lengths = vec![0; texts.all().len()];
    workers.map_chunks_mut(&mut lengths, CHUNK, |chunk, lengths| {
        for (found, text) in lengths.iter_mut().zip(&texts.all()[chunk * CHUNK..]) {
            *found = u32::try_from(length(text)).unwrap_or(u32::MAX);
        }
    });
    lengths
}

/// Texts that a thread takes at a time.
const CHUNK: usize = 1024;
