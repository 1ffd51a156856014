//! The messages and hints of all errors.

use crate::support::{message, scorer, table, text};
use crate::testing::{labeled_pairs, loss, pairs, trainer};
use rankforge::base::FileError;
use rankforge::data::Value;
use rankforge::encoder::kernels::ParameterId;
use rankforge::encoder::{CrossEncoder, EncoderError, TextModel};
use rankforge::evaluation::{CrossEncoderCorrelationEvaluator, EvaluationContext, Evaluator};
use rankforge::losses::dual_encoder;
use rankforge::training::{ResumeFrom, TrainingArguments};
use rankforge::{Error, Isa, NotFinite, Precision, RowPlace, SetRows};
use serde_json::json;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[test]
fn errors_of_other_crates_keep_their_messages_and_hints() {
    let error = Error::from(CrossEncoder::open("no/such/model").err().unwrap());
    assert!(matches!(error, Error::Encoder(_)));
    assert!(error.to_string().starts_with("no/such/model"), "{error}");
    let precision = Precision::Float16;
    let not_finite = |precision| {
        let (model, value) = ("m".to_owned(), f32::INFINITY);
        Error::from(EncoderError::NotFinite { model, input: 3, value, precision })
    };
    let error = not_finite(precision);
    let expected = "m: expected finite outputs, but the model gives inf for input 4";
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().unwrap().contains("use bf16 or fp32"), "{:?}", error.hint());
    let hint = not_finite(Precision::Float32).hint().unwrap();
    assert!(hint.contains("another checkpoint"), "{hint}");

    let error = Error::from(pairs(1).column("answers").unwrap_err());
    assert!(matches!(error, Error::Data(_)));
    assert_eq!(
        error.to_string(),
        "column `answers`: not in the data, which has `query` and `answer`; did you mean `answer`?"
    );
    assert!(error.hint().unwrap().contains("name a column"), "{:?}", error.hint());

    let error = Error::from("sse9".parse::<Isa>().unwrap_err());
    assert!(matches!(error, Error::Device(_)));
    let expected = "unknown instruction set \"sse9\": \
                    expected scalar, avx2, avx2vnni, avx512, avx512vnni or avx512bf16";
    assert_eq!(error.to_string(), expected);

    let full = FileError::io(Path::new("run/trainer_state.json"))(ErrorKind::StorageFull.into());
    let error = Error::from(full);
    assert!(error.to_string().starts_with("run/trainer_state.json: "), "{error}");
    assert!(error.hint().unwrap().starts_with("the disk is full"), "{:?}", error.hint());
    let error = Error::from(FileError::content(Path::new("scaler.json"), "expected a number"));
    assert_eq!(error.to_string(), "scaler.json: expected a number");
    assert_eq!(error.hint(), None);
}

#[test]
fn an_argument_error_names_field_expectation_and_value() {
    let wrong = json!({"learning_rate": -1e-5});
    let error = TrainingArguments::from_map(wrong.as_object().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "learning_rate: expected a number of at least 0, got -0.00001");
    let Error::Argument { field, .. } = error else { panic!("{error}") };
    assert_eq!(field, "learning_rate");
}

#[test]
fn a_row_error_names_reader_row_and_column() {
    let error = |row: Option<usize>, column: Option<&str>| {
        let column = column.map(str::to_owned);
        let place = RowPlace { reader: "training data".to_owned(), row, column };
        let (expected, got) = ("a text".to_owned(), "null".to_owned());
        Error::Rows { place, expected, got }.to_string()
    };
    let at = |place: &str| format!("training data{place}: expected a text, got null");
    assert_eq!(error(None, None), at(""));
    assert_eq!(error(Some(7), None), at(", row 7"));
    assert_eq!(error(None, Some("query")), at(", column `query`"));
    assert_eq!(error(Some(7), Some("query")), at(", row 7, column `query`"));
}

fn found_in(step: u64) -> NotFinite {
    NotFinite {
        what: "gradient norm",
        value: f64::INFINITY,
        step,
        epoch: 1.375,
        rows: vec![SetRows { set: String::new(), rows: vec![4, 1] }],
        checkpoint: None,
        scaled: false,
    }
}

