use crate::{Folder, assert_refused, at, fixture, load};
use rankforge_data::{Location, RowReader, RowWriter, Value, load_rows, splits};

#[test]
fn malformed_json_rows_are_errors_with_their_line() {
    let folder = Folder::new();
    for (name, content, parts) in [
        ("short.jsonl", "{\"a\": 1}\n\n{\"a\": \n", &["short.jsonl", "line 3", "JSON"][..]),
        ("list.jsonl", "{\"a\": 1}\n[1]\n", &["line 2", "expected an object", "a list"]),
        ("word.jsonl", "hello\n", &["line 1", "hello"]),
        ("escape.jsonl", "{\"a\": \"b\\n\"", &["line 1", "in `{\"a\": \"b\\n\"`"]),
        ("bare.jsonl", "{}\n{\"a\": 1}\n", &["line 1", "empty"]),
        ("open.json", "[{\"a\": 1},\n{\"a\": 2}\n", &["line 3", "end of the file"]),
        ("half.json", "[{\"a\": 1},\n{\"a\": \"x", &["line 2", "not closed"]),
        ("comma.json", "[{\"a\": 1}\n{\"a\": 2}]", &["line 2", "expected `,` or `]`"]),
        ("last.json", "[{\"a\": 1},]", &["line 1", "expected an object"]),
        ("after.json", "[{\"a\": 1}]\n{\"a\": 2}", &["line 2", "end of the file after the list"]),
        ("inner.json", "[{\"a\": 1},\n{\n\"a\" 2}]", &["line 3", "JSON"]),
        ("scalar.json", "[1]", &["line 1", "expected an object"]),
    ] {
        assert_refused(load(&folder.file(name, content)), parts);
    }
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_refused(load(&folder.file("nested.jsonl", &deep)), &["line 1", "recursion"]);
    assert_refused(
        load(&folder.file("nested.json", format!("[{deep}]"))),
        &["line 1", "recursion"],
    );
}

#[test]
fn invalid_utf8_is_an_error_with_its_line() {
    let folder = Folder::new();
    let json = folder.file("a.jsonl", b"{\"a\": \"x\"}\n{\"a\": \"\xff\"}\n");
    assert_refused(load(&json), &["a.jsonl", "line 2", "UTF-8"]);
    let csv = folder.file("a.csv", b"a,b\nx,y\nx,\xff\n");
    assert_refused(load(&csv), &["a.csv", "line 3", "UTF-8", "cell 2"]);
}

#[test]
fn malformed_csv_rows_are_errors_with_their_line() {
    let folder = Folder::new();
    for (name, content, parts) in [
        ("short.csv", "a,b\n1,2\n3\n", &["short.csv", "line 3", "expected 2 cells", "got 1"][..]),
        ("long.csv", "a,b\n1,2,3\n", &["line 2", "expected 2 cells", "got 3"]),
        ("quote.csv", "a,b\n1,2\n3,\"open\n5,6\n", &["line 3", "never closed"]),
        ("first.csv", "a,b\n1,2\n\"open,3\n5,6\n", &["line 3", "quote", "never closed"]),
        ("second.csv", "a,b\n\"1\n1\",\"open\n5,6\n", &["line 3", "quote", "never closed"]),
        ("name.csv", "a,\"b\n1,2\n", &["line 1", "quote", "never closed"]),
        ("twice.csv", "a,b,a\n1,2,3\n", &["line 1", "`a`", "twice"]),
        ("empty.csv", "", &["empty.csv", "header"]),
        ("header.csv", "a,b\n", &["header.csv", "at least one row"]),
    ] {
        assert_refused(load(&folder.file(name, content)), parts);
    }
    let quoted = folder.file("fine.csv", "a,b\n1,\"closed \"\"well\"\"\"\n");
    assert_eq!(load(&quoted).unwrap().texts("b").unwrap(), ["closed \"well\""]);
}

