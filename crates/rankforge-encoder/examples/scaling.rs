//! Measures the time per token as a function of the tokens in a batch, the length of its sequences
//! and the number of threads. Prints one line of JSON per measurement.
//!
//!     cargo run --release -p rankforge-encoder --example scaling -- [MODEL] \
//!         > docs/scaling.jsonl
//!     target/benchmarks/venv/bin/python benchmarks/draw.py docs/scaling.jsonl docs/scaling.svg
//!
//! `MODEL` is part of a model's name and restricts the measurements to that model. With `short` in
//! its place, single texts of MiniLM are measured, and large batches beside them; `short ISA` does
//! it on a lesser instruction set.
#![expect(clippy::disallowed_methods, reason = "a program that measures time and prints")]

use rankforge_encoder::kernels::{Arena, Device, Isa, Precision, Workers};
use rankforge_encoder::{
    Architecture, Batch, Mode, Model, Outputs, Packing, Tokens, TransformerTask, Workspace,
};
use serde_json::{Value, json};
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Tokens per batch in the first series of measurements, whose sequences have `LENGTH` tokens.
const TOKENS: [usize; 8] = [64, 128, 256, 512, 1024, 2048, 4096, 8192];
const LENGTH: usize = 64;

/// Tokens per sequence in the second series of measurements, whose batches have `MAX_TOKENS`
/// tokens.
const LENGTHS: [usize; 5] = [64, 256, 1024, 4096, 8192];
const MAX_TOKENS: usize = 8192;

/// Tokens of single texts.
const SHORT: [usize; 6] = [16, 32, 64, 128, 256, 512];

/// Seconds for which each measurement repeats its call; the fastest call counts.
const SECONDS: f64 = 0.5;

fn main() -> Result<(), Box<dyn Error>> {
    let models = [("MiniLM-L6", mini_lm()), ("ModernBERT-base, 3 of 22 blocks", modern_bert())];
    let selected = std::env::args().nth(1).unwrap_or_default();
    if selected == "short" {
        let isa = std::env::args().nth(2).map(|name| name.parse()).transpose()?;
        return short_texts(isa.unwrap_or(Isa::best()));
    }
    for (name, config) in models.iter().filter(|(name, _)| name.contains(&selected)) {
        let architecture = architecture(config)?;
        for threads in [1, 2] {
            let device = Device::cpu(Some(threads))?;
            let model = Model::new(&device, architecture.clone(), 1);
            let gradients = Arena::zeros(&device, model.parameters().layout().clone());
            let mut bench = Bench { model, gradients, workspace: Workspace::new(&device) };
            // The first call allocates the memory for all later ones.
            let batch = bench.batch(MAX_TOKENS, LENGTH);
            bench.train(&batch);
            for precision in [Precision::Float32, Precision::BFloat16] {
                bench.model.set_precision(precision);
                let plural = if threads == 1 { "" } else { "s" };
                let series = format!("{precision}, {threads} thread{plural}");
                for tokens in TOKENS {
                    let name = format!("{name}, sequences of {LENGTH}");
                    bench.measure(tokens, LENGTH, [&name, "batch, tokens", &series], tokens)?;
                }
                // With one thread the longest sequences take minutes.
                for length in LENGTHS.into_iter().filter(|_| threads > 1) {
                    let name = format!("{name}, batches of {MAX_TOKENS} tokens");
                    bench.measure(
                        MAX_TOKENS,
                        length,
                        [&name, "sequence, tokens", &series],
                        length,
                    )?;
                }
            }
        }
    }
    Ok(())
}

/// Measures inference on single texts and on a batch of 8,192 tokens of them.
fn short_texts(isa: Isa) -> Result<(), Box<dyn Error>> {
    for threads in [1, 2] {
        let device = Device::cpu_on(isa, &Workers::new(Some(threads))?)?;
        let mut model = Model::new(&device, architecture(&mini_lm())?, 1);
        model.pack(Packing::Instead);
        let gradients = Arena::zeros(&device, Arc::default());
        let mut bench = Bench { model, gradients, workspace: Workspace::new(&device) };
        for length in SHORT {
            let (single, many) = (bench.batch(length, length), bench.batch(MAX_TOKENS, length));
            let many = bench.inference(&many) / (MAX_TOKENS / length) as f64;
            let single = bench.inference(&single);
            let mut out = std::io::stdout().lock();
            let point = json!({
                "isa": isa.to_string(), "threads": threads, "tokens": length,
                "single_ms": single * 1e3, "in_a_batch_ms": many * 1e3, "ratio": single / many,
            });
            writeln!(out, "{point}")?;
        }
    }
    Ok(())
}

