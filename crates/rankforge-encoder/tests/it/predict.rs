use crate::common::{Recorder, assert_near, expected, fixture, options, pairs};
use rankforge_encoder::kernels::Precision;
use rankforge_encoder::{CrossEncoder, LoadOptions, OutputActivation, PredictOptions, TextModel};
use std::sync::Arc;

fn load(name: &str) -> CrossEncoder {
    CrossEncoder::open_with(fixture(name), &options()).expect("model")
}

fn predict(model: &CrossEncoder, pairs: &[(&str, &str)], options: &PredictOptions) -> Vec<f32> {
    model.predict_with(pairs, options).expect("scores").values
}

#[test]
fn scores_and_their_order_do_not_depend_on_the_batches() {
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
fn a_model_computes_in_the_precision_of_the_load_options() {
    let expected = expected();
    let pairs = pairs(&expected);
    let full = predict(&load("ce_plain"), &pairs, &PredictOptions::default());
    for precision in [Precision::BFloat16, Precision::Float16] {
        let options = LoadOptions { precision, ..options() };
        let model = CrossEncoder::open_with(fixture("ce_plain"), &options).expect("model");
        assert_eq!(model.model().precision(), precision);
        assert_ne!(predict(&model, &pairs, &PredictOptions::default()), full, "{precision}");
    }
}

#[test]
fn scores_of_more_pairs_than_a_block_are_in_input_order() {
    let model = load("ce_plain");
    let expected = expected();
    let pairs = pairs(&expected);
    let scores_once = predict(&model, &pairs, &PredictOptions::default());
    let many: Vec<(&str, &str)> = pairs.iter().copied().cycle().take(4100).collect();
    let recorder = Arc::new(Recorder::default());
    let options = PredictOptions {
        batch_size: 1000,
        reporter: recorder.clone(),
        ..PredictOptions::default()
    };
    let scores = model.predict_with(&many, &options).expect("scores");
    for (index, chunk) in scores.values.chunks(pairs.len()).enumerate() {
        assert_near(chunk, &scores_once[..chunk.len()], &format!("repetition {index}"));
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
    let scores = load("ce_labels").predict_with(&[], &PredictOptions::default()).expect("none");
    assert_eq!((scores.rows, scores.columns, scores.values.len()), (0, 3, 0));
}

#[test]
fn an_activation_applies_to_one_call_and_softmax_follows_it() {
    let model = load("ce_labels");
    let expected = expected();
    let pairs = pairs(&expected);
    let logits = predict(&model, &pairs, &PredictOptions::default());
    let options = PredictOptions {
        activation_fn: Some(OutputActivation::Sigmoid),
        apply_softmax: true,
        ..PredictOptions::default()
    };
    let scores = model.predict_with(&pairs, &options).expect("scores");
    for (logits, scores) in logits.chunks(3).zip(scores.values.chunks(3)) {
        let mut activated = logits.to_vec();
        OutputActivation::Sigmoid.apply(&mut activated);
        let exponentials: Vec<f32> = activated.into_iter().map(f32::exp).collect();
        let sum: f32 = exponentials.iter().sum();
        let expected: Vec<f32> = exponentials.iter().map(|value| value / sum).collect();
        assert_near(scores, &expected, "softmax");
    }
    assert_near(&predict(&model, &pairs, &PredictOptions::default()), &logits, "the next call");
    // The softmax is skipped for one label, where it would always be 1.
    let plain = load("ce_plain");
    let soft = PredictOptions { apply_softmax: true, ..PredictOptions::default() };
    let scores = predict(&plain, &pairs, &soft);
    assert_near(&scores, &predict(&plain, &pairs, &PredictOptions::default()), "one label");
}

#[test]
fn a_prompt_is_prepended_to_the_first_text() {
    let model = load("ce_v6");
    let with = |prompt: Option<&str>, name: Option<&str>| PredictOptions {
        prompt: prompt.map(str::to_owned),
        prompt_name: name.map(str::to_owned),
        ..PredictOptions::default()
    };
    let score = |query, options: &PredictOptions| predict(&model, &[(query, "the sea")], options);
    let without = with(Some(""), None);
    let expected = score("how is snow", &without);
    assert_ne!(expected, score("is snow", &without));
    assert_near(&score("is snow", &PredictOptions::default()), &expected, "the default prompt");
    assert_near(&score("is snow", &with(None, Some("ask"))), &expected, "a prompt name");
    assert_near(&score("snow", &with(Some("how is "), Some("ask"))), &expected, "a prompt text");
    let error = model.predict_with(&[("a", "b")], &with(None, Some("tell")));
    let error = error.expect_err("an error").to_string();
    assert!(error.contains("\"tell\"") && error.contains("`ask`"), "{error}");
}

#[test]
fn a_batch_size_or_token_limit_of_zero_is_refused() {
    let model = load("ce_plain");
    for (batch_size, max_tokens) in [(0, 10), (10, 0)] {
        let options = PredictOptions { batch_size, max_tokens, ..PredictOptions::default() };
        let error = model.predict_with(&[("a", "b")], &options).expect_err("an error");
        assert!(error.to_string().contains("positive"), "{error}");
    }
}

#[test]
fn documents_are_ranked_by_score_with_ties_in_input_order() {
    let model = load("ce_plain");
    let documents = ["the sea", "cold snow", "the sea", "", "fire", "cold snow"];
    let options = PredictOptions::default();
    let ranking = model.rank_with("why is snow cold", &documents, None, &options).expect("ranking");
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
    let top = model.rank_with("why is snow cold", &documents, Some(2), &options).expect("top");
    assert_eq!(top, ranking[..2]);
    assert!(model.rank_with("x", &[""; 0], None, &options).expect("nothing").is_empty());
}

#[test]
fn ranking_requires_one_label() {
    let error = load("ce_labels").rank_with("a", &["b"], None, &PredictOptions::default());
    let error = error.expect_err("an error").to_string();
    assert!(error.contains("num_labels: expected 1") && error.contains("got 3"), "{error}");
}

#[test]
fn scores_have_the_same_bits_for_any_number_of_threads() {
    let expected = expected();
    let scores = |threads| {
        let device = rankforge_encoder::kernels::Device::cpu_with(
            rankforge_encoder::kernels::Isa::best(),
            threads,
        )
        .expect("device");
        let options = LoadOptions::new(&device);
        let model = CrossEncoder::open_with(fixture("ce_modular"), &options).expect("model");
        let scores = predict(&model, &pairs(&expected), &PredictOptions::default());
        scores.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    assert_eq!(scores(1), scores(3));
}

/// The values of torch.nn.
#[test]
fn activations_are_those_of_torch() {
    let logits = [-2.0, -0.5, 0.25, 3.0];
    for (name, expected) in [
        ("torch.nn.modules.linear.Identity", logits),
        ("torch.nn.modules.activation.Sigmoid", [0.1192029, 0.3775407, 0.5621765, 0.9525741]),
        ("torch.nn.modules.activation.Tanh", [-0.9640276, -0.4621172, 0.2449187, 0.9950548]),
        ("torch.nn.modules.activation.ReLU", [0.0, 0.0, 0.25, 3.0]),
        ("torch.nn.modules.activation.LeakyReLU", [-0.02, -0.005, 0.25, 3.0]),
        ("torch.nn.modules.activation.ELU", [-0.8646647, -0.3934693, 0.25, 3.0]),
        ("torch.nn.modules.activation.GELU", [-0.0455003, -0.1542688, 0.1496766, 2.9959503]),
        ("torch.nn.modules.activation.SiLU", [-0.2384058, -0.1887703, 0.1405441, 2.8577224]),
        ("torch.nn.modules.activation.Softplus", [0.126928, 0.474077, 0.8259394, 3.0485874]),
        ("torch.nn.modules.activation.LogSigmoid", [-2.126928, -0.974077, -0.5759394, -0.0485874]),
        ("torch.nn.modules.activation.Softmax", [0.0061206, 0.0274306, 0.0580707, 0.9083781]),
    ] {
        let read = |name: &str| serde_json::from_value::<OutputActivation>(name.into()).unwrap();
        let activation = read(name);
        let class = name.rsplit('.').next().unwrap();
        assert_eq!(activation.python_name(), name);
        assert_eq!([read(class), read(&class.to_lowercase())], [activation; 2]);
        let mut found = logits;
        activation.apply(&mut found);
        assert_near(&found, &expected, name);
    }
}
