use crate::{Folder, assert_refused};
use rankforge_data::{Judgement, load_beir, load_qrels};

fn collection() -> Folder {
    let folder = Folder::new();
    folder.file(
        "corpus.jsonl",
        "{\"_id\": \"d1\", \"title\": \"Title\", \"text\": \"body\", \"metadata\": {\"x\": 1}}\n\
         {\"_id\": \"d2\", \"title\": \"\", \"text\": \"plain\"}\n\
         {\"_id\": 3, \"text\": \"third\", \"extra\": 1}\n",
    );
    folder.file(
        "queries.jsonl",
        "{\"_id\": \"q2\", \"text\": \"two\"}\n\
         {\"_id\": \"q1\", \"text\": \"one\"}\n\
         {\"_id\": \"q3\", \"text\": \"x\"}\n",
    );
    folder.file(
        "qrels/test.tsv",
        "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\t3\t2\r\nq2\td2\t1\nq3\td1\t0\nq2\td1\t0\n",
    );
    folder.file("qrels/train.tsv", "q1\td2\t1\n\n");
    folder
}

#[test]
fn titles_are_joined_to_texts_and_queries_without_a_relevant_document_dropped() {
    let folder = collection();
    let beir = load_beir(folder.path(), None).unwrap();
    let pairs = |map: &indexmap::IndexMap<String, String>| -> Vec<(String, String)> {
        map.iter().map(|(id, text)| (id.clone(), text.clone())).collect()
    };
    let pair = |id: &str, text: &str| (id.to_owned(), text.to_owned());
    assert_eq!(
        pairs(&beir.corpus),
        [pair("d1", "Title body"), pair("d2", "plain"), pair("3", "third")]
    );
    assert_eq!(pairs(&beir.queries), [pair("q2", "two"), pair("q1", "one")]);
    assert_eq!(beir.relevant["q1"], [("d1".to_owned(), 1.0), ("3".to_owned(), 2.0)]);
    assert_eq!(beir.relevant["q2"], [("d2".to_owned(), 1.0)]);
    assert!(beir.relevant.keys().eq(beir.queries.keys()));
    assert_eq!(beir.unjudged, 1);
}

#[test]
fn judgements_of_unknown_documents_stay_and_those_of_unknown_queries_are_left_out() {
    let folder = collection();
    let judgements = "q1\td1\t1\nq1\tgone\t2\nq2\tgone\t1\nq2\tlost\t0\nq8\td1\t1\nq9\td1\t1\nq9\t\
                      gone\t1\nq9\td2\t0\n";
    folder.file("qrels/test.tsv", judgements);
    let beir = load_beir(folder.path(), None).unwrap();
    assert_eq!(beir.relevant["q1"], [("d1".to_owned(), 1.0), ("gone".to_owned(), 2.0)]);
    assert_eq!(beir.relevant["q2"], [("gone".to_owned(), 1.0)]);
    assert_eq!(beir.relevant.len(), 2);
    assert_eq!(
        beir.unknown.to_string(),
        "documents named in the judgements but not in corpus.jsonl, which the figures of BEIR \
         count as relevant and not found, and those of sentence-transformers' evaluator leave out: \
         1 in 2 judgements; queries named in the judgements but not in queries.jsonl, \
         which are left out: 2 in 3 judgements"
    );
    assert!(load_beir(folder.path(), Some("train")).unwrap().unknown.is_empty());
}

#[test]
fn the_header_of_judgements_is_optional() {
    let beir = load_beir(collection().path(), Some("train")).unwrap();
    assert_eq!(beir.relevant.len(), 1);
    assert_eq!(beir.relevant["q1"], [("d2".to_owned(), 1.0)]);
}

#[test]
fn errors_in_a_beir_directory_name_file_and_line() {
    for (file, content, parts) in [
        ("qrels/test.tsv", "q9\td1\t1\n", &["test.tsv", "above 0 of a query in queries.jsonl"][..]),
        ("qrels/test.tsv", "h\tc\ts\nq1\td1\n", &["line 2", "separated by tabs", "2 cells"]),
        ("qrels/test.tsv", "q1\td1\tyes\n", &["line 1", "finite score", "\"yes\""]),
        (
            "qrels/test.tsv",
            "q1\td1\t1\nq1\td1\t2\n",
            &["line 2", "score 2 for query \"q1\"", "score 1 in"],
        ),
        ("qrels/test.tsv", "q1\td1\t0\n", &["test.tsv", "above 0"]),
        (
            "corpus.jsonl",
            "{\"_id\": \"d1\", \"text\": \"a\"}\n{\"_id\": \"d1\", \"text\": \"b\"}\n",
            &["corpus.jsonl", "line 2", "used by an earlier line"],
        ),
        (
            "corpus.jsonl",
            "{\"_id\": \"d1\", \"txt\": \"a\"}\n",
            &["corpus.jsonl", "`text` or `title`", "got none"],
        ),
        (
            "queries.jsonl",
            "{\"_id\": \"q1\", \"txt\": \"a\"}\n",
            &["queries.jsonl", "line 1", "`text`", "`txt`"],
        ),
        (
            "queries.jsonl",
            "{\"_id\": \"q1\", \"text\": 5}\n",
            &["queries.jsonl", "line 1", "expected text"],
        ),
        ("queries.jsonl", "", &["queries.jsonl", "at least one row"]),
    ] {
        let folder = collection();
        folder.file(file, content);
        assert_refused(load_beir(folder.path(), None), parts);
    }
}

#[test]
fn a_document_without_text_has_an_empty_one() {
    let folder = collection();
    let texts = "{\"_id\": \"d1\", \"title\": \"Title\"}\n{\"_id\": \"d2\", \"text\": null}\n\
                 {\"_id\": \"3\", \"title\": \"Title\", \"text\": \"\"}\n";
    folder.file("corpus.jsonl", texts);
    let beir = load_beir(folder.path(), None).unwrap();
    assert_eq!((&*beir.corpus["d1"], &*beir.corpus["d2"]), (&*beir.corpus["3"], ""));
    assert_eq!(beir.without_text, 2);
    assert_eq!(load_beir(collection().path(), None).unwrap().without_text, 0);
}

#[test]
fn missing_files_of_a_beir_directory_are_named() {
    let folder = collection();
    let parts = ["dev.tsv", "`test.tsv` and `train.tsv`"];
    assert_refused(load_beir(folder.path(), Some("dev")), &parts);
    std::fs::remove_file(folder.path().join("queries.jsonl")).unwrap();
    assert_refused(load_beir(folder.path(), None), &["queries.jsonl", "No such file"]);
}

#[test]
fn judgements_of_trec_and_of_beir_are_read() {
    let folder = Folder::new();
    let expected = |grade| Judgement { query: "q1".into(), document: "d1".into(), grade };
    for (content, grade) in [
        ("q1 0 d1 2\n\n", 2),
        ("q1\tQ0\td1\t-1\n", -1),
        ("query-id\tcorpus-id\tscore\r\nq1\td1\t1\r\n", 1),
    ] {
        let found = load_qrels(&folder.file("qrels.tsv", content)).unwrap();
        assert_eq!(found, [expected(grade)], "{content:?}");
    }
    for (content, parts) in [
        ("q1 d1\n", &["qrels.tsv, line 1", "got 2 words"][..]),
        ("q1 0 d1 1\nq1 0 d2 high\n", &["line 2", "a whole number", "high"]),
        ("q d s\n", &["at least one judgement"]),
    ] {
        assert_refused(load_qrels(&folder.file("qrels.tsv", content)), parts);
    }
}
