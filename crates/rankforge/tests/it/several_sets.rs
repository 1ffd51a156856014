//! Several training and evaluation sets in one run, each with its own loss and prompts.

use crate::batches::WHOLE;
use crate::support::{message, strings};
use crate::testing::{
    arguments, bits, labeled_pairs, logged_values, loss, names, pairs, timeless, tiny_bert,
};
use rankforge::encoder::{CrossEncoder, TextModel};
use rankforge::training::{
    Checkpoint, Dataset, EpochSampler, GradientCache, Preparer, Prompts, ResumeFrom, Trainer,
    TrainingSet,
};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// A set of labeled pairs with binary cross-entropy.
fn labeled(name: &str, rows: usize) -> TrainingSet {
    let loss = loss("BinaryCrossEntropyLoss", json!({"pos_weight": 2}));
    TrainingSet { name: name.to_owned(), ..TrainingSet::new(labeled_pairs(rows), loss) }
}

/// A set of pairs with the ranking loss and its own prompt.
fn ranked(name: &str, rows: usize) -> TrainingSet {
    let loss = loss(
        "CachedMultipleNegativesRankingLoss",
        json!({"num_negatives": 2, "mini_batch_size": 3}),
    );
    let prompts = Some(Prompts::All("the bird ".to_owned()));
    TrainingSet { name: name.to_owned(), prompts, ..TrainingSet::new(pairs(rows), loss) }
}

/// A trainer on two sets, of 4 and 3 batches of up to 4 rows.
fn trainer(folder: &Path, options: Value) -> Trainer<CrossEncoder> {
    let mut all = json!({"prompts": {"clicks": "a ", "questions": "unused "}, "max_steps": 9});
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let sets = vec![labeled("clicks", 15), ranked("questions", 12)];
    Trainer::on_sets(tiny_bert(0.2, 3), arguments(folder, all), sets)
}

#[test]
fn every_batch_is_trained_with_the_loss_and_the_prompts_of_its_set() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(
        folder.path(),
        json!({"learning_rate": 0, "logging_strategy": "steps", "logging_steps": 1}),
    );
    trainer.model = tiny_bert(0.0, 3);
    let output = trainer.train().unwrap();
    let found: Vec<f64> =
        logged_values(&output.state, "loss").into_iter().map(|(_, l)| l).collect();

    let model = &trainer.model;
    let prompts = [Some("a ".to_owned()), Some("the bird ".to_owned())];
    let preparers: Vec<Preparer> = trainer
        .train_sets
        .iter()
        .zip(prompts)
        .map(|(set, prompt)| {
            let dataset = Dataset::new(set.rows.clone(), None, "test data").unwrap();
            let prompts = vec![prompt; 2];
            let tokenizer = model.tokenizer().clone();
            Preparer::new(dataset, set.loss.clone(), tokenizer, &prompts, 42).unwrap()
        })
        .collect();
    let datasets = preparers.iter().map(Preparer::dataset);
    let sampler = EpochSampler::new(datasets, 4, &trainer.arguments).unwrap();
    let mut batches = sampler.epoch(0).unwrap().batches;
    batches.extend(sampler.epoch(1).unwrap().batches);
    assert!(batches[..9].iter().any(|b| b.set == 0) && batches[..9].iter().any(|b| b.set == 1));
    let mut cache = GradientCache::new(model.model());
    for (step, batch) in batches.iter().take(9).enumerate() {
        let preparer = &preparers[batch.set];
        let prepared = preparer.prepare(batch, step as u64).unwrap();
        let expected = cache.loss(model.model(), preparer.loss(), &prepared, WHOLE).value;
        let difference = (found[step] - expected).abs();
        // Gradient caching sums in another order.
        assert!(difference < 1e-6, "step {}: {}, expected {expected}", step + 1, found[step]);
    }
}

#[test]
fn a_run_on_several_sets_resumes_at_every_step_to_the_same_bits() {
    for order in ["proportional", "round_robin"] {
        let options = json!({
            "save_strategy": "steps", "save_steps": 1, "logging_strategy": "steps",
            "logging_steps": 2, "multi_dataset_batch_sampler": order,
            "gradient_accumulation_steps": 2, "eval_strategy": "epoch",
        });
        let run = |folder: &Path, from: Option<&Path>| {
            let mut trainer = trainer(folder, options.clone());
            trainer.eval_sets = vec![ranked("questions", 5)];
            trainer.arguments.resume_from_checkpoint =
                from.map(|path| ResumeFrom::Path(path.to_owned()));
            let log = timeless(&trainer.train().unwrap().state);
            (bits(trainer.model.model()), log)
        };
        let folder = tempfile::tempdir().unwrap();
        let (expected, log) = run(folder.path(), None);
        assert!(!log.is_empty());
        for step in 1..9 {
            let other = tempfile::tempdir().unwrap();
            let checkpoint = folder.path().join(format!("checkpoint-{step}"));
            let (found, resumed_log) = run(other.path(), Some(&checkpoint));
            assert!(found == expected, "{order}, from step {step}: the parameters differ");
            assert_eq!(resumed_log, log, "{order}, from step {step}");
        }
    }
}

