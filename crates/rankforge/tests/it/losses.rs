use rankforge::Error;
use rankforge::encoder::{Input, Outputs};
use rankforge::losses::{
    Activation, BinaryCrossEntropyLoss, CachedMultipleNegativesRankingLoss, Cell, Draw, Examples,
    Labels, Loss, MultipleNegativesRankingLoss, cross_encoder_loss, dual_encoder,
};
use serde_json::json;
use std::collections::HashSet;

const DRAW: Draw = Draw { seed: 12, step: 0 };

/// The golden values have six decimals.
const GOLDEN: f64 = 1e-5;

/// The logit of each pair of the golden table, in the order of its gradients.
const TABLE: [(&str, &str, f32); 8] = [
    ("q1", "d1", 1.5),
    ("q2", "d2", -0.5),
    ("q1", "d2", 0.3),
    ("q2", "d1", 0.8),
    ("q1", "n1", 0.2),
    ("q2", "n2", -1.0),
    ("q1", "n2", -0.4),
    ("q2", "n1", 0.1),
];

fn column<S: AsRef<str>>(texts: &[S]) -> Vec<Cell> {
    texts.iter().map(|text| Cell::Text(text.as_ref().to_owned())).collect()
}

fn pairs() -> Vec<Vec<Cell>> {
    vec![column(&["q1", "q2"]), column(&["d1", "d2"])]
}

fn triplets() -> Vec<Vec<Cell>> {
    vec![column(&["q1", "q2"]), column(&["d1", "d2"]), column(&["n1", "n2"])]
}

/// Value of a loss whose model is the golden table, and its gradient by entry of the table.
fn on_table(loss: &dyn Loss, columns: Vec<Vec<Cell>>, labels: Labels) -> (f64, Vec<f64>) {
    let examples = Examples { columns, labels };
    let plan = loss.plan(&examples, DRAW).unwrap();
    let entries: Vec<usize> = plan
        .inputs
        .iter()
        .map(|input| match *input {
            Input::Pair(query, text) => {
                TABLE.iter().position(|entry| (entry.0, entry.1) == (query, text)).unwrap()
            }
            Input::Single(text) => panic!("a cross-encoder loss read {text:?} alone"),
        })
        .collect();
    let values: Vec<f32> = entries.iter().map(|entry| TABLE[*entry].2).collect();
    let outputs = Outputs { rows: values.len(), columns: 1, values };
    let output = loss.compute(&outputs, plan.rows, &plan.labels);
    assert_eq!((output.d_outputs.rows, output.d_outputs.columns), (outputs.rows, 1));
    let mut gradient = vec![0.0; TABLE.len()];
    for (entry, value) in entries.iter().zip(&output.d_outputs.values) {
        gradient[*entry] += f64::from(*value);
    }
    (output.value, gradient)
}

#[track_caller]
fn assert_golden(got: (f64, Vec<f64>), value: f64, gradient: &[f64]) {
    assert!((got.0 - value).abs() < GOLDEN, "loss {} for {value}", got.0);
    for (index, entry) in got.1.iter().enumerate() {
        let expected = gradient.get(index).copied().unwrap_or(0.0);
        assert!((entry - expected).abs() < GOLDEN, "gradient {:?} for {gradient:?}", got.1);
    }
}

fn all(activation_fn: Option<Activation>, scale: f64) -> MultipleNegativesRankingLoss {
    MultipleNegativesRankingLoss { num_negatives: None, scale, activation_fn }
}

#[test]
fn binary_cross_entropy_has_the_golden_values() {
    let loss = BinaryCrossEntropyLoss::default();
    let labels = Labels::Scalars(vec![1.0, 0.0]);
    assert_golden(on_table(&loss, pairs(), labels), 0.337745, &[-0.091213, 0.188770]);
    let loss = BinaryCrossEntropyLoss { pos_weight: Some(4.0), ..loss };
    let labels = Labels::Scalars(vec![0.7, 0.2]);
    assert_golden(on_table(&loss, pairs(), labels), 1.116452, &[-0.132760, -0.097967]);
}