#[test]
fn a_batch_that_is_not_full_is_reported_with_set_rows_and_batch_size() {
    let error = |rows, duplicates| Error::NoFullBatch {
        set: "training data".to_owned(),
        rows,
        batch_size: 8,
        duplicates,
    };
    assert_eq!(
        error(7, false).to_string(),
        "training data: no full batch: 7 rows, batch size 8, dataloader_drop_last = true"
    );
    let text = error(9, true).to_string();
    assert!(text.ends_with("and too few distinct values for NO_DUPLICATES"), "{text}");
    assert!(error(7, false).hint().unwrap().contains("lower the batch size"));
}

#[test]
fn a_value_that_is_not_finite_is_reported_with_step_rows_and_checkpoint() {
    let found = found_in(12);
    let error = Error::from(found.clone());
    assert_eq!(
        error.to_string(),
        "the gradient norm is inf in step 12 (epoch 1.38), training rows 4, 1; no checkpoint has \
         been written yet"
    );
    assert_eq!(error.hint(), None);
    let checkpoint = Some(PathBuf::from("run/checkpoint-10"));
    let error = Error::from(NotFinite { what: "loss", checkpoint, scaled: true, ..found });
    assert_eq!(
        error.to_string(),
        "the loss is inf in step 12 (epoch 1.38) at every loss scale, training rows 4, 1; the last \
         good checkpoint is run/checkpoint-10"
    );
    assert!(error.hint().unwrap().contains("bf16 has the range of fp32"), "{:?}", error.hint());
    let of = |set: &str, rows: &[usize]| SetRows { set: set.to_owned(), rows: rows.to_vec() };
    let rows = vec![of("clicks", &[4, 1]), of("questions", &[3])];
    let text = Error::from(NotFinite { rows, ..found_in(12) }).to_string();
    assert!(text.contains("training rows 4, 1 of `clicks` and 3 of `questions`; "), "{text}");
}

#[test]
fn a_score_that_is_not_finite_is_reported_with_its_pair() {
    let pairs = vec![("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d".to_owned())];
    let evaluator = CrossEncoderCorrelationEvaluator::new(pairs, vec![0.0, 1.0], "").unwrap();
    let model = scorer(|first, _| if first == "c" { f32::INFINITY } else { 0.0 });
    let error = evaluator.evaluate(&model, &EvaluationContext::default()).unwrap_err();
    assert!(matches!(error, Error::Score { index: 1, pairs: 2, .. }));
    assert_eq!(error.to_string(), "expected finite scores, got inf for pair 2 of 2");
}

#[test]
fn a_parameter_that_cannot_be_trained_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({"max_steps": 2}));
    let parameters = trainer.model.model_mut().parameters_mut();
    let entries = parameters.layout().entries().to_vec();
    // With zero output weights, no gradient reaches the attention layers.
    for (index, entry) in entries.iter().enumerate() {
        if entry.name.contains("attention_output.weight") {
            parameters.view_mut(ParameterId(index)).fill(0.0);
        }
    }
    let error = trainer.train().unwrap_err();
    let message = error.to_string();
    let Error::NoGradient { parameter, rows, columns } = error else { panic!("{message}") };
    assert_eq!((rows, columns), (48, 16), "the shape of the fused query, key and value weights");
    assert_eq!(
        message,
        format!(
            "parameter {parameter} (48 x 16) received no gradient in the first step, so it could \
             never be trained"
        )
    );
    assert!(entries.iter().any(|entry| entry.name == parameter));
}

#[test]
fn a_recipe_error_says_where_and_why() {
    let hint = Some("see the documentation of losses".to_owned());
    let (place, message) = ("recipe.toml, line 3".to_owned(), "unknown field `los`".to_owned());
    let error = Error::Recipe { place, message, hint: hint.clone() };
    assert_eq!(error.to_string(), "recipe.toml, line 3: unknown field `los`");
    assert_eq!(error.hint(), hint);
    let error = Error::Unusable { what: "the evaluator `dev`".to_owned(), source: error.into() };
    assert_eq!(error.to_string(), "cannot use the evaluator `dev`");
    assert_eq!(error.hint(), hint, "the hint is that of the source");
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(reason, "recipe.toml, line 3: unknown field `los`");
    let error = Error::Stopped { path: "mined.jsonl".into() };
    assert_eq!(error.to_string(), "interrupted; mined.jsonl was not written");
    assert_eq!(error.hint(), None);
}

