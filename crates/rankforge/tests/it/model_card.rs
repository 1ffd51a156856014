//! Model cards of trained and untrained models.

use crate::support::{list, table, text};
use crate::testing::{eval_set, labeled_pairs, tiny_bert, trainer};
use rankforge::Metrics;
use rankforge::data::Value;
use rankforge::encoder::CrossEncoder;
use rankforge::model_card::{DatasetName, EvaluationResult, ModelCardData, render};
use rankforge::training::{LogRecord, TrainOutput, Trainer, check_destination};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

fn trained(folder: &Path) -> Trainer<CrossEncoder> {
    let options = json!({
        "max_steps": 4, "learning_rate": 2e-3, "logging_strategy": "steps", "logging_steps": 2,
        "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2,
        "load_best_model_at_end": true, "run_name": "first try",
        "logging_dir": folder.join("events"),
    });
    let mut trainer = trainer(folder, options);
    trainer.eval_sets.push(eval_set(&trainer, labeled_pairs(7)));
    trainer.card = ModelCardData {
        language: vec!["en".to_owned()],
        license: Some("apache-2.0".to_owned()),
        model_name: Some("A tiny reranker".to_owned()),
        train_datasets: vec![DatasetName {
            name: Some("colors".to_owned()),
            id: Some("someone/colors".to_owned()),
            revision: Some("0123456789abcdef".to_owned()),
        }],
        ..ModelCardData::default()
    };
    trainer.train().unwrap();
    trainer
}

/// The output of the trainer's run.
fn output(trainer: &mut Trainer<CrossEncoder>) -> &mut TrainOutput {
    trainer.output.as_mut().unwrap()
}

fn evaluation(name: &str, map: f64) -> EvaluationResult {
    let mut metrics = Metrics::new();
    metrics.insert(format!("{name}_map"), map);
    metrics.insert(format!("{name}_ndcg@10"), map + 0.1);
    EvaluationResult {
        class_name: "CrossEncoderRerankingEvaluator".to_owned(),
        name: name.to_owned(),
        primary_metric: format!("{name}_ndcg@10"),
        config: json!({"at_k": 10}),
        metrics,
    }
}

#[track_caller]
fn assert_contains(card: &str, fragments: &[&str]) {
    for fragment in fragments {
        assert!(card.contains(fragment), "{fragment:?} is not in:\n{card}");
    }
}

#[test]
fn the_card_of_a_trained_model_has_every_section() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trained(folder.path());
    output(&mut trainer).evaluations =
        vec![evaluation("nq-dev", 0.5), evaluation("gooaq-dev", 0.25)];
    let card = trainer.model_card().unwrap();
    assert!(
        card.starts_with(
            "---\nlanguage: en\nlicense: apache-2.0\ntags:\n- sentence-transformers\n"
        )
    );
    assert_contains(
        &card,
        &[
            "- cross-encoder\n- reranker\n- dataset_size:30\n- generated_from_trainer\n\
             - loss:BinaryCrossEntropyLoss\n",
            "datasets:\n- someone/colors\n",
            "pipeline_tag: text-ranking\nlibrary_name: sentence-transformers\n",
            "metrics:\n- map\n- ndcg@10\n",
            "model-index:\n- name: A tiny reranker\n  results:\n  - task:\n      \
             type: cross-encoder-reranking\n",
            "\n# A tiny reranker\n",
            "on [colors](https://huggingface.co/datasets/someone/colors) with rankforge.",
            "- **Maximum Sequence Length:** 24 tokens\n- **Number of Output Labels:** 1 label\n",
            "- **License:** apache-2.0",
            "CrossEncoder(\n  (0): Transformer(bert,\n    2 blocks",
            "Dense(16 -> 1, Identity)",
            "model = CrossEncoder(\"cross_encoder_model_id\")",
            "scores = model.predict(pairs)",
            "ranking = model.rank(",
            "rankforge predict --model cross_encoder_model_id --input pairs.jsonl --columns \
             query,answer",
            "rankforge rank --model",
            "#### Cross Encoder Reranking\n\n* Datasets: `nq-dev`, `gooaq-dev`\n",
            "| Metric | nq-dev | gooaq-dev |\n",
            "| map | 0.5000 | 0.2500 |\n| **ndcg@10** | **0.6000** | **0.3500** |\n",
            "at [0123456](https://huggingface.co/datasets/someone/colors/tree/0123456789abcdef)",
            "* Size: 30 training samples\n* Columns: <code>query</code>, <code>answer</code> \
             and <code>label</code>\n",
            "statistics based on the first 30 samples",
            "| type | string | string | int |",
            " tokens</li>",
            "<li>0: ~50.00%</li><li>1: ~50.00%</li>",
            "### Evaluation Dataset",
            "* Loss: <code>BinaryCrossEntropyLoss</code> with these parameters:\n```json\n",
            "#### Non-Default Hyperparameters\n\n- `per_device_train_batch_size`: 4\n",
            "- **CPU time**: ",
            "### Environment\n\n- rankforge: ",
            "- Instruction set: ",
            "- Threads: 2\n",
            "- `adam_beta1`: 0.9",
            "| Epoch | Step | Training Loss | Validation Loss |",
            "* The bold row denotes the saved checkpoint.",
            "### Training Time\n\n- **Training**: ",
            "- **Total**: ",
            "reimers-2019-sentence-bert",
        ],
    );
    let best = output(&mut trainer).state.best_global_step.unwrap();
    assert_contains(&card, &[&format!("**{best}** |")]);
    assert!(!card.contains("\n\n\n"), "two blank lines in a row");
    assert!(!card.contains("{{") && !card.contains("{%"), "template code is left in the card");
    assert!(!card.contains("shape ("), "the examples have no scores");
    let path = folder.path().display().to_string();
    assert!(!card.contains(&path) && !card.contains("first try"), "only this machine has these");
}

