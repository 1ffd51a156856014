//! `rankforge download`, without a network: what it says, and what it finds in a cache. Downloads
//! are tested in rankforge-hub.

use crate::support::{TestDir, finished};
use serde_json::{Value, json};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn offline(dir: &TestDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = dir.command(&[&["download"], arguments].concat());
    command.env("HF_HOME", dir.path("hf")).env("HF_HUB_OFFLINE", "1");
    for name in ["HF_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_ENDPOINT"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let code = output.status.code();
    let finished = finished(output);
    (code, finished.stdout, finished.stderr)
}

#[test]
fn offline_a_repository_of_the_cache_is_found() {
    let dir = TestDir::new();
    let (code, _, error) = offline(&dir, &["owner/model"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("model owner/model: not in ") && error.contains("HF_HUB_OFFLINE"),
        "{error}"
    );
    let folder = dir.path("hf/hub/models--owner--model");
    let snapshot = folder.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(folder.join("refs")).unwrap();
    std::fs::write(folder.join("refs/main"), COMMIT).unwrap();
    let (code, output, _) = offline(&dir, &["owner/model"]);
    assert_eq!((code, output), (Some(0), format!("{}\n", snapshot.display())));
    let (_, output, _) = offline(&dir, &["owner/model", "--json"]);
    let expected = json!({ "path": snapshot, "commit": COMMIT, "downloaded_files": 0 });
    assert_eq!(serde_json::from_str::<Value>(&output).unwrap(), expected);
    let (code, _, error) = offline(&dir, &["--dataset", "owner/model"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("data set owner/model"), "{error}");
}

#[test]
fn what_is_no_name_is_refused() {
    let dir = TestDir::new();
    let (code, _, error) = offline(&dir, &["../model"]);
    assert_eq!(code, Some(1));
    assert!(error.starts_with("error: `../model`: expected owner/name"), "{error}");
    let (code, _, _) = offline(&dir, &["owner/model", "--subset", "x"]);
    assert_eq!(code, Some(2));
}
