//! Checks that losses share: of the model that they are used with, and of the columns of a batch.

use crate::error::Error;
use crate::losses::examples::{Examples, Labels};
use rankforge_encoder::ModelKind;

/// Refuses a label column: the ranking losses would take pairs that are labelled 0 for positives.
///
/// # Errors
/// When there is one.
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

/// Checks that the model is a cross-encoder that gives one score for each pair.
///
/// # Errors
/// A dual encoder, or another number of labels than one.
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
/// A cross-encoder.
pub fn expect_embeddings(loss: &str, kind: ModelKind) -> Result<(), Error> {
    match kind {
        ModelKind::SentenceTransformer => Ok(()),
        ModelKind::CrossEncoder => Err(Error::argument("loss", "a loss for cross-encoders", loss)),
    }
}
