//! Values and gradients of the losses of cross-encoders beside those of sentence-transformers
//! (`fixtures/cross_encoder_losses.py`), and what holds for any logits.

use super::{DRAW, assert_finite_differences, column, compute};
use rankforge::encoder::{ModelKind, Outputs};
use rankforge::losses::{
    CROSS_ENCODER_LOSSES, Cell, Column, Examples, Labels, Loss, PListMLELambdaWeight, PListMLELoss,
    Plan, cross_encoder_loss,
};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

#[derive(Deserialize)]
struct Case {
    loss: String,
    settings: serde_json::Map<String, Value>,
    columns: Vec<Vec<Value>>,
    labels: Vec<Value>,
    config: Option<Value>,
    pairs: Vec<[String; 2]>,
    logits: Vec<f32>,
    value: f64,
    gradient: Vec<f64>,
}

impl Case {
    fn loss(&self) -> Box<dyn Loss> {
        cross_encoder_loss(&self.loss, &self.settings).unwrap()
    }

    fn examples(&self) -> Examples {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let cell = |value: &Value| match value {
            Value::Array(texts) => Cell::Texts(texts.iter().map(text).collect()),
            value => Cell::Text(text(value)),
        };
        let columns = self
            .columns
            .iter()
            .map(|cells| Column { cells: cells.iter().map(cell).collect(), ..Column::default() });
        let number = |value: &Value| value.as_f64().unwrap() as f32;
        let labels = match self.labels[0] {
            Value::Array(_) => {
                let list = |value: &Value| value.as_array().unwrap().iter().map(number).collect();
                Labels::Lists(self.labels.iter().map(list).collect())
            }
            _ => Labels::Scalars(self.labels.iter().map(number).collect()),
        };
        Examples { columns: columns.collect(), labels }
    }

    /// The index in the golden order of each pair of a plan.
    fn order(&self, plan: &Plan<'_>) -> Vec<usize> {
        let place = |(place, pair): (usize, &[String; 2])| (pair.clone(), place);
        let places: HashMap<[String; 2], usize> =
            self.pairs.iter().enumerate().map(place).collect();
        let pair = |index: usize| {
            let input = plan.inputs[index];
            [input.first.text.to_owned(), input.second.expect("a pair").to_owned()]
        };
        let order: Vec<usize> = (0..plan.inputs.len()).map(|index| places[&pair(index)]).collect();
        assert_eq!(order.len(), self.pairs.len(), "{}", self.loss);
        order
    }

    fn outputs(&self, order: &[usize]) -> Outputs {
        let columns = self.logits.len() / self.pairs.len();
        let row = |place: &usize| &self.logits[place * columns..][..columns];
        let values = order.iter().flat_map(row).copied().collect();
        Outputs { rows: order.len(), columns, values }
    }
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../fixtures/cross_encoder_losses.json")).unwrap()
}

#[test]
fn every_loss_has_the_values_and_gradients_of_sentence_transformers() {
    let mut seen = HashSet::new();
    for case in cases() {
        let (loss, examples) = (case.loss(), case.examples());
        let plan = loss.plan(&examples, DRAW).unwrap();
        let order = case.order(&plan);
        let outputs = case.outputs(&order);
        loss.check_model(ModelKind::CrossEncoder, outputs.columns).unwrap();
        loss.check_plan(&plan, outputs.columns).unwrap();
        let found = compute(&*loss, &outputs, plan.rows, &plan.targets);
        let what = format!("{} {:?} {:?}", case.loss, case.settings, case.labels);
        // Both sum in f64, in another order.
        let near = |a: f64, b: f64, epsilon: f64| (a - b).abs() <= epsilon * (1.0 + b.abs());
        assert!(near(found.value, case.value, 1e-12), "{what}: {} {}", found.value, case.value);
        for (index, place) in order.iter().enumerate() {
            for column in 0..outputs.columns {
                let got = f64::from(found.d_outputs.row(index)[column]);
                let golden = case.gradient[place * outputs.columns + column];
                // Gradients are rounded to f32.
                assert!(near(got, golden, f64::from(f32::EPSILON)), "{what}: {got} {golden}");
            }
        }
        seen.insert(case.loss);
    }
    let in_batch = |name: &&str| name.contains("MultipleNegatives");
    let names = CROSS_ENCODER_LOSSES.iter().map(|entry| entry.name);
    assert_eq!(seen, names.filter(|name| !in_batch(name)).map(str::to_owned).collect());
}

