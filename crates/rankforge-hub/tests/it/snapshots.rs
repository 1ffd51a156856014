//! Downloads into the cache.

use crate::server::{COMMIT, Server, git_hash};
use rankforge_base::{Reporter, Silent, Stop};
use rankforge_hub::{Hub, HubError, HubSettings, Repo, RepoKind, Snapshot, Token};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

const CONFIG: &[u8] = b"{\"model_type\": \"bert\"}";

fn weights() -> Vec<u8> {
    (0..200_000_u32).map(|index| (index * 31 % 251) as u8).collect()
}

fn server() -> Server {
    let weights = weights();
    Server::start(&[
        ("config.json", CONFIG),
        ("1_Pooling/config.json", b"{}"),
        ("model.safetensors", &weights),
        ("pytorch_model.bin", b"pickle"),
    ])
}

fn hub(server: &Server, cache: &Path, change: impl FnOnce(&mut HubSettings)) -> Hub {
    let mut settings = HubSettings {
        endpoint: server.endpoint.clone(),
        cache: cache.to_owned(),
        token: None,
        offline: false,
        first_wait: Duration::from_millis(1),
    };
    change(&mut settings);
    Hub::new(settings)
}

fn repo() -> Repo {
    Repo::parse(RepoKind::Model, "owner/model").unwrap()
}

fn get(hub: &Hub) -> Result<Snapshot, HubError> {
    hub.snapshot(&repo(), &|path| !path.ends_with(".bin"), &Silent, &Stop::default())
}