#[test]
fn ranking_has_the_golden_values() {
    let loss = all(Some(Activation::Sigmoid), 10.0);
    assert_golden(
        on_table(&loss, pairs(), Labels::None),
        1.625817,
        &[-0.060267, -1.125533, 0.098780, 1.024505],
    );
    let triplet_gradient =
        [-0.109566, -1.133718, 0.091676, 0.855046, 0.072574, 0.011664, 0.015953, 0.191447];
    assert_golden(on_table(&loss, triplets(), Labels::None), 1.753541, &triplet_gradient);
    let cached = CachedMultipleNegativesRankingLoss {
        num_negatives: None,
        mini_batch_size: 1,
        ..CachedMultipleNegativesRankingLoss::default()
    };
    assert_golden(on_table(&cached, triplets(), Labels::None), 1.753541, &triplet_gradient);
    let plain_gradient =
        [-0.209858, -0.429557, 0.087389, 0.258476, 0.079073, 0.042726, 0.043396, 0.128355];
    for activation in [None, Some(Activation::Identity)] {
        let loss = all(activation, 1.0);
        assert_golden(on_table(&loss, triplets(), Labels::None), 1.252022, &plain_gradient);
        // A scale of 0 is none.
        let loss = all(activation, 0.0);
        assert_golden(on_table(&loss, triplets(), Labels::None), 1.252022, &plain_gradient);
    }
}

/// Numbers in -2..2 that do not repeat.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index as f32 * 1.7 + 0.3).sin() * 2.0).collect()
}

/// The gradient against central differences. The step h = 2^-10 is exact in f32 for the inputs used here up
/// to their last bits, the truncation error is h^2 / 6 times a third derivative of at most `bend`.
#[track_caller]
fn assert_finite_differences(
    loss: &dyn Loss,
    outputs: &Outputs,
    rows: usize,
    labels: &Labels,
    bend: f64,
) {
    let analytic = loss.compute(outputs, rows, labels).d_outputs;
    let step = 2f32.powi(-10);
    let tolerance = f64::from(step).powi(2) / 6.0 * bend + 1e-6;
    for index in 0..outputs.values.len() {
        let at = |value: f32| {
            let mut moved = outputs.clone();
            moved.values[index] = value;
            loss.compute(&moved, rows, labels).value
        };
        let (low, high) = (outputs.values[index] - step, outputs.values[index] + step);
        let numeric = (at(high) - at(low)) / f64::from(high - low);
        let got = f64::from(analytic.values[index]);
        assert!((numeric - got).abs() < tolerance, "{index}: {got} for {numeric} in {analytic:?}");
    }
}

#[test]
fn gradients_are_the_finite_differences() {
    let outputs =
        |rows: usize, columns: usize| Outputs { rows, columns, values: numbers(rows * columns) };
    for activation_fn in [Activation::Identity, Activation::Sigmoid, Activation::Tanh] {
        for pos_weight in [None, Some(3.0)] {
            let loss = BinaryCrossEntropyLoss { activation_fn, pos_weight };
            let labels = Labels::Scalars(vec![0.0, 1.0, 0.3, 0.9, 0.5]);
            assert_finite_differences(&loss, &outputs(5, 1), 5, &labels, 10.0);
        }
        // Third derivatives grow with the cube of the scale.
        let loss = all(Some(activation_fn), 4.0);
        assert_finite_differences(&loss, &outputs(15, 1), 3, &Labels::None, 64.0);
    }
    let loss = dual_encoder::MultipleNegativesRankingLoss { scale: 5.0 };
    for columns in [2, 3] {
        assert_finite_differences(&loss, &outputs(4 * columns, 11), 4, &Labels::None, 125.0);
    }
}

#[test]
fn binary_cross_entropy_does_not_overflow_and_ignores_the_order_of_rows() {
    let loss = BinaryCrossEntropyLoss::default();
    let outputs = Outputs { rows: 4, columns: 1, values: vec![800.0, -800.0, 3.0, -0.25] };
    let labels = vec![0.0, 1.0, 1.0, 0.4];
    let forward = loss.compute(&outputs, 4, &Labels::Scalars(labels.clone()));
    assert!((forward.d_outputs.values[0] - 0.25).abs() < 1e-7, "{forward:?}");
    assert!((forward.d_outputs.values[1] + 0.25).abs() < 1e-7, "{forward:?}");
    let order = [2, 0, 3, 1];
    let moved = Outputs { values: order.map(|row| outputs.values[row]).to_vec(), ..outputs };
    let moved_labels = Labels::Scalars(order.map(|row| labels[row]).to_vec());
    let backward = loss.compute(&moved, 4, &moved_labels);
    // Sums of four numbers up to 800 in another order.
    assert!((forward.value - backward.value).abs() < 8.0 * 800.0 * f64::EPSILON);
    assert_eq!(order.map(|row| forward.d_outputs.values[row]).to_vec(), backward.d_outputs.values);
}

