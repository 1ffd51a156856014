//! The cache of embeddings between runs.

use super::{mine, mine_recorded, n_tuples, pairs};
use crate::support::{TableEncoder, by_angle, strings};
use rankforge::Device;
use rankforge::encoder::{DualEncoder, Embed, LoadOptions, train_word_piece};
use rankforge::mining::MiningOptions;

fn encoder() -> TableEncoder {
    by_angle(&[("q", 0.0), ("p", 20.0), ("a", 30.0), ("b", 40.0), ("c", 50.0)])
}

#[test]
fn cached_embeddings_depend_on_texts_prompt_and_model() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let options = MiningOptions { cache_folder: Some(cache.clone()), ..n_tuples(1) };
    let rows = pairs(&[("q", "p")]);
    let corpus = strings(&["a", "b", "c"]);
    let run = |options: &MiningOptions, encoder: &TableEncoder| {
        mine(&rows, encoder, options, &corpus).unwrap()
    };
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(&cache).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let first = run(&options, &encoder());
    assert!(first.lines[1].starts_with("[Cache] Saved corpus embeddings to "), "{:?}", first.lines);
    assert_eq!(names().len(), 2);
    assert!(
        names()[0].starts_with("corpus_embeddings_") && names()[1].starts_with("query_embeddings_")
    );
    let second = encoder();
    let again = run(&options, &second);
    assert!(second.calls.lock().unwrap().is_empty(), "cached texts are encoded again");
    assert_eq!(again.rows, first.rows);
    assert!(again.lines[1].contains("Loaded corpus") && again.lines[1].ends_with("(shape=(4, 2))"));
    // A different prompt or model has separate files.
    let prompted = MiningOptions { query_prompt: Some("query: ".to_owned()), ..options.clone() };
    let third = encoder();
    run(&prompted, &third);
    assert_eq!(third.calls.lock().unwrap().len(), 1);
    assert_eq!(names().len(), 3);
    let mut trained = encoder();
    trained.fingerprint = "trained".to_owned();
    run(&options, &trained);
    assert_eq!((trained.calls.lock().unwrap().len(), names().len()), (2, 5));
}

#[test]
fn a_damaged_cache_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let options = MiningOptions { cache_folder: Some(folder.path().to_owned()), ..n_tuples(1) };
    let mined = || mine_recorded(&pairs(&[("q", "p")]), &encoder(), &options, &strings(&["a"]));
    let (first, _) = mined();
    let whole: Vec<(std::path::PathBuf, Vec<u8>)> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    for (path, bytes) in &whole {
        std::fs::write(path, &bytes[..bytes.len() - 3]).unwrap();
    }
    let (again, recorder) = mined();
    assert_eq!(again.rows, first.rows);
    assert_eq!(recorder.warnings().len(), 2, "{:?}", recorder.warnings());
    for (path, bytes) in &whole {
        assert_eq!(std::fs::read(path).unwrap(), *bytes);
    }
}

#[test]
fn the_fingerprint_of_a_model_depends_on_weights_tokenizer_and_dimensions() {
    let device = Device::cpu(Some(1)).unwrap();
    let fingerprint = |texts: &[&str], seed: u64, truncate_dim: Option<usize>| {
        let tokenizer = train_word_piece(texts, 60).unwrap();
        let options = LoadOptions { seed, truncate_dim, ..LoadOptions::new(&device) };
        DualEncoder::new_static(tokenizer, 8, &options).unwrap().fingerprint().unwrap()
    };
    let (texts, others) = (["hot tea", "cold tea"], ["hot bread", "cold bread"]);
    let base = fingerprint(&texts, 1, None);
    assert_eq!(base, fingerprint(&texts, 1, None));
    assert_ne!(base, fingerprint(&texts, 2, None), "other weights");
    assert_ne!(base, fingerprint(&others, 1, None), "another tokenizer");
    assert_ne!(base, fingerprint(&texts, 1, Some(4)), "fewer dimensions");
}
