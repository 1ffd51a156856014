//! Options: names, checks, aliases, reproducibility, the cache.

use super::{mine, n_tuples, pairs, shown};
use crate::support::{Heard, TableEncoder, by_angle, message, scorer, strings, table, text};
use rankforge::Device;
use rankforge::encoder::{DualEncoder, LoadOptions, Silent, train_word_piece};
use rankforge::mining::{
    Mined, MiningOptions, OutputFormat, SamplingStrategy, TextEncoder, mine_hard_negatives,
};
use serde_json::json;

fn encoder() -> TableEncoder {
    by_angle(&[("q", 0.0), ("p", 20.0), ("a", 30.0), ("b", 40.0), ("c", 50.0)])
}

fn mined(options: &MiningOptions) -> Result<Mined, rankforge::Error> {
    mine(&pairs(&[("q", "p")]), &encoder(), options, &strings(&["a", "b", "c"]))
}

/// What mining says of these options.
fn heard(options: &MiningOptions) -> (Mined, Heard) {
    let heard = Heard::default();
    let corpus = strings(&["a", "b", "c"]);
    let rows = pairs(&[("q", "p")]);
    let mined =
        mine_hard_negatives(&rows, &encoder(), options, None, Some(&corpus), &heard).unwrap();
    (mined, heard)
}

