//! The two trainings of the quickstart.

use crate::inference::example_scores;
use rankforge::data::Rows;
use rankforge::encoder::{CrossEncoder, DualEncoder, LoadOptions, Reporter, Tokenizer, Trainable};
use rankforge::losses::{BinaryCrossEntropyLoss, Loss, dual_encoder};
use rankforge::model_card::{DatasetName, ModelCardData};
use rankforge::training::{SaveStrategy, Steps, Trainer, TrainingArguments};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Width of both models: the reranker starts from the dual encoder's word vectors.
const WIDTH: usize = 128;
/// Hard negatives mined for each question.
pub(crate) const NEGATIVES: usize = 4;

/// What both trainings have in common.
pub(crate) struct Setting<'a> {
    /// Seed of everything.
    pub(crate) seed: u64,
    /// How models are made and opened.
    pub(crate) options: LoadOptions,
    /// Folder of what the trainer writes beside the models.
    pub(crate) runs: &'a Path,
    /// Set by Ctrl-C.
    pub(crate) stop: Arc<AtomicBool>,
    /// Where progress goes.
    pub(crate) reporter: &'a dyn Reporter,
}

/// Trains a static embedding model on (question, passage) pairs, with the other passages of a batch
/// as negatives, and saves it to `folder`.
///
/// # Errors
/// When training fails or is interrupted, or a file cannot be written.
pub(crate) fn train_first_stage(
    tokenizer: Tokenizer,
    pairs: Rows,
    folder: &Path,
    setting: &Setting<'_>,
) -> anyhow::Result<DualEncoder> {
    let arguments = TrainingArguments {
        per_device_train_batch_size: 64,
        num_train_epochs: 10.0,
        learning_rate: 5e-3,
        ..arguments("first-stage", setting)
    };
    let model = DualEncoder::new_static(tokenizer, WIDTH, &setting.options);
    let loss = Box::new(dual_encoder::MultipleNegativesRankingLoss::default());
    let mut trainer = trainer(model, arguments, pairs, loss, setting);
    trainer.card.model_name = Some("Quickstart first stage".to_owned());
    trainer.train()?;
    trainer.save_model(folder)?;
    Ok(trainer.model)
}

/// Trains the reranker on labeled pairs and saves it to `folder`.
///
/// # Errors
/// When training fails or is interrupted, or a file cannot be written.
pub(crate) fn train_reranker(
    model: CrossEncoder,
    rows: Rows,
    epochs: f64,
    folder: &Path,
    setting: &Setting<'_>,
) -> anyhow::Result<CrossEncoder> {
    let arguments = TrainingArguments {
        per_device_train_batch_size: 32,
        num_train_epochs: epochs,
        learning_rate: 1e-3,
        ..arguments("reranker", setting)
    };
    let loss = Box::new(BinaryCrossEntropyLoss {
        pos_weight: Some(NEGATIVES as f64),
        ..BinaryCrossEntropyLoss::default()
    });
    let mut trainer = trainer(model, arguments, rows, loss, setting);
    trainer.card.model_name = Some("Quickstart reranker".to_owned());
    trainer.example_scores = Some(example_scores);
    trainer.train()?;
    trainer.save_model(folder)?;
    Ok(trainer.model)
}

fn arguments(run: &str, setting: &Setting<'_>) -> TrainingArguments {
    TrainingArguments {
        output_dir: setting.runs.join(run),
        warmup_steps: Steps::Ratio(0.1),
        logging_steps: Steps::Count(20),
        save_strategy: SaveStrategy::No,
        seed: setting.seed,
        ..TrainingArguments::default()
    }
}

fn trainer<'a, M: Trainable>(
    model: M,
    arguments: TrainingArguments,
    rows: Rows,
    loss: Box<dyn Loss>,
    setting: &Setting<'a>,
) -> Trainer<'a, M> {
    let mut trainer = Trainer::new(model, arguments, rows, loss, setting.reporter);
    trainer.stop = Arc::clone(&setting.stop);
    let name = Some("the quickstart collection".to_owned());
    let train_datasets = vec![DatasetName { name, ..DatasetName::default() }];
    trainer.card = ModelCardData { train_datasets, ..ModelCardData::default() };
    trainer
}
