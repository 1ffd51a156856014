//! Checks shared by several losses: of the model to train, and of the columns of a batch.

use crate::error::{Error, LABEL_COLUMN};
use crate::losses::examples::{Examples, LABEL_ROLE, Labels, Targets};
use crate::losses::loss::Plan;
use rankforge_encoder::{Input, ModelKind};

/// BibTeX of the paper of both losses called MarginMSELoss.
pub(super) const MARGIN_MSE_CITATION: &str = "@misc{hofstätter2021improving,
    title={Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge \
Distillation},
    author={Sebastian Hofstätter and Sophia Althammer and Michael Schröder and Mete Sertkan and \
Allan Hanbury},
    year={2021},
    eprint={2010.02666},
    archivePrefix={arXiv},
    primaryClass={cs.IR}
}";

/// Checks that a batch has no label column: a ranking loss would treat a pair with the label 0 as a
/// positive.
///
/// # Errors
/// The batch has a label column.
pub(super) fn no_labels(loss: &str, examples: &Examples) -> Result<(), Error> {
    match examples.labels {
        Labels::None => Ok(()),
        Labels::Scalars(_) | Labels::Lists(_) => {
            Err(Error::rows(loss, "text columns only, as it takes no labels", LABEL_COLUMN))
        }
    }
}

/// The texts of a batch as single sequences, column after column, and the number of rows. `fits`
/// says whether the loss can use this number of text columns, which are `expected`.
///
/// # Errors
/// No rows, columns of different lengths, a cell with a list of texts, or another number of
/// columns.
pub(super) fn single_texts<'a>(
    loss: &str,
    examples: &'a Examples,
    fits: impl FnOnce(usize) -> bool,
    expected: &str,
) -> Result<(Vec<Input<'a>>, usize), Error> {
    let texts = examples.texts(loss)?;
    if !fits(texts.len()) {
        let got = match texts.len() {
            1 => "1 text column".to_owned(),
            columns => format!("{columns} text columns"),
        };
        return Err(Error::rows(loss, expected, got));
    }
    let rows = texts.first().map_or(0, Vec::len);
    Ok((texts.into_iter().flatten().map(Input::single).collect(), rows))
}

/// The two texts of each row as a pair, for a loss with labels.
///
/// # Errors
/// No rows, columns of different lengths, a cell with a list of texts, or another number of
/// columns.
pub(super) fn pairs<'a>(loss: &str, examples: &'a Examples) -> Result<Vec<Input<'a>>, Error> {
    let texts = examples.texts(loss)?;
    let [first, second] = texts.as_slice() else {
        let got = format!("{} text columns", texts.len());
        return Err(Error::rows(loss, "exactly two text columns and a label column", got));
    };
    Ok(first.iter().zip(second).map(|(a, b)| Input::pair(*a, *b)).collect())
}

/// The margin of each negative of each row, for text columns query, positive and negatives: a label
/// is a list of margins, or of the scores that they are differences of.
///
/// # Errors
/// Fewer than three text columns, or a label of another length.
pub(super) fn margins(loss: &str, examples: &Examples) -> Result<Vec<Vec<f32>>, Error> {
    let columns = examples.columns.len();
    if columns < 3 {
        let expected =
            "at least three text columns (query, positive, negatives) and a label column";
        let got = match columns {
            1 => "1 text column".to_owned(),
            _ => format!("{columns} text columns"),
        };
        return Err(Error::rows(loss, expected, got));
    }
    let negatives = columns - 2;
    let expected = match negatives {
        1 => "a margin, or a list of 2 scores (positive, negative)".to_owned(),
        n => format!(
            "a list of {n} margins (positive less each negative) or of {} scores (positive, \
             negatives)",
            n + 1
        ),
    };
    let fits = |length| length == negatives || length == negatives + 1;
    let mut labels = label_lists(loss, examples, fits, &expected)?;
    for label in labels.iter_mut().filter(|label| label.len() > negatives) {
        let positive = label.remove(0);
        label.iter_mut().for_each(|score| *score = positive - *score);
    }
    Ok(labels)
}

