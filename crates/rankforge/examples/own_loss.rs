//! A custom loss: the focal loss, a binary cross-entropy that gives less weight to pairs that the
//! model already scores correctly (Lin et al. 2017, arXiv:1708.02002).
//!
//! ```sh
//! cargo run --release --example own_loss -- MODEL PAIRS.jsonl OUTPUT
//! ```
//!
//! A loss arranges rows into sequences (`plan`), and computes its value and its gradient with
//! respect to the model's outputs (`compute`). The trainer does the rest: batches, precision,
//! gradient caching, checkpoints, the model card.

use rankforge::Error;
use rankforge::data::{Location, load_rows};
use rankforge::encoder::{CrossEncoder, Input, ModelKind, Outputs};
use rankforge::losses::{
    Draw, Examples, Loss, LossBatch, LossOutput, Plan, Targets, expect_one_score,
};
use rankforge::training::{SaveStrategy, TrainOutput, Trainer, TrainingArguments};
use std::path::Path;

/// `mean of -(1 - p)^gamma log p`, where `p` is the predicted probability of the right label.
///
/// Data: two text columns and a label of 0 or 1.
pub struct FocalLoss {
    /// How strongly easy pairs are down-weighted; 0 gives binary cross-entropy.
    pub gamma: f64,
}

const NAME: &str = "FocalLoss";

impl Loss for FocalLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        serde_json::json!({ "gamma": self.gamma })
    }

    fn check(&self) -> Result<(), Error> {
        if self.gamma >= 0.0 && self.gamma.is_finite() {
            return Ok(());
        }
        Err(Error::argument(format!("{NAME}.gamma"), "a number of at least 0", self.gamma))
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        expect_one_score(NAME, kind, output_columns)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let texts = examples.texts(NAME)?;
        let [first, second] = &texts[..] else {
            return Err(Error::rows(NAME, "two text columns", texts.len()));
        };
        let labels = examples.scalar_labels(NAME)?;
        if let Some(row) = labels.iter().position(|label| *label != 0.0 && *label != 1.0) {
            return Err(Error::cell(NAME, row, "label", "0 or 1", labels[row]));
        }
        let inputs = first.iter().zip(second).map(|(a, b)| Input::pair(*a, *b)).collect();
        Ok(Plan { inputs, rows: first.len(), targets: Targets::Scalars(labels) })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let Targets::Scalars(labels) = batch.targets else { panic!("{NAME} without labels") };
        let (mut value, mut values) = (0.0, Vec::with_capacity(batch.rows));
        for (score, label) in batch.outputs.values.iter().zip(labels) {
            let (row_value, slope) = self.row(f64::from(*score), *label == 1.0);
            value += row_value / batch.rows as f64;
            values.push((slope / batch.rows as f64) as f32);
        }
        let d_outputs = Outputs { rows: batch.rows, columns: 1, values };
        LossOutput::new(value, d_outputs)
    }
}

impl FocalLoss {
    /// Loss of one row, and its derivative with respect to the score.
    ///
    /// Let `z` be the score, negated for the label 0, `p = 1 / (1 + exp(-z))` and `q = 1 - p`. The
    /// loss is `-q^gamma log p`. Its derivative with respect to `z` is
    /// `q^gamma (gamma p log p - q)`.
    fn row(&self, score: f64, positive: bool) -> (f64, f64) {
        let sign = if positive { 1.0 } else { -1.0 };
        let z = sign * score;
        // In this form, no exponential overflows.
        let log_p = z.min(0.0) - (-z.abs()).exp().ln_1p();
        let (p, q) = (log_p.exp(), (log_p - z).exp());
        let weight = q.powf(self.gamma);
        (-weight * log_p, sign * weight * (self.gamma * p * log_p - q))
    }
}

#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a program prints")]
fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, pairs, output] = &arguments[..] else {
        panic!("expected MODEL PAIRS.jsonl OUTPUT, got {arguments:?}");
    };
    let trained = run(Path::new(model), Path::new(pairs), Path::new(output), 2.0)?;
    println!("{} steps, mean loss {:.4}", trained.global_step, trained.training_loss);
    Ok(())
}

/// Trains a reranker with the loss.
pub fn run(model: &Path, pairs: &Path, output: &Path, gamma: f64) -> Result<TrainOutput, Error> {
    let rows = load_rows(&Location::new(pairs))?;
    let arguments = TrainingArguments {
        output_dir: output.join("checkpoints"),
        per_device_train_batch_size: 16,
        num_train_epochs: 1.0,
        save_strategy: SaveStrategy::No,
        ..TrainingArguments::default()
    };
    let model = CrossEncoder::open(model)?;
    let mut trainer = Trainer::new(model, arguments, rows, FocalLoss { gamma });
    let trained = trainer.train()?;
    trainer.save_model(output.join("reranker"))?;
    Ok(trained)
}
