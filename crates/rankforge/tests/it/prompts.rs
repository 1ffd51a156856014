//! Prompts: the prompt of each column, and batches with several prompts.

use crate::batches::{prepared, preparer};
use crate::support::{message, strings};
use crate::testing::{
    PROMPTS, arguments, labeled_pairs, loss, pairs, tiny_bert, tiny_dual, trainer,
};
use rankforge::encoder::{Batch, EncodeOptions, Mode, Outputs, TextModel, Workspace};
use rankforge::losses::{Loss, dual_encoder};
use rankforge::training::{Prompts, Trainer, TrainingArguments, TrainingSet};
use serde_json::{Value, json};
use std::sync::Arc;

/// Reads prompts as in a recipe.
fn read(value: Value) -> Prompts {
    let arguments = json!({"prompts": value});
    TrainingArguments::from_map(arguments.as_object().unwrap()).unwrap().0.prompts.unwrap()
}

/// The prompts of the columns `query` and `answer` of a set, which is `nq` or `gooaq`.
fn of(value: Value, set: &str) -> Vec<Option<String>> {
    let columns = strings(&["query", "answer"]);
    read(value).of_columns(set, &["nq", "gooaq"], &columns).unwrap()
}

/// The prompts of two columns; an empty text means no prompt.
fn two(query: &str, answer: &str) -> Vec<Option<String>> {
    [query, answer].map(|text| Some(text.to_owned()).filter(|text| !text.is_empty())).to_vec()
}

#[test]
fn one_text_applies_to_every_column_of_every_set() {
    assert_eq!(of(json!("search: "), "nq"), two("search: ", "search: "));
    assert_eq!(of(json!("search: "), "gooaq"), two("search: ", "search: "));
}

#[test]
fn texts_by_column_apply_to_these_columns_only() {
    assert_eq!(of(json!({"query": "q: ", "answer": "a: "}), "nq"), two("q: ", "a: "));
    assert_eq!(of(json!({"answer": "a: "}), "nq"), two("", "a: "));
    assert_eq!(of(json!({}), "nq"), two("", ""));
}

#[test]
fn texts_by_set_apply_to_every_column_of_the_set() {
    let by_set = json!({"nq": "wiki: ", "gooaq": "web: "});
    assert_eq!(of(by_set.clone(), "nq"), two("wiki: ", "wiki: "));
    assert_eq!(of(by_set, "gooaq"), two("web: ", "web: "));
    assert_eq!(of(json!({"nq": "wiki: "}), "gooaq"), two("", ""), "a set without a prompt");
}

#[test]
fn texts_may_be_given_by_set_and_column() {
    let nested = json!({"nq": {"query": "q: ", "answer": "a: "}, "gooaq": "web: "});
    assert_eq!(of(nested.clone(), "nq"), two("q: ", "a: "));
    assert_eq!(of(nested, "gooaq"), two("web: ", "web: "));
    assert_eq!(of(json!({"nq": {"answer": "a: "}}), "nq"), two("", "a: "));
}

#[test]
fn prompts_may_be_a_string_of_json() {
    assert_eq!(read(json!("{\"query\": \"q: \"}")), read(json!({"query": "q: "})));
    assert_eq!(read(json!("{instruction} ")), Prompts::All("{instruction} ".to_owned()));
}

#[test]
fn errors_for_unknown_names_list_the_known_ones() {
    let columns = strings(&["query", "answer"]);
    let refused = |value: Value, sets: &[&str]| {
        message(read(value).of_columns(sets.first().copied().unwrap_or(""), sets, &columns))
    };
    for (value, sets, expected) in [
        (
            json!({"question": "q: "}),
            &[""][..],
            "prompts: expected names of columns (query, answer), got question",
        ),
        (
            json!({"nq": "q: ", "msmarco": "m: "}),
            &["nq", "gooaq"],
            "prompts: expected names of columns (query, answer), or of data sets only (nq, gooaq), \
             got nq",
        ),
        (
            json!({"nq": {"question": "q: "}}),
            &["nq"],
            "prompts.nq: expected names of columns (query, answer), got question",
        ),
        (
            json!({"query": {"answer": "a: "}}),
            &[""],
            "prompts.query: expected one text for each column, got a table",
        ),
        (
            json!({"nq": {"query": {"answer": "a: "}}}),
            &["nq"],
            "prompts.nq.query: expected one text for each column, got a table",
        ),
    ] {
        assert_eq!(refused(value, sets), expected);
    }
    let wrong = json!({"prompts": {"query": 3}});
    let text = message(TrainingArguments::from_map(wrong.as_object().unwrap()));
    assert!(text.starts_with("prompts: ") && text.contains("a text, or texts by"), "{text}");
}

