//! Messages are plain English: none shows a value in the notation of Rust's `Debug`.

use std::path::{Path, PathBuf};

/// Where `{:?}` stands outside assertions and tests, and why: file, part of the line.
const ALLOWED: [(&str, &str); 19] = [
    // Shapes, as `[768, 384]`.
    ("rankforge-encoder/src/checkpoint.rs", "got {got:?}"),
    ("rankforge-encoder/src/dual_encoder/static_embedding.rs", "got {shape:?}"),
    ("rankforge-encoder/src/dual_encoder/static_embedding.rs", "got {got:?}"),
    ("rankforge-encoder/src/error.rs", "of shape {shape:?}"),
    ("rankforge-encoder/src/weights/header.rs", "of shape {:?}"),
    ("rankforge/src/training/optimizer_file.rs", "expected F32 {shape:?}"),
    // Floats that are read back: the shortest text of their value.
    ("rankforge-data/src/writer.rs", "{number:?}"),
    ("rankforge/src/evaluation/record.rs", "{value:?}"),
    ("rankforge/src/model_card/dataset.rs", "{number:?}"),
    // Cells of data sets, quoted and escaped.
    ("rankforge-data/src/value.rs", "{start:?}"),
    // Names that are those of PyTorch.
    ("rankforge/src/model_card/architecture.rs", "{activation:?}"),
    ("rankforge/src/model_card/architecture.rs", "{gate:?}"),
    ("rankforge/src/model_card/architecture.rs", "{mode:?}"),
    // Keys that nobody reads.
    ("rankforge-encoder/src/parts.rs", "hash.update("),
    ("rankforge/src/mining/cache.rs", "hash.update("),
    ("rankforge/src/recipe/mined_cache.rs", "{activation:?}"),
    ("rankforge/src/training/no_duplicates.rs", "value_text(item)"),
    // Assertions of more than one line.
    ("rankforge-cli/src/table.rs", "of a table with columns {:?}"),
    ("rankforge-encoder/src/architecture.rs", "pooling must be the first stage"),
];

#[test]
fn no_message_shows_rusts_debug_text() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut unused = ALLOWED.to_vec();
    let mut seen = 0;
    for file in sources(crates) {
        let name = file.strip_prefix(crates).unwrap().to_str().unwrap().replace('\\', "/");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for (index, line) in text.lines().enumerate() {
            let in_assertion = ["assert", "panic!(", "unreachable!("];
            if !(line.contains(":?}") || line.contains(":#?}"))
                || in_assertion.iter().any(|part| line.contains(part))
            {
                continue;
            }
            seen += 1;
            let allowed = ALLOWED.iter().find(|(file, part)| name == *file && line.contains(part));
            let allowed = allowed.unwrap_or_else(|| panic!("{name}, line {}: {line}", index + 1));
            unused.retain(|entry| entry != allowed);
        }
    }
    assert!(seen >= ALLOWED.len(), "{seen} lines");
    assert!(unused.is_empty(), "these lines are gone: {unused:?}");
}

/// The source files of all crates but the kernels, which assert and have no messages.
fn sources(crates: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path().join("src")).collect();
    folders.retain(|folder| !folder.starts_with(crates.join("rankforge-kernels")));
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
