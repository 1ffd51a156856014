//! Building, continuing, appending and deleting.

use crate::support::{Interrupted, TestDir, embedder, files, model, model_of, text};
use rankforge_base::Stop;
use rankforge_encoder::EncodeOptions;
use rankforge_index::bm25::Language;
use rankforge_index::{
    BuildOptions, CorpusSource, IndexError, Store, append_to_index, build_index, delete_from_index,
};
use std::sync::atomic::AtomicUsize;

#[test]
fn rows_keep_ids_texts_and_metadata_in_order() {
    let (dir, model) = (TestDir::new(), model());
    let corpus = dir.corpus("c.jsonl", 0, 30);
    let report =
        build_index(&dir.path("i"), &corpus, Some(&embedder(&model)), &dir.options()).unwrap();
    assert_eq!((report.rows, report.added, report.continued), (30, 30, 0));
    let index = dir.open("i");
    assert_eq!(index.rows(), 30);
    for row in 0..30 {
        let stored = index.row(row).unwrap();
        assert_eq!((stored.id, stored.text), (format!("d{row}"), text(row)));
        assert_eq!(stored.metadata["year"], 1900 + row);
    }
    assert!(!dir.path("i/building.json").exists());
}

#[test]
fn a_beir_folder_joins_titles_and_texts() {
    let dir = TestDir::new();
    let lines = [
        r#"{"_id": "1", "title": "Bees", "text": "make honey", "metadata": {}}"#,
        r#"{"_id": 2, "title": "", "text": "owls hunt"}"#,
        r#"{"_id": "x", "title": "Only a title", "source": "web"}"#,
    ];
    dir.write("beir/corpus.jsonl", &lines.join("\n"));
    let corpus = CorpusSource::new(dir.path("beir"));
    build_index(&dir.path("i"), &corpus, None, &dir.options()).unwrap();
    let index = dir.open("i");
    let rows: Vec<_> = (0..3).map(|row| index.row(row).unwrap()).collect();
    assert_eq!(rows[0].text, "Bees make honey");
    assert_eq!((&*rows[1].id, &*rows[1].text), ("2", "owls hunt"));
    assert_eq!(rows[2].text, "Only a title ");
    assert_eq!(rows[2].metadata["source"], "web");
}

#[test]
fn csv_and_chosen_columns() {
    let dir = TestDir::new();
    let mut corpus = dir.write("c.csv", "key,head,body,n\n007,A,one,1\n8,,two,2\n");
    corpus.id_column = Some("key".to_owned());
    corpus.text_column = Some("body".to_owned());
    corpus.title_column = Some("head".to_owned());
    build_index(&dir.path("i"), &corpus, None, &dir.options()).unwrap();
    let index = dir.open("i");
    let (first, second) = (index.row(0).unwrap(), index.row(1).unwrap());
    assert_eq!((&*first.id, &*first.text), ("007", "A one"));
    assert_eq!((&*second.id, &*second.text), ("8", "two"));
    assert_eq!(first.metadata.keys().collect::<Vec<_>>(), ["n"]);
}

/// An error's message, and that nothing was left that a search would find.
fn refused(dir: &TestDir, corpus: &CorpusSource) -> String {
    let error = build_index(&dir.path("refused"), corpus, None, &dir.options()).unwrap_err();
    assert!(rankforge_index::Index::open(&dir.path("refused")).is_err());
    error.to_string()
}

#[test]
fn a_corpus_that_cannot_be_indexed_is_refused_before_anything_is_written() {
    let dir = TestDir::new();
    let error = refused(&dir, &dir.write("empty.jsonl", ""));
    assert!(error.ends_with("empty.jsonl: expected at least one row, got none"), "{error}");

    let twice = dir.write(
        "twice.jsonl",
        "{\"id\": \"a\", \"text\": \"x\"}\n{\"id\": 7, \
        \"text\": \"y\"}\n{\"id\": \"7\", \"text\": \"z\"}\n",
    );
    let error = refused(&dir, &twice);
    assert!(error.ends_with("twice.jsonl: rows 2 and 3 have the same id \"7\""), "{error}");

    let null = dir.write("null.jsonl", "{\"id\": 1, \"text\": \"x\"}\n{\"id\": 2}\n");
    let error = refused(&dir, &null);
    assert!(error.contains("row 2, column `text`: expected text, got null"), "{error}");

    let number = dir.write("number.jsonl", "{\"id\": 1, \"text\": 5}\n");
    let error = refused(&dir, &number);
    assert!(error.contains("row 1, column `text`: expected text, got integer 5"), "{error}");

    let float = dir.write("float.jsonl", "{\"id\": 1.5, \"text\": \"x\"}\n");
    let error = refused(&dir, &float);
    assert!(error.contains("column `id`: expected a text or an integer, got float 1.5"), "{error}");

    let missing = dir.write("missing.jsonl", "{\"id\": 1, \"body\": \"x\"}\n");
    let error = refused(&dir, &missing);
    assert!(error.contains("column `text`: not in"), "{error}");
    assert!(error.contains("`id` and `body`"), "{error}");

    let no_ids = dir.write("ids.jsonl", "{\"text\": \"x\"}\n");
    let error = refused(&dir, &no_ids);
    assert!(error.contains("column `_id`: not in"), "{error}");
}

