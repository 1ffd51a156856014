//! Losses of embeddings that are cut to their leading dimensions.

use super::{DRAW, GOLDEN, assert_finite_differences, compute, numbers, score_noise};
use crate::support::message;
use rankforge::Error;
use rankforge::encoder::{ModelKind, Outputs};
use rankforge::losses::dual_encoder::{
    Direction, MatryoshkaLoss, MultipleNegativesRankingLoss, SimilarityFct,
};
use rankforge::losses::{
    Draw, Examples, Loss, LossBatch, LossOutput, Plan, Targets, dual_encoder_loss,
};
use rankforge::{Device, losses::Nesting};
use serde_json::{Value, json};
use std::collections::HashSet;

fn built(settings: Value) -> Result<Box<dyn Loss>, Error> {
    dual_encoder_loss("MatryoshkaLoss", settings.as_object().unwrap())
}

#[test]
fn the_golden_value_of_two_nestings() {
    let loss = built(json!({
        "matryoshka_dims": [3, 2], "loss": {"name": "MultipleNegativesRankingLoss"},
    }));
    let a = [1.0, 0.0, 0.5, 0.2, 1.0, 0.0, 0.3, -0.4, 1.0];
    let p = [0.9, 0.1, 0.4, 0.1, 0.8, 0.3, 0.5, -0.2, 0.7];
    let outputs = Outputs { rows: 6, columns: 3, values: [a, p].concat() };
    let value = compute(&loss.unwrap(), &outputs, 3, &Targets::None).value;
    assert!((value - 0.102802).abs() < GOLDEN, "{value}");
}

/// A loss that does not know how to share the work of nestings.
struct Plain(MultipleNegativesRankingLoss);

impl Loss for Plain {
    fn name(&self) -> &'static str {
        "Plain"
    }

    fn config(&self) -> Value {
        json!({})
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        self.0.check_model(kind, output_columns)
    }

    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error> {
        self.0.plan(examples, draw)
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        self.0.compute(batch)
    }
}

/// Settings with every way to compare texts.
fn ranking(scale: f64, similarity_fct: SimilarityFct) -> MultipleNegativesRankingLoss {
    MultipleNegativesRankingLoss {
        scale,
        similarity_fct,
        directions: vec![
            Direction::QueryToDoc,
            Direction::QueryToQuery,
            Direction::DocToQuery,
            Direction::DocToDoc,
        ],
        ..Default::default()
    }
}

fn matryoshka(loss: impl Loss + 'static, dims: &[usize]) -> MatryoshkaLoss {
    MatryoshkaLoss {
        loss: Box::new(loss),
        matryoshka_dims: dims.to_vec(),
        matryoshka_weights: None,
        n_dims_per_step: None,
    }
}

#[test]
fn shared_products_give_the_loss_of_each_truncation() {
    let (rows, columns, width) = (70, 3, 37);
    let values = numbers(rows * columns * width);
    let mut outputs = Outputs { rows: rows * columns, columns: width, values };
    // One embedding is zero in its leading dimensions, one everywhere.
    outputs.values[..9].fill(0.0);
    outputs.values[2 * width..3 * width].fill(0.0);
    // 9 twice, one nesting of one dimension, and dimensions after the last nesting.
    for dims in [&[37, 9, 16, 1, 9][..], &[20, 9]] {
        for similarity in [SimilarityFct::CosSim, SimilarityFct::DotScore] {
            let ranking = ranking(6.0, similarity);
            let shared =
                compute(&matryoshka(ranking.clone(), dims), &outputs, rows, &Targets::None);
            let plain = compute(&matryoshka(Plain(ranking), dims), &outputs, rows, &Targets::None);
            let error = (shared.value - plain.value).abs();
            assert!(error < 1e-5, "{dims:?}: {} and {}", shared.value, plain.value);
            let pairs = shared.d_outputs.values.iter().zip(&plain.d_outputs.values);
            for (index, (shared, plain)) in pairs.enumerate() {
                let difference = (shared - plain).abs();
                // Rounding errors of a direction are divided by the length of what was cut.
                let shortest = outputs.row(index / width)[0].abs();
                assert!(
                    difference < 1e-5 + 1e-7 / shortest,
                    "{dims:?}, element {index}: {shared} and {plain}"
                );
            }
            assert!(shared.d_outputs.row(2).iter().all(|d| *d == 0.0));
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let outputs = Outputs { rows: 8, columns: 7, values: numbers(56) };
    let loss = MatryoshkaLoss {
        matryoshka_weights: Some(vec![0.5, 2.0, 1.0]),
        ..matryoshka(ranking(3.0, SimilarityFct::CosSim), &[7, 3, 2])
    };
    let value = |outputs: &Outputs| compute(&loss, outputs, 4, &Targets::None);
    assert_finite_differences(&value, &outputs, 400.0, 4.0 * score_noise(3.0));
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let (rows, width) = (150, 24);
    let outputs = Outputs { rows: 2 * rows, columns: width, values: numbers(2 * rows * width) };
    let loss = matryoshka(ranking(20.0, SimilarityFct::CosSim), &[24, 8]);
    let of = |threads| {
        let device = Device::cpu(Some(threads)).unwrap();
        let (outputs, targets) = (&outputs, &Targets::None);
        let batch = LossBatch {
            outputs,
            rows,
            targets,
            draw: DRAW,
            layers: &[],
            parameters: &[],
            device: &device,
        };
        let found = loss.compute(&batch);
        let bits: Vec<u32> = found.d_outputs.values.iter().map(|value| value.to_bits()).collect();
        (found.value.to_bits(), bits)
    };
    assert!(of(1) == of(3));
}

/// The sum of the embeddings, with labels that are embeddings, as a loss of a teacher has.
struct Sum;

impl Loss for Sum {
    fn name(&self) -> &'static str {
        "Sum"
    }

    fn config(&self) -> Value {
        json!({})
    }

    fn check_model(&self, _: ModelKind, _: usize) -> Result<(), Error> {
        Ok(())
    }

    fn plan<'a>(&self, _: &'a Examples, _: Draw) -> Result<Plan<'a>, Error> {
        unreachable!("only computed")
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let columns = batch.outputs.columns;
        match batch.targets {
            Targets::Matrix(matrix) => assert_eq!(matrix.columns, columns),
            Targets::Lists(lists) => assert!(lists.iter().all(|list| list.len() == columns)),
            other => panic!("{other:?}"),
        }
        let sum = |values: &[f32]| values.iter().map(|x| f64::from(*x)).sum::<f64>();
        let terms = [sum(&batch.outputs.values), 10.0];
        let components = vec![("sum".to_owned(), terms[0]), ("ten".to_owned(), terms[1])];
        let values = vec![1.0; batch.outputs.values.len()];
        let d_outputs = Outputs { values, ..batch.outputs.clone() };
        LossOutput { components, ..LossOutput::new(terms.iter().sum(), d_outputs) }
    }
}

