//! The programs in `examples/`, run on tiny models.

use crate::testing::{labeled_pairs, pairs, tiny_bert, tiny_static};
use rankforge::data::{RowWriter, Rows, Value};
use rankforge::encoder::ModelKind;
use rankforge::losses::{Draw, Loss, LossBatch, Targets};
use rankforge::{Device, Error};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[expect(dead_code, unreachable_pub, reason = "also built as a program")]
#[path = "../../examples/mine.rs"]
mod mine;
#[expect(dead_code, unreachable_pub, reason = "also built as a program")]
#[path = "../../examples/own_evaluator.rs"]
mod own_evaluator;
#[expect(dead_code, unreachable_pub, reason = "also built as a program")]
#[path = "../../examples/own_loss.rs"]
mod own_loss;
#[expect(dead_code, unreachable_pub, reason = "also built as a program")]
#[path = "../../examples/train.rs"]
mod train;
#[expect(dead_code, unreachable_pub, reason = "also built as a program")]
#[path = "../../examples/two_stage_ranking.rs"]
mod two_stage_ranking;

/// A temporary folder with the models `bert/` and `static/`, and the data of a test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        tiny_bert(0.1, 1).save(&folder.path("bert"), None).unwrap();
        tiny_static(1).save(&folder.path("static"), None).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, rows: &Rows) -> PathBuf {
        let path = self.path(name);
        let mut writer = RowWriter::create(&path).unwrap();
        writer.write(rows).unwrap();
        writer.finish().unwrap();
        path
    }
}

#[test]
fn train_saves_a_model_that_ranks_its_documents() {
    let folder = Folder::new();
    let rows = folder.write("pairs.jsonl", &labeled_pairs(40));
    let ranking = train::run(&folder.path("bert"), &rows, &folder.path("out")).unwrap();
    assert_eq!(ranking.len(), 2);
    assert!(ranking[0].score >= ranking[1].score);
    assert!(folder.path("out/reranker/README.md").is_file());
    let error = train::run(&folder.path("nowhere"), &rows, &folder.path("out")).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn mine_writes_labeled_pairs() {
    let folder = Folder::new();
    let rows = folder.write("pairs.jsonl", &pairs(30));
    let mined = mine::run(&folder.path("static"), &rows, &folder.path("mined.jsonl")).unwrap();
    assert_eq!(mined.columns, ["query", "answer", "label"]);
    let written = std::fs::read_to_string(folder.path("mined.jsonl")).unwrap();
    assert_eq!(written.lines().count(), mined.summary.rows);
    assert!(mined.summary.rows > 30, "{} rows", mined.summary.rows);
}

#[test]
fn two_stage_ranking_finds_passages_of_the_collection() {
    let folder = Folder::new();
    let texts: Vec<Value> = ["a red house", "a blue river", "a green stone"]
        .into_iter()
        .map(|text| Value::Text(text.to_owned()))
        .collect();
    let passages = Rows::new(vec![("text".to_owned(), texts)]).unwrap();
    let passages = folder.write("passages.jsonl", &passages);
    let find = |encoder: &str, reranker: &str| {
        two_stage_ranking::run(
            &folder.path(encoder),
            &folder.path(reranker),
            &passages,
            "the house is red",
        )
    };
    let found = find("static", "bert").unwrap();
    assert_eq!(found.len(), 3);
    assert!(found.windows(2).all(|pair| pair[0].0 >= pair[1].0), "{found:?}");
    assert!(found.iter().any(|(_, passage)| passage == "a red house"));
    assert!(matches!(find("nowhere", "bert"), Err(Error::Encoder(_))));
}

#[test]
fn the_custom_loss_trains_and_appears_in_the_model_card() {
    let folder = Folder::new();
    let rows = folder.write("pairs.jsonl", &labeled_pairs(40));
    let run = |gamma: f64| own_loss::run(&folder.path("bert"), &rows, &folder.path("out"), gamma);
    let trained = run(2.0).unwrap();
    assert_eq!(trained.global_step, 3);
    assert!(trained.training_loss > 0.0 && trained.training_loss < 1.0);
    let card = std::fs::read_to_string(folder.path("out/reranker/README.md")).unwrap();
    assert!(card.contains("FocalLoss") && card.contains("\"gamma\": 2.0"), "{card}");
    let error = run(-1.0).unwrap_err();
    assert_eq!(error.to_string(), "FocalLoss.gamma: expected a number of at least 0, got -1");
}

#[test]
fn the_gradient_of_the_custom_loss_agrees_with_finite_differences() {
    let device = Device::cpu(Some(1)).unwrap();
    let targets = Targets::Scalars(vec![1.0, 0.0, 1.0, 0.0, 1.0]);
    for gamma in [0.0, 0.5, 2.0] {
        let loss = own_loss::FocalLoss { gamma };
        loss.check_model(ModelKind::CrossEncoder, 1).unwrap();
        let compute = |scores: &[f32]| {
            let outputs = rankforge::encoder::Outputs {
                rows: scores.len(),
                columns: 1,
                values: scores.to_vec(),
            };
            let rows = scores.len();
            let (outputs, targets, device) = (&outputs, &targets, &device);
            let draw = Draw { seed: 0, step: 0 };
            loss.compute(&LossBatch {
                outputs,
                rows,
                targets,
                draw,
                layers: &[],
                parameters: &[],
                device,
            })
        };
        let scores = [-30.0, -1.5, 0.25, 2.0, 40.0];
        let gradient = compute(&scores).d_outputs.values;
        for (index, found) in gradient.into_iter().enumerate() {
            let moved = |by: f32| {
                let mut scores = scores;
                scores[index] += by;
                (scores[index], compute(&scores).value)
            };
            let ((right, above), (left, below)) = (moved(0.0078125), moved(-0.0078125));
            let slope = (above - below) / f64::from(right - left);
            // The third derivative is below 1, and the values are computed in f64.
            assert!((f64::from(found) - slope).abs() < 1e-5, "{index}: {found}, {slope}");
        }
    }
}

#[test]
fn the_custom_evaluator_measures_a_reranker() {
    let folder = Folder::new();
    let text = |text: &str| Value::Text(text.to_owned());
    let column = |name: &str, texts: [&str; 2]| (name.to_owned(), texts.map(text).to_vec());
    let triplets = Rows::new(vec![
        column("query", ["red house", "blue river"]),
        column("positive", ["the house is red", "the river is blue"]),
        column("negative", ["the stone is black", "the bird is white"]),
    ])
    .unwrap();
    let triplets = folder.write("triplets.jsonl", &triplets);
    let accuracy = own_evaluator::run(&folder.path("bert"), &triplets).unwrap();
    assert!([0.0, 0.5, 1.0].contains(&accuracy), "{accuracy}");
    let pairs = folder.write("pairs.jsonl", &pairs(3));
    let error = own_evaluator::run(&folder.path("bert"), Path::new(&pairs)).unwrap_err();
    assert!(error.to_string().contains("positive"), "{error}");
}