/// One label for each row. `fits` says whether the loss can use a label, which is `expected`.
///
/// # Errors
/// No label column, more than one number for a row, or a label that the loss cannot use.
pub(super) fn labels(
    loss: &str,
    examples: &Examples,
    fits: impl Fn(f32) -> bool,
    expected: &str,
) -> Result<Vec<f32>, Error> {
    let labels = examples.scalar_labels(loss)?;
    match labels.iter().position(|label| !fits(*label)) {
        None => Ok(labels),
        Some(row) => Err(Error::cell(loss, row, LABEL_ROLE, expected, labels[row])),
    }
}

/// A list of finite numbers for each row; one number counts as a list of one. `fits` says whether
/// the loss can use a list of this length, which is `expected`.
///
/// # Errors
/// No label column, a list of another length, or a number that is not finite.
pub(super) fn label_lists(
    loss: &str,
    examples: &Examples,
    fits: impl Fn(usize) -> bool,
    expected: &str,
) -> Result<Vec<Vec<f32>>, Error> {
    let lists: Vec<Vec<f32>> = match &examples.labels {
        Labels::Lists(lists) => lists.clone(),
        Labels::None | Labels::Scalars(_) => {
            examples.scalar_labels(loss)?.into_iter().map(|label| vec![label]).collect()
        }
    };
    if lists.len() != examples.rows() {
        return Err(Error::rows(loss, format!("{} labels", examples.rows()), lists.len()));
    }
    for (row, list) in lists.iter().enumerate() {
        if !fits(list.len()) {
            let got = match (&examples.labels, list.len()) {
                (Labels::Lists(_), length) => format!("a list of {length}"),
                _ => "one number".to_owned(),
            };
            return Err(Error::cell(loss, row, LABEL_ROLE, expected, got));
        }
        if let Some(number) = list.iter().find(|number| !number.is_finite()) {
            return Err(Error::cell(loss, row, LABEL_ROLE, "finite numbers", number));
        }
    }
    Ok(lists)
}

/// Checks that a setting is a finite number.
///
/// # Errors
/// Another number.
pub(super) fn expect_finite(loss: &str, setting: &str, value: f64) -> Result<(), Error> {
    match value.is_finite() {
        true => Ok(()),
        false => Err(Error::argument(format!("{loss}.{setting}"), "a finite number", value)),
    }
}

/// The plan of a ranking loss of embeddings: anchors, positives and negatives, column after column.
///
/// # Errors
/// A label column, or fewer than two text columns.
pub(super) fn ranked_texts<'a>(loss: &str, examples: &'a Examples) -> Result<Plan<'a>, Error> {
    no_labels(loss, examples)?;
    let texts = examples.texts(loss)?;
    if texts.len() < 2 {
        let expected = "at least two text columns (anchor, positive, negatives)";
        return Err(Error::rows(loss, expected, texts.len()));
    }
    let rows = texts[0].len();
    let inputs = texts.into_iter().flatten().map(Input::single).collect();
    Ok(Plan { inputs, rows, targets: Targets::None })
}

/// Checks that the model is a cross-encoder with one output label.
///
/// # Errors
/// The model is a dual encoder, or does not have exactly one output label.
pub fn expect_one_score(loss: &str, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
    expect_cross_encoder(loss, kind)?;
    if output_columns != 1 {
        let expected = format!("1 output label, as {loss} reads one score for each pair");
        return Err(Error::argument("num_labels", expected, output_columns));
    }
    Ok(())
}

/// Checks that the model is a cross-encoder.
///
/// # Errors
/// The model is a dual encoder.
pub(super) fn expect_cross_encoder(loss: &str, kind: ModelKind) -> Result<(), Error> {
    match kind {
        ModelKind::CrossEncoder => Ok(()),
        ModelKind::SentenceTransformer => {
            Err(Error::argument("loss", "a loss for dual encoders", loss))
        }
    }
}

/// Checks that the model is a dual encoder.
///
/// # Errors
/// The model is a cross-encoder.
pub fn expect_embeddings(loss: &str, kind: ModelKind) -> Result<(), Error> {
    match kind {
        ModelKind::SentenceTransformer => Ok(()),
        ModelKind::CrossEncoder => Err(Error::argument("loss", "a loss for cross-encoders", loss)),
    }
}
