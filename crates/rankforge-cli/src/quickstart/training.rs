//! The two trainings of the quickstart.

use rankforge::base::Stop;
use rankforge::data::Rows;
use rankforge::encoder::{CrossEncoder, DualEncoder, LoadOptions, TextModel, Tokenizer};
use rankforge::losses::{BinaryCrossEntropyLoss, Loss, dual_encoder};
use rankforge::model_card::{DatasetName, ModelCardData};
use rankforge::training::{SaveStrategy, Steps, Trainer, TrainingArguments};
use std::path::Path;

/// Embedding dimension of the dual encoder and hidden size of the reranker, which starts with the
/// dual encoder's word embeddings.
const WIDTH: usize = 128;
/// Number of hard negatives mined for each question.
pub(crate) const NEGATIVES: usize = 4;

/// The settings that both trainings share.
pub(crate) struct Setting<'a> {
    /// Seed of the initial weights and of the batches.
    pub(crate) seed: u64,
    /// How models are created and opened.
    pub(crate) options: LoadOptions,
    /// Parent of the trainers' output directories.
    pub(crate) runs: &'a Path,
    /// The stop request that Ctrl-C sets.
    pub(crate) stop: Stop,
}

/// Trains a static embedding model on (question, passage) pairs, with the other passages of a batch
/// as negatives, and saves it to `directory`.
///
/// # Errors
/// If training fails or is interrupted, or a file cannot be written.
pub(crate) fn train_first_stage(
    tokenizer: Tokenizer,
    pairs: Rows,
    directory: &Path,
    setting: &Setting<'_>,
) -> anyhow::Result<DualEncoder> {
    let arguments = TrainingArguments {
        per_device_train_batch_size: 64,
        num_train_epochs: 10.0,
        learning_rate: 5e-3,
        ..arguments("first-stage", setting)
    };
    let model = DualEncoder::new_static(tokenizer, WIDTH, &setting.options)?;
    let loss = dual_encoder::MultipleNegativesRankingLoss::default();
    let mut trainer = trainer(model, arguments, pairs, loss, setting);
    trainer.card.model_name = Some("Quickstart first stage".to_owned());
    trainer.train()?;
    trainer.save_model(directory)?;
    Ok(trainer.model)
}

/// Trains the reranker on labeled pairs and saves it to `directory`.
///
/// # Errors
/// If training fails or is interrupted, or a file cannot be written.
pub(crate) fn train_reranker(
    model: CrossEncoder,
    rows: Rows,
    epochs: f64,
    directory: &Path,
    setting: &Setting<'_>,
) -> anyhow::Result<CrossEncoder> {
    let arguments = TrainingArguments {
        per_device_train_batch_size: 32,
        num_train_epochs: epochs,
        learning_rate: 1e-3,
        ..arguments("reranker", setting)
    };
    let loss = BinaryCrossEntropyLoss {
        pos_weight: Some(NEGATIVES as f64),
        ..BinaryCrossEntropyLoss::default()
    };
    let mut trainer = trainer(model, arguments, rows, loss, setting);
    trainer.card.model_name = Some("Quickstart reranker".to_owned());
    trainer.train()?;
    trainer.save_model(directory)?;
    Ok(trainer.model)
}

/// The training arguments that both trainings share; `run` names the output directory.
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

fn trainer<M: TextModel>(
    model: M,
    arguments: TrainingArguments,
    rows: Rows,
    loss: impl Loss + 'static,
    setting: &Setting<'_>,
) -> Trainer<M> {
    let mut trainer = Trainer::new(model, arguments, rows, loss);
    trainer.stop = setting.stop.clone();
    trainer.reporter = setting.options.reporter.clone();
    let name = Some("the quickstart collection".to_owned());
    let train_datasets = vec![DatasetName { name, ..DatasetName::default() }];
    trainer.card = ModelCardData { train_datasets, ..ModelCardData::default() };
    trainer
}
