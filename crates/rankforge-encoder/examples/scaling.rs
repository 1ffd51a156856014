//! Time per token against the tokens of a batch, the length of its sequences, and threads: one line of JSON for each point.
//!
//!     cargo run --release -p rankforge-encoder --example scaling -- [part of a model's name] > scaling.jsonl
//!     python3 benchmarks/draw.py scaling.jsonl docs/scaling.svg

use rankforge_encoder::kernels::{Arena, Device, Precision};
use rankforge_encoder::{Architecture, Batch, Mode, Model, Outputs, Task, Tokens, Workspace};
use serde_json::{Value, json};
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Tokens of the batches in the first sweep, in sequences of `LENGTH`, and of every batch in the second.
const TOKENS: [usize; 8] = [64, 128, 256, 512, 1024, 2048, 4096, 8192];
const LENGTHS: [usize; 5] = [64, 256, 1024, 4096, 8192];
const LENGTH: usize = 64;
const MOST: usize = 8192;

/// Seconds of calls of each point; the quickest counts.
const SECONDS: f64 = 1.0;

fn main() -> Result<(), Box<dyn Error>> {
    let models = [("MiniLM-L6", mini_lm()), ("ModernBERT-base, 3 of 22 blocks", modern_bert())];
    let wanted = std::env::args().nth(1).unwrap_or_default();
    for (name, config) in models.iter().filter(|(name, _)| name.contains(&wanted)) {
        let task = Task::SequenceClassification { num_labels: 1 };
        let architecture = Architecture::from_config(config, Path::new("config.json"), &task)?;
        for threads in [1, 2] {
            let device = Device::cpu(Some(threads))?;
            let model = Model::new(&device, architecture.clone(), 1);
            let gradients = Arena::zeros(&device, model.parameters().layout().clone());
            let mut bench = Bench { model, gradients, workspace: Workspace::new(&device) };
            // The first call brings the memory of all others.
            let batch = bench.batch(MOST, LENGTH);
            bench.train(&batch);
            for precision in [Precision::Float32, Precision::BFloat16] {
                bench.model.set_precision(precision);
                let series = format!("{precision}, {threads} threads");
                for tokens in TOKENS {
                    let name = format!("{name}, sequences of {LENGTH}");
                    bench.measure(tokens, LENGTH, &name, "tokens of the batch", &series, tokens)?;
                }
                // The longest take minutes on one thread.
                for length in LENGTHS.into_iter().filter(|_| threads > 1) {
                    let name = format!("{name}, batches of {MOST} tokens");
                    bench.measure(MOST, length, &name, "length", &series, length)?;
                }
            }
        }
    }
    Ok(())
}

/// all-MiniLM-L6's shape, with more positions than it has.
fn mini_lm() -> Value {
    json!({
        "model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
        "intermediate_size": 1536, "vocab_size": 30_522, "max_position_embeddings": MOST,
        "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "pad_token_id": 0,
    })
}

/// One global and two local blocks of ModernBERT-base.
fn modern_bert() -> Value {
    json!({
        "model_type": "modernbert", "hidden_size": 768, "num_hidden_layers": 3, "num_attention_heads": 12,
        "intermediate_size": 1152, "vocab_size": 50_368, "max_position_embeddings": MOST,
        "hidden_activation": "gelu", "norm_eps": 1e-5, "global_attn_every_n_layers": 3,
        "local_attention": 128, "global_rope_theta": 160_000.0, "local_rope_theta": 10_000.0,
        "pad_token_id": 50_283, "classifier_pooling": "cls", "norm_bias": false, "mlp_bias": false,
        "attention_bias": false, "classifier_bias": false, "classifier_activation": "gelu",
    })
}

/// A model with the memory of its passes.
struct Bench {
    model: Model,
    gradients: Arena,
    workspace: Workspace,
}

impl Bench {
    fn batch(&self, tokens: usize, length: usize) -> Batch {
        let id = |index: usize| (1000 + index * 7919 % 29_000) as u32;
        let sequence = |index: usize| Tokens {
            ids: (index * length..(index + 1) * length).map(id).collect(),
            type_ids: vec![0; length],
            truncated: 0,
        };
        let sequences: Vec<Tokens> = (0..tokens / length).map(sequence).collect();
        Batch::new(self.model.device(), &sequences, &self.model.architecture().encoder)
    }

    /// Forward with dropout, and backward.
    fn train(&mut self, batch: &Batch) {
        let mode = Mode::Training { seed: 1, step: 1, part: 0 };
        let outputs = self.model.forward(batch, mode, true, &mut self.workspace);
        let ones = Outputs { values: vec![1.0; outputs.values.len()], ..outputs };
        self.model.backward(&ones, batch, mode, &mut self.workspace, &mut self.gradients);
    }

    /// Times inference and a training step, and writes both points.
    fn measure(
        &mut self,
        tokens: usize,
        length: usize,
        panel: &str,
        axis: &str,
        series: &str,
        x: usize,
    ) -> Result<(), Box<dyn Error>> {
        let batch = self.batch(tokens, length);
        let inference = quickest(|| {
            self.model.forward(&batch, Mode::Inference, false, &mut self.workspace);
        });
        let training = quickest(|| self.train(&batch));
        let mut out = std::io::stdout().lock();
        for (pass, seconds) in [("inference", inference), ("forward and backward", training)] {
            let point = json!({
                "panel": format!("{panel}: {pass}"), "series": series, "x_axis": axis,
                "y_axis": "microseconds a token", "x": x, "y": seconds * 1e6 / tokens as f64,
            });
            writeln!(out, "{point}")?;
        }
        Ok(())
    }
}

/// Seconds of the quickest call.
fn quickest(mut work: impl FnMut()) -> f64 {
    let (begun, mut best) = (Instant::now(), f64::MAX);
    while begun.elapsed().as_secs_f64() < SECONDS {
        let call = Instant::now();
        work();
        best = best.min(call.elapsed().as_secs_f64());
    }
    best
}