#[test]
fn the_loss_of_each_evaluation_set_is_logged_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 4, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps",
        "save_steps": 2, "load_best_model_at_end": true, "logging_strategy": "steps",
        "logging_steps": 2, "metric_for_best_model": "questions_loss",
    });
    let mut trainer = trainer(folder.path(), options);
    trainer.eval_sets = vec![labeled("clicks", 6), ranked("questions", 5)];
    let state = trainer.train().unwrap().state;
    for name in ["eval_clicks_loss", "eval_questions_loss"] {
        let found = logged_values(&state, name);
        assert_eq!(found.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [2, 4], "{name}");
    }
    assert_ne!(
        logged_values(&state, "eval_clicks_loss"),
        logged_values(&state, "eval_questions_loss")
    );
    assert!(logged_values(&state, "eval_loss").is_empty());
    // The log has the keys of sentence-transformers and no others.
    let keys = |record: usize| state.log_history[record].keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(0), ["loss", "grad_norm", "learning_rate", "epoch", "step"]);
    assert_eq!(
        keys(1),
        [
            "eval_clicks_loss",
            "eval_questions_loss",
            "eval_runtime",
            "eval_samples_per_second",
            "eval_steps_per_second",
            "epoch",
            "step",
        ]
    );
    let questions = logged_values(&state, "eval_questions_loss");
    let best = if questions[1].1 < questions[0].1 { 1 } else { 0 };
    assert_eq!(state.best_metric, Some(questions[best].1));
    assert_eq!(state.best_global_step, Some(questions[best].0));
}

#[test]
fn several_evaluation_sets_need_a_metric_for_best_model() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "best", "max_steps": 2,
    });
    let mut trainer = trainer(folder.path(), options);
    trainer.eval_sets = vec![labeled("clicks", 6), ranked("questions", 5)];
    let text = message(trainer.train());
    assert!(
        text.starts_with("metric_for_best_model: expected one of the metrics of an evaluation")
    );
    assert!(text.contains("eval_clicks_loss, eval_questions_loss, "), "{text}");
    assert!(text.ends_with("got eval_loss, the default"), "{text}");
}

#[test]
fn the_card_describes_every_set_and_cites_every_loss() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 2, "eval_strategy": "steps", "eval_steps": 2, "logging_strategy": "steps",
        "logging_steps": 2,
    });
    let mut trainer = trainer(folder.path(), options);
    trainer.eval_sets = vec![labeled("clicks", 6), ranked("questions", 5)];
    trainer.train().unwrap();
    let card = trainer.model_card().unwrap();
    for fragment in [
        "- dataset_size:27\n- generated_from_trainer\n- loss:BinaryCrossEntropyLoss\n\
         - loss:CachedMultipleNegativesRankingLoss\n",
        "### Training Dataset\n\n#### clicks\n\n* Size: 15 training samples\n",
        "### Training Dataset\n\n#### questions\n\n* Size: 12 training samples\n",
        "### Evaluation Dataset\n\n#### clicks\n\n* Size: 6 evaluation samples\n",
        "### Evaluation Dataset\n\n#### questions\n\n* Size: 5 evaluation samples\n",
        "* Loss: <code>BinaryCrossEntropyLoss</code> with these parameters:\n```json\n{\n  \
         \"activation_fn\": \"torch.nn.modules.linear.Identity\",\n  \"pos_weight\": 2.0\n}",
        "* Loss: <code>CachedMultipleNegativesRankingLoss</code> with these parameters:",
        "#### CachedMultipleNegativesRankingLoss\n\n```bibtex\n@misc{gao2021scaling,",
        "- `prompts`: {\"clicks\":\"a \",\"questions\":\"unused \"}",
        "| Epoch | Step | Training Loss | clicks loss | questions loss |",
    ] {
        assert!(card.contains(fragment), "{fragment:?} is not in:\n{card}");
    }
}

#[test]
fn a_checkpoint_stores_the_name_and_the_number_of_rows_of_every_set() {
    let folder = tempfile::tempdir().unwrap();
    let save = json!({"max_steps": 2, "save_strategy": "steps"});
    trainer(folder.path(), save.clone()).train().unwrap();
    let position = Checkpoint::newest(folder.path()).unwrap().position;
    assert_eq!(position.dataset_rows, [15, 12]);
    assert_eq!(position.dataset_names, ["clicks", "questions"]);
    let mut options = save;
    options["resume_from_checkpoint"] = json!(true);
    let mut fewer = trainer(folder.path(), options.clone());
    fewer.train_sets[1] = ranked("questions", 11);
    let text = message(fewer.train());
    assert!(text.starts_with("rows of the training data: expected [15,12] as in "), "{text}");
    let mut swapped = trainer(folder.path(), options.clone());
    swapped.train_sets.reverse();
    let text = message(swapped.train());
    assert!(text.contains("[\"questions\",\"clicks\"]") || text.ends_with("got [12,15]"), "{text}");
    let mut renamed = trainer(folder.path(), options);
    renamed.train_sets[0].name = "views".to_owned();
    renamed.arguments.prompts = None;
    let text = message(renamed.train());
    assert!(text.starts_with("names of the training sets: expected [\"clicks\","), "{text}");
    assert!(text.ends_with("got [\"views\",\"questions\"]"), "{text}");
}

