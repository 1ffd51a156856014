//! The `use` lines and other paths of every crate: modules do not import each other in circles, and
//! import items from the file that defines them or, from another folder, from that folder's
//! `mod.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The modules of a crate by path (`training::run`; empty for the root), with the modules that each
/// imports from.
struct Modules {
    name: String,
    /// What each module re-exports, by name.
    exports: BTreeMap<String, BTreeSet<String>>,
    imports: BTreeMap<String, BTreeSet<Import>>,
}

/// `use crate::module::Item`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    module: String,
    item: String,
}

fn crates() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut crates: Vec<PathBuf> = entries.filter(|path| path.join("src").is_dir()).collect();
    crates.sort();
    crates
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

impl Modules {
    fn read(folder: &Path) -> Modules {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let mut files = Vec::new();
        sources(&folder.join("src"), &mut files);
        let mut texts = BTreeMap::new();
        for file in files {
            let relative = file.strip_prefix(folder.join("src")).unwrap().with_extension("");
            let mut parts: Vec<String> =
                relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            let last = parts.last().unwrap().clone();
            let root = parts.len() == 1 && (last == "lib" || last == "main");
            if root || last == "mod" {
                parts.pop();
            }
            texts.insert(parts.join("::"), std::fs::read_to_string(&file).unwrap());
        }
        let modules: BTreeSet<String> = texts.keys().cloned().collect();
        let (mut imports, mut exports) = (BTreeMap::new(), BTreeMap::new());
        for (module, text) in texts {
            let uses = uses(&text);
            let exported = uses.iter().filter(|used| used.public);
            let names = exported.filter_map(|used| used.path.last().cloned()).collect();
            exports.insert(module.clone(), names);
            let within = uses.into_iter().map(|used| used.path).filter(|path| path[0] == "crate");
            let paths = within.chain(inline_paths(&text));
            let found = paths.map(|path| resolve(&from_root(&path, &module), &modules)).collect();
            imports.insert(module, found);
        }
        Modules { name, exports, imports }
    }

    /// The edges between modules, or between the first parts of their paths when `coarse`.
    fn edges(&self, coarse: bool) -> BTreeMap<String, BTreeSet<String>> {
        let part = |module: &str| match coarse {
            true => module.split("::").next().unwrap().to_owned(),
            false => module.to_owned(),
        };
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, imports) in &self.imports {
            let from = part(module);
            let targets = imports.iter().map(|import| part(&import.module));
            let targets: Vec<String> = targets.filter(|target| *target != from).collect();
            // The root re-exports from everywhere, and nothing may import from it.
            if !from.is_empty() {
                edges.entry(from).or_default().extend(targets);
            }
        }
        edges
    }
}

/// A path that a `use` names.
struct Use {
    /// Whether the name is visible outside the module.
    public: bool,
    path: Vec<String>,
}

/// Every path of a `use`, braces written out: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn uses(text: &str) -> Vec<Use> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("use ") {
        let line = rest[..start].rsplit('\n').next().unwrap_or("").trim_start();
        let after = &rest[start + "use ".len()..];
        let end = after.find(';').unwrap_or(0);
        // Not the word in a comment, nor the end of a longer one.
        let public = line.starts_with("pub");
        if line.is_empty() || (public && !line.contains("//")) {
            let mut paths = Vec::new();
            expand(&after[..end], Vec::new(), &mut paths);
            found.extend(paths.into_iter().map(|path| Use { public, path }));
        }
        rest = &after[end..];
    }
    found
}

/// Every path that begins with `crate` or `super`, wherever it stands in the code, for a module
/// that is named without a `use` line. What follows an inline module is left out, as `super` is the
/// file itself there.
fn inline_paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in text.lines() {
        let code = line.split("//").next().unwrap_or("").trim();
        if code.ends_with('{') && code.split(' ').any(|word| word == "mod") {
            break;
        }
        let is_path = |letter: char| letter.is_alphanumeric() || "_:".contains(letter);
        for path in code.split(|letter| !is_path(letter)) {
            let path: Vec<String> =
                path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
            // `crate` alone is a visibility.
            if path.len() > 1 && (path[0] == "crate" || path[0] == "super") {
                found.push(path);
            }
        }
    }
    found
}

/// The path from the root of the crate that `path` names in `module`.
fn from_root(path: &[String], module: &str) -> Vec<String> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    let mut whole: Vec<String> = match supers {
        0 => Vec::new(),
        _ => module.split("::").map(str::to_owned).collect(),
    };
    whole.truncate(whole.len().saturating_sub(supers));
    whole.extend(path[supers.max(1)..].iter().cloned());
    whole
}

