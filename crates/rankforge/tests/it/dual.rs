//! A transformer as a dual encoder: training with prompts for queries and documents, saving,
//! loading, retrieval, and gradients.

use crate::batches::{WHOLE, check_finite_differences, gradients_of, prepared};
use crate::testing::{
    PROMPTS, arguments, bits, device, logged_values, pairs, timeless, tiny_dual, tiny_static,
};
use rankforge::data::Rows;
use rankforge::encoder::kernels::ParameterId;
use rankforge::encoder::{DualEncoder, EncodeOptions, LoadOptions, Model, TextModel};
use rankforge::losses::{Loss, dual_encoder};
use rankforge::retrieval::Retriever;
use rankforge::training::{PreparedBatch, ResumeFrom, Trainer, TrainingSet};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// Sixteen pairs of queries and answers.
fn rows() -> Rows {
    pairs(16)
}

fn trainer(folder: &Path, options: Value) -> Trainer<DualEncoder> {
    let mut all = json!({
        "batch_sampler": "no_duplicates", "prompts": {"query": PROMPTS[0], "answer": PROMPTS[1]},
        "logging_strategy": "steps", "logging_steps": 10,
    });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let loss = dual_encoder::MultipleNegativesRankingLoss::default();
    Trainer::new(tiny_dual(0.1, 1, false), arguments(folder, all), rows(), loss)
}

#[test]
fn the_loss_falls_and_the_saved_model_retrieves_the_answers() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({"max_steps": 120, "learning_rate": 3e-3}));
    trainer.model = tiny_dual(0.0, 1, false);
    let state = trainer.train().unwrap().state;
    let losses = logged_values(&state, "loss");
    let (first, last) = (losses[0].1, losses.last().unwrap().1);
    assert!(last < 0.5 * first, "from {first} to {last}");

    let saved = folder.path().join("model");
    trainer.save_model(&saved).unwrap();
    let model = DualEncoder::open_with(&saved, &LoadOptions::new(&device())).unwrap();
    let (rows, with) = (rows(), |prompt: &str| EncodeOptions {
        prompt: Some(prompt.to_owned()),
        ..EncodeOptions::default()
    });
    let (queries, answers) = (rows.texts("query").unwrap(), rows.texts("answer").unwrap());
    let encoded = model.encode_query(&queries).unwrap();
    assert_eq!(
        encoded,
        trainer.model.encode_query(&queries).unwrap(),
        "the saved model gives other embeddings"
    );
    assert_eq!(encoded, model.encode_with(&queries, &with(PROMPTS[0])).unwrap());
    assert_ne!(encoded, model.encode_with(&queries, &with("")).unwrap());
    let documents = model.encode_document(&answers).unwrap();
    assert_eq!(documents, model.encode_with(&answers, &with(PROMPTS[1])).unwrap());

    // The search uses the model's own prompts for queries and documents.
    let retriever = Retriever::new(&model, &answers, &EncodeOptions::default()).unwrap();
    let found = retriever.search(&queries, 1, &EncodeOptions::default()).unwrap();
    let results = found.iter().zip(&answers);
    let right = results.filter(|(found, answer)| answers[found[0].index as usize] == **answer);
    let right = right.count();
    assert!(right >= 12, "{right} of 16: {found:?}");

    let card = std::fs::read_to_string(saved.join("README.md")).unwrap();
    for fragment in [
        "- sentence-similarity\n- feature-extraction\n- dense\n- dataset_size:16\n",
        "pipeline_tag: sentence-similarity\nlibrary_name: sentence-transformers\n",
        "(0): Transformer(bert,",
        "(1): Pooling(Mean)",
        "- **Output Dimensionality:** 16 dimensions\n\
         - **Similarity Function:** Cosine Similarity\n",
        "model = SentenceTransformer(\"sentence_transformers_model_id\")\n\
         query = model.encode_query(",
        "print(model.similarity(query, documents))\n# tensor([[",
        "#### MultipleNegativesRankingLoss\n\n```bibtex",
    ] {
        assert!(card.contains(fragment), "{fragment:?} is not in:\n{card}");
    }
}

#[test]
fn a_run_resumes_at_every_step_to_the_same_bits() {
    let options = json!({"max_steps": 6, "save_strategy": "steps", "save_steps": 1});
    let folder = tempfile::tempdir().unwrap();
    let mut whole = trainer(folder.path(), options.clone());
    let expected = timeless(&whole.train().unwrap().state);
    for step in 1..6 {
        let other = tempfile::tempdir().unwrap();
        let mut resumed = trainer(other.path(), options.clone());
        let checkpoint = folder.path().join(format!("checkpoint-{step}"));
        resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
        let found = timeless(&resumed.train().unwrap().state);
        assert!(bits(resumed.model.model()) == bits(whole.model.model()), "from step {step}");
        assert_eq!(found, expected, "from step {step}");
    }
}

