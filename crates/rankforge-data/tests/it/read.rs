use crate::{Folder, at, fixture, load, text};
use rankforge_data::{Location, RowReader, Value, load_rows, splits};

#[test]
fn json_lines_keep_types_and_column_order_and_missing_keys_are_null() {
    let folder = Folder::new();
    let content = "\u{feff}{\"query\": \"a \\u00e9\", \"score\": 1, \
                   \"hard\": [\"x\", 0.5, null]}\r\n\n  \n\
                   {\"score\": 0.5, \"query\": null}\n{\"hard\": true, \"query\": \"c\"}";
    let rows = load(&folder.file("a.jsonl", content)).unwrap();
    assert_eq!(rows.column_names(), ["query", "score", "hard"]);
    assert_eq!(rows.column("query").unwrap(), [text("a é"), Value::Null, text("c")]);
    assert_eq!(rows.column("score").unwrap(), [Value::Integer(1), Value::Float(0.5), Value::Null]);
    let list = Value::List(vec![text("x"), Value::Float(0.5), Value::Null]);
    assert_eq!(rows.column("hard").unwrap(), [list, Value::Null, Value::Boolean(true)]);
}

#[test]
fn a_json_list_and_json_lines_of_the_same_objects_read_the_same() {
    let folder = Folder::new();
    let list =
        "\n [ {\"a\": \"x ] } \\\" {\",\n \"b\": [1, [2]]\n} ,{\"a\": \"\\\\\", \"b\": []}\n]\n ";
    let lines = "{\"a\": \"x ] } \\\" {\", \"b\": [1, [2]]}\n{\"a\": \"\\\\\", \"b\": []}\n";
    let rows = load(&folder.file("a.json", list)).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows, load(&folder.file("b.jsonl", lines)).unwrap());
}

#[test]
fn csv_columns_are_numbers_only_when_every_cell_is_one() {
    let folder = Folder::new();
    let content = "\u{feff}query,label,score,year,id,empty,big\r\n\
                   \"one, \"\"two\"\"\nthree\",1,0.5,1984,007,,99999999999999999999\r\n\
                   1984,0,-2e3,,012,,1\r\n\
                   nan,,7,2001,013,,2\r\n";
    let rows = load(&folder.file("a.csv", content)).unwrap();
    assert_eq!(rows.texts("query").unwrap(), ["one, \"two\"\nthree", "1984", "nan"]);
    let (one, zero) = (Value::Integer(1), Value::Integer(0));
    assert_eq!(rows.column("label").unwrap(), [one, zero, Value::Null]);
    assert_eq!(rows.numbers("score").unwrap(), [0.5, -2000.0, 7.0]);
    assert_eq!(rows.column("score").unwrap()[2], Value::Float(7.0));
    assert_eq!(rows.column("year").unwrap()[1], Value::Null);
    assert_eq!(rows.texts("id").unwrap(), ["007", "012", "013"]);
    assert_eq!(rows.column("empty").unwrap(), [Value::Null, Value::Null, Value::Null]);
    assert_eq!(rows.texts("big").unwrap()[0], "99999999999999999999");
}

#[test]
fn a_tsv_label_column_of_zeros_and_ones_is_numeric() {
    let folder = Folder::new();
    let rows = load(&folder.file("a.tsv", "q\tlabel\na, b\t0\nc\t1\n")).unwrap();
    assert_eq!(rows.numbers("label").unwrap(), [0.0, 1.0]);
    assert_eq!(rows.texts("q").unwrap(), ["a, b", "c"]);
}

#[test]
fn csv_column_types_are_inferred_over_all_files_of_a_split() {
    let folder = Folder::new();
    folder.file("train-00000-of-00002.csv", "q,id\nx,1\n");
    folder.file("train-00001-of-00002.csv", "id,q\nabc,2\n");
    let rows = load(folder.path()).unwrap();
    assert_eq!(rows.texts("id").unwrap(), ["1", "abc"]);
    assert_eq!(rows.texts("q").unwrap(), ["x", "2"]);
}

#[test]
fn every_supported_type_is_read_from_a_parquet_file_written_by_pyarrow() {
    let columns = [
        "pair",
        "text",
        "large",
        "view",
        "dictionary",
        "int8",
        "uint64",
        "half",
        "double",
        "flag",
        "texts",
        "floats",
    ];
    let rows = load_rows(&Location {
        columns: Some(columns.map(str::to_owned).to_vec()),
        ..at(&fixture("kinds.parquet"))
    })
    .unwrap();
    assert_eq!(rows.column_names(), columns);
    let integer = Value::Integer;
    let column = |name| rows.column(name).unwrap().to_vec();
    let list = |values: &[Value]| Value::List(values.to_vec());
    assert_eq!(column("text"), [text("río"), Value::Null, text(""), text("four"), text("five")]);
    assert_eq!(column("large"), [text("a"), text("b"), text("c"), text("d"), Value::Null]);
    assert_eq!(
        column("view")[1..4],
        [text("a view longer than twelve bytes"), text("x"), Value::Null]
    );
    assert_eq!(column("dictionary")[1..], [text("blue"), text("red"), Value::Null, text("blue")]);
    assert_eq!(column("int8"), [integer(-1), integer(2), Value::Null, integer(4), integer(5)]);
    assert_eq!(column("uint64")[3..], [Value::Null, integer(i64::MAX)]);
    assert_eq!(column("half")[..3], [Value::Float(0.5), Value::Float(1.5), Value::Null]);
    assert_eq!(column("double")[..3], [Value::Float(0.1), Value::Null, Value::Float(1e300)]);
    assert_eq!(column("flag")[..3], [Value::Boolean(true), Value::Boolean(false), Value::Null]);
    let texts =
        [list(&[text("a"), text("b")]), list(&[]), Value::Null, list(&[text("c"), Value::Null])];
    assert_eq!(column("texts")[..4], texts);
    let floats = [Value::Null, list(&[]), list(&[Value::Float(1.0), Value::Float(2.0)])];
    assert_eq!(column("floats")[1..4], floats);
    assert_eq!(column("pair")[4], list(&[integer(9), integer(10)]));
}

