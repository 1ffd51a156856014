use crate::{Folder, assert_refused, at, fixture, load, text};
use rankforge_data::{Location, RowReader, RowWriter, Rows, Value, load_rows, load_texts, splits};

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
fn the_role_of_a_csv_column_decides_whether_its_cells_are_texts_or_numbers() {
    let folder = Folder::new();
    let content = "\u{feff}query,label,score,year,id,empty,big,truth\r\n\
                   \"one, \"\"two\"\"\nthree\",1,0.5,1984,007,,99999999999999999999,true\r\n\
                   1984,0,-2e3,1.50,012,,1,False\r\n\
                   nan,, 7,2001,013,,2,0\r\n";
    let rows = load(&folder.file("a.csv", content)).unwrap();
    assert_eq!(rows.texts("query").unwrap(), ["one, \"two\"\nthree", "1984", "nan"]);
    assert_eq!(rows.texts("year").unwrap(), ["1984", "1.50", "2001"]);
    assert_eq!(rows.numbers("year").unwrap(), [1984.0, 1.5, 2001.0]);
    assert_eq!(rows.numbers("score").unwrap(), [0.5, -2000.0, 7.0]);
    assert_eq!(rows.texts("id").unwrap(), ["007", "012", "013"]);
    assert_eq!(rows.texts("empty").unwrap(), ["", "", ""]);
    assert_eq!(rows.texts("big").unwrap()[0], "99999999999999999999");
    assert_eq!(rows.numbers("truth").unwrap(), [1.0, 0.0, 0.0]);
    assert!(rows.column("empty").unwrap()[0].is_missing());
    let parts = ["`label`", "row 3", "a finite number", "an empty cell"];
    assert_refused(rows.numbers("label"), &parts);
    assert_refused(rows.numbers("query"), &["`query`", "row 1", "text \"one, "]);
    let narrowed = |name| {
        let values = rows.column(name).unwrap().iter().cloned();
        values.map(Value::narrowed).collect::<Vec<_>>()
    };
    assert_eq!(narrowed("label"), [Value::Integer(1), Value::Integer(0), Value::Null]);
    assert_eq!(narrowed("score"), [Value::Float(0.5), Value::Float(-2000.0), text(" 7")]);
    assert_eq!(narrowed("id"), [text("007"), text("012"), text("013")]);
    assert_eq!(narrowed("query")[1..], [Value::Integer(1984), text("nan")]);
    assert_eq!(narrowed("big")[0], text("99999999999999999999"));
}

#[test]
fn a_tsv_label_column_of_zeros_and_ones_is_numeric() {
    let folder = Folder::new();
    let rows = load(&folder.file("a.tsv", "q\tlabel\na, b\t0\nc\t1\n")).unwrap();
    assert_eq!(rows.numbers("label").unwrap(), [0.0, 1.0]);
    assert_eq!(rows.texts("q").unwrap(), ["a, b", "c"]);
}

