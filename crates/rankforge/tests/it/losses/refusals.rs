//! The errors of losses for batches and models that they cannot use.

use super::{DRAW, column, pairs, triplets};
use crate::support::message;
use rankforge::encoder::ModelKind;
use rankforge::losses::{
    BinaryCrossEntropyLoss, CROSS_ENCODER_LOSSES, Cached, Cell, Column, DUAL_ENCODER_LOSSES,
    Examples, Labels, Loss, MultipleNegativesRankingLoss, cross_encoder_loss, dual_encoder,
    dual_encoder_loss,
};
use serde_json::{Map, Value, json};

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
fn errors_of_list_wise_losses_name_row_and_column() {
    let documents = |cells: Vec<Cell>| {
        let documents = Column { name: "documents".to_owned(), prompt: None, cells };
        vec![column("query", &["q", "r"]), documents]
    };
    let texts = |texts: &[&str]| Cell::Texts(texts.iter().map(|text| (*text).into()).collect());
    let fine = || documents(vec![texts(&["a", "b"]), texts(&["c"])]);
    let labels = |first: &[f32]| Labels::Lists(vec![first.to_vec(), vec![1.0]]);
    for name in ["Lambda", "RankNet", "ListNet", "ListMLE", "PListMLE", "ADRMSE"] {
        let name = format!("{name}Loss");
        let loss = cross_encoder_loss(&name, &Map::new()).unwrap();
        for (columns, labels, expected) in [
            (
                triplets(),
                labels(&[1.0, 0.0]),
                ": expected exactly two text columns (query, list of documents) and a column of \
                 labels, got 3 text columns",
            ),
            (
                lists(),
                labels(&[1.0, 0.0]),
                ", row 1, column `documents`: expected a list of documents in each cell, got a \
                 single text",
            ),
            (
                documents(vec![texts(&["a"]), texts(&[])]),
                labels(&[1.0]),
                ", row 2, column `documents`: expected at least one document, got an empty list",
            ),
            (
                fine(),
                labels(&[1.0]),
                ", row 1, column `label`: expected 2 labels, one for each document, got 1",
            ),
            (
                fine(),
                Labels::Scalars(vec![1.0, 0.0]),
                ", row 1, column `label`: expected a list of labels, one for each document, got 1",
            ),
            (
                fine(),
                Labels::None,
                ": expected a column of lists of labels (label, labels, score or scores), got none",
            ),
        ] {
            assert_eq!(refused(&*loss, columns, labels), format!("{name}{expected}"));
        }
        assert!(
            loss.plan(&Examples { columns: fine(), labels: labels(&[1.0, 0.0]) }, DRAW).is_ok()
        );
    }
    let loss = cross_encoder_loss("LambdaLoss", &Map::new()).unwrap();
    assert_eq!(
        refused(&*loss, fine(), labels(&[1.0, 1e4])),
        "LambdaLoss, row 1, column `label`: expected labels up to 1000, as a gain is 2^label - 1, \
         got 10000"
    );
}