#[test]
fn empty_and_missing_files_are_refused() {
    let folder = Folder::new();
    assert_refused(load(&folder.file("a.jsonl", " \n\n")), &["a.jsonl", "at least one row"]);
    assert_refused(load(&folder.file("b.json", "[]")), &["b.json", "at least one row"]);
    assert_refused(load(&folder.path().join("no.jsonl")), &["no.jsonl", "No such file"]);
    assert_refused(load(&folder.file("a.txt", "x")), &["a.txt", "unknown extension", ".parquet"]);
    let empty = Folder::new();
    empty.file("README.md", "x");
    assert_refused(splits(empty.path()), &["no data files in this directory"]);
}

#[test]
fn an_unknown_extension_says_what_can_be_done() {
    let folder = Folder::new();
    let error = load(&folder.file("a.dat", "x")).unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.starts_with("rename the file")), "{error}");
    let error = load(std::path::Path::new("/dev/null")).unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("pipe holds to a file")), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_data_file_whose_name_is_not_utf8_is_refused_where_it_names_a_split() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    let name = |bytes: &'static [u8]| OsStr::from_bytes(bytes);
    let row = "{\"a\": \"x\"}\n";
    folder.file("train-0.jsonl", row);
    std::fs::create_dir(folder.path().join(name(b"notes-\xff"))).unwrap();
    std::fs::write(folder.path().join(name(b"notes-\xff.txt")), "").unwrap();
    assert_eq!(load(folder.path()).unwrap().len(), 1);
    std::fs::write(folder.path().join(name(b"train-\xff.jsonl")), row).unwrap();
    let parts = ["train-\u{fffd}.jsonl", "not valid UTF-8", "rename it"];
    assert_refused(load(folder.path()), &parts);
    std::fs::remove_file(folder.path().join(name(b"train-\xff.jsonl"))).unwrap();
    std::fs::write(folder.path().join(name(b"notes-\xff/0.jsonl")), row).unwrap();
    assert_refused(load(folder.path()), &["notes-\u{fffd}: ", "not valid UTF-8"]);
    // A file in the folder of a split needs no name.
    folder.file("named/train/0.jsonl", row);
    let named = folder.path().join("named");
    std::fs::write(named.join("train").join(name(b"\xff.jsonl")), row).unwrap();
    assert_eq!(load(&named).unwrap().len(), 2);
}

#[test]
fn the_error_for_an_unknown_split_lists_the_existing_ones() {
    let folder = Folder::new();
    folder.file("validation.jsonl", "{\"a\": 1}\n");
    folder.file("test.jsonl", "{\"a\": 1}\n");
    let split =
        |split: &str| load_rows(&Location { split: Some(split.into()), ..at(folder.path()) });
    let parts = ["`validatoin`", "`test` and `validation`", "did you mean `validation`?"];
    assert_refused(split("validatoin"), &parts);
    assert_refused(load(folder.path()), &["no split `train`", "`test` and `validation`"]);
    let file = folder.path().join("test.jsonl");
    let location = Location { split: Some("test".into()), ..at(&file) };
    assert_refused(load_rows(&location), &["no split `test`", "`train`", "a file is one split"]);
}

#[test]
fn a_split_in_two_formats_is_refused() {
    let folder = Folder::new();
    folder.file("train.jsonl", "{\"a\": 1}\n");
    folder.file("train.csv", "a\n1\n");
    assert_refused(load(folder.path()), &["train.jsonl", "train.csv", "different formats"]);
}

#[test]
fn the_error_for_a_missing_column_suggests_the_nearest_name() {
    let folder = Folder::new();
    let json = folder.file("a.jsonl", "{\"query\": \"x\", \"answer\": \"y\"}\n");
    let csv = folder.file("a.csv", "query,answer\nx,y\n");
    for path in [json, csv] {
        let columns = Some(vec!["anwser".to_owned()]);
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let opened = RowReader::open(&Location { columns, ..at(&path) }, 8).map(|_| ());
        let parts = ["`anwser`", &name, "`query` and `answer`", "did you mean `answer`?"];
        assert_refused(opened, &parts);
    }
    let columns = Some(vec!["Text".to_owned()]);
    let opened = load_rows(&Location { columns, ..at(&fixture("kinds.parquet")) });
    assert_refused(opened, &["`Text`", "kinds.parquet", "did you mean `text`?"]);
    let twice = Some(vec!["text".to_owned(), "text".to_owned()]);
    let opened = load_rows(&Location { columns: twice, ..at(&fixture("kinds.parquet")) });
    assert_refused(opened, &["`text`", "twice"]);
}

