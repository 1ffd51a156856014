use crate::common::{Recorder, assert_near, expected, fixture, options, pairs};
use rankforge_encoder::kernels::Precision;
use rankforge_encoder::{CrossEncoder, LoadOptions, OutputActivation, PredictOptions, Silent};

fn load(name: &str) -> CrossEncoder {
    CrossEncoder::load(&fixture(name), &options(), &Silent).expect("model")
}

fn predict(model: &CrossEncoder, pairs: &[(&str, &str)], options: &PredictOptions) -> Vec<f32> {
    model.predict(pairs, options, &Silent).expect("scores").values
}

#[test]
fn scores_come_in_input_order_whatever_the_batches() {
    let model = load("ce_plain");
    let expected = expected();
    let pairs = pairs(&expected);
    let whole = predict(&model, &pairs, &PredictOptions::default());
    for (batch_size, max_tokens) in [(1, 8192), (2, 8192), (100, 1), (100, 40)] {
        let options = PredictOptions { batch_size, max_tokens, ..PredictOptions::default() };
        assert_near(&predict(&model, &pairs, &options), &whole, "batches");
    }
}

#[test]
fn a_reranker_is_loaded_in_the_precision_asked_for() {
    let expected = expected();
    let pairs = pairs(&expected);
    let full = predict(&load("ce_plain"), &pairs, &PredictOptions::default());
    for precision in [Precision::BFloat16, Precision::Float16] {
        let options = LoadOptions { precision, ..options() };
        let model = CrossEncoder::load(&fixture("ce_plain"), &options, &Silent).expect("model");
        assert_eq!(model.model().precision(), precision);
        assert_ne!(predict(&model, &pairs, &PredictOptions::default()), full, "{precision}");
    }
}

#[test]
fn more_pairs_than_a_block_keep_their_order() {
    let model = load("ce_plain");
    let expected = expected();
    let some = pairs(&expected);
    let few = predict(&model, &some, &PredictOptions::default());
    let many: Vec<(&str, &str)> = some.iter().copied().cycle().take(4100).collect();
    let recorder = Recorder::default();
    let options = PredictOptions { batch_size: 1000, ..PredictOptions::default() };
    let scores = model.predict(&many, &options, &recorder).expect("scores");
    for (index, row) in scores.values.chunks(some.len()).enumerate() {
        assert_near(row, &few[..row.len()], &format!("round {index}"));
    }
    let lines = recorder.lines();
    assert_eq!(lines.first().map(String::as_str), Some("begin Scoring Some(4100) pairs"));
    assert_eq!(lines.last().map(String::as_str), Some("end"));
    let advanced = lines.iter().filter_map(|line| line.strip_prefix("advance "));
    let advanced: usize = advanced.map(|amount| amount.parse::<usize>().expect("number")).sum();
    assert_eq!(advanced, 4100);
}

#[test]
fn no_pairs_give_no_scores() {
    let scores = load("ce_labels").predict(&[], &PredictOptions::default(), &Silent).expect("none");
    assert_eq!((scores.rows, scores.columns, scores.values.len()), (0, 3, 0));
}

#[test]
fn an_activation_is_for_one_call_and_softmax_follows_it() {
    let model = load("ce_labels");
    let expected = expected();
    let pairs = pairs(&expected);
    let logits = predict(&model, &pairs, &PredictOptions::default());
    let options = PredictOptions {
        activation_fn: Some(OutputActivation::Sigmoid),
        apply_softmax: true,
        ..PredictOptions::default()
    };
    let scores = model.predict(&pairs, &options, &Silent).expect("scores");
    for (logits, scores) in logits.chunks(3).zip(scores.values.chunks(3)) {
        let powers: Vec<f32> =
            logits.iter().map(|logit| OutputActivation::Sigmoid.apply(*logit).exp()).collect();
        let sum: f32 = powers.iter().sum();
        let shares: Vec<f32> = powers.iter().map(|power| power / sum).collect();
        assert_near(scores, &shares, "softmax");
    }
    assert_near(&predict(&model, &pairs, &PredictOptions::default()), &logits, "afterwards");
    // One label has nothing to share with.
    let plain = load("ce_plain");
    let soft = PredictOptions { apply_softmax: true, ..PredictOptions::default() };
    let scores = predict(&plain, &pairs, &soft);
    assert_near(&scores, &predict(&plain, &pairs, &PredictOptions::default()), "one label");
}

