//! Runs with the optimizers beside AdamW: both kinds of model, adapters, resuming.

use crate::testing::{
    arguments, bits, labeled_pairs, loss, names, pairs, tiny_bert, tiny_bert_on, tiny_static,
};
use rankforge::encoder::{CrossEncoder, LoraConfig, TextModel};
use rankforge::losses::dual_encoder_loss;
use rankforge::training::{Trainer, TrainingArguments};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::path::Path;

/// Optimizers with settings that have all kinds of state, and the kinds of state.
fn optimizers() -> [(Value, &'static [&'static str]); 7] {
    [
        (json!({"optim": "sgd", "learning_rate": 0.1}), &[]),
        (json!({"optim": "sgd", "optim_args": "momentum=0.9"}), &["momentum_buffer"]),
        (json!({"optim": "adafactor"}), &["exp_avg_sq_row", "exp_avg_sq_col", "exp_avg_sq"]),
        (json!({"optim": "lion_32bit", "learning_rate": 2e-4}), &["exp_avg"]),
        (json!({"optim": "adagrad"}), &["sum"]),
        (json!({"optim": "rmsprop"}), &["square_avg"]),
        (
            json!({"optim": "rmsprop", "optim_args": "momentum=0.9,centered=true"}),
            &["square_avg", "momentum_buffer", "grad_avg"],
        ),
    ]
}

