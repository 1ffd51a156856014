//! Options: names, defaults, checks, aliases, prompts and sampling.

use super::{mine, mine_recorded, miner, n_tuples, pairs, shown};
use crate::support::{Recorder, TableEncoder, by_angle, message, scorer, strings, table, text};
use rankforge::encoder::Side;
use rankforge::mining::{HardNegativeMiner, Mined, MiningOptions, OutputFormat, SamplingStrategy};
use serde_json::{Value, json};
use std::sync::Arc;

fn encoder() -> TableEncoder {
    by_angle(&[("q", 0.0), ("p", 20.0), ("a", 30.0), ("b", 40.0), ("c", 50.0)])
}

fn mined(options: &MiningOptions) -> Result<Mined, rankforge::Error> {
    mine(&pairs(&[("q", "p")]), &encoder(), options, &strings(&["a", "b", "c"]))
}

/// Mines with these options, and records messages and warnings.
fn recorded(options: &MiningOptions) -> (Mined, Arc<Recorder>) {
    mine_recorded(&pairs(&[("q", "p")]), &encoder(), options, &strings(&["a", "b", "c"]))
}

#[test]
fn names_and_defaults_agree_with_sentence_transformers() {
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
    let fields = MiningOptions::fields();
    let defaults: serde_json::Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), field.default.clone())).collect();
    assert_eq!(
        json!(defaults),
        json!(options),
        "the fields that command line flags are generated from"
    );
    assert!(fields.iter().all(|field| field.help.len() > 10 && !field.help.ends_with('.')));
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
fn invalid_options_are_refused() {
    let base = MiningOptions::default;
    for (options, part) in [
        (MiningOptions { num_negatives: 0, ..base() }, "num_negatives: expected at least 1, got 0"),
        (
            MiningOptions { num_negatives: -3, ..base() },
            "num_negatives: expected at least 1, got -3",
        ),
        (MiningOptions { range_min: -1, ..base() }, "range_min: expected at least 0, got -1"),
        (
            MiningOptions { range_min: 5, range_max: Some(5), ..base() },
            "range_min: expected less than range_max (5), got 5",
        ),
        (
            MiningOptions { range_max: Some(-2), ..base() },
            "range_min: expected less than range_max (-2), got 0",
        ),
        (
            MiningOptions { range_min: 2, range_max: Some(5), num_negatives: 10, ..base() },
            "num_negatives: expected at most 3, the candidates that are left of range_max=5 when \
             the first range_min=2 are skipped, got 10",
        ),
        (
            MiningOptions { faiss_batch_size: 0, ..base() },
            "faiss_batch_size: expected at least 1, got 0",
        ),
        (
            MiningOptions { max_score: Some(f64::NAN), ..base() },
            "max_score: expected a finite number, got NaN",
        ),
        (
            MiningOptions { absolute_margin: Some(f64::INFINITY), ..base() },
            "absolute_margin: expected a finite number, got inf",
        ),
    ] {
        assert_eq!(message(mined(&options)), part);
    }
    // A range with exactly the number of negatives is valid.
    let options = MiningOptions { range_min: 1, range_max: Some(3), ..n_tuples(2) };
    assert_eq!(shown(&mined(&options).unwrap().rows), ["q p b c"]);
}

#[test]
fn the_default_range_allows_for_candidates_that_filters_drop() {
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
    let (with_alias, recorder) = recorded(&MiningOptions { margin: Some(0.2), ..n_tuples(1) });
    let modern = mined(&MiningOptions { absolute_margin: Some(0.2), ..n_tuples(1) }).unwrap();
    assert_eq!((with_alias.rows, with_alias.lines), (modern.rows, modern.lines));
    assert!(
        recorder.warnings()[0].contains("absolute_margin is set to 0.2"),
        "{:?}",
        recorder.warnings()
    );
    for (triplets, names) in [
        (true, vec!["query", "answer", "negative"]),
        (false, vec!["query", "answer", "negative_1", "negative_2", "negative_3"]),
    ] {
        let options = MiningOptions { as_triplets: Some(triplets), ..MiningOptions::default() };
        let (mined, recorder) = recorded(&options);
        assert_eq!(mined.rows.column_names(), names);
        assert!(recorder.warnings()[0].contains("as_triplets is deprecated"));
    }
    let (_, recorder) =
        recorded(&MiningOptions { output_format: OutputFormat::NTupleScores, ..n_tuples(1) });
    assert!(recorder.warnings()[0].contains("n-tuple-scores is deprecated"));
}

