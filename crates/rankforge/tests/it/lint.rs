//! Faults of training data: each is found, once, and clean data have none.

use rankforge::data::{Rows, Value};
use rankforge::lint::{HeldOut, Kind, Lint, LintOptions, Severity};
use rankforge::{Error, Workers};

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn texts(all: &[&str]) -> Vec<Value> {
    all.iter().map(|one| text(one)).collect()
}

fn rows(columns: &[(&str, Vec<Value>)]) -> Rows {
    Rows::new(columns.iter().map(|(name, values)| ((*name).to_owned(), values.clone())).collect())
        .unwrap()
}

fn lint_with(rows: &Rows, held_out: &[HeldOut<'_>]) -> Lint {
    let workers = Workers::new(Some(2)).unwrap();
    Lint::of(rows, held_out, &LintOptions::default(), &workers).unwrap()
}

fn lint(rows: &Rows) -> Lint {
    lint_with(rows, &[])
}

/// The findings as pairs of kind and rows, counted from 0.
fn found(lint: &Lint) -> Vec<(Kind, Vec<usize>)> {
    lint.findings.iter().map(|finding| (finding.kind, finding.row_indices.clone())).collect()
}

const QUERIES: [&str; 4] = ["what is a cat", "how tall is a tree", "who wrote it", "where is rome"];
const ANSWERS: [&str; 4] = ["a small animal", "taller than a man", "nobody knows", "in italy"];

#[test]
fn clean_pairs_have_no_finding() {
    let lint = lint(&rows(&[("query", texts(&QUERIES)), ("answer", texts(&ANSWERS))]));
    assert_eq!(found(&lint), []);
    assert_eq!(lint.without(&Kind::ALL), [0, 1, 2, 3]);
    let query = &lint.columns[0];
    assert_eq!((query.role, lint.columns[1].role), ("query", "positive"));
    assert_eq!((query.texts, query.distinct, query.median, query.most), (4, 4, 3, 5));
    // Two texts of 2 to 3 words and two of 4 to 7.
    assert_eq!(query.histogram, [0, 0, 2, 2]);
}

#[test]
fn empty_repeated_and_long_texts_are_found() {
    let long = "word ".repeat(381);
    let queries = texts(&["what is a cat", " \n", "WHAT is  a cat", "who wrote it", "b c d e"]);
    let mut answers = texts(&["a small animal", "taller", "a small animal", &long, "x"]);
    answers[4] = Value::Null;
    let lint = lint(&rows(&[("query", queries), ("answer", answers)]));
    assert_eq!(
        found(&lint),
        [
            (Kind::EmptyText, vec![1, 4]),
            (Kind::DuplicateRow, vec![2]),
            (Kind::LongText, vec![3]),
            (Kind::RepeatedText, vec![2]),
        ]
    );
    assert_eq!(lint.findings[0].severity, Severity::Error);
    let duplicate = &lint.findings[1].examples[0];
    assert_eq!((duplicate.here.row, duplicate.there.as_ref().unwrap().row), (3, 1));
    assert!(lint.findings[3].setting.as_deref().unwrap().contains("no_duplicates"));
    assert_eq!(lint.without(&[Kind::EmptyText, Kind::DuplicateRow]), [0, 3]);
}

#[test]
fn a_positive_that_is_also_a_negative_is_found_in_every_format() {
    let swapped = ["taller than a man", "A small animal.", "x y z", "in italy"];
    let triplets = rows(&[
        ("query", texts(&["q one", "q two", "q three", "q one"])),
        ("answer", texts(&ANSWERS)),
        // The last is the positive of the first row, which has the same query.
        ("negative_1", texts(&["other one", "other two", "other three", "A small animal!"])),
    ]);
    assert_eq!(found(&lint(&triplets))[0], (Kind::PositiveAsNegative, vec![3]));

    let labels = vec![Value::Integer(1), Value::Integer(0), Value::Integer(1), Value::Integer(0)];
    let pairs = rows(&[
        ("query", texts(&["q one", "q one", "q two", "q two"])),
        ("answer", texts(&["a small animal", "a small animal", "nobody knows", "in italy"])),
        ("label", labels),
    ]);
    let lint_of_pairs = lint(&pairs);
    assert_eq!(
        found(&lint_of_pairs)[..2],
        [(Kind::ContradictoryLabel, vec![1]), (Kind::PositiveAsNegative, vec![1])]
    );

    let lists = rows(&[
        ("query", texts(&["q one"])),
        ("answer", vec![Value::List(texts(&swapped[..2].repeat(2)))]),
        ("labels", vec![Value::List([1, 0, 0, 0].map(Value::Integer).to_vec())]),
    ]);
    assert_eq!(found(&lint(&lists))[0], (Kind::PositiveAsNegative, vec![0]));
}

#[test]
fn held_out_texts_in_the_training_data_are_found_even_with_another_case() {
    let train = rows(&[("query", texts(&QUERIES)), ("answer", texts(&ANSWERS))]);
    let test = rows(&[
        ("question", texts(&["Who wrote it?", "something else"])),
        ("passage", texts(&["one more answer", "IN ITALY"])),
    ]);
    let lint = lint_with(&train, &[HeldOut { name: "test", rows: &test }]);
    assert_eq!(found(&lint), [(Kind::LeakedQuery, vec![2]), (Kind::LeakedDocument, vec![3])]);
    let there = lint.findings[0].examples[0].there.clone().unwrap();
    assert_eq!(
        (there.data.as_deref(), there.row, there.column.as_str()),
        (Some("test"), 1, "question")
    );
}

#[test]
fn near_duplicates_and_queries_as_documents_are_found() {
    let passage = (0..60).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ");
    let near = format!("{passage} end");
    let train = rows(&[
        ("query", texts(&["what is a cat", "how tall is a tree", "who wrote it"])),
        ("answer", texts(&[&passage, &near, "Who wrote it"])),
    ]);
    assert_eq!(
        found(&lint(&train)),
        [(Kind::NearDuplicate, vec![1]), (Kind::QueryAsDocument, vec![2])]
    );
}

#[test]
fn rare_labels_are_counted_and_a_weight_is_proposed() {
    let numbers = |n: i64| Value::Integer(i64::from(n == 0));
    let query: Vec<String> = (0..20).map(|n| format!("query{n} is here")).collect();
    let answer: Vec<String> = (0..20).map(|n| format!("answer{n} is there")).collect();
    let column = |all: &[String]| all.iter().map(|one| text(one)).collect::<Vec<_>>();
    let train = rows(&[
        ("query", column(&query)),
        ("answer", column(&answer)),
        ("label", (0..20).map(numbers).collect()),
    ]);
    let lint = lint(&train);
    assert_eq!(found(&lint), [(Kind::ImbalancedLabels, vec![0])]);
    assert_eq!(lint.findings[0].setting.as_deref(), Some("[loss] pos_weight = 19"));
    assert_eq!(lint.labels.unwrap().counts, [(0.0, 19), (1.0, 1)]);
}

#[test]
fn data_without_texts_and_thresholds_that_are_none_are_errors() {
    let workers = Workers::new(Some(1)).unwrap();
    let numbers = rows(&[("id", vec![Value::Integer(1)])]);
    let error = Lint::of(&numbers, &[], &LintOptions::default(), &workers).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the training data: expected at least one column of texts, got the columns `id`"
    );
    let options = LintOptions { near_duplicate_threshold: 0.0, ..LintOptions::default() };
    let error = Lint::of(&rows(&[("a", texts(&["b"]))]), &[], &options, &workers).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
}
