use rankforge_data::Rows;

/// Mined rows and how they came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Mined {
    /// The rows, in the output format.
    pub rows: Rows,
    /// The numbers behind the printed text.
    pub summary: Summary,
    /// The printed text, line by line, as the reporter got it when verbose.
    pub lines: Vec<String>,
}

/// The numbers behind the printed text.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Mined rows.
    pub rows: usize,
    /// Candidates kept for each anchor.
    pub range_max: usize,
    /// Rows of the input.
    pub total_queries: usize,
    /// Distinct anchors.
    pub unique_queries: usize,
    /// Rows for each distinct anchor.
    pub average_positives: f64,
    /// Scores of the distinct (anchor, positive) pairs.
    pub positive: Statistics,
    /// Scores of the negatives, one for each positive they were mined for.
    pub negative: Statistics,
    /// Positive minus negative score of each such combination.
    pub difference: Statistics,
    /// What the filters dropped, in the order they are applied; only those that dropped something.
    pub skipped: Vec<Skipped>,
    /// Rows the format would have with all negatives found.
    pub maximum_possible: usize,
    /// Of these, the rows that are missing.
    pub missing: usize,
}

/// What a filter dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Skipped {
    /// Which parameter.
    pub parameter: &'static str,
    /// Its value.
    pub value: f64,
    /// Candidates dropped.
    pub count: usize,
    /// Of the candidates still counted when the filter was applied.
    pub ratio: f64,
}

/// Location and spread of some scores; not numbers or infinite where there is no score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// How many.
    pub count: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Middle score, the lower of two.
    pub median: f64,
    /// Standard deviation, unbiased.
    pub std: f64,
    /// Least.
    pub min: f64,
    /// First quartile, interpolated.
    pub quartile_1: f64,
    /// Second quartile, interpolated.
    pub quartile_2: f64,
    /// Third quartile, interpolated.
    pub quartile_3: f64,
    /// Greatest.
    pub max: f64,
}