#[test]
fn labels_that_are_embeddings_are_cut_and_components_are_added_up() {
    let outputs = Outputs { rows: 2, columns: 4, values: vec![3.0, 4.0, 0.0, 0.0, 0., 2., 0., 0.] };
    let nestings = [(4, 1.0), (2, 0.5)];
    let nestings = nestings.map(|(dimensions, weight)| Nesting { dimensions, weight });
    let device = Device::cpu(Some(1)).unwrap();
    let lists = vec![vec![1.0, 2.0, 3.0, 4.0]; 2];
    for targets in [Targets::Lists(lists), Targets::Matrix(outputs.clone())] {
        let (outputs, targets) = (&outputs, &targets);
        let batch = LossBatch {
            outputs,
            rows: 2,
            targets,
            draw: DRAW,
            layers: &[],
            parameters: &[],
            device: &device,
        };
        let found = Sum.compute_nested(&batch, &nestings);
        // Unit vectors (0.6, 0.8) and (0, 1) sum to 2.4.
        let expected = [("sum", 1.5 * 2.4), ("ten", 15.0)];
        for ((name, value), (expected_name, expected)) in found.components.iter().zip(expected) {
            assert!(name == expected_name && (value - expected).abs() < 1e-6, "{name}: {value}");
        }
        assert!((found.value - 18.6).abs() < 1e-6, "{}", found.value);
        // The gradient of 0.6 + 0.8 + 0 + 0 is (1 - u (1 · u)) / 5.
        let [a, b] = [(1.0 - 0.6 * 1.4) / 5.0, (1.0 - 0.8 * 1.4) / 5.0];
        for (got, expected) in found.d_outputs.values.iter().zip([1.5 * a, 1.5 * b, 0.2, 0.2]) {
            assert!((got - expected).abs() < 1e-6, "{:?}", found.d_outputs);
        }
    }
}

#[test]
fn the_dimensions_of_a_step_are_drawn_by_seed_and_step() {
    let loss = MatryoshkaLoss {
        n_dims_per_step: Some(1),
        ..matryoshka(MultipleNegativesRankingLoss::default(), &[2, 3, 4])
    };
    let outputs = Outputs { rows: 6, columns: 4, values: numbers(24) };
    let device = Device::cpu(Some(1)).unwrap();
    let of = |seed, step| {
        let (outputs, targets) = (&outputs, &Targets::None);
        let batch = LossBatch {
            outputs,
            rows: 3,
            targets,
            draw: Draw { seed, step },
            layers: &[],
            parameters: &[],
            device: &device,
        };
        loss.compute(&batch).value.to_bits()
    };
    let values: HashSet<u64> = (0..30).map(|step| of(1, step)).collect();
    assert_eq!(values.len(), 3, "each of the three is drawn");
    let run = |seed| (0..30).map(|step| of(seed, step)).collect::<Vec<_>>();
    assert!(run(1) == run(1) && run(1) != run(2));
}