#[test]
fn options_without_effect_are_reported() {
    let (mined, recorder) =
        recorded(&MiningOptions { use_faiss: true, use_multi_process: true, ..n_tuples(1) });
    assert!(recorder.messages()[0].contains("use_faiss"), "{:?}", recorder.messages());
    assert!(recorder.messages()[1].contains("use_multi_process"));
    assert_eq!(recorder.messages()[2..], mined.lines);
    let (mined, recorder) = recorded(&MiningOptions { verbose: false, ..n_tuples(1) });
    assert!(recorder.messages().is_empty() && !mined.lines.is_empty());
    let recorder = Arc::new(Recorder::default());
    let (encoder, model, corpus) = (encoder(), scorer(|_, _| 1.0), strings(&["a"]));
    let miner = HardNegativeMiner {
        cross_encoder: Some(&model),
        reporter: recorder.clone(),
        ..miner(&encoder, &n_tuples(1), &corpus)
    };
    miner.mine(&pairs(&[("q", "p")])).unwrap();
    assert!(
        recorder.warnings()[0].contains("cross-encoder is not used"),
        "{:?}",
        recorder.warnings()
    );
    assert!(model.calls.lock().unwrap().is_empty());
}

#[test]
fn columns_are_chosen_by_name_or_by_position() {
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
    let expected = "positive_column_name: expected a column other than that of the anchors, \
                    \"positive\", got \"positive\"";
    assert_eq!(got, expected);
    let options = named(Some("question"), Some("answer"));
    let (_, recorder) = mine_recorded(&rows, &encoder(), &options, &corpus);
    let expected = "positive_column_name: there is no column \"answer\" among id, positive, \
                    question; using \"positive\" instead";
    assert_eq!(recorder.warnings(), [expected]);
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
    assert_eq!((*first, *texts, *second, *queries), (Side::Document, 2, Side::Query, 1));
    assert!(corpus.normalize_embeddings && query.normalize_embeddings);
    assert_eq!((corpus.batch_size, query.batch_size), (7, 7));
    assert_eq!((query.prompt.as_deref(), query.prompt_name.as_deref()), (Some("query: "), None));
    assert_eq!((corpus.prompt.as_deref(), corpus.prompt_name.as_deref()), (None, Some("passage")));
}

/// Sixty texts and twenty queries on the unit circle.
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
fn the_number_of_queries_per_search_does_not_change_the_result() {
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
fn random_sampling_depends_on_the_seed_and_covers_the_whole_range() {
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
            let ranks: Vec<usize> = row
                .split(' ')
                .skip(2)
                .map(|text| all.iter().position(|other| *other == text).unwrap())
                .collect();
            assert!(ranks.is_sorted_by(|a, b| a < b), "not distinct or not by score: {ranks:?}");
            drawn.extend(ranks);
        }
    }
    assert_eq!(drawn.len(), 10, "some rank in the range is never sampled");
}

#[test]
fn random_sampling_takes_all_candidates_when_there_are_too_few() {
    let options = MiningOptions {
        sampling_strategy: SamplingStrategy::Random,
        num_negatives: 5,
        ..MiningOptions::default()
    };
    assert_eq!(shown(&mined(&options).unwrap().rows), ["q p a", "q p b", "q p c"]);
}
