//! Rows that stay in their files.

use crate::{Folder, assert_refused, at, load};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use rankforge_data::{Location, RowSource, StreamedRows, load_rows};
use std::path::Path;
use std::sync::Arc;

/// Writes rows `from..to` as parquet, a row group for each 7 of them.
fn parquet(path: &Path, from: i64, to: i64) {
    let batch = |from: i64, to: i64| {
        let texts: StringArray = (from..to).map(|row| Some(format!("text {row}"))).collect();
        let numbers = Int64Array::from_iter_values(from..to);
        let columns: [(&str, ArrayRef); 2] =
            [("text", Arc::new(texts)), ("label", Arc::new(numbers))];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch(0, 0).schema(), None).unwrap();
    for start in (from..to).step_by(7) {
        writer.write(&batch(start, to.min(start + 7))).unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap();
}

/// Compares every way to read with the rows in memory.
fn assert_same(location: &Location, shuffle_buffer: usize) {
    let streamed = StreamedRows::open(location, shuffle_buffer).unwrap();
    let rows = load_rows(location).unwrap();
    assert_eq!(streamed.len(), rows.len());
    assert_eq!(streamed.column_names(), RowSource::column_names(&rows));
    assert_eq!(streamed.source(), rows.source());
    let all: Vec<usize> = (0..rows.len()).collect();
    assert_eq!(streamed.read(&all).unwrap(), rows);
    // From anywhere, and more than once.
    let some: Vec<usize> = (0..50).map(|index| (index * 37 + 11) % rows.len()).collect();
    assert_eq!(streamed.read(&some).unwrap(), rows.select(&some));
    let order = streamed.blocks().unwrap();
    assert_eq!(order.blocks.iter().cloned().flatten().collect::<Vec<_>>(), all);
    assert!(
        order.blocks.iter().all(|block| (1..=shuffle_buffer.div_ceil(16)).contains(&block.len()))
    );
}

#[test]
fn streamed_rows_are_those_in_memory() {
    let folder = Folder::new();
    let mut lines = "\u{feff}\n{\"text\": \"first\", \"label\": 1}\r\n\n".to_owned();
    for row in 0..60 {
        match row % 3 {
            0 => lines.push_str(&format!("{{\"label\": {row}, \"text\": \"{row} é\"}}\n")),
            1 => lines.push_str(&format!("  {{\"text\": \"{row}\", \"later\": [{row}]}}\n\n")),
            _ => lines.push_str(&format!("{{\"label\": {row}}}\n")),
        }
    }
    let file = folder.file("lines/train-0.jsonl", lines.trim_end());
    folder.file("lines/train-1.jsonl", "");
    folder.file("lines/train-2.jsonl", "{\"text\": \"last\", \"other\": 2}\n{\"label\": 3}");
    let folder_of_lines = folder.path().join("lines");
    let groups = folder.path().join("groups.parquet");
    parquet(&groups, 0, 50);
    std::fs::create_dir(folder.path().join("several")).unwrap();
    for (name, from, to) in [("1", 0, 20), ("2", 20, 21), ("3", 21, 40)] {
        parquet(&folder.path().join(format!("several/train-{name}.parquet")), from, to);
    }
    for path in [&file, &folder_of_lines, &groups, &folder.path().join("several")] {
        for shuffle_buffer in [1, 32, 48, 1000] {
            let limited = Location { limit: Some(17), ..at(path) };
            let chosen = Location { columns: Some(vec!["label".to_owned()]), ..at(path) };
            for location in [at(path), limited, chosen] {
                assert_same(&location, shuffle_buffer);
            }
        }
    }
}

#[test]
fn files_that_cannot_be_read_from_their_middle_are_refused() {
    let folder = Folder::new();
    let list = folder.file("a.json", "[{\"a\": \"x\"}, {\"a\": \"y\"}]");
    let csv = folder.file("b.csv", "a\nx\ny\n");
    for path in [list, csv] {
        let parts = ["cannot be streamed", "one JSON object per line"];
        assert_refused(StreamedRows::open(&at(&path), 16), &parts);
    }
    let empty = folder.file("c.jsonl", "");
    assert_refused(StreamedRows::open(&at(&empty), 16), &["at least one row"]);
    let line = folder.file("d.jsonl", "{\"a\": 1}\n{\"a\": }\n");
    assert_refused(StreamedRows::open(&at(&line), 16), &["d.jsonl", "line 2"]);
    let changed = folder.file("e.jsonl", "{\"a\": 1}\n{\"a\": 2}\n{\"a\": 3}\n");
    let streamed = StreamedRows::open(&at(&changed), 16).unwrap();
    folder.file("e.jsonl", "{\"a\": 1}\n");
    assert_refused(streamed.read(&[2]), &["e.jsonl", "other rows than when it was opened"]);
    assert!(load(&changed).is_ok());
}
