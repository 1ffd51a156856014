use crate::{Folder, assert_refused, at, load, text};
use rankforge_data::{RowReader, RowWriter, Rows, Value};

fn write(folder: &Folder, name: &str, chunks: &[Rows]) -> Result<Rows, rankforge_data::DataError> {
    let path = folder.path().join(name);
    let mut writer = RowWriter::create(&path)?;
    for chunk in chunks {
        writer.write(chunk)?;
    }
    writer.finish()?;
    load(&path)
}

fn flat() -> Rows {
    let awkward = "a \"quote\", a comma,\na line and a tab\t end é 日本";
    Rows::new(vec![
        ("query".into(), vec![text(awkward), text("1984"), Value::Null]),
        ("label".into(), vec![Value::Integer(-1), Value::Null, Value::Integer(i64::MAX)]),
        ("score".into(), vec![Value::Float(0.1), Value::Float(1.0), Value::Float(-1e300)]),
    ])
    .unwrap()
}

fn with_lists() -> Rows {
    let list = |values: &[Value]| Value::List(values.to_vec());
    Rows::new(vec![
        ("texts".into(), vec![list(&[]), list(&[text("a"), Value::Null]), Value::Null]),
        ("numbers".into(), vec![list(&[Value::Integer(1)]), list(&[]), list(&[Value::Integer(2)])]),
        ("scores".into(), vec![list(&[Value::Float(0.5)]), Value::Null, list(&[])]),
        ("flag".into(), vec![Value::Boolean(true), Value::Null, Value::Boolean(false)]),
    ])
    .unwrap()
}

#[test]
fn jsonl_and_parquet_read_back_what_was_written() {
    let folder = Folder::new();
    let mut twice = flat();
    twice.append(flat()).unwrap();
    for name in ["a.jsonl", "a.parquet"] {
        assert_eq!(write(&folder, name, &[flat(), flat()]).unwrap(), twice, "{name}");
    }
    for name in ["b.jsonl", "b.parquet"] {
        assert_eq!(write(&folder, name, &[with_lists()]).unwrap(), with_lists(), "{name}");
    }
    assert_eq!(folder.names(), ["a.jsonl", "a.parquet", "b.jsonl", "b.parquet"]);
}

#[test]
fn a_file_that_was_begun_has_columns_without_rows() {
    let folder = Folder::new();
    for name in ["a.csv", "a.tsv", "a.parquet"] {
        let path = folder.path().join(name);
        let mut writer = RowWriter::create(&path).unwrap();
        writer.begin(&with_lists().select_columns(&["flag", "scores"]).unwrap()).unwrap();
        writer.finish().unwrap();
        let reader = RowReader::open(&at(&path), 8).unwrap();
        assert_eq!(reader.column_names(), ["flag", "scores"], "{name}");
        assert_refused(load(&path), &[name, "expected at least one row, got none"]);
    }
    let path = folder.path().join("b.parquet");
    let mut writer = RowWriter::create(&path).unwrap();
    writer.begin(&with_lists()).unwrap();
    // The example and not the first chunk gives the types: a null alone would be one of text.
    writer.write(&with_lists().select(&[2])).unwrap();
    writer.write(&with_lists().select(&[0])).unwrap();
    writer.finish().unwrap();
    assert_eq!(load(&path).unwrap(), with_lists().select(&[2, 0]));
}

#[test]
fn a_column_whose_name_begins_with_a_byte_order_mark_keeps_it() {
    let folder = Folder::new();
    for column in ["\u{feff}a", "\u{feff}a, b"] {
        let rows = Rows::new(vec![(column.into(), vec![text("x")])]).unwrap();
        for name in ["a.csv", "a.tsv", "a.jsonl"] {
            let back = write(&folder, name, std::slice::from_ref(&rows)).unwrap();
            assert_eq!(back.texts(column).unwrap(), ["x"], "{name}");
        }
    }
}