#[test]
fn a_prompt_stands_before_the_first_text() {
    let model = load("ce_v6");
    let by = |prompt: Option<&str>, name: Option<&str>| PredictOptions {
        prompt: prompt.map(str::to_owned),
        prompt_name: name.map(str::to_owned),
        ..PredictOptions::default()
    };
    let score = |query, options: &PredictOptions| predict(&model, &[(query, "the sea")], options);
    let bare = by(Some(""), None);
    let asked = score("how is snow", &bare);
    assert_ne!(asked, score("is snow", &bare));
    assert_near(&score("is snow", &PredictOptions::default()), &asked, "the default prompt");
    assert_near(&score("is snow", &by(None, Some("ask"))), &asked, "by name");
    assert_near(&score("snow", &by(Some("how is "), Some("ask"))), &asked, "by text");
    let error = model.predict(&[("a", "b")], &by(None, Some("tell")), &Silent);
    let error = error.expect_err("an error").to_string();
    assert!(error.contains("\"tell\"") && error.contains("\"ask\""), "{error}");
}

#[test]
fn empty_batches_are_refused() {
    let model = load("ce_plain");
    for (batch_size, max_tokens) in [(0, 10), (10, 0)] {
        let options = PredictOptions { batch_size, max_tokens, ..PredictOptions::default() };
        let error = model.predict(&[("a", "b")], &options, &Silent).expect_err("an error");
        assert!(error.to_string().contains("positive"), "{error}");
    }
}

#[test]
fn documents_are_ranked_by_score_with_ties_in_input_order() {
    let model = load("ce_plain");
    let documents = ["the sea", "cold snow", "the sea", "", "fire", "cold snow"];
    let options = PredictOptions::default();
    let ranking =
        model.rank("why is snow cold", &documents, None, &options, &Silent).expect("ranking");
    let pairs: Vec<(&str, &str)> =
        documents.iter().map(|text| ("why is snow cold", *text)).collect();
    let scores = predict(&model, &pairs, &options);
    assert_eq!(ranking.len(), documents.len());
    for window in ranking.windows(2) {
        let (a, b) = (&window[0], &window[1]);
        assert!(a.score > b.score || (a.score == b.score && a.corpus_id < b.corpus_id));
    }
    for ranked in &ranking {
        assert_near(&[ranked.score], &scores[ranked.corpus_id..][..1], "score");
    }
    let top = model.rank("why is snow cold", &documents, Some(2), &options, &Silent).expect("top");
    assert_eq!(top, ranking[..2]);
    assert!(model.rank("x", &[], None, &options, &Silent).expect("nothing").is_empty());
}

#[test]
fn ranking_needs_one_label() {
    let error = load("ce_labels").rank("a", &["b"], None, &PredictOptions::default(), &Silent);
    let error = error.expect_err("an error").to_string();
    assert!(error.contains("only works for models with num_labels=1"), "{error}");
}

#[test]
fn the_same_bits_come_from_any_number_of_threads() {
    let expected = expected();
    let scores = |threads| {
        let device = rankforge_encoder::kernels::Device::cpu_with(
            rankforge_encoder::kernels::Isa::best(),
            threads,
        )
        .expect("device");
        let options = LoadOptions::new(&device);
        let model = CrossEncoder::load(&fixture("ce_modular"), &options, &Silent).expect("model");
        let scores = predict(&model, &pairs(&expected), &PredictOptions::default());
        scores.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    assert_eq!(scores(1), scores(3));
}