#[test]
fn an_interruption_and_a_card_error_say_what_happened() {
    let checkpoint = PathBuf::from("run/checkpoint-3");
    let error = Error::Interrupted { step: 3, max_steps: 20, checkpoint };
    assert_eq!(
        error.to_string(),
        "interrupted after step 3 of 20; run/checkpoint-3 holds the run and can be resumed"
    );
    assert_eq!(error.hint(), None);
    let error = Error::Card { message: "undefined value".to_owned() };
    assert_eq!(error.to_string(), "model card: undefined value");
}

/// The error of training on these rows with the loss called `name`. Checking the rows before
/// training must give the same error.
fn refused(rows: rankforge::data::Rows, name: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({"max_steps": 40}));
    trainer.train_sets[0].rows = Arc::new(rows);
    trainer.train_sets[0].loss = loss(name, json!({}));
    let checked = message(trainer.check_rows());
    assert_eq!(message(trainer.train()), checked, "training and check_rows give different errors");
    checked
}

#[test]
fn columns_and_labels_that_a_loss_cannot_use_are_reported_with_set_and_row() {
    assert_eq!(
        refused(pairs(6), "BinaryCrossEntropyLoss"),
        "training data for BinaryCrossEntropyLoss: expected a label column (label, labels, score \
         or scores), got none"
    );
    assert_eq!(
        refused(labeled_pairs(6), "MultipleNegativesRankingLoss"),
        "training data for MultipleNegativesRankingLoss: expected text columns only, as it takes \
         no labels, got a label column (label, labels, score or scores)"
    );
    assert_eq!(
        refused(table(vec![("query", vec![text("a")])]), "MultipleNegativesRankingLoss"),
        "training data for MultipleNegativesRankingLoss: expected at least two text columns \
         (anchor, positive, negatives), got 1"
    );
    let with_labels = |name: &str, labels: Vec<Value>| {
        let texts = || vec![text("a bird"); labels.len()];
        table(vec![("query", texts()), ("answer", texts()), (name, labels.clone())])
    };
    let mut labels = vec![Value::Integer(1); 30];
    labels[22] = Value::Float(1.5);
    assert_eq!(
        refused(with_labels("score", labels), "BinaryCrossEntropyLoss"),
        "training data for BinaryCrossEntropyLoss, row 23, column `score`: expected a label from 0 \
         to 1, got 1.5"
    );
    let list = |labels: &[i64]| Value::List(labels.iter().copied().map(Value::Integer).collect());
    let mut lists = vec![list(&[1]); 30];
    lists[17] = list(&[1, 0]);
    assert_eq!(
        refused(with_labels("labels", lists), "BinaryCrossEntropyLoss"),
        "training data for BinaryCrossEntropyLoss, row 18, column `labels`: expected one label for \
         each row, got 2"
    );
}

#[test]
fn an_unusable_loss_checkpoint_or_prompt_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = trainer(folder.path(), json!({"max_steps": 1}));
    run.train_sets[0].loss = Arc::new(dual_encoder::MultipleNegativesRankingLoss::default());
    assert_eq!(
        message(run.train()),
        "loss: expected a loss for cross-encoders, got MultipleNegativesRankingLoss"
    );
    let mut run = trainer(folder.path(), json!({"max_steps": 1}));
    run.arguments.resume_from_checkpoint = Some(ResumeFrom::Path("no/such/checkpoint".into()));
    assert_eq!(message(run.train()), "no/such/checkpoint: expected a checkpoint, got nothing");
    let mut run = trainer(folder.path(), json!({"prompts": {"quary": "the "}}));
    assert_eq!(
        message(run.train()),
        "prompts: expected names of columns (query, answer), got quary"
    );
    run.arguments.prompts = None;
    run.model.parts_mut().default_prompt_name = Some("ask".to_owned());
    let error = run.train().unwrap_err();
    assert!(matches!(&error, Error::Encoder(EncoderError::Prompt { .. })), "{error}");
    assert_eq!(error.to_string(), "the model has no prompt named \"ask\"; it has nothing");
}