#[test]
fn parquet_stores_integers_in_float_columns_and_columns_of_nulls_as_text() {
    let folder = Folder::new();
    let chunk = |score: Value, note: Value| {
        Rows::new(vec![
            ("score".into(), vec![Value::Integer(1), score]),
            ("note".into(), vec![Value::Null, note]),
        ])
        .unwrap()
    };
    let chunks = [chunk(Value::Float(0.5), Value::Null), chunk(Value::Integer(2), text("late"))];
    let rows = write(&folder, "a.parquet", &chunks).unwrap();
    assert_eq!(rows.column("score").unwrap(), [1.0, 0.5, 1.0, 2.0].map(Value::Float));
    assert_eq!(rows.column("note").unwrap()[3], text("late"));
}

#[test]
fn a_writer_whose_first_rows_were_refused_takes_others() {
    let folder = Folder::new();
    let column = |value: Value| Rows::new(vec![("x".into(), vec![value])]).unwrap();
    for name in ["a.parquet", "a.csv", "a.jsonl"] {
        let path = folder.path().join(name);
        let mut writer = RowWriter::create(&path).unwrap();
        writer
            .write(&column(Value::List(vec![Value::List(vec![Value::Float(f64::NAN)])])))
            .unwrap_err();
        writer.write(&column(Value::Integer(7))).unwrap();
        writer.finish().unwrap();
        assert_eq!(load(&path).unwrap().numbers("x").unwrap(), [7.0], "{name}");
    }
}

#[test]
fn values_that_the_format_cannot_represent_are_refused_with_their_row() {
    let folder = Folder::new();
    let column = |values: Vec<Value>| Rows::new(vec![("x".into(), values)]).unwrap();
    let list = column(vec![Value::Null, Value::List(vec![])]);
    assert_refused(
        write(&folder, "a.csv", &[list]),
        &["a.csv", "row 2", "`x`", "csv cannot represent", ".jsonl"],
    );
    let nan = column(vec![Value::Float(f64::NAN)]);
    assert_refused(write(&folder, "a.jsonl", &[nan]), &["a.jsonl", "row 1", "`x`", "NaN"]);
    let mixed = column(vec![text("a"), Value::Integer(1)]);
    assert_refused(write(&folder, "a.parquet", &[mixed]), &["`x`", "integer 1"]);
    let chunks =
        [column(vec![Value::Integer(1)]), column(vec![Value::Integer(2), Value::Float(0.5)])];
    assert_refused(
        write(&folder, "a.parquet", &chunks),
        &["a.parquet", "row 3", "`x`", "float 0.5"],
    );
    let nested = column(vec![Value::List(vec![Value::List(vec![])])]);
    assert_refused(
        write(&folder, "a.parquet", &[nested]),
        &["`x`", "only lists of text and numbers"],
    );
    let other = Rows::new(vec![("y".into(), vec![Value::Integer(1)])]).unwrap();
    let chunks = [column(vec![Value::Integer(1)]), other];
    assert_refused(write(&folder, "a.jsonl", &chunks), &["a.jsonl", "`x`", "`y`"]);
    assert!(folder.names().is_empty(), "a failed write left {:?}", folder.names());
}

#[test]
fn the_old_file_stays_until_finish_and_when_the_writer_is_dropped() {
    let folder = Folder::new();
    for name in ["a.jsonl", "a.csv", "a.parquet"] {
        let path = folder.file(name, "old");
        let mut writer = RowWriter::create(&path).unwrap();
        writer.write(&flat()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        drop(writer);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }
    assert_eq!(folder.names(), ["a.csv", "a.jsonl", "a.parquet"]);
}

#[test]
fn unknown_extensions_and_missing_directories_are_refused() {
    let folder = Folder::new();
    for name in ["a.txt", "a.json", "a"] {
        let created = RowWriter::create(&folder.path().join(name)).map(|_| ());
        assert_refused(created, &["cannot write files with this extension", ".parquet"]);
    }
    let created = RowWriter::create(&folder.path().join("no/a.jsonl")).map(|_| ());
    assert_refused(created, &["a.jsonl", "no does not exist"]);
    let empty = RowWriter::create(&folder.path().join("a.parquet")).unwrap();
    assert_refused(empty.finish(), &["a.parquet", "names no columns"]);
    assert!(folder.names().is_empty());
}

#[cfg(unix)]
#[test]
fn a_written_file_has_the_permissions_of_an_ordinary_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    write(&folder, "a.jsonl", &[flat()]).unwrap();
    let plain = folder.file("plain", "");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&folder.path().join("a.jsonl")), mode(&plain));
}
