//! The crate borders: who may depend on whom, and where `unsafe` may stand.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The only edges there may be, in every kind of dependency.
const ALLOWED: [(&str, &str); 7] = [
    ("rankforge-cli", "rankforge-serve"),
    ("rankforge-cli", "rankforge"),
    ("rankforge-serve", "rankforge-encoder"),
    ("rankforge", "rankforge-encoder"),
    ("rankforge", "rankforge-data"),
    ("rankforge", "rankforge-kernels"),
    ("rankforge-encoder", "rankforge-kernels"),
];

fn crates() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut crates: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    crates.retain(|path| path.join("Cargo.toml").is_file());
    crates.sort();
    assert!(crates.len() >= 6, "the crates are not where they were: {crates:?}");
    crates
}

/// Workspace crates that any table called `*dependencies` names, under `target` too.
fn dependencies(table: &toml::Table, found: &mut BTreeSet<String>) {
    for (key, value) in table {
        let Some(inner) = value.as_table() else { continue };
        if !key.ends_with("dependencies") {
            dependencies(inner, found);
            continue;
        }
        for (name, specification) in inner {
            let package = specification.get("package").and_then(toml::Value::as_str);
            let name = package.unwrap_or(name);
            if name.starts_with("rankforge") {
                found.insert(name.to_owned());
            }
        }
    }
}

#[test]
fn no_crate_has_an_edge_beyond_the_allowed_ones() {
    let mut seen = BTreeSet::new();
    for path in crates() {
        let manifest = std::fs::read_to_string(path.join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        let mut found = BTreeSet::new();
        dependencies(&manifest, &mut found);
        for target in found {
            let edge = (name.as_str(), target.as_str());
            assert!(ALLOWED.contains(&edge), "{name} must not depend on {target}");
            seen.insert(format!("{name} -> {target}"));
        }
    }
    assert!(seen.len() >= 5, "the manifests were not understood: only {seen:?}");
}

#[test]
fn only_kernels_may_hold_unsafe_code() {
    for path in crates() {
        let root = ["src/lib.rs", "src/main.rs"]
            .iter()
            .map(|file| path.join(file))
            .find(|file| file.is_file())
            .unwrap_or_else(|| panic!("{} has no root", path.display()));
        let forbids = std::fs::read_to_string(&root).unwrap().contains("#![forbid(unsafe_code)]");
        let is_kernels = path.ends_with("rankforge-kernels");
        assert_ne!(forbids, is_kernels, "#![forbid(unsafe_code)] in {}", root.display());
    }
}