#[test]
fn a_cross_encoder_needs_the_same_prompt_for_all_columns() {
    let folder = tempfile::tempdir().unwrap();
    let train = |prompts: Value| {
        let mut trainer = trainer(folder.path(), json!({"max_steps": 1, "prompts": prompts}));
        trainer.train().map(drop)
    };
    for prompts in [json!({"query": "the "}), json!({"query": "the ", "answer": "a "})] {
        assert_eq!(
            message(train(prompts)),
            "prompts: expected one text, as prompts of a cross-encoder cannot be per column, got a \
             text for some columns"
        );
    }
    assert!(train(json!("the ")).is_ok());
    assert!(train(json!({"query": "the ", "answer": "the "})).is_ok());
    assert_eq!(
        message(train(json!({"question": "the "}))),
        "prompts: expected names of columns (query, answer), got question"
    );
}

/// Trains two steps on sets with these names and prompts, and evaluates on sets with the names
/// `eval_sets`.
fn train_on(
    prompts: Value,
    train_sets: &[(&str, Option<Value>)],
    eval_sets: &[&str],
) -> Result<(), rankforge::Error> {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({"max_steps": 2, "prompts": prompts, "eval_on_start": true});
    let arguments = arguments(folder.path(), options);
    let set = |name: &str, prompts: Option<Value>| TrainingSet {
        name: name.to_owned(),
        prompts: prompts.map(read),
        ..TrainingSet::new(labeled_pairs(8), loss("BinaryCrossEntropyLoss", json!({})))
    };
    let sets = train_sets.iter().map(|(name, prompts)| set(name, prompts.clone())).collect();
    let mut trainer = Trainer::on_sets(tiny_bert(0.0, 1), arguments, sets);
    trainer.eval_sets = eval_sets.iter().map(|name| set(name, None)).collect();
    trainer.check_rows()?;
    trainer.train().map(drop)
}

#[test]
fn prompts_by_set_apply_to_training_and_evaluation_sets() {
    let by_set = json!({"nq": "the ", "gooaq": "a ", "sts": "is "});
    let (nq, gooaq) = (("nq", None), ("gooaq", None));
    train_on(by_set.clone(), &[nq.clone(), gooaq.clone()], &["nq", "sts"]).unwrap();
    // An evaluation set without a name has no prompt.
    train_on(json!({"nq": "the "}), &[nq.clone(), gooaq.clone()], &[""]).unwrap();
    // Here "sts" is neither a set nor a column.
    let text = message(train_on(by_set, &[nq, gooaq], &["nq"]));
    assert!(text.contains("or of data sets only (nq, gooaq)"), "{text}");
}

#[test]
fn the_prompts_of_a_set_override_those_of_the_arguments() {
    let own = |prompts: Value| [("nq", Some(prompts)), ("gooaq", None)];
    let text = message(train_on(json!("the "), &own(json!({"question": "q: "})), &[]));
    assert_eq!(text, "prompts: expected names of columns (query, answer), got question");
    // Names in the prompts of a set are columns, even if a set has the same name.
    let sets = [("query", Some(json!({"query": "the ", "answer": "the "}))), ("answer", None)];
    train_on(json!("a "), &sets, &["nq"]).unwrap();
}

#[test]
fn a_prompt_is_prepended_to_the_first_text_of_every_pair() {
    let model = tiny_bert(0.0, 1);
    let loss = loss("BinaryCrossEntropyLoss", json!({}));
    let rows = labeled_pairs(3);
    let without = prepared(&model, &loss, &rows, &[]);
    let with = prepared(&model, &loss, &rows, &["the bird ", "the bird "]);
    for (without, with) in without.tokens.iter().zip(&with.tokens) {
        assert_eq!(
            (without.prompt_tokens, with.prompt_tokens),
            (0, 3),
            "prompt tokens include [CLS]"
        );
        assert_eq!(with.ids.len(), without.ids.len() + 2);
        assert_eq!(with.ids[3..], without.ids[1..]);
    }
}

