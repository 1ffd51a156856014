use serde::Serialize;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A text that is null, empty or white space.
    EmptyText,
    /// A text that is longer than the model reads.
    LongText,
    /// A row with the texts and labels of an earlier row, but for case and white space.
    DuplicateRow,
    /// The same texts as in an earlier row, with another label.
    ContradictoryLabel,
    /// A document that is a positive of a query, or a near duplicate of one, and also a negative of
    /// the same query.
    PositiveAsNegative,
    /// A document that is the text of its query.
    QueryAsDocument,
    /// A query or document that is a near duplicate of an earlier one, with other words.
    NearDuplicate,
    /// A text that other rows have in the same column.
    RepeatedText,
    /// A query of the held-out data, or a near duplicate of one, in the training data.
    LeakedQuery,
    /// A document of the held-out data, or a near duplicate of one, in the training data.
    LeakedDocument,
    /// Labels of which one is rare.
    ImbalancedLabels,
}

impl Kind {
    /// All kinds, in the order in which they are reported.
    pub const ALL: [Kind; 11] = [
        Kind::EmptyText,
        Kind::ContradictoryLabel,
        Kind::PositiveAsNegative,
        Kind::LeakedQuery,
        Kind::LeakedDocument,
        Kind::DuplicateRow,
        Kind::NearDuplicate,
        Kind::QueryAsDocument,
        Kind::LongText,
        Kind::ImbalancedLabels,
        Kind::RepeatedText,
    ];

    /// The name, such as `empty-text`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::EmptyText => "empty-text",
            Kind::LongText => "long-text",
            Kind::DuplicateRow => "duplicate-row",
            Kind::ContradictoryLabel => "contradictory-label",
            Kind::PositiveAsNegative => "positive-as-negative",
            Kind::QueryAsDocument => "query-as-document",
            Kind::NearDuplicate => "near-duplicate",
            Kind::RepeatedText => "repeated-text",
            Kind::LeakedQuery => "leaked-query",
            Kind::LeakedDocument => "leaked-document",
            Kind::ImbalancedLabels => "imbalanced-labels",
        }
    }

    /// How much it matters.
    pub fn severity(self) -> Severity {
        match self {
            Kind::EmptyText
            | Kind::ContradictoryLabel
            | Kind::PositiveAsNegative
            | Kind::LeakedQuery => Severity::Error,
            Kind::RepeatedText => Severity::Note,
            _ => Severity::Warning,
        }
    }

    /// Whether leaving out rows repairs it. Other kinds are a matter of settings.
    pub fn is_removable(self) -> bool {
        !matches!(self, Kind::LongText | Kind::RepeatedText | Kind::ImbalancedLabels)
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Training learns something wrong, or its evaluation says something wrong.
    Error,
    /// Seldom meant.
    Warning,
    /// Good to know.
    Note,
}

/// A text and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    /// Name of the held-out data; `None` for the data that is examined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The row, counted from 1.
    pub row: usize,
    /// Name of the column.
    pub column: String,
    /// The text.
    pub text: String,
}

/// An example of a finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// The text that the finding is about.
    pub here: Place,
    /// The text that it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub there: Option<Place>,
}

/// A kind of fault and all rows that have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub kind: Kind,
    /// How much it matters.
    pub severity: Severity,
    /// Number of rows that have it.
    pub rows: usize,
    /// The rows, counted from 0 and ascending.
    #[serde(skip)]
    pub row_indices: Vec<usize>,
    /// What to do about it: a setting of a recipe; `None` where the rows are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// The first rows that have it.
    pub examples: Vec<Example>,
}

/// Collects the rows of one finding.
pub(super) struct Collected {
    kind: Kind,
    limit: usize,
    rows: Vec<usize>,
    examples: Vec<Example>,
}

impl Collected {
    pub(super) fn new(kind: Kind, limit: usize) -> Collected {
        Collected { kind, limit, rows: Vec::new(), examples: Vec::new() }
    }

    /// Adds a row; one that has it twice counts once.
    pub(super) fn add(&mut self, row: usize, example: impl FnOnce() -> Example) {
        self.rows.push(row);
        if self.examples.len() < self.limit {
            self.examples.push(example());
        }
    }

    /// The finding; `None` without rows.
    pub(super) fn finding(mut self, setting: Option<String>) -> Option<Finding> {
        self.rows.sort_unstable();
        self.rows.dedup();
        let rows = self.rows.len();
        (rows > 0).then(|| Finding {
            kind: self.kind,
            severity: self.kind.severity(),
            rows,
            row_indices: self.rows,
            setting,
            examples: self.examples,
        })
    }
}
