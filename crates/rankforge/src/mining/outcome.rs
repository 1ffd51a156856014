use rankforge_data::Rows;

/// Mined rows, and statistics of the mining.
#[derive(Clone, Debug, PartialEq)]
pub struct Mined {
    /// The rows, in the output format.
    pub rows: Rows,
    /// The statistics in the printed text.
    pub summary: Summary,
    /// The printed text, line by line, as the reporter got it when verbose.
    pub lines: Vec<String>,
}

/// The statistics in the printed text.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Number of mined rows.
    pub rows: usize,
    /// Number of candidates kept for each anchor.
    pub range_max: usize,
    /// Number of rows of the input.
    pub total_queries: usize,
    /// Number of distinct anchors.
    pub unique_queries: usize,
    /// Average number of rows of an anchor.
    pub average_positives: f64,
    /// Scores of the distinct (anchor, positive) pairs.
    pub positive: Statistics,
    /// Scores of the negatives, one for each positive they were mined for.
    pub negative: Statistics,
    /// Positive score minus negative score, for each of these negatives.
    pub difference: Statistics,
    /// The filters that dropped candidates, in the order in which they are applied.
    pub skipped: Vec<Skipped>,
    /// Number of rows if all negatives had been found.
    pub maximum_possible: usize,
    /// Number of these rows that are missing.
    pub missing: usize,
}

/// A filter that dropped candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Skipped {
    /// Its parameter.
    pub parameter: &'static str,
    /// The value of the parameter.
    pub value: f64,
    /// Number of candidates that it dropped.
    pub count: usize,
    /// Their share of the candidates that were left when it was applied.
    pub ratio: f64,
}

/// Location and spread of scores. Without a score, they are NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Number of scores.
    pub count: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median: of an even number, the lower of the two middle scores.
    pub median: f64,
    /// Standard deviation, unbiased.
    pub std: f64,
    /// Smallest score.
    pub min: f64,
    /// First quartile, interpolated.
    pub quartile_1: f64,
    /// Second quartile, interpolated.
    pub quartile_2: f64,
    /// Third quartile, interpolated.
    pub quartile_3: f64,
    /// Largest score.
    pub max: f64,
}