/// The ranking loss of dual encoders.
fn ranking() -> Arc<dyn Loss> {
    Arc::new(dual_encoder::MultipleNegativesRankingLoss::default())
}

#[test]
fn a_batch_with_several_prompts_equals_one_batch_per_prompt() {
    for include_prompt in [true, false] {
        let model = tiny_dual(0.0, 5, include_prompt);
        let rows = pairs(6);
        let batch = prepared(&model, &ranking(), &rows, &PROMPTS);
        let (queries, passages) = batch.tokens.split_at(6);
        let lengths = |tokens: &[rankforge::encoder::Tokens]| {
            tokens.iter().map(|tokens| tokens.prompt_tokens).collect::<Vec<_>>()
        };
        // A prompt has three tokens: [CLS], a word and a colon.
        assert_eq!((lengths(queries), lengths(passages)), (vec![3; 6], vec![3; 6]));
        let forward = |tokens: &[rankforge::encoder::Tokens]| {
            let model = model.model();
            let ragged = Batch::new(model.device(), tokens, &model.architecture().encoder);
            model.forward(&ragged, Mode::Inference, false, &mut Workspace::new(model.device()))
        };
        let together = forward(&batch.tokens);
        let mut apart = Outputs::default();
        for tokens in [queries, passages] {
            apart.append(forward(tokens));
        }
        assert!(together == apart, "include_prompt = {include_prompt}: other embeddings");
        // The embeddings also agree with those of the model's own prompts.
        let texts = |name: &str| rows.texts(name).unwrap();
        let mut embedded = model.encode_query(&texts("query")).unwrap();
        embedded.append(model.encode_document(&texts("answer")).unwrap());
        assert!(together == embedded, "include_prompt = {include_prompt}: encoding differs");
        let bare = EncodeOptions { prompt: Some(String::new()), ..EncodeOptions::default() };
        let bare = model.encode_with(&texts("query"), &bare).unwrap();
        assert_ne!(together.rows(0..6), bare, "the prompt has no effect");
    }
}

#[test]
fn columns_with_and_without_a_prompt_can_be_combined() {
    for include_prompt in [true, false] {
        let model = tiny_dual(0.0, 5, include_prompt);
        let rows = pairs(5);
        let batch = prepared(&model, &ranking(), &rows, &[PROMPTS[0], ""]);
        assert_eq!(batch.tokens.iter().map(|tokens| tokens.prompt_tokens).max(), Some(3));
        assert!(batch.tokens[5..].iter().all(|tokens| tokens.prompt_tokens == 0));
        let ragged = Batch::new(
            model.model().device(),
            &batch.tokens,
            &model.model().architecture().encoder,
        );
        let mut workspace = Workspace::new(model.model().device());
        let found = model.model().forward(&ragged, Mode::Inference, false, &mut workspace);
        let bare = EncodeOptions { prompt: Some(String::new()), ..EncodeOptions::default() };
        let mut expected = model.encode_query(&rows.texts("query").unwrap()).unwrap();
        let answers = rows.texts("answer").unwrap();
        expected.append(model.encode_with(&answers, &bare).unwrap());
        assert!(found == expected, "include_prompt = {include_prompt}");
    }
}

#[test]
fn a_preparer_applies_its_prompts_at_every_step() {
    let model = tiny_dual(0.0, 5, true);
    let preparer = preparer(&model, &ranking(), &pairs(6), &PROMPTS);
    let rows = rankforge::training::SetBatch { set: 0, rows: vec![4, 1] };
    let (first, second) =
        (preparer.prepare(&rows, 0).unwrap(), preparer.prepare(&rows, 9).unwrap());
    assert_eq!(first.tokens, second.tokens);
    assert_eq!(first.tokens.len(), 4);
    assert_ne!(
        first.tokens[0].ids[1], first.tokens[2].ids[1],
        "queries and passages have the same prompt"
    );
}
