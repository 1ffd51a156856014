//! Checks shared by several losses: of the model to train, and of the columns of a batch.

use crate::error::Error;
use crate::losses::examples::{Examples, Labels};
use rankforge_encoder::ModelKind;

/// Checks that a batch has no label column: a ranking loss would treat a pair with the label 0 as a
/// positive.
///
/// # Errors
/// The batch has a label column.
pub(super) fn no_labels(loss: &str, examples: &Examples) -> Result<(), Error> {
    match examples.labels {
        Labels::None => Ok(()),
        Labels::Scalars(_) | Labels::Lists(_) => Err(Error::rows(
            loss,
            "text columns only, as it takes no labels",
            "a label column (label, labels, score or scores)",
        )),
    }
}

/// Checks that the model is a cross-encoder with one output label.
///
/// # Errors
/// The model is a dual encoder, or does not have exactly one output label.
pub fn expect_one_score(loss: &str, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
    if kind != ModelKind::CrossEncoder {
        return Err(Error::argument("loss", "a loss for dual encoders", loss));
    }
    if output_columns != 1 {
        let expected = format!("1 output label, as {loss} reads one score for each pair");
        return Err(Error::argument("num_labels", expected, output_columns));
    }
    Ok(())
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
