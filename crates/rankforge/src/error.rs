use rankforge_base::FileError;
use rankforge_data::DataError;
use rankforge_encoder::EncoderError;
use rankforge_kernels::DeviceError;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

/// What can go wrong with training, mining and evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model directory or text cannot be used.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// A data set cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The device could not be opened.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A file cannot be read or written, or is not what it should be.
    #[error(transparent)]
    File(#[from] FileError),
    /// An argument has an unusable value.
    #[error("{field}: expected {expected}, got {got}")]
    Argument {
        /// Which argument.
        field: String,
        /// What would be accepted.
        expected: String,
        /// The value that was given.
        got: String,
    },
    /// Rows do not fit the loss, sampler, evaluator or miner that reads them.
    #[error("{place}: expected {expected}, got {got}")]
    Rows {
        /// Who reads the rows, and which row and column are at fault.
        place: RowPlace,
        /// What would be accepted.
        expected: String,
        /// What was found.
        got: String,
    },
    /// A training or evaluation set has no batch, as batches that are not full are dropped.
    #[error(
        "{set}: no full batch: {rows} rows, batch size {batch_size}, dataloader_drop_last = true{}",
        if *duplicates { ", and too few distinct values for NO_DUPLICATES" } else { "" }
    )]
    NoFullBatch {
        /// Name of the set.
        set: String,
        /// Its number of rows.
        rows: usize,
        /// Number of rows of a full batch.
        batch_size: usize,
        /// Whether there are enough rows, but not enough that repeat no value.
        duplicates: bool,
    },
    /// The training loss or gradient of a step is not finite.
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
    /// A model gave a score that is not finite.
    #[error("expected finite scores, got {score} for pair {} of {pairs}", index + 1)]
    Score {
        /// Index of the pair, from 0.
        index: usize,
        /// Number of pairs.
        pairs: usize,
        /// The score.
        score: f32,
    },
    /// A parameter received no gradient in the first step, so it could never be trained.
    #[error(
        "parameter {parameter} ({rows} x {columns}) received no gradient in the first step, so it \
         could never be trained"
    )]
    NoGradient {
        /// Name of the parameter.
        parameter: String,
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
    },
    /// The run was interrupted by its caller and can be resumed.
    #[error(
        "interrupted after step {step} of {max_steps}; {} holds the run and can be resumed",
        checkpoint.display()
    )]
    Interrupted {
        /// Optimizer steps that are done.
        step: u64,
        /// Optimizer steps of the whole run.
        max_steps: u64,
        /// The checkpoint that was written.
        checkpoint: PathBuf,
    },
    /// Work was stopped by its caller before it wrote anything.
    #[error("interrupted; {} was not written", path.display())]
    Stopped {
        /// What would have been written.
        path: PathBuf,
    },
    /// A recipe cannot be understood.
    #[error("{place}: {message}")]
    Recipe {
        /// File and line, or the override at fault.
        place: String,
        /// What is wrong: the field, what was expected and what was found.
        message: String,
        /// What the user can do about it.
        hint: Option<String>,
    },
    /// Something that a recipe or the caller names cannot be used.
    #[error("cannot use {what}")]
    Unusable {
        /// What it is: a section of a recipe, or the part that a model plays.
        what: String,
        /// Why.
        source: Box<Error>,
    },
    /// The page of a report could not be rendered.
    #[error("report: {message}")]
    Page {
        /// The reason.
        message: String,
    },
    /// The template of the model card could not be rendered.
    #[error("model card: {message}")]
    Card {
        /// The reason.
        message: String,
    },
}

/// Where rows do not fit: who reads them, and which row and column are at fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowPlace {
    /// Who reads the rows: a data set's role, a loss, an evaluator.
    pub reader: String,
    /// Row number, from 1.
    pub row: Option<usize>,
    /// Column name.
    pub column: Option<String>,
}

impl Display for RowPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reader)?;
        if let Some(row) = self.row {
            write!(f, ", row {row}")?;
        }
        if let Some(column) = &self.column {
            write!(f, ", column `{column}`")?;
        }
        Ok(())
    }
}

/// What a loss with labels expects of rows that have none.
pub(crate) const LABEL_COLUMN: &str = "a label column (label, labels, score or scores)";

/// The name of what reads rows, and the file or directory that they are from, where there is one.
pub(crate) fn read_from(reader: &str, source: Option<&Path>) -> String {
    match source {
        Some(path) => format!("{reader} in {}", path.display()),
        None => reader.to_owned(),
    }
}

/// Rows of a training set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRows {
    /// Name of the set; may be empty when there is only one set.
    pub set: String,
    /// Row numbers, from 1.
    pub rows: Vec<usize>,
}

