//! A teacher's scores, from mining to a trained student.

use crate::testing::{arguments, loss, pairs, tiny_bert, tiny_static};
use rankforge::data::{Rows, Value};
use rankforge::encoder::Score;
use rankforge::mining::{HardNegativeMiner, MiningOptions, OutputFormat};
use rankforge::training::Trainer;
use serde_json::json;

/// Rows in a format of mining, with the scores of a reranker as the teacher.
fn mined(format: OutputFormat, teacher: &dyn Score) -> Rows {
    let encoder = tiny_static(3);
    // A bound makes mining score the candidates with the reranker; this one excludes none.
    let options = MiningOptions {
        num_negatives: 2,
        output_format: format,
        output_scores: true,
        min_score: Some(-1000.0),
        ..MiningOptions::default()
    };
    let miner = HardNegativeMiner {
        cross_encoder: Some(teacher),
        options,
        ..HardNegativeMiner::new(&encoder)
    };
    miner.mine(&pairs(30)).unwrap().rows
}

/// The pairs of a row and the scores that it carries.
fn scored(row: &[(String, Value)]) -> (Vec<(String, String)>, Vec<f64>) {
    let text = |value: &Value| match value {
        Value::Text(text) => vec![text.clone()],
        Value::List(texts) => texts
            .iter()
            .map(|text| match text {
                Value::Text(text) => text.clone(),
                other => panic!("{other:?} in a list of texts"),
            })
            .collect(),
        other => panic!("{other:?} in a column of texts"),
    };
    let number = |value: &Value| match value {
        Value::Float(number) => *number,
        other => panic!("{other:?} among scores"),
    };
    let (last, texts) = row.split_last().unwrap();
    let query = text(&texts[0].1).remove(0);
    let documents = texts[1..].iter().flat_map(|(_, value)| text(value));
    let scores = match &last.1 {
        Value::List(scores) => scores.iter().map(number).collect(),
        score => vec![number(score)],
    };
    (documents.map(|document| (query.clone(), document)).collect(), scores)
}

#[test]
fn every_format_of_mining_carries_the_scores_of_a_teacher_and_trains_a_student() {
    let teacher = tiny_bert(0.0, 7);
    for (format, name) in [
        (OutputFormat::LabeledPair, "MSELoss"),
        (OutputFormat::Triplet, "MarginMSELoss"),
        (OutputFormat::NTuple, "MarginMSELoss"),
        (OutputFormat::NTupleScores, "MarginMSELoss"),
        (OutputFormat::LabeledList, "RankNetLoss"),
    ] {
        let what = format.as_str();
        let rows = mined(format, &teacher);
        let columns = rows.clone().into_columns();
        for row in 0..rows.len() {
            let cells = columns.iter().map(|(name, values)| (name.clone(), values[row].clone()));
            let (pairs, scores) = scored(&cells.collect::<Vec<_>>());
            let texts: Vec<(&str, &str)> =
                pairs.iter().map(|(query, text)| (query.as_str(), text.as_str())).collect();
            let expected = teacher.predict(&texts).unwrap().values;
            assert_eq!(scores.len(), expected.len(), "{what}");
            for (found, expected) in scores.iter().zip(expected) {
                // Another batch sums in another order.
                assert!((found - f64::from(expected)).abs() < 1e-5, "{what}: {found} {expected}");
            }
        }
        // The teacher's scores are after a sigmoid.
        let loss = loss(name, json!({"activation_fn": "Sigmoid"}));
        let folder = tempfile::tempdir().unwrap();
        let options = json!({
            "max_steps": 60, "learning_rate": 5e-3, "per_device_train_batch_size": 16,
            "logging_strategy": "steps", "logging_steps": 1,
        });
        let arguments = arguments(folder.path(), options);
        let mut trainer = Trainer::new(tiny_bert(0.0, 1), arguments, rows, loss);
        let log = trainer.train().unwrap().state.log_history;
        let losses: Vec<f64> =
            log.iter().filter_map(|record| record.get("loss")?.as_f64()).collect();
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (before, after) = (mean(&losses[..10]), mean(&losses[50..]));
        assert!(after < before, "{what}, {name}: from {before} to {after}");
    }
}