#[test]
fn a_static_model_resumes_to_the_same_bits_and_takes_its_best_step() {
    let options = json!({
        "max_steps": 6, "save_strategy": "steps", "save_steps": 1, "learning_rate": 0.2,
        "eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": true, "prompts": null,
    });
    let prepared = |folder: &Path| {
        let mut trainer = trainer(folder, options.clone());
        trainer.model = tiny_static(3);
        trainer
            .eval_sets
            .push(TrainingSet { rows: Arc::new(pairs(5)), ..trainer.train_sets[0].clone() });
        trainer
    };
    let folder = tempfile::tempdir().unwrap();
    let mut whole = prepared(folder.path());
    let expected = whole.train().unwrap();
    let losses = logged_values(&expected.state, "eval_loss");
    let best = losses.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    assert_eq!(expected.model_step, best.0, "{losses:?}");
    for step in [1, 3, 5] {
        let other = tempfile::tempdir().unwrap();
        let mut resumed = prepared(other.path());
        let checkpoint = folder.path().join(format!("checkpoint-{step}"));
        resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
        let found = resumed.train().unwrap();
        assert_eq!(found.model_step, expected.model_step);
        assert!(bits(resumed.model.model()) == bits(whole.model.model()), "from step {step}");
        assert_eq!(timeless(&found.state), timeless(&expected.state), "from step {step}");
    }
}

/// A loss with a small scale, for which finite differences are accurate.
fn mild() -> Arc<dyn Loss> {
    Arc::new(dual_encoder::MultipleNegativesRankingLoss { scale: 2.0, ..Default::default() })
}

fn batch(model: &DualEncoder, prompts: &[&str]) -> PreparedBatch {
    prepared(model, &mild(), &pairs(5), prompts)
}

#[test]
fn gradients_agree_with_finite_differences_with_and_without_prompts() {
    for include_prompt in [true, false] {
        let model = tiny_dual(0.0, 5, include_prompt);
        for prompts in [&[][..], &PROMPTS, &[PROMPTS[0], ""]] {
            let batch = batch(&model, prompts);
            check_finite_differences(model.model().clone(), &*mild(), &batch, &[]);
        }
    }
}

/// Fills every parameter of the model whose name contains `part` with zeros.
fn zero_parameters(model: &mut Model, part: &str) {
    let names: Vec<String> =
        model.parameters().layout().entries().iter().map(|entry| entry.name.clone()).collect();
    let found = names.iter().enumerate().filter(|(_, name)| name.contains(part));
    let ids: Vec<usize> = found.map(|(index, _)| index).collect();
    assert!(!ids.is_empty(), "{part} is in none of {names:?}");
    for id in ids {
        model.parameters_mut().view_mut(ParameterId(id)).fill(0.0);
    }
}

/// The norm of the gradient of each token's embedding in the vocabulary.
fn word_gradients(model: &Model, batch: &PreparedBatch) -> Vec<f64> {
    let (_, gradients) = gradients_of(model, &*mild(), batch, WHOLE);
    let layout = model.parameters().layout();
    let entries = layout.entries();
    let words = entries.iter().find(|entry| entry.name == "embeddings.word").unwrap();
    let start = words.offset.unwrap();
    let rows = gradients[start..start + words.len()].chunks(words.columns);
    rows.map(|row| row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()).collect()
}

#[test]
fn tokens_of_an_excluded_prompt_receive_gradients_through_attention_only() {
    for include_prompt in [true, false] {
        let mut model = tiny_dual(0.0, 5, include_prompt);
        let batch = batch(&model, &PROMPTS);
        // [CLS], the prompt's word and the colon, which occur in no text.
        let prompt: Vec<usize> =
            batch.tokens.iter().flat_map(|t| &t.ids[..3]).map(|id| *id as usize).collect();
        let of_text = batch.tokens[0].ids[3] as usize;
        let lengths = word_gradients(model.model(), &batch);
        assert!(prompt.iter().all(|&id| lengths[id] > 0.0) && lengths[of_text] > 0.0);
        // Without attention, a token affects the mean only if pooling includes it.
        zero_parameters(model.model_mut(), "attention_output");
        let lengths = word_gradients(model.model(), &batch);
        assert!(lengths[of_text] > 0.0);
        for id in prompt {
            assert_eq!(lengths[id] > 0.0, include_prompt, "token {id}: {}", lengths[id]);
        }
    }
}

#[test]
fn training_uses_the_prompts_of_the_arguments() {
    let train = |prompts: Value| {
        let folder = tempfile::tempdir().unwrap();
        let mut options = json!({"max_steps": 2, "logging_strategy": "no"});
        options["prompts"] = prompts;
        let mut trainer = trainer(folder.path(), options);
        trainer.train().unwrap();
        bits(trainer.model.model())
    };
    let both = train(json!({"query": PROMPTS[0], "answer": PROMPTS[1]}));
    assert!(
        both == train(json!({"answer": PROMPTS[1], "query": PROMPTS[0]})),
        "the order of the names matters"
    );
    let others = [
        json!(null),
        json!({"query": PROMPTS[0]}),
        json!({"query": PROMPTS[1], "answer": PROMPTS[0]}),
        json!(PROMPTS[0]),
    ];
    for other in others {
        assert!(both != train(other.clone()), "{other} gives the same parameters");
    }
}

#[test]
fn training_uses_the_default_prompt_of_the_model() {
    let train = |default: Option<&str>, prompts: Value| {
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = trainer(folder.path(), json!({"max_steps": 2, "prompts": prompts}));
        trainer.model.parts_mut().default_prompt_name = default.map(str::to_owned);
        trainer.train().unwrap();
        bits(trainer.model.model())
    };
    let default = train(Some("query"), json!(null));
    assert!(default == train(None, json!(PROMPTS[0])));
    assert!(default != train(None, json!(null)));
    let own = json!({"query": PROMPTS[0], "answer": PROMPTS[1]});
    assert!(
        train(Some("query"), own.clone()) == train(None, own),
        "the arguments override the default prompt"
    );
}