fn architecture(config: &Value) -> Result<Architecture, Box<dyn Error>> {
    let task = TransformerTask::SequenceClassification { num_labels: 1 };
    Ok(Architecture::from_config(config, Path::new("config.json"), &task)?)
}

/// The architecture of all-MiniLM-L6, with more positions.
fn mini_lm() -> Value {
    json!({
        "model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
        "intermediate_size": 1536, "vocab_size": 30_522, "max_position_embeddings": MAX_TOKENS,
        "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "pad_token_id": 0,
    })
}

/// One global and two local blocks of ModernBERT-base.
fn modern_bert() -> Value {
    json!({
        "model_type": "modernbert", "hidden_size": 768, "num_hidden_layers": 3,
        "num_attention_heads": 12,
        "intermediate_size": 1152, "vocab_size": 50_368, "max_position_embeddings": MAX_TOKENS,
        "hidden_activation": "gelu", "norm_eps": 1e-5, "global_attn_every_n_layers": 3,
        "local_attention": 128, "global_rope_theta": 160_000.0, "local_rope_theta": 10_000.0,
        "pad_token_id": 50_283, "classifier_pooling": "cls", "norm_bias": false, "mlp_bias": false,
        "attention_bias": false, "classifier_bias": false, "classifier_activation": "gelu",
    })
}

/// A model with its gradients and activations.
struct Bench {
    model: Model,
    gradients: Arena,
    workspace: Workspace,
}

impl Bench {
    /// A batch of `tokens` tokens in sequences of `length`.
    fn batch(&self, tokens: usize, length: usize) -> Batch {
        let id = |index: usize| (1000 + index * 7919 % 29_000) as u32;
        let sequence = |index: usize| Tokens {
            ids: (index * length..(index + 1) * length).map(id).collect(),
            type_ids: vec![0; length],
            prompt_tokens: 0,
            truncated: false,
        };
        let sequences: Vec<Tokens> = (0..tokens / length).map(sequence).collect();
        Batch::new(self.model.device(), &sequences, &self.model.architecture().encoder)
    }

    /// A forward pass with dropout, and a backward pass.
    fn train(&mut self, batch: &Batch) {
        let mode = Mode::Training { seed: 1, step: 1, chunk: 0 };
        let outputs = self.model.forward(batch, mode, true, &mut self.workspace);
        let ones = Outputs { values: vec![1.0; outputs.values.len()], ..outputs };
        self.model.backward(&ones, batch, mode, &mut self.workspace, &mut self.gradients);
    }

    /// Seconds of a pass without dropout.
    fn inference(&mut self, batch: &Batch) -> f64 {
        fastest(|| {
            self.model.forward(batch, Mode::Inference, false, &mut self.workspace);
        })
    }

    /// Measures inference and a training pass, and prints both results.
    fn measure(
        &mut self,
        tokens: usize,
        length: usize,
        [panel, axis, series]: [&str; 3],
        x: usize,
    ) -> Result<(), Box<dyn Error>> {
        let batch = self.batch(tokens, length);
        self.model.pack(Packing::Beside);
        let inference = self.inference(&batch);
        self.model.pack(Packing::None);
        let training = fastest(|| self.train(&batch));
        let mut out = std::io::stdout().lock();
        for (pass, seconds) in [("inference", inference), ("forward and backward", training)] {
            let point = json!({
                "panel": format!("{panel}: {pass}"), "series": series, "x_axis": axis,
                "y_axis": "time per token, µs", "x": x, "y": seconds * 1e6 / tokens as f64,
            });
            writeln!(out, "{point}")?;
        }
        Ok(())
    }
}

/// Seconds of the fastest call.
fn fastest(mut work: impl FnMut()) -> f64 {
    let (start, mut best) = (Instant::now(), f64::MAX);
    while start.elapsed().as_secs_f64() < SECONDS {
        let call = Instant::now();
        work();
        best = best.min(call.elapsed().as_secs_f64());
    }
    best
}