#[test]
fn the_examples_are_the_first_rows_with_the_models_scores() {
    let folder = tempfile::tempdir().unwrap();
    let trainer = trained(folder.path());
    let card = trainer.model_card().unwrap();
    let rows = labeled_pairs(30);
    let pairs: Vec<(&str, &str)> = rows
        .texts("query")
        .unwrap()
        .into_iter()
        .zip(rows.texts("answer").unwrap())
        .take(5)
        .collect();
    for (query, answer) in &pairs {
        assert_contains(&card, &[&format!("    [{query:?}, {answer:?}],\n")]);
    }
    let scores = trainer.model.predict(&pairs).unwrap().values;
    let scores: Vec<String> = scores.into_iter().map(|score| format!("{score:.4}")).collect();
    assert_contains(&card, &[&format!("print(scores)\n# [{}]\n", scores.join(" "))]);
}

#[test]
fn checkpoints_and_saved_models_have_a_card() {
    let folder = tempfile::tempdir().unwrap();
    let trainer = trained(folder.path());
    let checkpoint = folder.path().join("checkpoint-4/README.md");
    assert_contains(&std::fs::read_to_string(checkpoint).unwrap(), &["# A tiny reranker"]);
    let target = folder.path().join("final");
    trainer.save_model(&target).unwrap();
    // Saving replaces an earlier model, but no other directory.
    trainer.save_model(&target).unwrap();
    let card = std::fs::read_to_string(target.join("README.md")).unwrap();
    assert_eq!(card, trainer.model_card().unwrap());
    for result in [trainer.save_model(folder.path()), check_destination(folder.path())] {
        let message = result.unwrap_err().to_string();
        assert!(message.starts_with(&folder.path().display().to_string()), "{message}");
        assert!(message.contains("is not a model directory, so it is not replaced"), "{message}");
    }
    // Nor does it replace a directory that contains a file of the user besides the model, whatever
    // its extension.
    for name in ["notes.odt", "notes.txt", "results.json", "train.py", "onnx"] {
        let file = target.join(name);
        std::fs::write(&file, "mine").unwrap();
        for result in [trainer.save_model(&target), check_destination(&target)] {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(&format!("holds {name:?}, which would be lost")), "{message}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
        std::fs::remove_file(&file).unwrap();
    }
}

#[test]
fn an_untrained_model_has_a_short_card_with_a_built_in_example() {
    let model = tiny_bert(0.0, 1);
    let card = render(&model, &ModelCardData::default(), None).unwrap();
    let pairs = [
        ("How many calories are in an egg?", "A large egg has about 72 calories."),
        ("How many calories are in an egg?", "Eggs are laid by hens of many breeds."),
    ];
    let scores = model.predict(&pairs).unwrap().values;
    let scores = format!("# [{:.4} {:.4}]\n", scores[0], scores[1]);
    assert_contains(&card, &["calories are in an egg", &scores, "Training Dataset:** Unknown"]);
    assert!(!card.contains("## Training Details") && !card.contains("## Evaluation"));
}

#[test]
fn lists_special_characters_and_long_logs_are_shown_correctly() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trained(folder.path());
    let numbers = |items: &[f64]| Value::List(items.iter().copied().map(Value::Float).collect());
    trainer.train_sets[0].rows = Arc::new(table(vec![
        ("query", vec![text("a \"quoted\" | query\n")]),
        ("documents", vec![list(&["one", "two", "three", "four", "five", "six"])]),
        ("labels", vec![numbers(&[1.0, 0.5, 0.0, 0.0, 0.0, 0.0])]),
    ]));
    output(&mut trainer).state.log_history = (1..=150)
        .map(|step| {
            LogRecord::from_iter([
                ("step".to_owned(), json!(step)),
                ("epoch".to_owned(), json!(0.5)),
                ("loss".to_owned(), json!(0.25)),
            ])
        })
        .collect();
    let card = trainer.model_card().unwrap();
    assert_contains(
        &card,
        &[
            "[\"a \\\"quoted\\\" | query\\n\", \"one\"]",
            "<code>a \"quoted\" &#124; query<br></code>",
            "<code>[one, two, three, four, five, ...]</code>",
            "<ul><li>6 elements</li></ul>",
            "### Training Logs\n\n<details>",
            "| 0.5000 | 150 | 0.2500 |",
        ],
    );
}
