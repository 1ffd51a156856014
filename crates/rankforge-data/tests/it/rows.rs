use crate::{assert_refused, text};
use rankforge_data::{DataError, Rows, Value};

fn sample() -> Rows {
    Rows::new(vec![
        ("query".into(), vec![text("a"), text("b"), text("c")]),
        ("label".into(), vec![Value::Integer(1), Value::Float(0.5), Value::Boolean(true)]),
    ])
    .unwrap()
}

#[test]
fn columns_of_different_lengths_or_equal_names_are_refused() {
    let uneven = vec![("a".to_owned(), vec![Value::Null]), ("b".to_owned(), vec![])];
    assert_refused(Rows::new(uneven), &["`b`", "expected 1 rows, as in column `a`", "got 0"]);
    let twice = vec![("a".to_owned(), vec![]), ("a".to_owned(), vec![])];
    assert_refused(Rows::new(twice), &["`a`", "two columns"]);
}

#[test]
fn rows_and_columns_are_selected_in_the_given_order() {
    let rows = sample().select(&[2, 0, 0]);
    assert_eq!(rows.texts("query").unwrap(), ["c", "a", "a"]);
    assert_eq!(rows.numbers("label").unwrap(), [1.0, 1.0, 1.0]);
    assert!(sample().select(&[]).is_empty());
    assert_eq!(
        sample().select_columns(&["label", "query"]).unwrap().column_names(),
        ["label", "query"]
    );
}

#[test]
fn errors_name_the_row_and_value_of_a_wrong_cell() {
    let rows = sample();
    assert_eq!(rows.numbers("label").unwrap(), [1.0, 0.5, 1.0]);
    assert_refused(rows.texts("label"), &["`label`", "row 1", "expected text", "integer 1"]);
    assert_refused(rows.numbers("query"), &["`query`", "row 1", "finite number", "text \"a\""]);
    let bad =
        Rows::new(vec![("x".into(), vec![Value::Float(1.0), Value::Float(f64::NAN)])]).unwrap();
    assert_refused(bad.numbers("x"), &["`x`", "row 2", "NaN"]);
    assert_refused(
        rows.column("labels"),
        &["`labels`", "`query` and `label`", "did you mean `label`?"],
    );
    assert_refused(rows.select_columns(&["quer"]), &["did you mean `query`?"]);
}

#[test]
fn only_a_column_that_is_missing_has_a_hint_to_name_another() {
    let rows = sample();
    let missing = rows.column("labels").unwrap_err();
    assert!(missing.hint().is_some_and(|hint| hint.contains("name a column")), "{missing}");
    let DataError::MissingColumn { column, place, columns } = missing else {
        panic!("expected a missing column, got {missing:?}")
    };
    assert_eq!((column.as_str(), place.as_str()), ("labels", "the data"));
    assert_eq!(columns, ["query", "label"]);
    let cell = rows.texts("label").unwrap_err();
    assert!(matches!(cell, DataError::Cell { row: 1, .. }), "{cell:?}");
    assert_eq!(cell.hint(), None);
    assert_eq!(
        cell.after_rows(7).to_string(),
        "row 8, column `label`: expected text, got integer 1"
    );
}

#[test]
fn appending_requires_the_same_columns() {
    let mut all = Rows::default();
    all.append(sample()).unwrap();
    all.append(sample()).unwrap();
    assert_eq!(all.texts("query").unwrap(), ["a", "b", "c", "a", "b", "c"]);
    let other = Rows::new(vec![("query".into(), vec![text("x")])]).unwrap();
    assert_refused(all.append(other), &["`label`", "`query`"]);
    assert_eq!(all.len(), 6);
}
