//! Damaged files, one by one.

use crate::support::{TestDir, embedder, files, model};
use rankforge_base::Silent;
use rankforge_index::{Index, Store, build_index};

/// Opens and verifies the index; the message of the error.
fn error(path: &std::path::Path) -> Option<String> {
    match Index::open(path).and_then(|index| index.verify(&Silent)) {
        Ok(()) => None,
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn every_file_that_is_cut_altered_or_missing_is_named() {
    let (dir, model) = (TestDir::new(), model());
    let corpus = dir.corpus("c.jsonl", 0, 30);
    for store in [Store::Float32, Store::Float16] {
        let path = dir.path(&format!("i-{store}"));
        let options = rankforge_index::BuildOptions { store, ..dir.options() };
        build_index(&path, &corpus, Some(&embedder(&model)), &options).unwrap();
        assert_eq!(error(&path), None);
        for (name, bytes) in files(&path, &[]) {
            let file = path.join(&name);
            let leaf = file.file_name().unwrap().to_str().unwrap();
            let mut damaged = vec![None, Some(bytes[..bytes.len() - 1].to_vec())];
            for place in [0, bytes.len() / 2, bytes.len() - 1] {
                let mut altered = bytes.clone();
                altered[place] ^= 0x20;
                damaged.push(Some(altered));
            }
            for damaged in damaged {
                match &damaged {
                    None => std::fs::remove_file(&file).unwrap(),
                    Some(bytes) => std::fs::write(&file, bytes).unwrap(),
                }
                let found = error(&path);
                // A manifest has no checksum, and a digit of one of its checksums may be altered,
                // or a character that means nothing.
                let harmless = name == "manifest.json" && damaged.is_some();
                match found {
                    Some(message) if name != "manifest.json" => {
                        assert!(message.contains(leaf), "{name}: {message}");
                    }
                    Some(_) => {}
                    None => assert!(harmless, "damage to {name} was not noticed"),
                }
                std::fs::write(&file, &bytes).unwrap();
            }
        }
        assert_eq!(error(&path), None);
    }
}

#[test]
fn the_rows_of_an_altered_block_are_named() {
    let (dir, model) = (TestDir::new(), model());
    let corpus = dir.corpus("c.jsonl", 0, 30);
    build_index(&dir.path("i"), &corpus, Some(&embedder(&model)), &dir.options()).unwrap();
    let file = dir.path("i/vectors.f32");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[20 * 20 * 4] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = error(&dir.path("i")).unwrap();
    assert!(error.contains("vectors.f32: rows 17 to 24: the checksum is another"), "{error}");
}

#[test]
fn bytes_behind_the_last_block_are_no_part_of_the_index() {
    let (dir, model) = (TestDir::new(), model());
    let corpus = dir.corpus("c.jsonl", 0, 30);
    build_index(&dir.path("i"), &corpus, Some(&embedder(&model)), &dir.options()).unwrap();
    for name in ["rows.jsonl", "rows.ends", "rows.ids", "vectors.bytes", "vectors.f32"] {
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.append(true).open(dir.path("i").join(name)).unwrap();
        std::io::Write::write_all(&mut file, b"abc").unwrap();
    }
    assert_eq!(error(&dir.path("i")), None);
    assert_eq!(dir.open("i").row(29).unwrap().id, "d29");
}

#[test]
fn an_index_of_a_later_version_is_refused() {
    let dir = TestDir::new();
    build_index(&dir.path("i"), &dir.corpus("c.jsonl", 0, 3), None, &dir.options()).unwrap();
    let file = dir.path("i/manifest.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
    let error = error(&dir.path("i")).unwrap();
    assert!(error.contains("`version` 1, got \"rankforge index\" and 2"), "{error}");
}
