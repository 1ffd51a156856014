//! The errors of losses for batches and models that they cannot use.

use super::{DRAW, column, pairs, triplets};
use crate::support::message;
use rankforge::encoder::ModelKind;
use rankforge::losses::{
    BinaryCrossEntropyLoss, CROSS_ENCODER_LOSSES, Cached, Cell, Column, DUAL_ENCODER_LOSSES,
    Examples, Labels, Loss, MultipleNegativesRankingLoss, cross_encoder_loss, dual_encoder,
    dual_encoder_loss,
};
use serde_json::Map;

/// The error of a loss for a batch that it cannot use.
#[track_caller]
fn refused(loss: &dyn Loss, columns: Vec<Column>, labels: Labels) -> String {
    message(loss.plan(&Examples { columns, labels }, DRAW))
}

/// Columns of which one contains a list of texts.
fn lists() -> Vec<Column> {
    let cells = vec![Cell::Text("d".into()), Cell::Texts(vec!["a".into(), "b".into()])];
    let documents = Column { name: "documents".to_owned(), prompt: None, cells };
    vec![column("query", &["q", "r"]), documents]
}

#[test]
fn errors_of_binary_cross_entropy_name_row_and_column() {
    let loss = BinaryCrossEntropyLoss::default();
    let scalars = |labels: &[f32]| Labels::Scalars(labels.to_vec());
    for (columns, labels, expected) in [
        (
            triplets(),
            scalars(&[1.0, 0.0]),
            "BinaryCrossEntropyLoss: expected exactly two text columns and a label column, got 3 \
             text columns",
        ),
        (
            pairs(),
            Labels::None,
            "BinaryCrossEntropyLoss: expected a label column (label, labels, score or scores), got \
             none",
        ),
        (pairs(), scalars(&[1.0]), "BinaryCrossEntropyLoss: expected 2 labels, got 1"),
        (
            pairs(),
            scalars(&[1.0, 1.5]),
            "BinaryCrossEntropyLoss, row 2, column `label`: expected a label from 0 to 1, got 1.5",
        ),
        (
            pairs(),
            scalars(&[f32::NAN, 1.0]),
            "BinaryCrossEntropyLoss, row 1, column `label`: expected a label from 0 to 1, got NaN",
        ),
        (
            pairs(),
            Labels::Lists(vec![vec![1.0], vec![1.0, 0.0]]),
            "BinaryCrossEntropyLoss, row 2, column `label`: expected one label for each row, got 2",
        ),
        (
            lists(),
            scalars(&[1.0, 0.0]),
            "BinaryCrossEntropyLoss, row 2, column `documents`: expected one text in each cell, \
             got a list of 2",
        ),
    ] {
        assert_eq!(refused(&loss, columns, labels), expected);
    }
}

#[test]
fn ranking_losses_refuse_labels_and_need_a_positive_for_each_anchor() {
    let losses: [&dyn Loss; 4] = [
        &MultipleNegativesRankingLoss::default(),
        &dual_encoder::MultipleNegativesRankingLoss::default(),
        &Cached::<MultipleNegativesRankingLoss>::default(),
        &Cached::<dual_encoder::MultipleNegativesRankingLoss>::default(),
    ];
    for loss in losses {
        for (columns, labels, expected) in [
            (
                pairs(),
                Labels::Scalars(vec![1.0, 0.0]),
                ": expected text columns only, as it takes no labels, got a label column (label, \
                 labels, score or scores)",
            ),
            (
                vec![column("query", &["q"])],
                Labels::None,
                ": expected at least two text columns (anchor, positive, negatives), got 1",
            ),
            (
                vec![column("query", &["q", "r"]), column("answer", &["d"])],
                Labels::None,
                ": expected columns of equal length, got 2 and 1 rows",
            ),
            (
                vec![Column::default(), Column::default()],
                Labels::None,
                ": expected at least one row, got an empty batch",
            ),
            (
                lists(),
                Labels::None,
                ", row 2, column `documents`: expected one text in each cell, got a list of 2",
            ),
        ] {
            // A cached loss reports errors of the inner loss under its own name.
            assert_eq!(refused(loss, columns, labels), format!("{}{expected}", loss.name()));
        }
    }
}

#[test]
fn models_that_a_loss_cannot_train_are_refused() {
    for entry in CROSS_ENCODER_LOSSES {
        let name = entry.name;
        let loss = cross_encoder_loss(name, &Map::new()).unwrap();
        assert_eq!(loss.name(), name);
        assert!(loss.check_model(ModelKind::CrossEncoder, 1).is_ok());
        assert_eq!(
            message(loss.check_model(ModelKind::SentenceTransformer, 1)),
            format!("loss: expected a loss for dual encoders, got {name}")
        );
        let inner = name.trim_start_matches("Cached");
        assert_eq!(
            message(loss.check_model(ModelKind::CrossEncoder, 3)),
            format!(
                "num_labels: expected 1 output label, as {inner} reads one score for each pair, \
                 got 3"
            )
        );
    }
    for entry in DUAL_ENCODER_LOSSES {
        let name = entry.name;
        let loss = dual_encoder_loss(name, &Map::new()).unwrap();
        assert_eq!(loss.name(), name);
        assert!(loss.check_model(ModelKind::SentenceTransformer, 256).is_ok());
        assert_eq!(
            message(loss.check_model(ModelKind::CrossEncoder, 1)),
            format!("loss: expected a loss for cross-encoders, got {name}")
        );
    }
}