#[test]
fn names_and_defaults_are_those_of_sentence_transformers() {
    let options: MiningOptions = serde_json::from_value(json!({})).unwrap();
    assert_eq!(options, MiningOptions::default());
    assert_eq!(
        serde_json::to_value(&options).unwrap(),
        json!({
            "anchor_column_name": null, "positive_column_name": null, "range_min": 0,
            "range_max": null, "max_score": null, "min_score": null, "absolute_margin": null,
            "relative_margin": null, "num_negatives": 3, "sampling_strategy": "top",
            "query_prompt_name": null, "query_prompt": null, "corpus_prompt_name": null,
            "corpus_prompt": null, "include_positives": false, "output_format": "triplet",
            "output_scores": false, "batch_size": 32, "faiss_batch_size": 16384,
            "use_faiss": false, "use_multi_process": false, "verbose": true,
            "cache_folder": null, "as_triplets": null, "margin": null, "seed": 42,
        })
    );
    for (name, format) in [
        ("triplet", OutputFormat::Triplet),
        ("n-tuple", OutputFormat::NTuple),
        ("labeled-pair", OutputFormat::LabeledPair),
        ("labeled-list", OutputFormat::LabeledList),
        ("n-tuple-scores", OutputFormat::NTupleScores),
    ] {
        let options: MiningOptions =
            serde_json::from_value(json!({ "output_format": name })).unwrap();
        assert_eq!((options.output_format, format.to_string().as_str()), (format, name));
    }
    for (options, part) in [
        (json!({ "output_format": "pairs" }), "Invalid output_format: pairs"),
        (json!({ "sampling_strategy": "best" }), "'top' or 'random'"),
        (json!({ "num_negative": 3 }), "num_negative"),
        (json!({ "use_multi_process": ["cuda:0"] }), "boolean"),
    ] {
        let text = serde_json::from_value::<MiningOptions>(options).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn options_that_cannot_be_met_are_refused() {
    let base = MiningOptions::default;
    for (options, part) in [
        (MiningOptions { num_negatives: 0, ..base() }, "at least 1, got num_negatives=0"),
        (MiningOptions { num_negatives: -3, ..base() }, "at least 1, got num_negatives=-3"),
        (MiningOptions { range_min: -1, ..base() }, "range_min must be non-negative"),
        (
            MiningOptions { range_min: 5, range_max: Some(5), ..base() },
            "range_min must be smaller than range_max, got range_min=5 and range_max=5",
        ),
        (MiningOptions { range_max: Some(-2), ..base() }, "range_min must be smaller"),
        (
            MiningOptions { range_min: 2, range_max: Some(5), num_negatives: 10, ..base() },
            "Cannot mine 10 negatives per query: only 3 candidates remain",
        ),
        (MiningOptions { faiss_batch_size: 0, ..base() }, "faiss_batch_size"),
        (MiningOptions { faiss_batch_size: -1, ..base() }, "expected a positive integer, got -1"),
        (MiningOptions { max_score: Some(f64::NAN), ..base() }, "max_score"),
        (MiningOptions { absolute_margin: Some(f64::INFINITY), ..base() }, "absolute_margin"),
    ] {
        let text = message(mined(&options));
        assert!(text.contains(part), "{text}");
    }
    // A window that fits exactly will do.
    let options = MiningOptions { range_min: 1, range_max: Some(3), ..n_tuples(2) };
    assert_eq!(shown(&mined(&options).unwrap().rows), ["q p b c"]);
}

#[test]
fn the_range_has_room_for_what_filters_drop() {
    let range_max = |options: MiningOptions| mined(&options).unwrap().summary.range_max;
    let base = || MiningOptions { range_min: 1, num_negatives: 2, ..MiningOptions::default() };
    assert_eq!(range_max(base()), 1 + 2 + 1);
    assert_eq!(range_max(MiningOptions { absolute_margin: Some(0.1), ..base() }), 1 + 20 + 1);
    assert_eq!(range_max(MiningOptions { relative_margin: Some(0.1), ..base() }), 1 + 20 + 1);
    assert_eq!(range_max(MiningOptions { max_score: Some(1.0), ..base() }), 1 + 20 + 1);
    assert_eq!(range_max(MiningOptions { min_score: Some(-1.0), ..base() }), 1 + 2 + 1);
    assert_eq!(range_max(MiningOptions { range_max: Some(17), ..base() }), 17);
}

#[test]
fn deprecated_names_still_work_and_warn() {
    let (with_alias, said) = heard(&MiningOptions { margin: Some(0.2), ..n_tuples(1) });
    let modern = mined(&MiningOptions { absolute_margin: Some(0.2), ..n_tuples(1) }).unwrap();
    assert_eq!((with_alias.rows, with_alias.lines), (modern.rows, modern.lines));
    assert!(said.warnings()[0].contains("absolute_margin is set to 0.2"), "{:?}", said.warnings());
    for (triplets, names) in [
        (true, vec!["query", "answer", "negative"]),
        (false, vec!["query", "answer", "negative_1", "negative_2", "negative_3"]),
    ] {
        let options = MiningOptions { as_triplets: Some(triplets), ..MiningOptions::default() };
        let (mined, said) = heard(&options);
        assert_eq!(mined.rows.column_names(), names);
        assert!(said.warnings()[0].contains("as_triplets is deprecated"));
    }
    let (_, said) =
        heard(&MiningOptions { output_format: OutputFormat::NTupleScores, ..n_tuples(1) });
    assert!(said.warnings()[0].contains("n-tuple-scores is deprecated"));
}

#[test]
fn nothing_is_ignored_in_silence() {
    let (mined, said) =
        heard(&MiningOptions { use_faiss: true, use_multi_process: true, ..n_tuples(1) });
    assert!(said.messages()[0].contains("use_faiss"), "{:?}", said.messages());
    assert!(said.messages()[1].contains("use_multi_process"));
    assert_eq!(said.messages()[2..], mined.lines);
    let (mined, said) = heard(&MiningOptions { verbose: false, ..n_tuples(1) });
    assert!(said.messages().is_empty() && !mined.lines.is_empty());
    let said = Heard::default();
    let model = scorer(|_, _| 1.0);
    let rows = pairs(&[("q", "p")]);
    let corpus = strings(&["a"]);
    mine_hard_negatives(&rows, &encoder(), &n_tuples(1), Some(&model), Some(&corpus), &said)
        .unwrap();
    assert!(said.warnings()[0].contains("cross-encoder is not used"), "{:?}", said.warnings());
    assert!(model.calls.lock().unwrap().is_empty());
}

#[test]
fn columns_are_chosen_by_name_or_by_place() {
    let rows = table(vec![
        ("id", vec![text("1")]),
        ("positive", vec![text("p")]),
        ("question", vec![text("q")]),
    ]);
    let named = |anchor: Option<&str>, positive: Option<&str>| MiningOptions {
        anchor_column_name: anchor.map(str::to_owned),
        positive_column_name: positive.map(str::to_owned),
        ..n_tuples(1)
    };
    let corpus = strings(&["a"]);
    let mined = mine(&rows, &encoder(), &named(Some("question"), None), &corpus).unwrap();
    assert_eq!(mined.rows.column_names(), ["question", "positive", "negative_1"]);
    assert_eq!(shown(&mined.rows), ["q p a"]);
    let got = message(mine(&rows, &encoder(), &named(Some("positive"), None), &corpus));
    assert!(got.contains("same column \"positive\""), "{got}");
    let said = Heard::default();
    let options = named(Some("question"), Some("answer"));
    mine_hard_negatives(&rows, &encoder(), &options, None, Some(&corpus), &said).unwrap();
    let warning = &said.warnings()[0];
    assert!(
        warning.contains("positive_column_name") && warning.contains("\"answer\""),
        "{warning}"
    );
}

#[test]
fn prompts_and_batch_size_reach_the_encoder() {
    let options = MiningOptions {
        query_prompt: Some("query: ".to_owned()),
        corpus_prompt_name: Some("passage".to_owned()),
        batch_size: 7,
        ..n_tuples(1)
    };
    let encoder = encoder();
    mine(&pairs(&[("q", "p"), ("q", "p")]), &encoder, &options, &strings(&["a", "a"])).unwrap();
    let calls = encoder.calls.lock().unwrap();
    let [(first, texts, corpus), (second, queries, query)] = calls.as_slice() else { panic!() };
    assert_eq!((first.as_str(), *texts, second.as_str(), *queries), ("documents", 2, "queries", 1));
    assert!(corpus.normalize_embeddings && query.normalize_embeddings);
    assert_eq!((corpus.batch_size, query.batch_size), (7, 7));
    assert_eq!((query.prompt.as_deref(), query.prompt_name.as_deref()), (Some("query: "), None));
    assert_eq!((corpus.prompt.as_deref(), corpus.prompt_name.as_deref()), (None, Some("passage")));
}

/// Sixty texts and twenty queries around the circle.
fn circle() -> (TableEncoder, Vec<String>, Vec<(String, String)>) {
    let texts: Vec<String> = (0..60).map(|index| format!("d{index}")).collect();
    let queries: Vec<String> = (0..20).map(|index| format!("q{index}")).collect();
    let mut angles: Vec<(&str, f32)> =
        texts.iter().zip(0..).map(|(name, index)| (name.as_str(), index as f32 * 6.1)).collect();
    angles
        .extend(queries.iter().zip(0..).map(|(name, index)| (name.as_str(), index as f32 * 17.3)));
    let rows = queries.iter().zip(&texts).map(|(query, text)| (query.clone(), text.clone()));
    (by_angle(&angles), texts.clone(), rows.collect())
}

fn mine_circle(options: &MiningOptions) -> Mined {
    let (encoder, corpus, rows) = circle();
    let rows: Vec<(&str, &str)> =
        rows.iter().map(|(query, text)| (query.as_str(), text.as_str())).collect();
    mine(&pairs(&rows), &encoder, options, &corpus).unwrap()
}

#[test]
fn chunks_of_one_query_find_what_one_search_finds() {
    for sampling_strategy in [SamplingStrategy::Top, SamplingStrategy::Random] {
        let options = MiningOptions { sampling_strategy, range_max: Some(30), ..n_tuples(4) };
        let whole = mine_circle(&options);
        for faiss_batch_size in [1, 3, 20, 1000] {
            let options = MiningOptions { faiss_batch_size, ..options.clone() };
            assert_eq!(mine_circle(&options), whole);
        }
    }
}

#[test]
fn random_sampling_follows_the_seed_and_spares_no_place() {
    let options = |seed| MiningOptions {
        sampling_strategy: SamplingStrategy::Random,
        seed,
        range_min: 2,
        range_max: Some(12),
        ..n_tuples(3)
    };
    assert_eq!(mine_circle(&options(1)), mine_circle(&options(1)));
    assert_ne!(mine_circle(&options(1)).rows, mine_circle(&options(2)).rows);
    let window = MiningOptions { sampling_strategy: SamplingStrategy::Top, ..options(0) };
    let window = MiningOptions { num_negatives: 10, ..window };
    let window = shown(&mine_circle(&window).rows);
    let mut drawn = std::collections::BTreeSet::new();
    for seed in 0..40 {
        for (row, all) in shown(&mine_circle(&options(seed)).rows).iter().zip(&window) {
            let all: Vec<&str> = all.split(' ').skip(2).collect();
            let places: Vec<usize> = row
                .split(' ')
                .skip(2)
                .map(|text| all.iter().position(|other| *other == text).unwrap())
                .collect();
            assert!(places.is_sorted_by(|a, b| a < b), "distinct, by falling score: {places:?}");
            drawn.extend(places);
        }
    }
    assert_eq!(drawn.len(), 10, "every place of the window is drawn at times");
}

#[test]
fn random_sampling_takes_all_when_there_are_too_few() {
    let options = MiningOptions {
        sampling_strategy: SamplingStrategy::Random,
        num_negatives: 5,
        ..MiningOptions::default()
    };
    assert_eq!(shown(&mined(&options).unwrap().rows), ["q p a", "q p b", "q p c"]);
}

#[test]
fn the_cache_saves_embeddings_and_knows_what_they_depend_on() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let options = MiningOptions { cache_folder: Some(cache.clone()), ..n_tuples(1) };
    let rows = pairs(&[("q", "p")]);
    let corpus = strings(&["a", "b", "c"]);
    let run = |options: &MiningOptions, encoder: &TableEncoder| {
        mine_hard_negatives(&rows, encoder, options, None, Some(&corpus), &Silent).unwrap()
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
    assert!(second.calls.lock().unwrap().is_empty(), "nothing is encoded twice");
    assert_eq!(again.rows, first.rows);
    assert!(again.lines[1].contains("Loaded corpus") && again.lines[1].ends_with("(shape=(4, 2))"));
    // Another prompt, other texts and another model have files of their own.
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
    let (first, _) = heard(&options);
    let whole: Vec<(std::path::PathBuf, Vec<u8>)> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    for (path, bytes) in &whole {
        std::fs::write(path, &bytes[..bytes.len() - 3]).unwrap();
    }
    let (again, said) = heard(&options);
    assert_eq!(again.rows, first.rows);
    assert_eq!(said.warnings().len(), 2, "{:?}", said.warnings());
    for (path, bytes) in &whole {
        assert_eq!(std::fs::read(path).unwrap(), *bytes);
    }
}

#[test]
fn the_fingerprint_of_a_model_follows_its_numbers_and_its_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::cpu(Some(1)).unwrap();
    let fingerprint = |texts: &[&str], seed: u64, truncate_dim: Option<usize>| {
        let tokenizer = train_word_piece(texts, 60).unwrap();
        let options = LoadOptions { seed, truncate_dim, ..LoadOptions::new(&device) };
        DualEncoder::new_static(tokenizer, 8, &options).fingerprint(folder.path()).unwrap()
    };
    let (texts, others) = (["hot tea", "cold tea"], ["hot bread", "cold bread"]);
    let base = fingerprint(&texts, 1, None);
    assert_eq!(base, fingerprint(&texts, 1, None));
    assert_ne!(base, fingerprint(&texts, 2, None), "other numbers");
    assert_ne!(base, fingerprint(&others, 1, None), "another tokenizer");
    assert_ne!(base, fingerprint(&texts, 1, Some(4)), "fewer dimensions");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing stays behind");
}