#[test]
fn a_run_that_was_interrupted_continues_to_the_same_files() {
    let (dir, model) = (TestDir::new(), model());
    let corpus = dir.corpus("c.jsonl", 0, 30);
    for store in [Store::Float32, Store::Float16, Store::Int8] {
        let options = BuildOptions { store, ..dir.options() };
        let whole = dir.path(&format!("whole-{store}"));
        build_index(&whole, &corpus, Some(&embedder(&model)), &options).unwrap();
        // The first call learns the dimension; there are 4 blocks.
        for fails_at in 0..5 {
            let path = dir.path(&format!("cut-{store}-{fails_at}"));
            let calls = AtomicUsize::new(0);
            let killed = Interrupted { encoder: &model, calls, fails_at };
            build_index(&path, &corpus, Some(&embedder(&killed)), &options).unwrap_err();
            let opened = rankforge_index::Index::open(&path);
            if fails_at > 1 {
                assert!(matches!(opened, Err(IndexError::Unfinished { .. })));
                // What a killed process leaves behind the last complete block.
                let mut rows = std::fs::OpenOptions::new();
                let mut rows = rows.append(true).open(path.join("rows.jsonl")).unwrap();
                std::io::Write::write_all(&mut rows, b"{\"_id\": \"half a r").unwrap();
            }
            // The size of blocks may change.
            let block_rows = if fails_at % 2 == 0 { 8 } else { 5 };
            let options = BuildOptions { store, block_rows, ..dir.options() };
            let report = build_index(&path, &corpus, Some(&embedder(&model)), &options).unwrap();
            assert_eq!(report.continued, fails_at.saturating_sub(1) * 8);
            assert_eq!(report.added + report.continued, 30);
            let skipped = ["manifest.json"];
            let grown = |path| {
                let mut files = files(path, &skipped);
                files.retain(|(name, _)| !name.starts_with("bm25"));
                files
            };
            assert!(grown(&path) == grown(&whole), "{store} {fails_at}");
            let found = |name: &std::path::Path| {
                let index = rankforge_index::Index::open(name).unwrap();
                index.verify(&rankforge_base::Silent).unwrap();
                index.search_bm25(&["bees and honey"], 9, &dir.workers).unwrap()
            };
            assert_eq!(found(&path), found(&whole));
        }
    }
}

#[test]
fn a_stop_request_keeps_what_is_complete() {
    let (dir, model) = (TestDir::new(), model());
    let corpus = dir.corpus("c.jsonl", 0, 20);
    let stop = Stop::default();
    stop.request();
    let options = BuildOptions { stop, ..dir.options() };
    let error = build_index(&dir.path("i"), &corpus, Some(&embedder(&model)), &options);
    assert!(matches!(error, Err(IndexError::Stopped { rows: 0, total: 20, .. })), "{error:?}");
    build_index(&dir.path("i"), &corpus, Some(&embedder(&model)), &dir.options()).unwrap();
    assert_eq!(dir.open("i").rows(), 20);
}

