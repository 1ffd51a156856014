//! Text files that are compressed as a whole.

use crate::{Folder, assert_refused, at, load, text};
use rankforge_data::{RowWriter, Rows, StreamedRows, Value, beir_file, load_beir, splits};

fn rows() -> Rows {
    let texts = ["río", "a \"quote\",\nand a line", "x"].map(text).to_vec();
    let numbers = [1, 2, 3].map(Value::Integer).to_vec();
    Rows::new(vec![("query".to_owned(), texts), ("n".to_owned(), numbers)]).unwrap()
}

#[test]
fn what_is_written_compressed_reads_as_it_was() {
    let folder = Folder::new();
    for (name, magic) in [
        ("a.jsonl.gz", &b"\x1f\x8b"[..]),
        ("a.csv.gz", b"\x1f\x8b"),
        ("a.jsonl.zst", b"\x28\xb5\x2f\xfd"),
        ("a.tsv.zst", b"\x28\xb5\x2f\xfd"),
    ] {
        let path = folder.path().join(name);
        let mut writer = RowWriter::create(&path).unwrap();
        writer.write(&rows()).unwrap();
        writer.write(&rows()).unwrap();
        writer.finish().unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(magic), "{name}");
        let read = load(&path).unwrap();
        assert_eq!(read.texts("query").unwrap()[..3], rows().texts("query").unwrap(), "{name}");
        assert_eq!(read.numbers("n").unwrap(), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0], "{name}");
    }
}

#[test]
fn compressed_files_belong_to_the_split_of_their_name() {
    let folder = Folder::new();
    for name in ["train-00000-of-00002.jsonl.gz", "train-00001-of-00002.jsonl.gz", "test.jsonl.gz"]
    {
        let mut writer = RowWriter::create(&folder.path().join(name)).unwrap();
        writer.write(&rows()).unwrap();
        writer.finish().unwrap();
    }
    let found = splits(folder.path()).unwrap();
    let counts: Vec<_> = found.iter().map(|(name, files)| (name.as_str(), files.len())).collect();
    assert_eq!(counts, [("test", 1), ("train", 2)]);
    assert_eq!(load(folder.path()).unwrap().len(), 6);
}

#[test]
fn gzip_files_one_behind_the_other_are_one_file() {
    let folder = Folder::new();
    let mut both = Vec::new();
    for _ in 0..2 {
        let path = folder.path().join("one.jsonl.gz");
        let mut writer = RowWriter::create(&path).unwrap();
        writer.write(&rows()).unwrap();
        writer.finish().unwrap();
        both.extend(std::fs::read(&path).unwrap());
    }
    assert_eq!(load(&folder.file("both.jsonl.gz", both)).unwrap().len(), 6);
}

#[test]
fn damaged_compressed_files_are_refused_and_so_are_malformed_lines_in_them() {
    let folder = Folder::new();
    for (name, end) in [("a.jsonl.gz", "gz"), ("a.csv.zst", "zst")] {
        let path = folder.path().join(name);
        let mut writer = RowWriter::create(&path).unwrap();
        writer.write(&rows()).unwrap();
        writer.finish().unwrap();
        let whole = std::fs::read(&path).unwrap();
        let half = folder.file(&format!("half.{}", &name[2..]), &whole[..whole.len() / 2]);
        assert_refused(load(&half), &["half.", end, "cannot be decompressed"]);
        let other = folder.file(&format!("other.{}", &name[2..]), "a,b\n1,2\n");
        assert_refused(load(&other), &["other.", end, "cannot be decompressed"]);
    }
    let mut writer = RowWriter::create(&folder.path().join("open.csv.gz")).unwrap();
    writer.write(&rows()).unwrap();
    writer.finish().unwrap();
    let opened = StreamedRows::open(&at(&folder.path().join("open.csv.gz")), 4).map(|_| ());
    assert_refused(opened, &["open.csv.gz", "cannot be streamed", "uncompressed"]);
}

#[test]
fn formats_that_are_compressed_inside_have_no_second_extension() {
    let folder = Folder::new();
    let path = folder.file("a.parquet.gz", "x");
    assert_refused(load(&path), &["a.parquet.gz", "unknown extension", ".gz or .zst"]);
    assert_refused(RowWriter::create(&path).map(|_| ()), &["a.parquet.gz", "cannot write"]);
    let list = folder.path().join("a.json.gz");
    assert_refused(RowWriter::create(&list).map(|_| ()), &["a.json.gz", "cannot write"]);
}

#[test]
fn a_beir_folder_may_have_compressed_files() {
    let folder = Folder::new();
    let write = |name: &str, lines: &str| {
        let path = folder.file(&name.replace(".gz", ""), lines);
        let rows = load(&path).unwrap();
        let mut writer = RowWriter::create(&folder.path().join(name)).unwrap();
        writer.write(&rows).unwrap();
        writer.finish().unwrap();
        std::fs::remove_file(path).unwrap();
    };
    write("corpus.jsonl.gz", "{\"_id\": \"d\", \"title\": \"T\", \"text\": \"a text\"}\n");
    write("queries.jsonl.gz", "{\"_id\": \"q\", \"text\": \"a query\"}\n");
    folder.file("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\td\t1\n");
    let beir = load_beir(folder.path(), None).unwrap();
    assert_eq!(beir.corpus["d"], "T a text");
    assert_eq!(beir.queries["q"], "a query");
    assert_eq!(beir_file(folder.path(), "corpus.jsonl"), folder.path().join("corpus.jsonl.gz"));
    let plain = folder.file("corpus.jsonl", "{\"_id\": \"d\", \"text\": \"another\"}\n");
    assert_eq!(beir_file(folder.path(), "corpus.jsonl"), plain);
    assert_eq!(load_beir(folder.path(), None).unwrap().corpus["d"], "another");
}