#[test]
fn a_class_that_the_model_lacks_is_refused() {
    let loss = cross_encoder_loss("CrossEntropyLoss", &Map::new()).unwrap();
    let examples =
        |labels: [f32; 2]| Examples { columns: pairs(), labels: Labels::Scalars(labels.to_vec()) };
    for (labels, expected) in [
        ([1.0, 3.0], "row 2, column `label`: expected a class from 0 to 2, as the model has 3, "),
        ([0.5, 1.0], "row 1, column `label`: expected a class: a whole number from 0, got 0.5"),
        ([-1.0, 1.0], "row 1, column `label`: expected a class: a whole number from 0, got -1"),
    ] {
        let examples = examples(labels);
        let plan = loss.plan(&examples, DRAW).and_then(|plan| loss.check_plan(&plan, 3));
        let text = message(plan);
        assert!(text.contains(expected), "{text}");
    }
    let weights = json!({ "weight": [1, 2] });
    let loss = cross_encoder_loss("CrossEntropyLoss", weights.as_object().unwrap()).unwrap();
    let text = message(loss.check_model(ModelKind::CrossEncoder, 3));
    assert!(text.contains("weight: expected 3 numbers, one for each label of the model"), "{text}");
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

/// The settings that a loss of dual encoders needs.
pub(super) fn least(name: &str) -> Map<String, Value> {
    let inner = json!({"name": "MultipleNegativesRankingLoss"});
    let settings = match name {
        "GISTEmbedLoss" | "CachedGISTEmbedLoss" => json!({"guide": "some/guide"}),
        "MatryoshkaLoss" | "Matryoshka2dLoss" => {
            json!({"matryoshka_dims": [256, 64], "loss": inner})
        }
        "AdaptiveLayerLoss" => json!({"loss": inner}),
        "SoftmaxLoss" => json!({"num_labels": 3}),
        _ => json!({}),
    };
    settings.as_object().unwrap().clone()
}

#[test]
fn settings_of_the_ranking_loss_that_make_no_sense_are_refused() {
    let name = "MultipleNegativesRankingLoss";
    for (settings, expected) in [
        (json!({"scale": 0}), "scale: expected a number above 0, got 0"),
        (json!({"similarity_fct": "manhattan"}), "unknown variant `manhattan`"),
        (json!({"directions": []}), "directions: expected query_to_doc among them"),
        (json!({"directions": ["doc_to_query"]}), "got [\"doc_to_query\"]"),
        (json!({"directions": ["query_to_docs"]}), "unknown variant `query_to_docs`"),
        (json!({"directions": "query_to_doc"}), "directions: expected a list, got"),
        (
            json!({
                "directions": ["query_to_doc", "doc_to_doc"], "partition_mode": "per_direction",
            }),
            "directions: expected query_to_doc and doc_to_query only",
        ),
        (json!({"partition_mode": "both"}), "unknown variant `both`"),
        (json!({"hardness_mode": "hard"}), "unknown variant `hard`"),
        (json!({"hardness_strength": -1}), "hardness_strength: expected a number of at least 0"),
        (json!({"temperature": 1}), "unknown field `temperature`, expected one of `scale`"),
    ] {
        for cached in ["", "Cached"] {
            let built =
                dual_encoder_loss(&format!("{cached}{name}"), settings.as_object().unwrap());
            let text = message(built);
            assert!(text.starts_with(&format!("{cached}{name}")), "{text}");
            assert!(text.contains(expected), "{text}");
        }
    }
    let symmetric = dual_encoder_loss(
        "CachedMultipleNegativesSymmetricRankingLoss",
        json!({"scale": -2.0}).as_object().unwrap(),
    );
    assert_eq!(
        message(symmetric),
        "CachedMultipleNegativesSymmetricRankingLoss.scale: expected a number above 0, got -2"
    );
    let loss = |settings: Value| dual_encoder_loss(name, settings.as_object().unwrap()).unwrap();
    assert!(loss(json!({"hardness_mode": "none"})).warnings(8).is_empty());
    assert_eq!(loss(json!({"hardness_mode": "all_negatives"})).warnings(8).len(), 1);
    assert_eq!(loss(json!({"hardness_strength": 2})).warnings(8).len(), 1);
}

#[test]
fn models_that_a_loss_cannot_train_are_refused() {
    for entry in CROSS_ENCODER_LOSSES {
        let name = entry.name;
        let loss = cross_encoder_loss(name, &Map::new()).unwrap();
        assert_eq!(loss.name(), name);
        assert_eq!(
            message(loss.check_model(ModelKind::SentenceTransformer, 1)),
            format!("loss: expected a loss for dual encoders, got {name}")
        );
        if name == "CrossEntropyLoss" {
            assert!(loss.check_model(ModelKind::CrossEncoder, 3).is_ok());
            assert_eq!(
                message(loss.check_model(ModelKind::CrossEncoder, 1)),
                "num_labels: expected at least 2 output labels, as CrossEntropyLoss reads one for \
                 each class, got 1"
            );
            continue;
        }
        assert!(loss.check_model(ModelKind::CrossEncoder, 1).is_ok());
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
        let loss = dual_encoder_loss(name, &least(name)).unwrap();
        assert_eq!(loss.name(), name);
        // A guide is not open before training.
        let usable = loss.check_model(ModelKind::SentenceTransformer, 256).is_ok();
        assert_eq!(usable, !name.contains("GIST"), "{name}");
        assert_eq!(
            message(loss.check_model(ModelKind::CrossEncoder, 1)),
            format!("loss: expected a loss for cross-encoders, got {name}")
        );
    }
}