#[track_caller]
fn refused(result: Result<Snapshot, HubError>, parts: &[&str]) {
    let error = result.unwrap_err().to_string();
    parts.iter().for_each(|part| assert!(error.contains(part), "{part:?} in {error}"));
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn the_cache_has_the_layout_of_the_python_client() {
    let (server, cache) = (server(), tempfile::tempdir().unwrap());
    let hub = hub(&server, cache.path(), |_| {});
    let snapshot = get(&hub).unwrap();
    let folder = cache.path().join("models--owner--model");
    assert_eq!(snapshot.path, folder.join("snapshots").join(COMMIT));
    assert_eq!(snapshot.downloaded, 3);
    assert_eq!(std::fs::read_to_string(folder.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(std::fs::read(snapshot.path.join("model.safetensors")).unwrap(), weights());
    let link = std::fs::read_link(snapshot.path.join("1_Pooling/config.json")).unwrap();
    assert_eq!(link, Path::new("../../../blobs").join(git_hash(b"{}")));
    assert!(!snapshot.path.join("pytorch_model.bin").exists());
    assert!(server.asked().iter().any(|line| line.starts_with("hub /owner/model/resolve/")));

    // Nothing is downloaded again.
    assert_eq!(get(&hub).unwrap().downloaded, 0);
    assert!(server.asked().iter().all(|line| line.contains("/api/models/owner/model/")));
}

#[test]
fn a_download_that_was_cut_continues_with_the_rest() {
    let (server, cache) = (server(), tempfile::tempdir().unwrap());
    server.change(|state| state.cuts = vec![70_000, 1_000]);
    let snapshot = get(&hub(&server, cache.path(), |_| {})).unwrap();
    assert_eq!(std::fs::read(snapshot.path.join("model.safetensors")).unwrap(), weights());
    let asked = server.asked();
    let large: Vec<&String> = asked.iter().filter(|line| line.starts_with("storage")).collect();
    assert_eq!(large.len(), 3, "{large:?}");
    assert!(large[1].contains("from 70000,") && large[2].contains("from 71000,"), "{large:?}");

    // Another process continues it, too, and a server may send the whole file all the same.
    for whole in [false, true] {
        let cache = tempfile::tempdir().unwrap();
        server.change(|state| state.cuts = vec![50_000, 0, 0, 0, 0, 0]);
        let first = hub(&server, cache.path(), |_| {});
        assert!(matches!(get(&first), Err(HubError::Unavailable { .. })));
        server.change(|state| (state.cuts, state.whole) = (Vec::new(), whole));
        let snapshot = get(&hub(&server, cache.path(), |_| {})).unwrap();
        assert_eq!(snapshot.downloaded, 1, "the small files were there");
        assert_eq!(std::fs::read(snapshot.path.join("model.safetensors")).unwrap(), weights());
    }
}

#[test]
fn content_with_another_hash_or_size_is_thrown_away() {
    for (damaged, part) in [
        (vec![7; 200_000], "the content has the hash"),
        (vec![7; 200_001], "is longer than its 200000 bytes"),
        (vec![7; 100], "of 200000 bytes came"),
    ] {
        let (server, cache) = (server(), tempfile::tempdir().unwrap());
        server.change(|state| state.damaged = Some(damaged));
        refused(get(&hub(&server, cache.path(), |_| {})), &["model.safetensors", part]);
        let folder = cache.path().join("models--owner--model");
        assert!(!folder.join("snapshots").exists(), "no folder without all its files");
        server.change(|state| state.damaged = None);
        get(&hub(&server, cache.path(), |_| {})).unwrap();
    }
}

#[test]
fn the_token_goes_to_the_hub_only() {
    let (server, cache) = (server(), tempfile::tempdir().unwrap());
    get(&hub(&server, cache.path(), |settings| settings.token = Some(Token::new("secret"))))
        .unwrap();
    for line in server.asked() {
        assert_eq!(line.ends_with("token true"), line.starts_with("hub"), "{line}");
    }
}

#[test]
fn refusals_say_what_to_do() {
    let (server, cache) = (server(), tempfile::tempdir().unwrap());
    let with_token = |settings: &mut HubSettings| settings.token = Some(Token::new("secret"));
    for (status, headers, has_token, parts) in [
        (401, "", false, &["model owner/model", "or private: set HF_TOKEN"][..]),
        (404, "", true, &["or private and not open to the owner of the token"]),
        (403, "x-error-code: GatedRepo\r\n", false, &["ask for it at http", "set HF_TOKEN"]),
        (403, "x-error-code: GatedRepo\r\n", true, &["ask for it at http"]),
        (404, "x-error-code: RevisionNotFound\r\n", false, &["no such revision"]),
        (403, "", true, &["is not open to the owner"]),
    ] {
        server.change(|state| state.first = vec![(status, headers.to_owned(), String::new())]);
        let hub = hub(&server, cache.path(), |settings| {
            if has_token {
                with_token(settings)
            }
        });
        refused(get(&hub), parts);
    }
    server.change(|state| state.first = vec![(200, String::new(), "<html>".to_owned())]);
    refused(get(&hub(&server, cache.path(), |_| {})), &["expected an answer in JSON"]);
    let nothing = hub(&server, cache.path(), |_| {});
    let nothing = nothing.snapshot(&repo(), &|_| false, &Silent, &Stop::default());
    refused(nothing, &["no file that can be used"]);
    let entry = "[{\"type\": \"file\", \"path\": \"../x\", \"size\": 1, \"oid\": \"a\"}]";
    let commit = format!("{{\"sha\": \"{COMMIT}\"}}");
    let answers = [commit, entry.to_owned()].map(|body| (200, String::new(), body));
    server.change(|state| state.first = answers.to_vec());
    refused(get(&hub(&server, cache.path(), |_| {})), &["a file at `../x`"]);
}

#[test]
fn a_busy_hub_is_asked_again_and_at_last_the_cache_serves() {
    let (server, cache) = (server(), tempfile::tempdir().unwrap());
    let busy = |count| vec![(503, String::new(), String::new()); count];
    server.change(|state| state.first = busy(3));
    get(&hub(&server, cache.path(), |_| {})).unwrap();

    #[derive(Default)]
    struct Warnings(Mutex<Vec<String>>);
    impl Reporter for Warnings {
        fn begin(&self, _: &str, _: Option<u64>, _: &str) {}
        fn advance(&self, _: u64) {}
        fn end(&self) {}
        fn message(&self, _: &str) {}
        fn warning(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
    let warnings = Warnings::default();
    server.change(|state| state.first = busy(9));
    let own = hub(&server, cache.path(), |_| {});
    let found = own.snapshot(&repo(), &|_| true, &warnings, &Stop::default()).unwrap();
    assert_eq!(found.commit, COMMIT);
    assert!(warnings.0.lock().unwrap()[0].contains("is used as it is in the cache"));

    let empty = tempfile::tempdir().unwrap();
    server.change(|state| {
        state.first = vec![(429, "retry-after: 0\r\n".to_owned(), String::new()); 9]
    });
    refused(get(&hub(&server, empty.path(), |_| {})), &["too many requests", "HF_TOKEN"]);
}

#[test]
fn offline_only_the_cache_is_looked_at() {
    let (server, cache) = (server(), tempfile::tempdir().unwrap());
    let offline = || hub(&server, cache.path(), |settings| settings.offline = true);
    refused(get(&offline()), &["model owner/model", "HF_HUB_OFFLINE"]);
    let online = get(&hub(&server, cache.path(), |_| {})).unwrap();
    server.asked();
    assert_eq!(get(&offline()).unwrap().path, online.path);
    let at_commit = offline().snapshot(&repo().at(COMMIT), &|_| true, &Silent, &Stop::default());
    assert_eq!(at_commit.unwrap().path, online.path);
    assert!(server.asked().is_empty());
}

#[test]
fn a_request_to_stop_leaves_what_came() {
    let (server, cache) = (server(), tempfile::tempdir().unwrap());
    let stop = Stop::default();
    let _guard = stop.guard();
    stop.request();
    let hub = hub(&server, cache.path(), |_| {});
    let stopped = hub.snapshot(&repo(), &|_| true, &Silent, &stop);
    assert!(matches!(stopped, Err(HubError::Interrupted)));
}
