//! Which crate may depend on which, and which may contain `unsafe` code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The allowed dependencies between crates of this workspace, of every kind (normal, build, dev).
const ALLOWED: [(&str, &str); 19] = [
    ("rankforge-cli", "rankforge-serve"),
    ("rankforge-cli", "rankforge"),
    ("rankforge-cli", "rankforge-index"),
    ("rankforge-cli", "rankforge-hub"),
    ("rankforge-hub", "rankforge-base"),
    ("rankforge-serve", "rankforge-encoder"),
    ("rankforge", "rankforge-encoder"),
    ("rankforge", "rankforge-data"),
    ("rankforge", "rankforge-kernels"),
    ("rankforge", "rankforge-base"),
    ("rankforge", "rankforge-trackers"),
    ("rankforge-trackers", "rankforge-base"),
    ("rankforge-index", "rankforge-encoder"),
    ("rankforge-index", "rankforge-data"),
    ("rankforge-index", "rankforge-kernels"),
    ("rankforge-index", "rankforge-base"),
    ("rankforge-encoder", "rankforge-kernels"),
    ("rankforge-encoder", "rankforge-base"),
    ("rankforge-data", "rankforge-base"),
];

fn crates() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut crates: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    crates.retain(|path| path.join("Cargo.toml").is_file());
    crates.sort();
    assert!(crates.len() >= 8, "expected at least 8 crates, found {crates:?}");
    crates
}

/// Collects the workspace crates in all tables named `*dependencies`, including those of targets.
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
fn crates_have_only_the_allowed_dependencies() {
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
    assert!(seen.len() >= 5, "expected at least 5 dependencies in the manifests, found {seen:?}");
}

#[test]
fn only_kernels_may_contain_unsafe_code() {
    for path in crates() {
        let root = ["src/lib.rs", "src/main.rs"]
            .iter()
            .map(|file| path.join(file))
            .find(|file| file.is_file())
            .unwrap_or_else(|| panic!("{} has neither src/lib.rs nor src/main.rs", path.display()));
        let forbids = std::fs::read_to_string(&root).unwrap().contains("#![forbid(unsafe_code)]");
        let is_kernels = path.ends_with("rankforge-kernels");
        assert_ne!(forbids, is_kernels, "#![forbid(unsafe_code)] in {}", root.display());
    }
}
