//! Arrow IPC files, and folders of `save_to_disk`.

use crate::{Folder, assert_refused, at, fixture, load, text};
use rankforge_data::{Location, RowReader, RowWriter, StreamedRows, Value, splits};

#[test]
fn files_and_streams_read_as_the_parquet_file_of_the_same_table() {
    let expected = load(&fixture("kinds.parquet")).unwrap();
    for name in ["kinds.arrow", "kinds.feather", "kinds.ipc"] {
        let rows = load(&fixture(name)).unwrap();
        assert_eq!(rows.columns(), expected.columns(), "{name}");
    }
}

#[test]
fn chunks_and_columns_are_those_that_were_asked_for() {
    let columns = Some(vec!["pair".to_owned(), "dictionary".to_owned()]);
    let location = Location { columns, ..at(&fixture("kinds.arrow")) };
    let chunks: Vec<_> = RowReader::open(&location, 2).unwrap().map(Result::unwrap).collect();
    // The batches have three and two rows.
    assert_eq!(chunks.iter().map(|chunk| chunk.len()).collect::<Vec<_>>(), [2, 1, 2]);
    assert_eq!(chunks[1].column_names(), ["pair", "dictionary"]);
    let pair = Value::List(vec![Value::Integer(5), Value::Integer(6)]);
    assert_eq!(chunks[1].column("pair").unwrap(), [pair]);
    assert_eq!(chunks[1].column("dictionary").unwrap(), [text("red")]);
    let missing = Location { columns: Some(vec!["Pair".to_owned()]), ..location };
    let opened = RowReader::open(&missing, 2).map(|_| ());
    assert_refused(opened, &["`Pair`", "kinds.arrow", "did you mean `pair`?"]);
}

#[test]
fn folders_of_save_to_disk_have_the_splits_that_were_saved() {
    let saved = fixture("saved");
    let names: Vec<String> = splits(&saved).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["test", "train"]);
    let rows = load(&saved).unwrap();
    assert_eq!(rows.texts("query").unwrap(), ["a", "b", "c"]);
    assert_eq!(rows.numbers("label").unwrap(), [1.0, 0.0, 1.0]);
    // A single data set, saved without a dictionary of splits.
    let names: Vec<_> = splits(&saved.join("test")).unwrap();
    assert_eq!(names[0].0, "train");
    assert_eq!(names[0].1.len(), 1);
}

#[test]
fn caches_beside_a_saved_data_set_and_selections_of_rows_are_not_data() {
    let folder = Folder::new();
    let small = std::fs::read(fixture("small.arrow")).unwrap();
    folder.file("data-00000-of-00001.arrow", &small);
    folder.file("cache-1a2b.arrow", &small);
    folder.file(
        "state.json",
        "{\"_data_files\": [{\"filename\": \"data-00000-of-00001.arrow\"}], \"_split\": \"test\"}",
    );
    let found = splits(folder.path()).unwrap();
    assert_eq!((found.len(), found[0].0.as_str(), found[0].1.len()), (1, "test", 1));
    folder.file(
        "state.json",
        "{\"_data_files\": [{\"filename\": \"a.arrow\"}], \"_indices_data_files\": \
         [{\"filename\": \"indices.arrow\"}]}",
    );
    assert_refused(load(folder.path()), &["state.json", "flatten_indices()"]);
    folder.file("state.json", "{");
    assert_refused(load(folder.path()), &["state.json", "invalid JSON"]);
}

#[test]
fn arrow_files_are_neither_written_nor_streamed() {
    let folder = Folder::new();
    let created = RowWriter::create(&folder.path().join("a.arrow")).map(|_| ());
    assert_refused(created, &["a.arrow", "expected .jsonl", ".parquet"]);
    let opened = StreamedRows::open(&at(&fixture("kinds.arrow")), 8).map(|_| ());
    assert_refused(opened, &["kinds.arrow", "cannot be streamed"]);
}

#[test]
fn an_arrow_file_truncated_at_any_length_is_refused_or_ends_with_a_batch() {
    let folder = Folder::new();
    let whole = std::fs::read(fixture("small.arrow")).unwrap();
    let expected = load(&fixture("small.arrow")).unwrap();
    let mut refused = 0;
    for length in 0..whole.len() {
        let path = folder.file("truncated.arrow", &whole[..length]);
        match load(&path) {
            // Without the index at its end, a file is a stream.
            Ok(rows) => assert_eq!(rows.columns(), expected.columns(), "{length}"),
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("truncated.arrow"), "{error}");
            }
        }
    }
    assert!(refused > whole.len() / 3, "{refused} of {}", whole.len());
    let other = folder.file("text.arrow", "a,b\n1,2\n");
    assert_refused(load(&other), &["text.arrow", "cannot be read as Arrow"]);
}

#[test]
fn an_arrow_file_with_any_damaged_byte_is_read_or_refused() {
    let folder = Folder::new();
    for name in ["small.arrow", "kinds.ipc"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let mut refused = 0;
        for index in 0..whole.len() {
            for flipped in [0x01, 0x40, 0x80] {
                let mut bytes = whole.clone();
                bytes[index] ^= flipped;
                let path = folder.file("damaged.arrow", &bytes);
                if let Err(error) = load(&path) {
                    refused += 1;
                    assert!(error.to_string().contains("damaged.arrow"), "{error}");
                }
            }
        }
        assert!(refused > 100, "{name}: {refused}");
    }
}