#[test]
fn settings_are_told_as_sentence_transformers_tells_them() {
    for case in cases() {
        let Some(Value::Object(golden)) = &case.config else { continue };
        let found = case.loss().config();
        for (name, value) in golden {
            // The whole batch has one name here.
            let value = if *value == -1 { &Value::Null } else { value };
            assert_eq!(&found[name], value, "{} {name}", case.loss);
        }
        // Python leaves out what it passes on to a loss of PyTorch.
        let passed_on = |name: &&String| *name == "reduction" && case.settings.contains_key(*name);
        let more = found.as_object().unwrap().keys().filter(|name| !golden.contains_key(*name));
        let more = more.filter(|name| !passed_on(name));
        assert_eq!(more.collect::<Vec<_>>(), Vec::<&String>::new(), "{}", case.loss);
    }
}

#[test]
fn gradients_of_losses_agree_with_finite_differences() {
    let mut checked = 0;
    for case in cases().iter().filter(|case| case.logits.len() < 20) {
        let (loss, examples) = (case.loss(), case.examples());
        let plan = loss.plan(&examples, DRAW).unwrap();
        let mut outputs = case.outputs(&case.order(&plan));
        // Weights jump where the order of the documents changes.
        for (index, value) in outputs.values.iter_mut().enumerate() {
            *value += index as f32 * 0.1;
        }
        let value = |outputs: &Outputs| compute(&*loss, outputs, plan.rows, &plan.targets);
        // Weights of pairs are up to 100, and the third derivative of log s is at most 0.1.
        assert_finite_differences(&value, &outputs, 300.0, 1e-6);
        checked += 1;
    }
    assert!(checked > 100);
}

/// A list-wise loss with its default settings.
fn list_wise() -> impl Iterator<Item = Box<dyn Loss>> {
    let names = ["Lambda", "RankNet", "ListNet", "ListMLE", "PListMLE", "ADRMSE"];
    names.into_iter().map(|name| {
        let settings = serde_json::Map::new();
        cross_encoder_loss(&format!("{name}Loss"), &settings).unwrap()
    })
}

/// A query and its documents, with labels.
fn lists(labels: &[&[f32]]) -> Examples {
    let documents = labels
        .iter()
        .map(|own| Cell::Texts((0..own.len()).map(|index| format!("d{index}")).collect()));
    let documents = Column { cells: documents.collect(), ..Column::default() };
    let queries = column("query", &vec!["q"; labels.len()]);
    let labels = Labels::Lists(labels.iter().map(|own| own.to_vec()).collect());
    Examples { columns: vec![queries, documents], labels }
}

#[test]
fn list_wise_losses_ignore_the_order_of_queries_and_do_not_overflow() {
    let labels: [&[f32]; 3] = [&[3.0, 1.0, 0.0], &[1.0], &[0.0, 2.0]];
    let logits = [800.0, -800.0, 2.0, 5.0, -1e6, 1e6];
    let moved = [labels[2], labels[0], labels[1]];
    let moved_logits = [-1e6, 1e6, 800.0, -800.0, 2.0, 5.0];
    for loss in list_wise() {
        let of = |labels: &[&[f32]], logits: &[f32]| {
            let examples = lists(labels);
            let plan = loss.plan(&examples, DRAW).unwrap();
            let outputs = Outputs { rows: 6, columns: 1, values: logits.to_vec() };
            compute(&*loss, &outputs, plan.rows, &plan.targets)
        };
        let (found, other) = (of(&labels, &logits), of(&moved, &moved_logits));
        assert!(found.value.is_finite(), "{}: {}", loss.name(), found.value);
        assert!(found.d_outputs.values.iter().all(|value| value.is_finite()), "{}", loss.name());
        assert!((found.value - other.value).abs() <= 1e-12 * found.value.abs(), "{}", loss.name());
        let mut values = found.d_outputs.values.clone();
        values.rotate_right(2);
        assert_eq!(values, other.d_outputs.values, "{}", loss.name());
    }
}

#[test]
fn positions_may_have_weights_of_ones_own() {
    let labels: [&[f32]; 1] = [&[2.0, 1.0, 0.0]];
    let outputs = Outputs { rows: 3, columns: 1, values: vec![0.5, 1.0, -0.2] };
    let value = |lambda_weight| {
        let loss = PListMLELoss { lambda_weight, ..PListMLELoss::default() };
        let examples = lists(&labels);
        let plan = loss.plan(&examples, DRAW).unwrap();
        compute(&loss, &outputs, plan.rows, &plan.targets).value
    };
    let weight = |rank_discount_fn| Some(PListMLELambdaWeight { rank_discount_fn });
    let same = value(weight(Some(|rank, documents| ((documents - rank) as f64).exp2() - 1.0)));
    assert_eq!(value(weight(None)), same);
    let equal = value(weight(Some(|_, _| 1.0)));
    // Equal weights divide the value by the number of documents.
    assert!((equal - value(None) / 3.0).abs() < 1e-9);
}