fn batch(rows: usize, columns: usize) -> Examples {
    let columns = (0..columns)
        .map(|column| {
            (0..rows).map(|row| Cell::Text(format!("{column}:{row}"))).collect::<Vec<Cell>>()
        })
        .collect();
    Examples { columns, labels: Labels::None }
}

/// For each anchor, the texts it is paired with, in order.
fn partners(loss: &dyn Loss, examples: &Examples, draw: Draw) -> Vec<Vec<(usize, usize)>> {
    let plan = loss.plan(examples, draw).unwrap();
    let mut partners = vec![Vec::new(); plan.rows];
    for (index, input) in plan.inputs.iter().enumerate() {
        let Input::Pair(anchor, text) = *input else { panic!("{input:?}") };
        assert_eq!(anchor, format!("0:{}", index % plan.rows));
        let (column, row) = text.split_once(':').unwrap();
        partners[index % plan.rows].push((column.parse().unwrap(), row.parse().unwrap()));
    }
    partners
}

#[test]
fn sampled_negatives_are_distinct_texts_of_other_rows() {
    for (rows, columns) in [(1, 2), (2, 2), (5, 2), (8, 4), (16, 3)] {
        for num_negatives in [Some(1), Some(4), Some(9), None] {
            let loss = MultipleNegativesRankingLoss { num_negatives, ..all(None, 1.0) };
            let available = (rows - 1) * (columns - 1);
            let sampled = num_negatives.unwrap_or(available).min(available);
            for (row, texts) in partners(&loss, &batch(rows, columns), DRAW).iter().enumerate() {
                assert_eq!(texts.len(), 1 + sampled + columns - 2);
                assert_eq!(texts[0], (1, row), "the positive comes first");
                let others = &texts[1..=sampled];
                assert!(others.iter().all(|(column, other)| *column > 0 && *other != row));
                assert_eq!(others.iter().collect::<HashSet<_>>().len(), sampled);
                let own: Vec<_> = (2..columns).map(|column| (column, row)).collect();
                assert_eq!(texts[1 + sampled..], own, "own hard negatives come last");
            }
        }
    }
}

#[test]
fn sampled_negatives_follow_seed_and_step_and_are_uniform() {
    let loss = MultipleNegativesRankingLoss::default();
    let examples = batch(6, 3);
    let first = partners(&loss, &examples, DRAW);
    assert_eq!(first, partners(&loss, &examples, DRAW));
    assert_ne!(first, partners(&loss, &examples, Draw { step: 1, ..DRAW }));
    assert_ne!(first, partners(&loss, &examples, Draw { seed: 13, ..DRAW }));
    let cached = CachedMultipleNegativesRankingLoss::default();
    assert_eq!(first, partners(&cached, &examples, DRAW), "the cached loss draws the same");
    let steps = 2000;
    let mut counts = std::collections::BTreeMap::new();
    for step in 0..steps {
        for text in &partners(&loss, &examples, Draw { seed: 1, step })[2][1..5] {
            *counts.entry(*text).or_insert(0.0) += 1.0;
        }
    }
    // Each of 10 texts is drawn with probability 4 / 10: five standard deviations of a binomial count.
    let (mean, deviation) = (steps as f64 * 0.4, (steps as f64 * 0.4 * 0.6).sqrt());
    assert_eq!(counts.len(), 10);
    for (text, count) in counts {
        assert!((count - mean).abs() < 5.0 * deviation, "{text:?} was drawn {count} times");
    }
}

#[test]
fn all_negatives_come_in_ascending_order() {
    let texts = partners(&all(None, 1.0), &batch(3, 3), DRAW);
    assert_eq!(texts[1], [(1, 1), (1, 0), (1, 2), (2, 0), (2, 2), (2, 1)]);
}