#[test]
fn a_value_that_cannot_be_read_is_refused_where_it_is_used() {
    let folder = Folder::new();
    let json = "{\"a\": {\"b\": 1}, \"n\": 18446744073709551615, \"l\": [1, [{}]], \"t\": \"x\"}\n";
    let rows = load(&folder.file("a.jsonl", json)).unwrap();
    assert_eq!(rows.texts("t").unwrap(), ["x"]);
    let parts = ["`a`", "row 1", "expected text", "a value of type object"];
    assert_refused(rows.texts("a"), &parts);
    assert_refused(rows.numbers("n"), &["`n`", "row 1", "integer above 9223372036854775807"]);
    assert_refused(rows.texts("l"), &["`l`", "row 1", "list of other types"]);
    for name in ["b.jsonl", "b.csv", "b.parquet"] {
        let mut writer = RowWriter::create(&folder.path().join(name)).unwrap();
        let written = writer.write(&rows.select_columns(&["t", "a"]).unwrap());
        assert_refused(written, &["`a`", "a value of type object"]);
    }
    let rows = load(&fixture("kinds.parquet")).unwrap();
    assert_eq!(rows.column("when").unwrap(), vec![Value::Unreadable("timestamp"); 5]);
    assert_refused(rows.texts("when"), &["`when`", "row 1", "a value of type timestamp"]);
}

#[test]
fn the_columns_that_the_first_row_lacks_are_limited() {
    let folder = Folder::new();
    let rows: String = (0..200).map(|key| format!("{{\"k{key}\": 1}}\n")).collect();
    let path = folder.file("keys.jsonl", rows);
    let parts = ["keys.jsonl, line 102", "`k101`", "more than 100", "select the columns to read"];
    assert_refused(load(&path), &parts);
    let columns = Some(vec!["k199".to_owned()]);
    assert_eq!(load_rows(&Location { columns, ..at(&path) }).unwrap().len(), 200);
}

#[test]
fn a_parquet_file_truncated_at_any_length_is_refused() {
    let folder = Folder::new();
    let whole = std::fs::read(fixture("snappy.parquet")).unwrap();
    for length in 0..whole.len() {
        let path = folder.file("truncated.parquet", &whole[..length]);
        assert_refused(load(&path), &["truncated.parquet"]);
    }
    assert!(load(&folder.file("whole.parquet", &whole)).is_ok());
    assert_refused(load(&folder.file("text.parquet", "a,b\n1,2\n")), &["text.parquet", "parquet"]);
}

#[test]
fn a_parquet_file_with_any_damaged_byte_is_read_or_refused() {
    let folder = Folder::new();
    let whole = std::fs::read(fixture("snappy.parquet")).unwrap();
    let mut caught = 0;
    for index in 0..whole.len() {
        for flipped in [0x01, 0x80] {
            let mut bytes = whole.clone();
            bytes[index] ^= flipped;
            let path = folder.file("damaged.parquet", &bytes);
            if let Err(error) = load(&path) {
                let message = error.to_string();
                assert!(message.contains("damaged.parquet"), "byte {index}: {message}");
                caught += usize::from(message.contains(": damaged: cannot be read"));
            }
        }
    }
    assert!(caught > 0, "no byte makes the libraries panic");
}

#[test]
fn a_reader_ends_after_an_error() {
    let folder = Folder::new();
    let path = folder.file("a.jsonl", "{\"a\": 1}\nx\n{\"a\": 2}\n");
    let mut reader = RowReader::open(&at(&path), 1).unwrap();
    assert!(reader.next().unwrap().is_ok());
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
}