fn options(optimizer: &Value, more: Value) -> Value {
    let mut options = optimizer.clone();
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

fn trainer(model: CrossEncoder, folder: &Path, options: Value) -> Trainer<CrossEncoder> {
    let loss = loss("BinaryCrossEntropyLoss", json!({}));
    Trainer::new(model, arguments(folder, options), labeled_pairs(30), loss)
}

#[test]
fn every_optimizer_learns_and_a_resumed_run_ends_with_the_same_bits() {
    for (optimizer, state) in optimizers() {
        let folder = tempfile::tempdir().unwrap();
        let run = |name: &str, model: CrossEncoder, more: Value| {
            let more = options(&json!({"weight_decay": 0.01, "max_steps": 12}), more);
            let mut trainer = trainer(model, &folder.path().join(name), options(&optimizer, more));
            let output = trainer.train().unwrap();
            (bits(trainer.model.model()), output.training_loss)
        };
        let saves = json!({"save_strategy": "steps", "save_steps": 5});
        let (whole, _) = run("whole", tiny_bert_on(1, 0.1, 1), saves.clone());
        // The run stops at its fifth step, with all of its schedule before it.
        let checkpoint = folder.path().join("whole/checkpoint-5");
        let resumed = json!({"resume_from_checkpoint": checkpoint});
        let (again, _) = run("resumed", tiny_bert(0.1, 1), resumed);
        assert!(whole == again, "{optimizer}: another end after step 5 with two threads");

        let bytes = std::fs::read(checkpoint.join("optimizer.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut kinds: Vec<&str> =
            file.names().iter().map(|name| name.split('.').next().unwrap()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut expected = state.to_vec();
        expected.sort_unstable();
        assert_eq!(kinds, expected, "{optimizer}");

        let long = json!({"max_steps": 120});
        let (_, after) = run("long", tiny_bert(0.0, 1), long);
        let (_, before) = run("short", tiny_bert(0.0, 1), json!({"max_steps": 4}));
        assert!(after < before, "{optimizer}: a mean loss of {after} after {before}");
    }
}

#[test]
fn a_run_does_not_resume_with_the_state_of_another_optimizer() {
    let folder = tempfile::tempdir().unwrap();
    let saves = json!({"max_steps": 2, "save_strategy": "steps", "save_steps": 2});
    let optim = json!({"optim": "adagrad"});
    trainer(tiny_bert(0.0, 1), folder.path(), options(&optim, saves)).train().unwrap();
    let more = json!({"optim": "rmsprop", "max_steps": 4, "resume_from_checkpoint": true});
    let error = trainer(tiny_bert(0.0, 1), folder.path(), more).train().unwrap_err().to_string();
    assert!(error.contains("optim") && error.contains("adagrad"), "{error}");
}

/// Rows of a table whose tokens are in no text keep their bits.
#[test]
fn a_static_model_trains_the_rows_that_texts_have() {
    for (optimizer, _) in optimizers() {
        let folder = tempfile::tempdir().unwrap();
        let settings = json!({"scale": 20.0});
        let loss = dual_encoder_loss("MultipleNegativesRankingLoss", settings.as_object().unwrap());
        let map = options(&optimizer, json!({"max_steps": 5}));
        let arguments = arguments(folder.path(), map);
        let before = bits(tiny_static(1).model());
        let mut trainer = Trainer::new(tiny_static(1), arguments, pairs(30), loss.unwrap());
        trainer.train().unwrap();
        let after = bits(trainer.model.model());
        let rows: Vec<bool> = before
            .chunks(16)
            .zip(after.chunks(16))
            .map(|(before, after)| before != after)
            .collect();
        let changed = rows.iter().filter(|changed| **changed).count();
        assert!(changed > 5 && changed < rows.len(), "{optimizer}: {changed} of {}", rows.len());
    }
}

#[test]
fn adapters_train_with_every_optimizer() {
    for (optimizer, _) in optimizers() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        tiny_bert(0.0, 1).save_files(&base, None).unwrap();
        let mut model = CrossEncoder::open(&base).unwrap();
        model.add_adapter(&LoraConfig { r: 4, ..LoraConfig::default() }, 1).unwrap();
        let before = bits(model.model());
        let more = json!({"max_steps": 3, "save_strategy": "steps", "save_steps": 3});
        let mut trainer = trainer(model, &folder.path().join("run"), options(&optimizer, more));
        trainer.train().unwrap();
        assert!(bits(trainer.model.model()) != before, "{optimizer}");
        let files = names(&folder.path().join("run/checkpoint-3"));
        assert!(files.contains(&"adapter_model.safetensors".to_owned()), "{files:?}");
    }
}

#[test]
fn settings_of_an_optimizer_are_read_as_transformers_reads_them_and_checked() {
    let read = |options: Value| {
        TrainingArguments::from_map(options.as_object().unwrap()).map_err(|error| error.to_string())
    };
    for (optim, settings) in [
        ("sgd", "momentum = 0.9, nesterov = Yes"),
        ("rmsprop", "alpha=0.9,momentum=0.5,eps=1e-6,centered=1"),
        ("adagrad", "lr_decay=0.1"),
    ] {
        let map = json!({"optim": optim, "optim_args": settings});
        assert_eq!(read(map).unwrap().1, [""; 0]);
    }
    for (optim, settings, expected) in [
        ("sgd", "momentum", "settings such as momentum=0.9"),
        ("sgd", "momentum=much", "a number of at least 0 for momentum"),
        ("sgd", "momentum=-1", "a number of at least 0 for momentum"),
        ("sgd", "nesterov=true", "momentum above 0"),
        ("sgd", "nesterov=2", "true or false for nesterov"),
        ("sgd", "alpha=1", "momentum, dampening or nesterov, as sgd reads no more"),
        ("sgd", "weight_decay=1", "no weight_decay, as the argument weight_decay"),
        ("rmsprop", "alpha=2", "alpha of at most 1"),
        ("adafactor", "beta1=0.9", "no settings, as"),
        ("lion_32bit", "beta1=0.9", "adam_beta1 and adam_beta2"),
        ("adamw_torch", "eps=1", "adam_epsilon"),
    ] {
        let error = read(json!({"optim": optim, "optim_args": settings})).unwrap_err();
        assert!(error.starts_with("optim_args: expected "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    let (_, warnings) = read(json!({"optim": "sgd", "adam_beta1": 0.5})).unwrap();
    assert_eq!(warnings, ["adam_beta1 = 0.5 has no effect: \"sgd\" does not read it"]);
    for (optim, reason) in [
        ("paged_adamw_8bit", "the state of an optimizer is f32"),
        ("galore_adamw_layerwise", "lower rank"),
        ("schedule_free_sgd", "lr_scheduler_type"),
    ] {
        let error = read(json!({"optim": optim})).unwrap_err();
        assert!(
            error.starts_with("optim: expected adamw_torch_fused, adamw_torch, sgd"),
            "{error}"
        );
        assert!(error.contains("it is not supported, as") && error.contains(reason), "{error}");
    }
    let error = read(json!({"optim": "adam"})).unwrap_err();
    assert!(error.ends_with("adagrad or rmsprop, got \"adam\""), "{error}");
}
