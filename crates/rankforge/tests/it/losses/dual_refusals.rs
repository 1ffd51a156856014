//! The errors of losses of dual encoders for rows that they cannot use.

use super::refusals::least;
use super::{DRAW, column, numbered};
use crate::support::message;
use rankforge::losses::{Column, Examples, Labels, dual_encoder_loss};
use serde_json::Map;

/// The error of a loss for rows that it cannot use.
#[track_caller]
fn refused(name: &str, columns: Vec<Column>, labels: Labels) -> String {
    let loss = dual_encoder_loss(name, &least(name)).unwrap();
    message(loss.plan(&Examples { columns, labels }, DRAW))
}

#[test]
fn rows_that_a_loss_cannot_use_are_refused() {
    let texts = |count: usize| -> Vec<Column> {
        (0..count).map(|index| column(&format!("text {index}"), &["a", "b"])).collect()
    };
    let scalars = |labels: &[f32]| Labels::Scalars(labels.to_vec());
    for (name, columns, labels, expected) in [
        (
            "CoSENTLoss",
            3,
            scalars(&[0.0, 1.0]),
            ": expected exactly two text columns and a label column, got 3 text columns",
        ),
        (
            "CosineSimilarityLoss",
            1,
            scalars(&[0.0, 1.0]),
            ": expected exactly two text columns and a label column, got 1 text column",
        ),
        (
            "CoSENTLoss",
            2,
            Labels::None,
            ": expected a label column (label, labels, score or scores), got none",
        ),
        (
            "AnglELoss",
            2,
            Labels::None,
            ": expected a label column (label, labels, score or scores), got none",
        ),
        (
            "AnglELoss",
            1,
            Labels::None,
            ": expected two text columns and a label column, or more text columns (anchor, \
             positive, negatives), got 1 text column",
        ),
        (
            "CosineSimilarityLoss",
            2,
            Labels::Lists(vec![vec![1.0], vec![1.0, 2.0]]),
            ", row 2, column `label`: expected one label for each row, got 2",
        ),
        (
            "ContrastiveLoss",
            2,
            scalars(&[1.0, 2.0]),
            ", row 2, column `label`: expected a label from 0 to 1, got 2",
        ),
        (
            "OnlineContrastiveLoss",
            2,
            scalars(&[0.5, 1.0]),
            ", row 1, column `label`: expected 0 or 1, got 0.5",
        ),
        (
            "TripletLoss",
            2,
            Labels::None,
            ": expected exactly three text columns (anchor, positive, negative), got 2 text \
             columns",
        ),
        (
            "TripletLoss",
            3,
            scalars(&[1.0, 1.0]),
            ": expected text columns only, as it takes no labels, got a label column (label, \
             labels, score or scores)",
        ),
        (
            "MarginMSELoss",
            3,
            Labels::Lists(vec![vec![1.0], vec![1.0, 2.0, 3.0]]),
            ", row 2, column `label`: expected a margin, or a list of 2 scores (positive, \
             negative), got a list of 3",
        ),
        (
            "MarginMSELoss",
            4,
            scalars(&[1.0, 2.0]),
            ", row 1, column `label`: expected a list of 2 margins (positive less each negative) \
             or of 3 scores (positive, negatives), got one number",
        ),
        (
            "MarginMSELoss",
            3,
            Labels::None,
            ": expected a label column (label, labels, score or scores), got none",
        ),
        (
            "DistillKLDivLoss",
            2,
            scalars(&[1.0, 2.0]),
            ": expected at least three text columns (query and two or more texts) and a label \
             column, got 2 text columns",
        ),
        (
            "DistillKLDivLoss",
            3,
            Labels::Lists(vec![vec![1.0, 2.0], vec![1.0]]),
            ", row 2, column `label`: expected a list of 2 scores, one for each text column after \
             the first, got a list of 1",
        ),
        (
            "DistillKLDivLoss",
            3,
            Labels::Lists(vec![vec![1.0, f32::NAN], vec![1.0, 2.0]]),
            ", row 1, column `label`: expected finite numbers, got NaN",
        ),
        (
            "MSELoss",
            1,
            Labels::Lists(vec![vec![1.0], vec![]]),
            ", row 2, column `label`: expected the embedding by the teacher, a list of numbers, \
             got a list of 0",
        ),
        (
            "SoftmaxLoss",
            2,
            scalars(&[2.0, 3.0]),
            ", row 2, column `label`: expected a whole number from 0 to 2, got 3",
        ),
        (
            "SoftmaxLoss",
            2,
            scalars(&[0.5, 1.0]),
            ", row 1, column `label`: expected a whole number from 0 to 2, got 0.5",
        ),
        (
            "MegaBatchMarginLoss",
            3,
            Labels::None,
            ": expected exactly two text columns (anchor, positive), as negatives are the \
             positives of other rows, got 3 text columns",
        ),
        (
            "BatchAllTripletLoss",
            2,
            scalars(&[1.0, 2.0]),
            ": expected exactly one text column and a label column, got 2 text columns",
        ),
        (
            "BatchHardTripletLoss",
            1,
            scalars(&[1.0, 16_777_216.0]),
            ", row 2, column `label`: expected a class number of at most 16777215, got 16777216",
        ),
    ] {
        assert_eq!(refused(name, texts(columns), labels), format!("{name}{expected}"));
    }
}

#[test]
fn embeddings_of_a_teacher_have_the_dimensions_of_the_model() {
    let hint = " (projection_dim maps the embeddings to another number of dimensions)";
    let checked = |columns: usize, label: Vec<f32>| {
        let labels = Labels::Lists(vec![vec![0.0; 3], label]);
        let examples = Examples { labels, ..numbered(2, columns) };
        let loss = dual_encoder_loss("EmbedDistillLoss", &Map::new()).unwrap();
        let plan = loss.plan(&examples, DRAW).unwrap();
        loss.check_plan(&plan, 3).map_err(|error| error.to_string())
    };
    assert_eq!(checked(2, vec![0.0; 3]), Ok(()));
    assert_eq!(checked(2, vec![0.0; 6]), Ok(()));
    let place = "EmbedDistillLoss, row 2, column `label`: expected a list of 3 numbers, as the \
                 model has 3 dimensions";
    assert_eq!(checked(1, vec![0.0; 6]), Err(format!("{place}, got a list of 6{hint}")));
    let both = format!("{place}, or of 6, 3 for each text column, got a list of 4{hint}");
    assert_eq!(checked(2, vec![0.0; 4]), Err(both));
}