impl Display for SetRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<String> = self.rows.iter().map(usize::to_string).collect();
        f.write_str(&rows.join(", "))?;
        if self.set.is_empty() { Ok(()) } else { write!(f, " of `{}`", self.set) }
    }
}

/// A loss or gradient norm that is not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct NotFinite {
    /// Which figure: "loss" or "gradient norm".
    pub what: &'static str,
    /// Its value.
    pub value: f64,
    /// The step, from 1.
    pub step: u64,
    /// Epochs done before it, with their fraction.
    pub epoch: f64,
    /// The training rows of the step.
    pub rows: Vec<SetRows>,
    /// The last checkpoint that was written.
    pub checkpoint: Option<PathBuf>,
    /// Whether the run computed in fp16 and had already tried every loss scale.
    pub scaled: bool,
}

impl Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotFinite { what, value, step, epoch, rows, checkpoint, scaled } = self;
        write!(f, "the {what} is {value} in step {step} (epoch {epoch:.2})")?;
        if *scaled {
            f.write_str(" at every loss scale")?;
        }
        let rows: Vec<String> = rows.iter().map(SetRows::to_string).collect();
        write!(f, ", training rows {}; ", rows.join(" and "))?;
        match checkpoint {
            Some(path) => write!(f, "the last good checkpoint is {}", path.display()),
            None => f.write_str("no checkpoint has been written yet"),
        }
    }
}

impl std::error::Error for NotFinite {}

impl Error {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Encoder(error) => error.hint(),
            Error::Data(error) => error.hint(),
            Error::File(error) => error.hint(),
            Error::NotFinite(NotFinite { scaled: true, .. }) => {
                Some("fp16 ends at 65,504; bf16 has the range of fp32".to_owned())
            }
            Error::NoFullBatch { .. } => {
                Some("lower the batch size, or set dataloader_drop_last to false".to_owned())
            }
            Error::Rows { expected, .. } if expected == LABEL_COLUMN => {
                let hint = "pairs of query and passage without labels are trained with [mining], \
                            which finds negatives for them, as in recipes/one-hour.toml";
                Some(hint.to_owned())
            }
            Error::Recipe { hint, .. } => hint.clone(),
            Error::Unusable { source, .. } => source.hint(),
            Error::Device(_)
            | Error::Argument { .. }
            | Error::Rows { .. }
            | Error::NotFinite(_)
            | Error::Score { .. }
            | Error::NoGradient { .. }
            | Error::Interrupted { .. }
            | Error::Stopped { .. }
            | Error::Page { .. }
            | Error::Card { .. } => None,
        }
    }

    /// The error for an argument, a setting or a field with an unusable value.
    pub fn argument(
        field: impl Into<String>,
        expected: impl Into<String>,
        got: impl Display,
    ) -> Error {
        Error::Argument { field: field.into(), expected: expected.into(), got: got.to_string() }
    }

    /// The error for a recipe, without a hint.
    pub(crate) fn recipe(place: String, message: impl Into<String>) -> Error {
        Error::Recipe { place, message: message.into(), hint: None }
    }

    /// Says of `error` which part of the whole it is about; a request to stop is about none.
    pub(crate) fn unusable(what: impl Into<String>, error: impl Into<Error>) -> Error {
        match error.into() {
            stopped @ (Error::Stopped { .. } | Error::Interrupted { .. }) => stopped,
            error => Error::Unusable { what: what.into(), source: Box::new(error) },
        }
    }

    /// Replaces the name of a loss or its place in a field by `outer`, which the user knows.
    pub(crate) fn renamed(self, inner: &str, outer: &str) -> Error {
        let renamed = |text: String| match text.strip_prefix(inner) {
            Some(rest) => format!("{outer}{rest}"),
            None => text,
        };
        match self {
            Error::Argument { field, expected, got } => {
                Error::Argument { field: renamed(field), expected, got: renamed(got) }
            }
            Error::Rows { mut place, expected, got } => {
                place.reader = renamed(place.reader);
                Error::Rows { place, expected, got }
            }
            other => other,
        }
    }

    /// The error of `reader` for rows as a whole.
    pub fn rows(
        reader: impl Into<String>,
        expected: impl Into<String>,
        got: impl Display,
    ) -> Error {
        let place = RowPlace { reader: reader.into(), row: None, column: None };
        Error::Rows { place, expected: expected.into(), got: got.to_string() }
    }

    /// The error of `reader` for one cell; `row` counts from 0.
    pub fn cell(
        reader: impl Into<String>,
        row: usize,
        column: &str,
        expected: impl Into<String>,
        got: impl Display,
    ) -> Error {
        let column = Some(column.to_owned()).filter(|column| !column.is_empty());
        let place = RowPlace { reader: reader.into(), row: Some(row + 1), column };
        Error::Rows { place, expected: expected.into(), got: got.to_string() }
    }
}