#[test]
fn cached_equals_plain() {
    let cached = CachedMultipleNegativesRankingLoss::default();
    let plain = MultipleNegativesRankingLoss::default();
    assert_eq!((cached.mini_batch_size(), plain.mini_batch_size()), (Some(32), None));
    let examples = batch(7, 4);
    let plan = plain.plan(&examples, DRAW).unwrap();
    assert_eq!(cached.plan(&examples, DRAW).unwrap(), plan);
    let count = plan.inputs.len();
    let outputs = Outputs { rows: count, columns: 1, values: numbers(count) };
    assert_eq!(
        cached.compute(&outputs, plan.rows, &plan.labels),
        plain.compute(&outputs, plan.rows, &plan.labels)
    );
}

const A: [f32; 9] = [1.0, 0.0, 0.5, 0.2, 1.0, 0.0, 0.3, -0.4, 1.0];
const P: [f32; 9] = [0.9, 0.1, 0.4, 0.1, 0.8, 0.3, 0.5, -0.2, 0.7];
const N: [f32; 9] = [0.2, 0.7, 0.1, 0.9, 0.3, 0.2, -0.1, 0.6, 0.4];

#[test]
fn dual_encoder_ranking_has_the_golden_values() {
    let loss = dual_encoder::MultipleNegativesRankingLoss::default();
    let pairs = Outputs { rows: 6, columns: 3, values: [A, P].concat() };
    let value = loss.compute(&pairs, 3, &Labels::None).value;
    assert!((value - 0.022718).abs() < GOLDEN, "{value}");
    let triplets = Outputs { rows: 9, columns: 3, values: [A, P, N].concat() };
    let value = loss.compute(&triplets, 3, &Labels::None).value;
    assert!((value - 0.545392).abs() < GOLDEN, "{value}");
}

#[test]
fn dual_encoder_ranking_reads_column_after_column_and_bears_empty_embeddings() {
    let loss = dual_encoder::MultipleNegativesRankingLoss::default();
    let examples = batch(2, 3);
    let plan = loss.plan(&examples, DRAW).unwrap();
    let texts: Vec<_> = plan
        .inputs
        .iter()
        .map(|input| match *input {
            Input::Single(text) => text,
            Input::Pair(..) => panic!("{input:?}"),
        })
        .collect();
    assert_eq!(texts, ["0:0", "0:1", "1:0", "1:1", "2:0", "2:1"]);
    let mut values = numbers(6 * 4);
    values[8..12].fill(0.0);
    let output = loss.compute(&Outputs { rows: 6, columns: 4, values }, plan.rows, &plan.labels);
    assert!(output.value.is_finite());
    assert_eq!(output.d_outputs.row(2), [0.0; 4]);
    assert!(output.d_outputs.values.iter().all(|value| value.abs() < 100.0));
}