#[test]
fn errors_have_the_path_of_the_setting() {
    let inner = |settings: Value| json!({"matryoshka_dims": [8], "loss": settings});
    let ranking = || json!({"name": "MultipleNegativesRankingLoss"});
    for (settings, expected) in [
        (json!({"loss": ranking()}), "MatryoshkaLoss.matryoshka_dims: expected at least one"),
        (json!({"loss": ranking(), "matryoshka_dims": [8, 0]}), "each at least 1, got [8,0]"),
        (json!({"matryoshka_dims": [8]}), "MatryoshkaLoss.loss.name: expected the name"),
        (json!({"loss": 3}), "MatryoshkaLoss.loss: expected a table, got 3"),
        (inner(json!({"name": "CoSINELoss"})), "MatryoshkaLoss.loss.name: expected one of"),
        (
            inner(json!({"name": "MultipleNegativesRankingLoss", "scale": -1})),
            "MatryoshkaLoss.loss.scale: expected a number above 0, got -1",
        ),
        (
            inner(json!({"name": "MultipleNegativesRankingLoss", "skale": 1})),
            "MatryoshkaLoss.loss: expected settings that it has, got unknown field `skale`",
        ),
        (
            inner(json!({"name": "CachedMultipleNegativesRankingLoss", "mini_batch_size": 0})),
            "MatryoshkaLoss.loss.mini_batch_size: expected at least 1, got 0",
        ),
        (
            inner(
                inner(ranking())
                    .as_object()
                    .map(|inner| {
                        let mut inner = inner.clone();
                        inner.insert("name".to_owned(), json!("MatryoshkaLoss"));
                        json!(inner)
                    })
                    .unwrap(),
            ),
            "MatryoshkaLoss.loss.name: expected a loss of embeddings inside",
        ),
        (
            json!({"loss": ranking(), "matryoshka_dims": [8], "matryoshka_weights": [1, 2]}),
            "MatryoshkaLoss.matryoshka_weights: expected 1 finite numbers",
        ),
        (
            json!({"loss": ranking(), "matryoshka_dims": [8], "n_dims_per_step": 0}),
            "MatryoshkaLoss.n_dims_per_step: expected at least 1, or -1 for all, got 0",
        ),
    ] {
        let text = message(built(settings));
        assert!(text.contains(expected), "{text}");
    }
    let loss = built(inner(ranking())).unwrap();
    assert_eq!(
        message(loss.check_model(ModelKind::SentenceTransformer, 7)),
        "MatryoshkaLoss.matryoshka_dims: expected at most 7, as the embeddings have, got 8"
    );
    assert!(loss.warnings(8).is_empty());
    assert!(loss.warnings(9)[0].contains("lack the 9 dimensions"), "{:?}", loss.warnings(9));
    assert_eq!(loss.inner().unwrap().name(), "MultipleNegativesRankingLoss");
    assert_eq!(loss.config()["loss"]["scale"], 20.0);
}

#[test]
fn embeddings_of_a_teacher_are_cut_for_each_text_column() {
    let outputs = Outputs { rows: 4, columns: 4, values: numbers(16) };
    let labels = numbers(24).split_off(8);
    let lists = |width: usize| -> Vec<Vec<f32>> {
        let row = |row: usize| {
            let columns = labels[row * 8..row * 8 + 8].chunks(4);
            columns.flat_map(|part| part[..width].to_vec()).collect()
        };
        (0..2).map(row).collect()
    };
    let settings = |name: &str, more: Value| {
        let mut inner = json!({"name": name});
        inner.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"matryoshka_dims": [2], "loss": inner}).as_object().unwrap().clone()
    };
    let name = "EmbedDistillLoss";
    let nested = dual_encoder_loss("MatryoshkaLoss", &settings(name, json!({}))).unwrap();
    let found = compute(&*nested, &outputs, 2, &Targets::Lists(lists(4)));
    // The cosine does not depend on the lengths.
    let values = outputs.values.chunks(4).flat_map(|row| row[..2].to_vec()).collect();
    let cut = Outputs { rows: 4, columns: 2, values };
    let plain = dual_encoder_loss(name, &serde_json::Map::new()).unwrap();
    let expected = compute(&*plain, &cut, 2, &Targets::Lists(lists(2)));
    assert!((found.value - expected.value).abs() < 1e-6, "{} {}", found.value, expected.value);

    for (name, more) in
        [("SoftmaxLoss", json!({"num_labels": 2})), (name, json!({"projection_dim": 2}))]
    {
        let wrapped = dual_encoder_loss("MatryoshkaLoss", &settings(name, more)).unwrap();
        let text = message(wrapped.check_model(ModelKind::SentenceTransformer, 4));
        assert!(text.contains("MatryoshkaLoss.loss: expected a loss without parameters"), "{text}");
    }
}
