use rankforge_base::{DirectoryKind, Entry, FileError, claim_directory, replace_directory};
use std::fs::{self, File};
use std::path::Path;

/// Directories with a file `marker` and otherwise only `.txt` files.
const KIND: DirectoryKind<'static> = DirectoryKind {
    name: "a box",
    recognises: &|entries| entries.iter().any(|entry| entry.name == "marker"),
    owns: &|entry: &Entry| entry.name == "marker" || entry.name.ends_with(".txt"),
    temporary_prefix: ".box-",
};

fn fill(folder: &Path, text: &str) -> Result<(), FileError> {
    fs::write(folder.join("marker"), text).map_err(FileError::io(folder))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_directory_is_created_and_then_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/box");
    replace_directory(&path, &KIND, |new| fill(new, "one")).unwrap();
    fs::write(path.join("notes.txt"), "").unwrap();
    replace_directory(&path, &KIND, |new| fill(new, "two")).unwrap();
    assert_eq!(names(&path), ["marker"]);
    assert_eq!(fs::read_to_string(path.join("marker")).unwrap(), "two");
    assert_eq!(names(path.parent().unwrap()), ["box"]);
}

#[test]
fn an_empty_directory_may_be_filled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("box");
    fs::create_dir(&path).unwrap();
    replace_directory(&path, &KIND, |new| fill(new, "one")).unwrap();
    assert_eq!(names(&path), ["marker"]);
}

#[test]
fn a_failed_fill_leaves_the_old_directory_and_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("box");
    replace_directory(&path, &KIND, |new| fill(new, "old")).unwrap();
    let result = replace_directory(&path, &KIND, |new| {
        fill(new, "new")?;
        Err(FileError::content(new, "no space left on device"))
    });
    assert!(result.unwrap_err().to_string().contains("no space left"));
    assert_eq!(fs::read_to_string(path.join("marker")).unwrap(), "old");
    assert_eq!(names(folder.path()), ["box"]);
}

#[test]
fn foreign_directories_and_files_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path, expected: &str| {
        let error = replace_directory(path, &KIND, |_| -> Result<(), FileError> {
            panic!("{} must not be written", path.display())
        });
        let message = error.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.txt"), "").unwrap();
    refused(&other, "is not a box");
    fs::write(other.join("marker"), "").unwrap();
    fs::write(other.join("photo.jpg"), "").unwrap();
    refused(&other, "holds \"photo.jpg\"");
    refused(&other.join("marker"), "got a file");
    for path in ["/", "..", "a/.."] {
        refused(Path::new(path), "expected the path of a new directory");
    }
    assert_eq!(names(&other), ["marker", "photo.jpg", "thesis.txt"]);
}

/// What a killed process leaves behind: a temporary directory with these entries.
fn leftover(parent: &Path, name: &str, entries: &[&str]) {
    fs::create_dir(parent.join(name)).unwrap();
    for entry in entries {
        fs::write(parent.join(name).join(entry), "").unwrap();
    }
}

#[test]
fn the_next_write_removes_what_killed_processes_left_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    leftover(folder.path(), ".box-killed", &[".owner", "new"]);
    leftover(folder.path(), ".box-killed-at-the-end", &[".owner", "old"]);
    leftover(folder.path(), ".box-killed-at-once", &[]);
    // The only copies of an earlier box and of the new one.
    leftover(folder.path(), ".box-half-renamed", &[".owner", "new", "old"]);
    // Owned by another process.
    leftover(folder.path(), ".box-alive", &[".owner", "new"]);
    let owner = File::open(folder.path().join(".box-alive/.owner")).unwrap();
    owner.lock().unwrap();
    // Not a temporary directory of boxes.
    leftover(folder.path(), ".bag-killed", &[".owner"]);
    replace_directory(&folder.path().join("box"), &KIND, |new| fill(new, "one")).unwrap();
    let expected = [".bag-killed", ".box-alive", ".box-half-renamed", "box"];
    assert_eq!(names(folder.path()), expected);
    drop(owner);
    KIND.remove_abandoned(folder.path());
    assert_eq!(names(folder.path()), [".bag-killed", ".box-half-renamed", "box"]);
}

#[test]
fn a_directory_is_not_removed_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    replace_directory(&first, &KIND, |new| {
        replace_directory(&folder.path().join("second"), &KIND, |new| fill(new, "two"))?;
        fill(new, "one")
    })
    .unwrap();
    assert_eq!(names(folder.path()), ["first", "second"]);
    assert_eq!(names(&first), ["marker"]);
}

#[cfg(unix)]
#[test]
fn the_directory_that_a_link_points_to_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    replace_directory(&target, &KIND, |new| fill(new, "one")).unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    replace_directory(&link, &KIND, |new| fill(new, "two")).unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(target.join("marker")).unwrap(), "two");
    // A link to nothing is not taken for a new directory.
    fs::remove_dir_all(&target).unwrap();
    replace_directory(&link, &KIND, |new| fill(new, "three")).unwrap_err();
    assert!(link.is_symlink());
}

#[cfg(unix)]
#[test]
fn a_directory_is_claimed_by_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let claim = claim_directory(folder.path()).unwrap();
    assert!(claim.is_some());
    let message = claim_directory(folder.path()).unwrap_err().to_string();
    assert!(message.contains("no other process writes to"), "{message}");
    drop(claim);
    claim_directory(folder.path()).unwrap();
}