#[test]
fn an_interrupted_run_is_continued_only_as_it_was_begun() {
    let (dir, model, other) = (TestDir::new(), model(), model_of(12));
    let corpus = dir.corpus("c.jsonl", 0, 20);
    let path = dir.path("i");
    let calls = AtomicUsize::new(0);
    let killed = Interrupted { encoder: &model, calls, fails_at: 2 };
    build_index(&path, &corpus, Some(&embedder(&killed)), &dir.options()).unwrap_err();
    let refused = |error: Result<_, IndexError>| {
        let error = error.unwrap_err();
        assert!(matches!(error, IndexError::Unfinished { .. }), "{error}");
        assert!(error.hint().unwrap().contains("--restart"));
        error.to_string()
    };
    let changed = dir.corpus("d.jsonl", 1, 21);
    let error = refused(build_index(&path, &changed, Some(&embedder(&model)), &dir.options()));
    assert!(error.contains("the texts of") && error.contains("d.jsonl are others"), "{error}");
    let error = refused(build_index(&path, &corpus, Some(&embedder(&other)), &dir.options()));
    assert!(error.contains("20 dimensions") && error.contains("12 dimensions"), "{error}");
    let options = BuildOptions { store: Store::Int8, ..dir.options() };
    let error = refused(build_index(&path, &corpus, Some(&embedder(&model)), &options));
    assert!(error.contains("stored as f32") && error.contains("stored as int8"), "{error}");
    let options = BuildOptions { bm25: Some(Language::None), ..dir.options() };
    let error = refused(build_index(&path, &corpus, Some(&embedder(&model)), &options));
    assert!(error.contains("english, not BM25 with the language none"), "{error}");
    let error = refused(append_to_index(&path, &changed, Some(&embedder(&model)), &dir.options()));
    assert!(error.contains("a build was interrupted"), "{error}");

    assert!(path.join("vectors.f32").exists());
    let options = BuildOptions { restart: true, store: Store::Float16, ..dir.options() };
    let report = build_index(&path, &changed, Some(&embedder(&other)), &options).unwrap();
    assert_eq!((report.added, report.continued), (20, 0));
    assert!(!path.join("vectors.f32").exists());
    let index = dir.open("i");
    assert_eq!(index.row(19).unwrap().id, "d20");
    index.verify(&rankforge_base::Silent).unwrap();
}

#[test]
fn an_append_that_was_interrupted_leaves_the_index_as_it_was_until_it_is_complete() {
    let (dir, model) = (TestDir::new(), model());
    let (first, second) = (dir.corpus("a.jsonl", 0, 20), dir.corpus("b.jsonl", 20, 45));
    let path = dir.path("i");
    build_index(&path, &first, Some(&embedder(&model)), &dir.options()).unwrap();
    let search = || {
        let index = dir.open("i");
        index.verify(&rankforge_base::Silent).unwrap();
        let options = EncodeOptions::default();
        let dense = index.search_dense(&model, &["owl night"], 30, &options).unwrap();
        let bm25 = index.search_bm25(&["owl night"], 30, &dir.workers).unwrap();
        (index.rows(), dense, bm25)
    };
    let before = search();
    assert_eq!(before.0, 20);
    let calls = AtomicUsize::new(0);
    let killed = Interrupted { encoder: &model, calls, fails_at: 3 };
    append_to_index(&path, &second, Some(&embedder(&killed)), &dir.options()).unwrap_err();
    assert_eq!(search(), before);
    let refused = delete_from_index(&path, &["d3"], false).unwrap_err();
    assert!(matches!(refused, IndexError::Unfinished { .. }), "{refused}");
    let report = append_to_index(&path, &second, Some(&embedder(&model)), &dir.options()).unwrap();
    assert_eq!((report.rows, report.added, report.continued), (45, 9, 16));

    // The same as an index of all rows at once.
    let all = dir.corpus("all.jsonl", 0, 45);
    build_index(&dir.path("all"), &all, Some(&embedder(&model)), &dir.options()).unwrap();
    let appended = search();
    let whole = dir.open("all");
    let options = EncodeOptions::default();
    let dense = whole.search_dense(&model, &["owl night"], 30, &options).unwrap();
    let bm25 = whole.search_bm25(&["owl night"], 30, &dir.workers).unwrap();
    assert_eq!(appended, (45, dense, bm25));
    // The part of the inverted index that was replaced is gone.
    assert_eq!(std::fs::read_dir(path.join("bm25")).unwrap().count(), 1);
}