#[test]
fn a_column_is_missing_only_if_no_row_has_it() {
    let folder = Folder::new();
    let lines = "{\"a\": \"x\"}\n{\"b\": \"y\", \"c\": {}}\n{\"a\": \"z\"}\n";
    let list = "[{\"a\": \"x\"},\n {\"b\": \"y\", \"c\": {}}, {\"a\": \"z\"}]";
    let null = Value::Null;
    for (name, content) in [("a.jsonl", lines), ("a.json", list)] {
        let path = folder.file(name, content);
        let rows = load(&path).unwrap();
        assert_eq!(rows.column_names(), ["a", "b", "c"]);
        let chosen = |names: &[&str], limit| {
            let columns = Some(names.iter().map(|&name| name.to_owned()).collect());
            load_rows(&Location { columns, limit, ..at(&path) })
        };
        let rows = chosen(&["b", "a"], None).unwrap();
        assert_eq!(rows.column("b").unwrap(), [null.clone(), text("y"), null.clone()]);
        assert_eq!(rows.column("a").unwrap(), [text("x"), null.clone(), text("z")]);
        let expected = "row 1, column `b`: expected text, got null, or no such column in this row";
        let expected = format!("{}, {expected}", path.display());
        assert_eq!(rows.texts("b").unwrap_err().to_string(), expected);
        let parts = [name, "row 1, column `b`"];
        assert_refused(rows.select(&[0]).texts("b"), &parts);
        assert_refused(rows.select_columns(&["b"]).unwrap().texts("b"), &parts);
        let parts = ["`d`", name, "`a`, `b` and `c`"];
        assert_refused(chosen(&["d"], None), &parts);
        assert_refused(chosen(&["b"], Some(1)), &["`b`", name, "which has `a`"]);
        // Chunks have the columns that were met.
        let reader = RowReader::open(&at(&path), 1).unwrap();
        let names: Vec<usize> = reader.map(|chunk| chunk.unwrap().column_names().len()).collect();
        assert_eq!(names, [1, 3, 3]);
    }
    let path = folder.file("empty.jsonl", "{}\n{\"a\": 1}\n");
    let columns = Some(vec!["a".to_owned()]);
    let rows = load_rows(&Location { columns, ..at(&path) }).unwrap();
    assert_eq!(rows.column("a").unwrap(), [null, Value::Integer(1)]);
}

