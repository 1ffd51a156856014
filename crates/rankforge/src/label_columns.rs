/// Columns that are labels; the first that is present is the one that is used.
pub const LABEL_COLUMNS: [&str; 4] = ["label", "labels", "score", "scores"];
