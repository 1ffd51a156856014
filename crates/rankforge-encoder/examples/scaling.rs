//! Time per token against the tokens of a batch, the length of its sequences, and threads: one line of JSON for each point.
//!
//!     cargo run --release -p rankforge-encoder --example scaling > scaling.jsonl
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
const LENGTHS: [usize; 8] = TOKENS;
const LENGTH: usize = 64;
const MOST: usize = 8192;

/// Calls of each point; the quickest counts.
const CALLS: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let models = [("MiniLM-L6", mini_lm()), ("ModernBERT-base, 3 of 22 blocks", modern_bert())];
    for (name, config) in &models {
        let task = Task::SequenceClassification { num_labels: 1 };
        let architecture = Architecture::from_config(config, Path::new("config.json"), &task)?;
        for threads in [1, 2] {
            let device = Device::cpu(Some(threads))?;
            let mut model = Model::new(&device, architecture.clone(), 1);
            for precision in [Precision::Float32, Precision::BFloat16] {
                model.set_precision(precision);
                let series = format!("{precision}, {threads} threads");
                for tokens in TOKENS {
                    let name = format!("{name}, sequences of {LENGTH}");
                    measure(&model, tokens, LENGTH, &name, "tokens of the batch", &series, tokens)?;
                }
                for length in LENGTHS {
                    let name = format!("{name}, batches of {MOST} tokens");
                    measure(&model, MOST, length, &name, "length", &series, length)?;
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

/// Times inference and a training step, and writes both points.
fn measure(
    model: &Model,
    tokens: usize,
    length: usize,
    panel: &str,
    axis: &str,
    series: &str,
    x: usize,
) -> Result<(), Box<dyn Error>> {
    let sequence = |index: usize| Tokens {
        ids: (0..length)
            .map(|token| (1000 + (index * 7919 + token * 104_729) % 29_000) as u32)
            .collect(),
        type_ids: vec![0; length],
        truncated: 0,
    };
    let sequences: Vec<Tokens> = (0..tokens / length).map(sequence).collect();
    let batch = Batch::new(&sequences, &model.architecture().encoder);
    let mut workspace = Workspace::new(model.device());
    let inference = quickest(|| {
        model.forward(&batch, Mode::Inference, false, &mut workspace);
    });
    let mut gradients = Arena::zeros(model.device(), model.parameters().layout().clone());
    let mode = Mode::Training { seed: 1, step: 1, part: 0 };
    let training = quickest(|| {
        let outputs = model.forward(&batch, mode, true, &mut workspace);
        let ones = Outputs { values: vec![1.0; outputs.values.len()], ..outputs };
        model.backward(&ones, &batch, mode, &mut workspace, &mut gradients);
    });
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

/// Seconds of the quickest call, after one that brings the memory.
fn quickest(mut work: impl FnMut()) -> f64 {
    work();
    let time = |_| {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64()
    };
    (0..CALLS).map(time).fold(f64::MAX, f64::min)
}