#[test]
fn a_file_of_a_split_may_lack_columns_of_the_others() {
    for (extension, first, second) in [
        ("jsonl", "{\"a\": \"x\"}\n", "{\"b\": \"y\", \"a\": \"z\"}\n{\"b\": \"w\"}\n"),
        ("csv", "a\nx\n", "b,a\ny,z\nw,\n"),
    ] {
        let folder = Folder::new();
        folder.file(&format!("train_0.{extension}"), first);
        folder.file(&format!("train_1.{extension}"), second);
        let rows = load(folder.path()).unwrap();
        assert_eq!(rows.column_names(), ["a", "b"], "{extension}");
        let shown = |rows: &Rows, name: &str| -> Vec<Option<String>> {
            let text = |value: &Value| value.as_text().map(str::to_owned);
            rows.column(name)
                .unwrap()
                .iter()
                .map(text)
                .map(|text| text.filter(|it| !it.is_empty()))
                .collect()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(shown(&rows, "a"), [some("x"), some("z"), None], "{extension}");
        assert_eq!(shown(&rows, "b"), [None, some("y"), some("w")], "{extension}");
        let chosen = |name: &str| {
            let columns = Some(vec![name.to_owned()]);
            load_rows(&Location { columns, ..at(folder.path()) })
        };
        assert_eq!(shown(&chosen("b").unwrap(), "b"), [None, some("y"), some("w")], "{extension}");
        assert_refused(chosen("c"), &["`c`", "`a` and `b`"]);
    }
    let folder = Folder::new();
    for (name, column) in [("train_0", "a"), ("train_1", "b")] {
        let rows = Rows::new(vec![(column.to_owned(), vec![text("x")])]).unwrap();
        let path = folder.path().join(format!("{name}.parquet"));
        let mut writer = RowWriter::create(&path).unwrap();
        writer.write(&rows).unwrap();
        writer.finish().unwrap();
    }
    let rows = load(folder.path()).unwrap();
    assert_eq!(rows.column("a").unwrap(), [text("x"), Value::Null]);
    let columns = Some(vec!["b".to_owned()]);
    let rows = load_rows(&Location { columns, ..at(folder.path()) }).unwrap();
    assert_eq!(rows.column("b").unwrap(), [Value::Null, text("x")]);
}

#[test]
fn only_the_chosen_column_of_texts_is_read() {
    let folder = Folder::new();
    let content = "{\"_id\": \"1\", \"text\": \"x\", \"metadata\": {}}\n\
                   {\"_id\": \"2\", \"text\": \"y\", \"metadata\": {\"deep\": [{}]}}\n";
    let path = folder.file("corpus.jsonl", content);
    assert_eq!(load_texts(&path, None).unwrap(), ["x", "y"]);
    assert_eq!(load_texts(&path, Some("_id")).unwrap(), ["1", "2"]);
    let late = folder.file("late.jsonl", "{\"a\": \"1\"}\n{\"a\": \"2\", \"text\": \"y\"}\n");
    assert_refused(load_texts(&late, None), &["`text`", "row 1", "got null"]);
    let first = folder.file("first.jsonl", "{\"a\": \"1\", \"b\": {}}\n");
    assert_eq!(load_texts(&first, None).unwrap(), ["1"]);
    // A column that is not chosen is not parsed, however deep it is.
    let deep = format!("{{\"a\": 1, \"b\": {}1{}}}\n", "[".repeat(9999), "]".repeat(9999));
    let columns = Some(vec!["a".to_owned()]);
    let path = folder.file("deep.jsonl", deep);
    assert_eq!(load_rows(&Location { columns, ..at(&path) }).unwrap().numbers("a").unwrap(), [1.0]);
}

#[test]
fn a_data_set_of_no_rows_has_the_columns_that_are_known() {
    let folder = Folder::new();
    let names = |path: &std::path::Path, columns: Option<&[&str]>| -> Vec<String> {
        let columns = columns.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        let mut reader = RowReader::open(&Location { columns, ..at(path) }, 8).unwrap();
        assert!(reader.next().is_none());
        reader.column_names().into_iter().map(str::to_owned).collect()
    };
    let csv = folder.file("a.csv", "a,b\n");
    assert_eq!(names(&csv, None), ["a", "b"]);
    assert_eq!(names(&csv, Some(&["b"])), ["b"]);
    let json = folder.file("a.jsonl", "");
    assert!(names(&json, None).is_empty());
    assert_eq!(names(&json, Some(&["b"])), ["b"]);
    let columns = Some(vec!["c".to_owned()]);
    assert_refused(RowReader::open(&Location { columns, ..at(&csv) }, 8).map(|_| ()), &["`c`"]);
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

#[test]
fn files_without_a_header_row_have_the_names_that_are_given() {
    let folder = Folder::new();
    let header = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
    let tsv = folder.file("triples.tsv", "what \"is\" it\t\"a\tb\nwho\t5\t\"\n");
    let names = header(&["query", "positive", "negative"]);
    let rows = load_rows(&Location { header: names.clone(), ..at(&tsv) }).unwrap();
    assert_eq!(rows.texts("query").unwrap(), ["what \"is\" it", "who"]);
    assert_eq!(rows.texts("positive").unwrap(), ["\"a", "5"]);
    assert_eq!(rows.texts("negative").unwrap(), ["b", "\""]);
    let columns = Some(vec!["negative".to_owned()]);
    let rows = load_rows(&Location { header: names.clone(), columns, ..at(&tsv) }).unwrap();
    assert_eq!(rows.column_names(), ["negative"]);
    let csv = folder.file("pairs.csv", "\"a, b\",1\nc,2\n");
    let location = Location { header: header(&["text", "label"]), ..at(&csv) };
    assert_eq!(load_rows(&location).unwrap().texts("text").unwrap(), ["a, b", "c"]);

    let refused = |path: &std::path::Path, names: &[&str], parts: &[&str]| {
        assert_refused(load_rows(&Location { header: header(names), ..at(path) }), parts);
    };
    refused(&csv, &["a"], &["pairs.csv, line 1", "expected 1 cells", "got 2"]);
    refused(&csv, &["a", "a"], &["`a`", "twice"]);
    let open = folder.file("open.csv", "a,1\n\"b,2\n");
    refused(&open, &["text", "label"], &["open.csv, line 2", "never closed"]);
    let ragged = folder.file("ragged.tsv", "a\tb\nc\n");
    refused(&ragged, &["x", "y"], &["ragged.tsv, line 2", "expected 2 cells", "got 1"]);
    let json = folder.file("a.jsonl", "{\"a\": 1}\n");
    refused(&json, &["a"], &["a.jsonl", "expected no header"]);
}
