//! Several training and evaluation sets in one run, each with a loss and prompts of its own.

use crate::batches::WHOLE;
use crate::support::{message, strings};
use crate::testing::{
    arguments, bits, figures, labelled_pairs, loss, names, pairs, timeless, tiny_bert,
};
use rankforge::encoder::{CrossEncoder, TextModel};
use rankforge::training::{
    Checkpoint, Dataset, EpochSampler, GradientCache, Preparer, Prompts, ResumeFrom, Trainer,
    TrainingSet,
};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// A set with binary cross entropy on labelled pairs.
fn labelled(name: &str, rows: usize) -> TrainingSet {
    let loss = loss("BinaryCrossEntropyLoss", json!({"pos_weight": 2}));
    TrainingSet { name: name.to_owned(), ..TrainingSet::new(labelled_pairs(rows), loss) }
}

/// A set with the ranking loss on pairs, and a prompt of its own.
fn ranked(name: &str, rows: usize) -> TrainingSet {
    let loss = loss(
        "CachedMultipleNegativesRankingLoss",
        json!({"num_negatives": 2, "mini_batch_size": 3}),
    );
    let prompts = Some(Prompts::All("the bird ".to_owned()));
    TrainingSet { name: name.to_owned(), prompts, ..TrainingSet::new(pairs(rows), loss) }
}

/// A trainer on both: 4 and 3 batches of 4, an epoch in a random order.
fn trainer(folder: &Path, options: Value) -> Trainer<CrossEncoder> {
    let mut all = json!({"prompts": {"clicks": "a ", "questions": "unused "}, "max_steps": 9});
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let sets = vec![labelled("clicks", 15), ranked("questions", 12)];
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
    let found: Vec<f64> = figures(&output.state, "loss").into_iter().map(|(_, l)| l).collect();

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
        // The cached loss sums in parts.
        assert!(difference < 1e-6, "step {}: {} for {expected}", step + 1, found[step]);
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
fn evaluation_sets_have_a_loss_under_the_name_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 4, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps",
        "save_steps": 2, "load_best_model_at_end": true, "logging_strategy": "steps",
        "logging_steps": 2, "metric_for_best_model": "questions_loss",
    });
    let mut trainer = trainer(folder.path(), options);
    trainer.eval_sets = vec![labelled("clicks", 6), ranked("questions", 5)];
    let state = trainer.train().unwrap().state;
    for name in ["eval_clicks_loss", "eval_questions_loss"] {
        let found = figures(&state, name);
        assert_eq!(found.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [2, 4], "{name}");
    }
    assert_ne!(figures(&state, "eval_clicks_loss"), figures(&state, "eval_questions_loss"));
    assert!(figures(&state, "eval_loss").is_empty());
    // The names of sentence-transformers' log, and no others.
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
    let questions = figures(&state, "eval_questions_loss");
    let best = if questions[1].1 < questions[0].1 { 1 } else { 0 };
    assert_eq!(state.best_metric, Some(questions[best].1));
    assert_eq!(state.best_global_step, Some(questions[best].0));
}

#[test]
fn without_a_named_metric_several_evaluation_sets_leave_no_best_loss() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "best", "max_steps": 2,
    });
    let mut trainer = trainer(folder.path(), options);
    trainer.eval_sets = vec![labelled("clicks", 6), ranked("questions", 5)];
    let text = message(trainer.train());
    assert!(text.starts_with("metric_for_best_model: expected one of the evaluation figures"));
    assert!(text.contains("eval_clicks_loss, eval_questions_loss, "), "{text}");
    assert!(text.ends_with("got eval_loss"), "{text}");
}

#[test]
fn the_card_describes_every_set_and_cites_every_loss() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 2, "eval_strategy": "steps", "eval_steps": 2, "logging_strategy": "steps",
        "logging_steps": 2,
    });
    let mut trainer = trainer(folder.path(), options);
    trainer.eval_sets = vec![labelled("clicks", 6), ranked("questions", 5)];
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
fn a_checkpoint_remembers_the_rows_of_every_set() {
    let folder = tempfile::tempdir().unwrap();
    let save = json!({"max_steps": 2, "save_strategy": "steps"});
    trainer(folder.path(), save.clone()).train().unwrap();
    let position = Checkpoint::newest(folder.path()).unwrap().position;
    assert_eq!(position.dataset_rows, [15, 12]);
    let mut options = save;
    options["resume_from_checkpoint"] = json!(true);
    let mut fewer = trainer(folder.path(), options.clone());
    fewer.train_sets[1] = ranked("questions", 11);
    let text = message(fewer.train());
    assert!(text.starts_with("rows of the training data: expected [15,12] as in "), "{text}");
    let mut swapped = trainer(folder.path(), options);
    swapped.train_sets.reverse();
    assert!(message(swapped.train()).ends_with("got [12,15]"));
}

#[test]
fn a_checkpoint_of_one_set_with_a_plain_number_of_rows_can_be_resumed() {
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
    std::fs::write(&path, rows).unwrap();
    let resumed = json!({"max_steps": 3, "resume_from_checkpoint": true});
    assert_eq!(run(resumed).unwrap(), 3);
}

#[test]
fn sets_that_cannot_be_told_apart_and_no_set_at_all_are_refused() {
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
        with(vec![labelled("a", 4), ranked("a", 4)], Vec::new()),
        "training data: expected a name of its own for each set, got two sets named \"a\""
    );
    assert_eq!(
        with(vec![labelled("a", 4)], vec![labelled("", 4), ranked("", 4)]),
        "evaluation data: expected a name of its own for each set, got two sets named \"\""
    );
    assert!(names(folder.path()).is_empty(), "something was written");
}

#[test]
fn an_error_names_the_set_that_it_is_of() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({}));
    trainer.train_sets[1].rows = Arc::new(labelled_pairs(4));
    assert_eq!(
        message(trainer.check_rows()),
        "training data `questions` for CachedMultipleNegativesRankingLoss: expected text columns \
         only, as it takes no labels, got a label column (label, labels, score or scores)"
    );
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
    assert_ne!(forward.unwrap(), backward.unwrap(), "a pair has a first and a second text");
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
