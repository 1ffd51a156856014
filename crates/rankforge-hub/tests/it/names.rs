//! Names of repositories, and what variables say.

use rankforge_hub::{HubSettings, Repo, RepoKind};
use std::collections::HashMap;
use std::path::Path;

#[test]
fn names_have_an_owner_and_maybe_a_revision() {
    for (text, id, revision) in [
        ("cross-encoder/ms-marco-MiniLM-L6-v2", "cross-encoder/ms-marco-MiniLM-L6-v2", "main"),
        ("gpt2", "gpt2", "main"),
        ("a/b@refs/convert/parquet", "a/b", "refs/convert/parquet"),
        ("a/b@v1.0", "a/b", "v1.0"),
    ] {
        let repo = Repo::parse(RepoKind::Model, text).unwrap();
        assert_eq!((repo.id.as_str(), repo.revision.as_str()), (id, revision));
    }
    for text in ["", "a/b/c", "../b", "a/..", "a b/c", "a/b@", "a/b@../x", "a--b/c", "-a/b", "a/.b"]
    {
        let error = Repo::parse(RepoKind::Dataset, text).unwrap_err().to_string();
        assert!(error.contains("expected owner/name"), "{text}: {error}");
    }
}

fn settings(variables: &[(&str, &str)]) -> HubSettings {
    let map: HashMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    HubSettings::from_variables(|name| map.get(name).cloned()).unwrap()
}

#[test]
fn variables_are_those_of_the_python_client() {
    let found = settings(&[("HOME", "/home/x")]);
    assert_eq!(found.cache, Path::new("/home/x/.cache/huggingface/hub"));
    assert_eq!(found.endpoint, "https://huggingface.co");
    assert!(found.token.is_none() && !found.offline);
    let found = settings(&[("HOME", "/home/x"), ("XDG_CACHE_HOME", "/cache")]);
    assert_eq!(found.cache, Path::new("/cache/huggingface/hub"));
    let found = settings(&[("HF_HOME", "/hf"), ("HF_HUB_OFFLINE", "Yes"), ("HF_TOKEN", " t\n")]);
    assert_eq!(found.cache, Path::new("/hf/hub"));
    assert!(found.offline && found.token.is_some());
    assert!(!format!("{found:?}").contains("\"t\""), "{found:?}");
    let found = settings(&[("HF_HUB_CACHE", "/hub"), ("HF_ENDPOINT", "http://localhost:1/")]);
    assert_eq!(
        (found.cache.as_path(), &*found.endpoint),
        (Path::new("/hub"), "http://localhost:1")
    );
    let nothing = HubSettings::from_variables(|_| None).unwrap_err().to_string();
    assert!(nothing.contains("HF_HOME"), "{nothing}");

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "secret\n").unwrap();
    let home = folder.path().to_str().unwrap();
    assert!(settings(&[("HF_HOME", home)]).token.is_some());
    let other = folder.path().join("none");
    let found = settings(&[("HF_HOME", home), ("HF_TOKEN_PATH", other.to_str().unwrap())]);
    assert!(found.token.is_none());
}
