//! Rewriting an index without its deleted rows.

use crate::support::{TestDir, embedder, files, model, text};
use rankforge_encoder::EncodeOptions;
use rankforge_index::{
    BuildOptions, Compacted, IndexError, Store, append_to_index, build_index, compact_index,
    delete_from_index,
};

/// What searches find: ids and scores, by vectors and by words.
fn found(dir: &TestDir, name: &str) -> Vec<Vec<(String, f32)>> {
    let (index, model) = (dir.open(name), model());
    let queries = ["owl night", "river salt paper"];
    let options = EncodeOptions::default();
    let mut lists = index.search_dense(&model, &queries, 100, &options).unwrap();
    lists.extend(index.search_bm25(&queries, 100, &dir.workers).unwrap());
    let named = |list: Vec<rankforge_index::Neighbour>| {
        let row = |found: &rankforge_index::Neighbour| {
            (index.row(found.index as usize).unwrap().id, found.score)
        };
        list.iter().map(row).collect()
    };
    lists.into_iter().map(named).collect()
}

#[test]
fn a_compacted_index_is_the_index_of_the_rows_that_are_left() {
    for store in [Store::Float32, Store::Float16, Store::Int8] {
        let (dir, model) = (TestDir::new(), model());
        let options = || BuildOptions { store, ..dir.options() };
        let path = dir.path("i");
        let corpus = dir.corpus("a.jsonl", 0, 30);
        build_index(&path, &corpus, Some(&embedder(&model)), &options()).unwrap();
        let more = dir.corpus("b.jsonl", 30, 45);
        append_to_index(&path, &more, Some(&embedder(&model)), &options()).unwrap();
        let deleted: Vec<String> =
            (0..45).filter(|r| r % 3 == 1).map(|r| format!("d{r}")).collect();
        let deleted: Vec<&str> = deleted.iter().map(String::as_str).collect();
        delete_from_index(&path, &deleted, false).unwrap();
        let dense = found(&dir, "i")[..2].to_vec();
        // A search that has the index open goes on with the old files.
        let open = dir.open("i");

        let done = compact_index(&path, &options()).unwrap();
        assert!(done.bytes > 0, "{done:?}");
        assert_eq!((done.rows, done.removed), (30, 15));
        assert_eq!(open.row(44).unwrap().text, text(44));
        assert_eq!(found(&dir, "i")[..2], dense);
        dir.open("i").verify(&rankforge_base::Silent).unwrap();

        // Everything but the names and numbers of the run is as in an index of the rest.
        let rest: String = (0..45)
            .filter(|row| row % 3 != 1)
            .map(|row| {
                let (id, year) = (format!("d{row}"), 1900 + row);
                let row = serde_json::json!({ "id": id, "text": text(row), "year": year });
                format!("{row}\n")
            })
            .collect();
        let rest = dir.write("rest.jsonl", &rest);
        build_index(&dir.path("rest"), &rest, Some(&embedder(&model)), &options()).unwrap();
        assert_eq!(found(&dir, "i"), found(&dir, "rest"), "{store}");
        let content = |name: &str| {
            let all = files(&dir.path(name), &["manifest.json"]);
            all.into_iter().filter(|(name, _)| !name.starts_with("bm25")).collect::<Vec<_>>()
        };
        assert!(content("i") == content("rest"), "{store}");
        let blocks = |name: &str| dir.open(name).manifest().blocks.clone();
        assert_eq!(blocks("i"), blocks("rest"));

        // The ids are free, and the index grows and is compacted again.
        let again = dir.corpus("c.jsonl", 1, 2);
        append_to_index(&path, &again, Some(&embedder(&model)), &options()).unwrap();
        assert_eq!(dir.open("i").manifest().live_rows(), 31);
        let nothing = Compacted { rows: 31, removed: 0, bytes: 0 };
        assert_eq!(compact_index(&path, &options()).unwrap(), nothing);
    }
}

#[test]
fn what_cannot_be_compacted_stays_as_it_is() {
    let (dir, model) = (TestDir::new(), model());
    let path = dir.path("i");
    let corpus = dir.corpus("a.jsonl", 0, 20);
    build_index(&path, &corpus, Some(&embedder(&model)), &dir.options()).unwrap();
    delete_from_index(&path, &["d3"], false).unwrap();
    let before = files(&path, &[]);

    let options = dir.options();
    options.stop.request();
    let error = compact_index(&path, &options).unwrap_err();
    assert!(matches!(error, IndexError::NotCompacted { .. }), "{error}");
    assert!(files(&path, &[]) == before);

    let rows = path.join("rows.jsonl");
    let good = std::fs::read(&rows).unwrap();
    let altered = String::from_utf8(good.clone()).unwrap().replacen("owl", "own", 1);
    std::fs::write(&rows, altered).unwrap();
    let error = compact_index(&path, &dir.options()).unwrap_err().to_string();
    assert!(error.contains("the file was altered"), "{error}");
    std::fs::write(&rows, good).unwrap();
    assert!(files(&path, &[]) == before);

    std::fs::write(path.join("notes.txt"), "mine").unwrap();
    let error = compact_index(&path, &dir.options()).unwrap_err().to_string();
    assert!(error.contains("notes.txt"), "{error}");
    std::fs::remove_file(path.join("notes.txt")).unwrap();

    let all: Vec<String> = (0..20).filter(|row| *row != 3).map(|row| format!("d{row}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    delete_from_index(&path, &all, false).unwrap();
    let error = compact_index(&path, &dir.options()).unwrap_err().to_string();
    assert!(error.contains("a text that is not deleted"), "{error}");
    assert!(compact_index(&dir.path("none"), &dir.options()).is_err());
    assert!(!dir.path("none").exists());
}
