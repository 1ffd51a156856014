use rankforge_base::{AtomicFile, FileError, write_atomically};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

#[test]
fn a_file_appears_at_its_path_when_it_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.txt");
    let mut file = AtomicFile::create(&path).unwrap();
    file.write_all(b"....body").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"head").unwrap();
    assert!(!path.exists(), "the file exists before the commit");
    file.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"headbody");
}

#[test]
fn dropping_an_uncommitted_file_deletes_it_and_keeps_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.txt");
    fs::write(&path, "old").unwrap();
    let mut file = AtomicFile::create(&path).unwrap();
    file.write_all(b"new").unwrap();
    drop(file);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_next_file_removes_what_killed_processes_left_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for name in [".rankforge-killed.part", ".rankforge-kept", "mine.part"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let unfinished = AtomicFile::create(&folder.path().join("first.txt")).unwrap();
    write_atomically(&folder.path().join("second.txt"), b"").unwrap();
    unfinished.commit().unwrap();
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".rankforge-kept", "first.txt", "mine.part", "second.txt"]);
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link_and_a_device_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target.txt"), folder.path().join("link.txt"));
    fs::write(&target, "old").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    write_atomically(&link, b"new").unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    let device = folder.path().join("device.txt");
    std::os::unix::fs::symlink("/dev/null", &device).unwrap();
    let message = write_atomically(&device, b"new").unwrap_err().to_string();
    assert!(message.ends_with("got a device or a pipe"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_written_file_has_the_permissions_of_an_ordinary_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mode =
        |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    fs::write(folder.path().join("plain"), "").unwrap();
    write_atomically(&folder.path().join("atomic"), b"").unwrap();
    assert_eq!(mode("atomic"), mode("plain"));
}

#[test]
fn the_error_for_a_parent_that_is_a_file_has_no_temporary_name() {
    let folder = tempfile::tempdir().unwrap();
    let parent = folder.path().join("file");
    fs::write(&parent, "").unwrap();
    let error = write_atomically(&parent.join("x"), b"").unwrap_err().to_string();
    assert!(error.contains("file/x: ") && !error.contains(".rankforge-"), "{error}");
}

#[test]
fn errors_name_the_file_and_carry_a_hint() {
    let error = write_atomically(Path::new("no/such/folder/x"), b"").unwrap_err();
    let expected = "no/such/folder/x: the directory no/such/folder does not exist";
    assert_eq!(error.to_string(), expected);
    let missing = FileError::io(Path::new("x"))(std::io::ErrorKind::NotFound.into());
    assert!(missing.hint().is_some_and(|hint| hint.contains("relative")), "{missing:?}");
    let error = FileError::content(Path::new("x.json"), "expected an object, got a list");
    assert_eq!(error.to_string(), "x.json: expected an object, got a list");
    assert_eq!((error.path(), error.hint()), (Path::new("x.json"), None));
}
