use crate::{Folder, assert_refused};
use rankforge_data::{
    Location, RowWriter, load_nano_beir, load_nano_beir_ranking, load_rows, nano_beir_names,
};

/// The layout of the Hub, with one collection.
fn collection() -> Folder {
    let folder = Folder::new();
    folder.file(
        "corpus/NanoNQ.jsonl",
        "{\"_id\": \"d1\", \"text\": \"one\"}\n{\"_id\": \"d2\", \"text\": \"\"}\n\
         {\"_id\": \"d3\", \"text\": \"three\"}\n",
    );
    folder.file(
        "queries/NanoNQ.jsonl",
        "{\"_id\": \"q1\", \"text\": \"first\"}\n{\"_id\": \"q2\", \"text\": \"second\"}\n\
         {\"_id\": \"q3\", \"text\": \"third\"}\n",
    );
    folder.file(
        "qrels/NanoNQ.jsonl",
        "{\"query-id\": \"q2\", \"corpus-id\": [\"d3\", \"d2\"]}\n\
         {\"query-id\": \"q1\", \"corpus-id\": [\"d1\"]}\n\
         {\"query-id\": \"q8\", \"corpus-id\": [\"d1\"]}\n",
    );
    folder
}

#[test]
fn collections_have_texts_that_are_not_empty_and_judged_queries() {
    let folder = collection();
    assert_eq!(nano_beir_names(folder.path(), &["MSMARCO", "NQ"]).unwrap(), ["nq"]);
    let beir = load_nano_beir(folder.path(), "NanoNQ").unwrap();
    assert_eq!(beir.corpus.keys().collect::<Vec<_>>(), ["d1", "d3"]);
    assert_eq!(beir.queries.keys().collect::<Vec<_>>(), ["q1", "q2"]);
    assert!(beir.relevant.keys().eq(beir.queries.keys()));
    let judged = |id: &str| (id.to_owned(), 1.0);
    assert_eq!(beir.relevant["q2"], [judged("d3"), judged("d2")]);
    assert_eq!(beir.unjudged, 1);
    let unknown = beir.unknown;
    assert_eq!((unknown.documents, unknown.document_judgements), (1, 1));
    assert_eq!((unknown.queries, unknown.query_judgements), (1, 1));
}

#[test]
fn collections_of_parquet_files_are_those_of_jsonl() {
    let folder = collection();
    let expected = load_nano_beir(folder.path(), "NanoNQ").unwrap();
    for name in ["corpus", "queries", "qrels"] {
        let jsonl = folder.path().join(name).join("NanoNQ.jsonl");
        let rows = load_rows(&Location::new(&jsonl)).unwrap();
        let file = folder.path().join(name).join("NanoNQ-00000-of-00001.parquet");
        let mut writer = RowWriter::create(&file).unwrap();
        writer.write(&rows).unwrap();
        writer.finish().unwrap();
        std::fs::remove_file(jsonl).unwrap();
    }
    assert_eq!(nano_beir_names(folder.path(), &["MSMARCO", "NQ"]).unwrap(), ["nq"]);
    let found = load_nano_beir(folder.path(), "NanoNQ").unwrap();
    assert_eq!((found.corpus, found.queries), (expected.corpus, expected.queries));
    assert_eq!(found.relevant, expected.relevant);
}

#[test]
fn malformed_collections_are_refused() {
    let load = |folder: &Folder| load_nano_beir(folder.path(), "NanoNQ");
    let folder = collection();
    let line = "{\"_id\": \"d1\", \"text\": \"one\"}\n";
    folder.file("corpus/NanoNQ.jsonl", format!("{line}{line}"));
    assert_refused(load(&folder), &["corpus", "row 2: `_id` d1 is used by an earlier row"]);
    folder.file("corpus/NanoNQ.jsonl", "{\"_id\": 1, \"text\": \"one\"}\n");
    assert_refused(load(&folder), &["`_id`", "integer 1"]);
    folder.file("corpus/NanoNQ.jsonl", "{\"_id\": \"d1\", \"body\": \"one\"}\n");
    assert_refused(load(&folder), &["text", "`body`"]);
    let folder = collection();
    folder.file("qrels/NanoNQ.jsonl", "{\"query-id\": \"q1\", \"corpus-id\": 7}\n");
    assert_refused(load(&folder), &["qrels", "row 1, column `corpus-id`", "integer 7"]);
    assert_refused(load_nano_beir(folder.path(), "NanoNC"), &["no split `NanoNC`", "`NanoNQ`"]);
    let empty = Folder::new();
    assert_refused(nano_beir_names(empty.path(), &["NQ"]), &["expected a collection", "`NanoNQ`"]);
}

#[test]
fn rankings_are_read_from_either_layout() {
    let folder = collection();
    let lines = "{\"query-id\": \"q1\", \"corpus-ids\": [\"d3\", \"d1\"]}\n\
                 {\"query-id\": \"q2\", \"corpus-ids\": []}\n";
    folder.file("bm25/NanoNQ.jsonl", lines);
    let other = Folder::new();
    other.file("NanoNQ/bm25.jsonl", lines);
    for folder in [&folder, &other] {
        let ranking = load_nano_beir_ranking(folder.path(), "NanoNQ").unwrap();
        assert_eq!(ranking["q1"], ["d3", "d1"]);
        assert!(ranking["q2"].is_empty());
    }
    folder.file("bm25/NanoNQ.jsonl", "{\"query-id\": \"q1\", \"corpus-ids\": \"d1\"}\n");
    let refused = load_nano_beir_ranking(folder.path(), "NanoNQ");
    assert_refused(refused, &["row 1, column `corpus-ids`: expected a list of ids", "\"d1\""]);
    let missing = load_nano_beir_ranking(Folder::new().path(), "NanoNQ");
    assert_refused(missing, &["bm25"]);
}