#[track_caller]
fn message(result: Result<impl Sized, Error>) -> String {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn unusable_batches_are_named() {
    let bce = BinaryCrossEntropyLoss::default();
    let ranking = MultipleNegativesRankingLoss::default();
    let dual = dual_encoder::MultipleNegativesRankingLoss::default();
    let plan = |loss: &dyn Loss, columns: Vec<Vec<Cell>>, labels: Labels| {
        message(loss.plan(&Examples { columns, labels }, DRAW))
    };
    let scalars = |labels: &[f32]| Labels::Scalars(labels.to_vec());
    let text = plan(&bce, triplets(), scalars(&[1.0, 0.0]));
    assert!(text.contains("exactly two text columns") && text.contains("got 3"), "{text}");
    let text = plan(&bce, pairs(), Labels::None);
    assert!(text.contains("label column") && text.contains("none"), "{text}");
    let text = plan(&bce, pairs(), scalars(&[1.0]));
    assert!(text.contains("2 labels") && text.contains("got 1"), "{text}");
    let text = plan(&bce, pairs(), scalars(&[1.0, 1.5]));
    assert!(text.contains("1.5") && text.contains("row 1"), "{text}");
    let text = plan(&bce, pairs(), scalars(&[f32::NAN, 1.0]));
    assert!(text.contains("NaN") && text.contains("row 0"), "{text}");
    let text = plan(&bce, pairs(), Labels::Lists(vec![vec![1.0], vec![1.0, 0.0]]));
    assert!(text.contains("got 2 in row 1"), "{text}");
    let lists = vec![column(&["q"]), vec![Cell::Texts(vec!["a".into(), "b".into()])]];
    let text = plan(&bce, lists.clone(), scalars(&[1.0]));
    assert!(text.contains("list of 2 in row 0 of text column 2"), "{text}");
    let text = plan(&ranking, lists, Labels::None);
    assert!(text.contains("list of 2"), "{text}");
    let losses: [&dyn Loss; 2] = [&ranking, &dual];
    for loss in losses {
        let text = plan(loss, pairs(), scalars(&[1.0, 0.0]));
        assert!(text.contains("takes no labels"), "{text}");
        let text = plan(loss, vec![column(&["q"])], Labels::None);
        assert!(text.contains("at least two text columns") && text.contains("got 1"), "{text}");
        let text = plan(loss, vec![column(&["q", "r"]), column(&["d"])], Labels::None);
        assert!(text.contains("2 and 1 rows"), "{text}");
        let text = plan(loss, vec![vec![], vec![]], Labels::None);
        assert!(text.contains("empty batch"), "{text}");
    }
}

#[test]
fn models_of_several_labels_are_refused() {
    for name in rankforge::losses::CROSS_ENCODER_LOSSES {
        let loss = cross_encoder_loss(name, &serde_json::Map::new()).unwrap();
        assert_eq!(loss.name(), name);
        assert!(loss.check_model(1).is_ok());
        let text = message(loss.check_model(3));
        assert!(text.contains("1 output label") && text.contains("3 output labels"), "{text}");
    }
    assert!(dual_encoder::MultipleNegativesRankingLoss::default().check_model(256).is_ok());
}

#[test]
fn losses_are_built_by_name() {
    let build = |name: &str, options: serde_json::Value| {
        cross_encoder_loss(name, options.as_object().unwrap())
    };
    let config = |name, options| build(name, options).unwrap().config();
    assert_eq!(
        config("BinaryCrossEntropyLoss", json!({ "pos_weight": 5, "activation_fn": "Sigmoid" })),
        json!({ "activation_fn": "torch.nn.modules.activation.Sigmoid", "pos_weight": 5.0 })
    );
    assert_eq!(
        config("MultipleNegativesRankingLoss", json!({})),
        json!({
            "scale": 10.0,
            "num_negatives": 4,
            "activation_fn": "torch.nn.modules.activation.Sigmoid",
        })
    );
    let options = json!({
        "num_negatives": "none",
        "scale": 20,
        "activation_fn": "torch.nn.modules.linear.Identity",
        "mini_batch_size": 8,
    });
    assert_eq!(
        config("CachedMultipleNegativesRankingLoss", options),
        json!({
            "scale": 20.0,
            "num_negatives": null,
            "activation_fn": "torch.nn.modules.linear.Identity",
            "mini_batch_size": 8,
        })
    );
    assert_eq!(
        config("MultipleNegativesRankingLoss", json!({ "activation_fn": null }))["activation_fn"],
        json!(null)
    );
    for (name, options, part) in [
        ("CoSENTLoss", json!({}), "BinaryCrossEntropyLoss, MultipleNegativesRankingLoss"),
        ("BinaryCrossEntropyLoss", json!({ "pos_wieght": 1 }), "unknown field `pos_wieght`"),
        ("BinaryCrossEntropyLoss", json!({ "pos_weight": -1 }), "pos_weight"),
        ("BinaryCrossEntropyLoss", json!({ "activation_fn": "GELU" }), "Identity, Sigmoid or Tanh"),
        ("MultipleNegativesRankingLoss", json!({ "num_negatives": 0 }), "num_negatives"),
        ("MultipleNegativesRankingLoss", json!({ "num_negatives": -2 }), "`-2`"),
        ("CachedMultipleNegativesRankingLoss", json!({ "mini_batch_size": 0 }), "mini_batch_size"),
    ] {
        let text = message(build(name, options));
        assert!(text.contains(part), "{text}");
    }
}