#[test]
fn a_checkpoint_with_a_single_number_of_rows_and_no_names_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let save = json!({"max_steps": 2, "save_strategy": "steps"});
    let run = |options: Value| {
        let mut trainer = trainer(folder.path(), options);
        trainer.train_sets.truncate(1);
        trainer.arguments.prompts = None;
        trainer.train().map(|output| output.global_step)
    };
    run(save).unwrap();
    let path = folder.path().join("checkpoint-2/sampler.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let rows = text.replace("\"dataset_rows\": [\n    15\n  ]", "\"dataset_rows\": 15");
    assert_ne!(rows, text);
    let unnamed = rows.replace("\"dataset_names\": [\n    \"clicks\"\n  ],\n  ", "");
    assert_ne!(unnamed, rows);
    std::fs::write(&path, unnamed).unwrap();
    let resumed = json!({"max_steps": 3, "resume_from_checkpoint": true});
    assert_eq!(run(resumed).unwrap(), 3);
}

#[test]
fn sets_with_equal_names_and_runs_without_sets_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let with = |sets: Vec<TrainingSet>, eval_sets: Vec<TrainingSet>| {
        let mut trainer = trainer(folder.path(), json!({}));
        trainer.train_sets = sets;
        trainer.eval_sets = eval_sets;
        trainer.arguments.prompts = None;
        message(trainer.train())
    };
    assert_eq!(
        with(Vec::new(), Vec::new()),
        "training data: expected at least one training set, got none"
    );
    assert_eq!(
        with(vec![labeled("a", 4), ranked("a", 4)], Vec::new()),
        "training data: expected a name of its own for each set, got two sets named \"a\""
    );
    assert_eq!(
        with(vec![labeled("a", 4)], vec![labeled("", 4), ranked("", 4)]),
        "evaluation data: expected a name of its own for each set, got two sets named \"\""
    );
    assert!(names(folder.path()).is_empty(), "something was written");
}

#[test]
fn an_error_names_its_set() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({}));
    trainer.train_sets[1].rows = Arc::new(labeled_pairs(4));
    assert_eq!(
        message(trainer.check_rows()),
        "training data `questions` for CachedMultipleNegativesRankingLoss: expected text columns \
         only, as it takes no labels, got a label column (label, labels, score or scores)"
    );
}

#[test]
fn the_examples_of_the_card_are_those_of_the_chosen_columns() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({"max_steps": 1}));
    trainer.train_sets.truncate(1);
    trainer.arguments.prompts = None;
    trainer.train_sets[0].columns = Some(strings(&["answer", "query"]));
    trainer.train().unwrap();
    let card = trainer.model_card().unwrap();
    assert!(card.contains("--columns answer,query"), "{card}");
    let rows = labeled_pairs(1);
    let pair = [rows.texts("answer").unwrap()[0], rows.texts("query").unwrap()[0]];
    assert!(card.contains(&format!("[\"{}\", \"{}\"]", pair[0], pair[1])), "{card}");
}

#[test]
fn chosen_columns_are_read_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let with = |columns: &[&str]| {
        let mut trainer = trainer(folder.path(), json!({"max_steps": 1}));
        trainer.model = tiny_bert(0.0, 3);
        trainer.train_sets.truncate(1);
        trainer.arguments.prompts = None;
        trainer.train_sets[0].columns = Some(strings(columns));
        trainer.train().map(|output| output.training_loss)
    };
    let (forward, backward) = (with(&["query", "answer"]), with(&["answer", "query"]));
    assert_ne!(forward.unwrap(), backward.unwrap(), "the order of the columns has no effect");
    for (columns, expected) in [
        (&["query", "answers"][..], "a column `answers`, got `query`, `answer` and `label`"),
        (&["query", "query"], "each text column once, got `query` twice"),
        (&["query", "label"], "text columns, got the label column `label` among its text columns"),
    ] {
        assert_eq!(message(with(columns)), format!("training data `clicks`: expected {expected}"));
    }
    assert_eq!(
        message(with(&["query"])),
        "training data `clicks` for BinaryCrossEntropyLoss: expected exactly two text columns and \
         a label column, got 1 text columns"
    );
}
