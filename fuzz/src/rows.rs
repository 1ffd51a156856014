//! What must hold of every file of rows, whatever its format.

use rankforge_data::{DataError, Location, RowReader, RowWriter, Rows, Value, load_rows};
use std::path::Path;

/// Reads a file in chunks of several sizes, by columns and with a limit, writes the rows and reads
/// them back. A file that is refused must be refused with a message that names it.
///
/// # Panics
/// When two ways to read the same rows differ.
pub fn check(folder: &Path, name: &str) {
    let path = folder.join(name);
    let location = Location { path: path.clone(), ..Location::default() };
    let rows = match load_rows(&location) {
        Ok(rows) => rows,
        Err(error) => return check_error(&path, &location, &error),
    };
    assert!(!rows.is_empty(), "a file without rows is an error");

    for chunk_rows in [1, 3] {
        assert_eq!(read(&location, chunk_rows), rows, "chunks of {chunk_rows}");
    }

    let limit = rows.len().div_ceil(2);
    let limited = Location { limit: Some(limit), ..location.clone() };
    let first: Vec<usize> = (0..limit).collect();
    let limited = load_rows(&limited).expect("the same file");
    // A column that appears after the limit is not there.
    let names = limited.column_names();
    assert!(rows.column_names().starts_with(&names));
    let expected = rows.select(&first).select_columns(&names).expect("these are its columns");
    assert_eq!(limited, expected);

    let names: Vec<&str> = rows.column_names().into_iter().rev().collect();
    let columns = names.iter().map(|&name| name.to_owned()).collect();
    let chosen = Location { columns: Some(columns), ..location };
    let expected = rows.select_columns(&names).expect("these are its columns");
    assert_eq!(load_rows(&chosen).expect("the same file"), expected);

    let readable = |(name, values): (String, Vec<Value>)| {
        let is_readable = !values.iter().any(|value| matches!(value, Value::Unreadable(_)));
        is_readable.then_some((name, values))
    };
    let columns: Vec<_> = rows.into_columns().into_iter().filter_map(readable).collect();
    if columns.is_empty() {
        return;
    }
    let rows = Rows::new(columns).expect("some of its columns");
    let extension = path.extension().and_then(|extension| extension.to_str());
    if extension == Some("arrow") {
        return; // read only
    }
    let extension = extension.filter(|extension| *extension != "json").unwrap_or("jsonl");
    let copy = folder.join(format!("copy.{extension}"));
    let mut writer = RowWriter::create(&copy).expect("the folder can be written");
    writer.write(&rows).expect("rows of a format have a form in it");
    writer.finish().expect("the folder can be written");
    let back = load_rows(&Location { path: copy, ..Location::default() });
    assert_eq!(back.expect("what was written can be read"), rows, "written and read back");
}

fn read(location: &Location, chunk_rows: usize) -> Rows {
    let mut rows = Rows::default();
    for chunk in RowReader::open(location, chunk_rows).expect("the same file") {
        let chunk = chunk.expect("the same file");
        assert!((1..=chunk_rows).contains(&chunk.len()), "{} rows in a chunk", chunk.len());
        rows.append_chunk(chunk);
    }
    rows
}

fn check_error(path: &Path, location: &Location, error: &DataError) {
    let message = error.to_string();
    match error {
        DataError::Column { .. } | DataError::MissingColumn { .. } => {}
        DataError::Line { line, .. } => {
            let bytes = std::fs::read(path).expect("the file is there");
            let lines = 1 + bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
            assert!((1..=lines as u64).contains(line), "{message}: there are {lines} lines");
        }
        _ => assert!(message.contains(&*path.to_string_lossy()), "{message}"),
    }
    // A reader ends at its first error, and says the same whatever the size of its chunks.
    if let Ok(mut reader) = RowReader::open(location, 1) {
        let first = reader.find_map(Result::err);
        assert!(reader.next().is_none(), "a row after {message}");
        if let Some(first) = first {
            assert_eq!(first.to_string(), message);
        }
    }
}