#[test]
fn deleted_rows_never_appear_and_their_ids_are_free() {
    let (dir, model) = (TestDir::new(), model());
    let path = dir.path("i");
    let corpus = dir.corpus("a.jsonl", 0, 30);
    build_index(&path, &corpus, Some(&embedder(&model)), &dir.options()).unwrap();
    let found = || {
        let index = dir.open("i");
        let options = EncodeOptions::default();
        let dense = index.search_dense(&model, &[&*text(4)], 100, &options).unwrap();
        let bm25 = index.search_bm25(&[&*text(4)], 100, &dir.workers).unwrap();
        let rows = |lists: Vec<Vec<rankforge_kernels::ops::Neighbour>>| -> Vec<u32> {
            lists[0].iter().map(|row| row.index).collect()
        };
        (rows(dense), rows(bm25))
    };
    let (dense, bm25) = found();
    assert_eq!((dense[0], bm25[0]), (4, 4));
    assert_eq!(dense.len(), 30);
    assert_eq!(delete_from_index(&path, &["d4", "d17", "d4"], false).unwrap(), 2);
    let error = delete_from_index(&path, &["d5", "d4"], false).unwrap_err().to_string();
    assert!(error.ends_with("no text has the id \"d4\""), "{error}");
    let without = |rows: Vec<u32>| -> Vec<u32> {
        rows.into_iter().filter(|row| ![4, 17].contains(row)).collect()
    };
    assert_eq!(found(), (without(dense), without(bm25)));
    assert_eq!(dir.open("i").manifest().live_rows(), 28);

    let known = dir.corpus("b.jsonl", 5, 6);
    let error = append_to_index(&path, &known, Some(&embedder(&model)), &dir.options());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("row 1 has the id \"d5\", which row 6 of the index has"), "{error}");
    let again = dir.corpus("c.jsonl", 4, 5);
    append_to_index(&path, &again, Some(&embedder(&model)), &dir.options()).unwrap();
    let (dense, bm25) = found();
    assert_eq!((dense[0], bm25[0]), (30, 30));
    assert_eq!(dense.len(), 29);
}

#[test]
fn a_folder_is_of_one_writer_and_of_one_index() {
    let (dir, model) = (TestDir::new(), model());
    let corpus = dir.corpus("c.jsonl", 0, 10);
    let path = dir.path("i");
    build_index(&path, &corpus, Some(&embedder(&model)), &dir.options()).unwrap();
    let error = build_index(&path, &corpus, Some(&embedder(&model)), &dir.options()).unwrap_err();
    assert!(matches!(error, IndexError::Exists { .. }), "{error}");

    let claim = rankforge_base::claim_directory(&path).unwrap();
    if claim.is_some() {
        let more = dir.corpus("d.jsonl", 10, 20);
        let error = append_to_index(&path, &more, Some(&embedder(&model)), &dir.options());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("no other process writes to"), "{error}");
        delete_from_index(&path, &["d1"], false).unwrap_err();
    }
    drop(claim);
    delete_from_index(&path, &["d1"], false).unwrap();

    dir.write("other/notes.txt", "mine");
    let error = build_index(&dir.path("other"), &corpus, None, &dir.options()).unwrap_err();
    assert!(error.to_string().contains("one that holds \"notes.txt\""), "{error}");
    let error = build_index(&dir.path("c.jsonl"), &corpus, None, &dir.options()).unwrap_err();
    assert!(error.to_string().contains("got a file"), "{error}");
    let error = append_to_index(&dir.path("none"), &corpus, None, &dir.options()).unwrap_err();
    assert!(error.to_string().contains("expected an index, got none"), "{error}");
    assert!(!dir.path("none").exists());
}

#[test]
fn appending_needs_the_model_of_the_index() {
    let (dir, model, other) = (TestDir::new(), model(), model_of(12));
    let (first, second) = (dir.corpus("a.jsonl", 0, 10), dir.corpus("b.jsonl", 10, 20));
    build_index(&dir.path("i"), &first, Some(&embedder(&model)), &dir.options()).unwrap();
    build_index(&dir.path("words"), &first, None, &dir.options()).unwrap();
    let (same, different) = (embedder(&model), embedder(&other));
    let append = |name: &str, embedder| {
        append_to_index(&dir.path(name), &second, embedder, &dir.options()).unwrap_err()
    };
    let error = append("i", Some(&different));
    assert!(matches!(error, IndexError::OtherModel { .. }), "{error}");
    assert!(append("i", None).to_string().contains("expected the model of the index, got none"));
    let error = append("words", Some(&same)).to_string();
    assert!(error.contains("expected no model, got one"), "{error}");
    assert_eq!(dir.open("i").rows(), 10);
}