#[test]
fn every_parquet_compression_reads_the_same() {
    let columns = Some(vec!["text".to_owned(), "int8".to_owned()]);
    let expected = load_rows(&Location { columns, ..at(&fixture("kinds.parquet")) }).unwrap();
    for codec in ["snappy", "gzip", "lz4", "brotli"] {
        assert_eq!(load(&fixture(&format!("{codec}.parquet"))).unwrap(), expected, "{codec}");
    }
}

#[test]
fn chunks_have_at_most_the_requested_rows_and_join_to_the_whole() {
    let folder = Folder::new();
    let lines = |from: usize, to: usize| -> String {
        (from..to).map(|row| format!("{{\"n\": {row}, \"t\": \"text {row}\"}}\n")).collect()
    };
    folder.file("train/part-0.jsonl", lines(0, 7));
    folder.file("train/part-1.jsonl", "");
    folder.file("train/part-2.jsonl", lines(7, 10));
    let chunks: Vec<usize> =
        RowReader::open(&at(folder.path()), 3).unwrap().map(|chunk| chunk.unwrap().len()).collect();
    assert_eq!(chunks, [3, 3, 1, 3]);
    let rows = load(folder.path()).unwrap();
    assert_eq!(rows.numbers("n").unwrap(), (0..10).map(f64::from).collect::<Vec<_>>());

    let parquet = RowReader::open(
        &Location {
            limit: Some(4),
            columns: Some(vec!["int8".into()]),
            ..at(&fixture("kinds.parquet"))
        },
        2,
    );
    let rows: Vec<usize> = parquet.unwrap().map(|chunk| chunk.unwrap().len()).collect();
    assert_eq!(rows.iter().sum::<usize>(), 4);
    assert!(rows.iter().all(|&rows| rows <= 2), "{rows:?}");
}

#[test]
fn a_limit_stops_reading_before_a_later_malformed_row() {
    let folder = Folder::new();
    let path = folder.file("a.jsonl", "{\"a\": 1}\n{\"a\": 2}\nnonsense\n");
    for limit in [1, 2] {
        let rows = load_rows(&Location { limit: Some(limit), ..at(&path) }).unwrap();
        assert_eq!(rows.len(), limit);
    }
    assert!(load(&path).is_err());
}

#[test]
fn selected_columns_come_in_the_requested_order() {
    let folder = Folder::new();
    let json = folder.file(
        "a.jsonl",
        "{\"a\": 1, \"b\": \"x\", \"c\": {\"deep\": 1}}\n{\"b\": \"y\", \"a\": 2, \"d\": 0}\n",
    );
    let csv = folder.file("a.csv", "a,b,c\n1,x,\n2,y,\n");
    for path in [json, csv] {
        let columns = Some(vec!["b".to_owned(), "a".to_owned()]);
        let rows = load_rows(&Location { columns, ..at(&path) }).unwrap();
        assert_eq!(rows.column_names(), ["b", "a"]);
        assert_eq!(rows.texts("b").unwrap(), ["x", "y"]);
        assert_eq!(rows.numbers("a").unwrap(), [1.0, 2.0]);
    }
}

#[test]
fn file_names_and_subdirectories_determine_the_splits_of_a_directory() {
    let folder = Folder::new();
    folder.file("data/train-00001-of-00002.jsonl", "{\"a\": 2}\n");
    folder.file("data/train-00000-of-00002.jsonl", "{\"a\": 1}\n");
    folder.file("validation.jsonl", "{\"a\": 3}\n");
    folder.file("test/x.csv", "a\n4\n");
    folder.file("README.md", "words");
    folder.file("dataset_info.json", "{}");
    folder.file(".hidden.jsonl", "x");
    let found = splits(folder.path()).unwrap();
    let names: Vec<(&str, usize)> =
        found.iter().map(|(name, files)| (name.as_str(), files.len())).collect();
    assert_eq!(names, [("test", 1), ("train", 2), ("validation", 1)]);
    let split = |split: Option<&str>| {
        let location = Location { split: split.map(str::to_owned), ..at(folder.path()) };
        load_rows(&location).unwrap().numbers("a").unwrap()
    };
    assert_eq!(split(None), [1.0, 2.0]);
    assert_eq!(split(Some("validation")), [3.0]);
    assert_eq!(split(Some("test")), [4.0]);
}

#[test]
fn a_file_is_one_split_named_train() {
    let folder = Folder::new();
    let path = folder.file("pairs.jsonl", "{\"a\": 1}\n");
    assert_eq!(splits(&path).unwrap(), [("train".to_owned(), vec![path.clone()])]);
    assert!(load_rows(&Location { split: Some("train".into()), ..at(&path) }).is_ok());
}

#[test]
fn the_only_split_needs_no_name() {
    let folder = Folder::new();
    folder.file("samples.jsonl", "{\"a\": 1}\n");
    assert_eq!(load(folder.path()).unwrap().len(), 1);
}