fn expand(tree: &str, before: Vec<String>, paths: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    match tree.split_once('{') {
        None => {
            let names = tree.split(" as ").next().unwrap().split("::");
            let names = names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
            paths.push(before.into_iter().chain(names).collect());
        }
        Some((head, rest)) => {
            let names = head.split("::").map(|name| name.trim().to_owned());
            let before: Vec<String> =
                before.into_iter().chain(names.filter(|name| !name.is_empty())).collect();
            let inner = rest.trim_end().strip_suffix('}').expect("braces are balanced");
            let (mut depth, mut start) = (0, 0);
            for (index, letter) in inner.char_indices() {
                match letter {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        expand(&inner[start..index], before.clone(), paths);
                        start = index + 1;
                    }
                    _ => {}
                }
            }
            if !inner[start..].trim().is_empty() {
                expand(&inner[start..], before, paths);
            }
        }
    }
}

/// The longest start of a path that is a module, and the item after it.
fn resolve(path: &[String], modules: &BTreeSet<String>) -> Import {
    let name = |length: usize| path[..length].join("::");
    let length = (0..=path.len()).rev().find(|&length| modules.contains(&name(length)));
    let length = length.expect("the root is a module");
    // `use crate::a::b` and `use crate::a::{self}` name the module itself.
    let item = path.get(length).filter(|item| *item != "self").cloned().unwrap_or_default();
    Import { module: name(length), item }
}

/// A module that reaches itself, with the way it takes.
fn circle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit(
        module: &str,
        edges: &BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> bool {
        if let Some(start) = way.iter().position(|step| step == module) {
            way.drain(..start);
            way.push(module.to_owned());
            return true;
        }
        if done.contains(module) {
            return false;
        }
        way.push(module.to_owned());
        for target in edges.get(module).into_iter().flatten() {
            if visit(target, edges, way, done) {
                return true;
            }
        }
        way.pop();
        done.insert(module.to_owned());
        false
    }
    let (mut way, mut done) = (Vec::new(), BTreeSet::new());
    edges.keys().any(|module| visit(module, edges, &mut way, &mut done)).then_some(way)
}

#[test]
fn modules_do_not_import_each_other_in_circles() {
    for folder in crates() {
        let modules = Modules::read(&folder);
        for coarse in [false, true] {
            let found = circle(&modules.edges(coarse)).map(|way| way.join(" -> "));
            assert_eq!(found, None, "{}", modules.name);
        }
    }
}

#[test]
fn items_are_imported_from_the_module_that_defines_them() {
    let mut wrong = Vec::new();
    for folder in crates() {
        let modules = Modules::read(&folder);
        for (module, imports) in &modules.imports {
            for Import { module: from, item } in imports {
                // A folder re-exports what other folders may use; its own files, and everything
                // under the root, go to the file that defines an item.
                let within = from.is_empty() || module.starts_with(&format!("{from}::"));
                if modules.exports[from].contains(item) && within {
                    let name = &modules.name;
                    wrong.push(format!("{name}: {module} imports {item} from crate::{from}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_inline_paths_sees_code_alone() {
    let text = "/// [`crate::x::Y`]\npub(crate) fn f(a: crate::a::B) { // crate::x::Y\n\
                super::c::g(super::super::D); }\nmod tests {\n use super::*;\n}";
    let paths: Vec<String> =
        inline_paths(text).iter().map(|path| from_root(path, "m::n::o").join("::")).collect();
    assert_eq!(paths, ["a::B", "m::n::c::g", "m::D"]);
}

#[test]
fn the_reader_of_use_lines_sees_nested_braces_and_finds_circles() {
    let text =
        "use crate::a::{self, b::{C, D}, E};\n// use crate::x::Y;\npub use crate::f::G as H;";
    let uses = uses(text);
    let paths: Vec<String> = uses.iter().map(|used| used.path.join("::")).collect();
    let expected = ["a::self", "a::b::C", "a::b::D", "a::E", "f::G"];
    assert_eq!(paths, expected.map(|path| format!("crate::{path}")));
    assert_eq!(uses.iter().filter(|used| used.public).count(), 1);
    let edge = |to: &[&str]| to.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let mut edges = BTreeMap::from([
        ("a".to_owned(), edge(&["b", "c"])),
        ("b".to_owned(), edge(&["c"])),
        ("c".to_owned(), edge(&[])),
    ]);
    assert_eq!(circle(&edges), None);
    edges.insert("c".to_owned(), edge(&["b"]));
    assert_eq!(circle(&edges).unwrap(), ["b", "c", "b"]);
}
