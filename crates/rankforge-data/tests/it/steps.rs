//! Rows that are chosen, compared, drawn and renamed.

use crate::{Folder, assert_refused, at, load, text};
use rankforge_data::{CellTypes, Condition, Duplicates, Rows, Value};

fn rows() -> Rows {
    let texts = ["a river", "A hill", "", "river, again"].map(text).to_vec();
    let scores = vec![Value::Integer(1), Value::Float(0.5), Value::Null, Value::Integer(-2)];
    let lists = [2, 0, 1, 3].map(|items| Value::List(vec![text("x"); items])).to_vec();
    let cells = ["1", "1.0", "", "one"].map(|cell| Value::Untyped(cell.to_owned())).to_vec();
    let column = |name: &str, values| (name.to_owned(), values);
    let columns = vec![
        column("query", texts),
        column("score", scores),
        column("docs", lists),
        column("cell", cells),
    ];
    Rows::new(columns).unwrap()
}

fn holds(condition: &str) -> Vec<usize> {
    let condition: Condition = condition.parse().unwrap();
    let holds = condition.holds(&rows()).unwrap();
    (0..4).filter(|row| holds[*row]).collect()
}

#[test]
fn conditions_compare_texts_numbers_and_lengths() {
    for (condition, expected) in [
        ("query contains river", &[0, 3][..]),
        ("query = A hill", &[1]),
        ("query=\"A hill\"", &[1]),
        ("query != A hill", &[0, 2, 3]),
        ("query =", &[2]),
        ("score >= 0.5", &[0, 1]),
        ("score<1", &[1, 3]),
        ("score <= 0.5", &[1, 3]),
        ("score > 0.5", &[0]),
        ("score = 1.0", &[0]),
        ("score != 1", &[1, 2, 3]),
        ("score =", &[2]),
        ("length(query) > 6", &[0, 3]),
        ("length(query) = 0", &[2]),
        ("length( docs ) <= 1", &[1, 2]),
        // Cells of csv files are what they are compared with.
        ("cell = 1", &[0, 1]),
        ("cell != 1", &[2, 3]),
        ("cell = one", &[3]),
        ("cell =", &[2]),
    ] {
        assert_eq!(holds(condition), expected, "{condition}");
    }
}

#[test]
fn what_is_no_condition_is_refused() {
    for text in ["", "score", ">= 1", "score > high", "length(query) contains x", "= 1"] {
        let error = text.parse::<Condition>().unwrap_err();
        assert!(error.starts_with("expected "), "{text}: {error}");
    }
    let refused = |condition: &str, parts: &[&str]| {
        assert_refused(condition.parse::<Condition>().unwrap().holds(&rows()), parts);
    };
    refused("queri = x", &["`queri`", "did you mean `query`?"]);
    refused("query > 1", &["`query`", "row 1", "a finite number", "a river"]);
    refused("docs contains x", &["`docs`", "row 1", "expected text", "a list of length 2"]);
    refused("length(score) > 1", &["`score`", "row 1", "text or a list"]);
}

#[test]
fn duplicates_are_found_by_all_columns_or_by_some_also_in_later_chunks() {
    let column = |name: &str, texts: &[&str]| {
        (name.to_owned(), texts.iter().map(|it| text(it)).collect::<Vec<_>>())
    };
    let rows = |a: &[&str], b: &[&str]| Rows::new(vec![column("a", a), column("b", b)]).unwrap();
    let (first, second) =
        (rows(&["x", "x", "x"], &["1", "2", "1"]), rows(&["x", "y"], &["2", "1"]));
    let mut all = Duplicates::new(Vec::new());
    assert_eq!(all.first_rows(&first).unwrap(), [0, 1]);
    assert_eq!(all.first_rows(&second).unwrap(), [1]);
    let mut by_b = Duplicates::new(vec!["b".to_owned()]);
    assert_eq!(by_b.first_rows(&first).unwrap(), [0, 1]);
    assert!(by_b.first_rows(&second).unwrap().is_empty());
    let mut unknown = Duplicates::new(vec!["c".to_owned()]);
    assert_refused(unknown.first_rows(&first), &["`c`"]);
    // Neighbours do not run into each other, and types are compared.
    let mut all = Duplicates::new(Vec::new());
    let texts = rows(&["ab", "a"], &["c", "bc"]);
    assert_eq!(all.first_rows(&texts).unwrap(), [0, 1]);
    let one = |value| Rows::new(vec![("a".to_owned(), vec![value])]).unwrap();
    let mut all = Duplicates::new(Vec::new());
    for value in [Value::Integer(1), Value::Float(1.0), text("1"), Value::Boolean(true)] {
        assert_eq!(all.first_rows(&one(value)).unwrap(), [0]);
    }
}

#[test]
fn the_seed_determines_the_order_and_the_split() {
    let numbers = (0..100).map(Value::Integer).collect();
    let rows = Rows::new(vec![("n".to_owned(), numbers)]).unwrap();
    let values = |rows: &Rows| -> Vec<f64> { rows.numbers("n").unwrap() };
    let shuffled = rows.shuffled(1);
    assert_eq!(shuffled, rows.shuffled(1));
    assert_ne!(shuffled, rows.shuffled(2));
    let mut sorted = values(&shuffled);
    sorted.sort_by(f64::total_cmp);
    assert_eq!(sorted, values(&rows));
    let (train, test) = rows.train_test_split(20, 1);
    assert_eq!((train.len(), test.len()), (80, 20));
    assert_eq!([values(&test), values(&train)].concat(), values(&shuffled));
}

#[test]
fn columns_are_renamed() {
    let pair = |old: &str, new: &str| (old.to_owned(), new.to_owned());
    let renamed = rows().renamed(&[pair("query", "anchor"), pair("score", "label")]).unwrap();
    assert_eq!(renamed.column_names(), ["anchor", "label", "docs", "cell"]);
    assert_refused(rows().renamed(&[pair("anchor", "query")]), &["`anchor`"]);
    assert_refused(rows().renamed(&[pair("query", "score")]), &["`score`", "two columns"]);
}

#[test]
fn cells_of_csv_files_have_the_type_that_all_of_a_column_have() {
    let folder = Folder::new();
    let path = folder.file("a.csv", "id,score,text,none\n1,1,x,\n,0.5,2,\n3,,,\n");
    let types = CellTypes::of(&at(&path)).unwrap();
    let rows = types.apply(load(&path).unwrap()).unwrap();
    let integer = Value::Integer;
    assert_eq!(rows.column("id").unwrap(), [integer(1), Value::Null, integer(3)]);
    let expected = [Value::Float(1.0), Value::Float(0.5), Value::Null];
    assert_eq!(rows.column("score").unwrap(), expected);
    assert_eq!(rows.column("text").unwrap(), [text("x"), text("2"), Value::Null]);
    let json = folder.file("a.jsonl", "{\"id\": \"1\"}\n");
    let rows = CellTypes::of(&at(&json)).unwrap().apply(load(&json).unwrap()).unwrap();
    assert_eq!(rows.column("id").unwrap(), [text("1")]);
}
