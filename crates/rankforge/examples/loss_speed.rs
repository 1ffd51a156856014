//! Measures the in-batch ranking loss of dual encoders on large batches: value and gradient of
//! random embeddings. Prints the median and the least of five times of each case, in seconds.
//!
//!     cargo run --release -p rankforge --example loss_speed
//!
//! `benchmarks/loss_speed.py` measures the same with sentence-transformers.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that measures time and prints"
)]

use rankforge::encoder::Outputs;
use rankforge::losses::{Draw, LossBatch, Targets, dual_encoder_loss};
use rankforge::{Device, Error};
use serde_json::json;
use std::time::Instant;

const TIMES: usize = 5;

fn main() -> Result<(), Error> {
    let device = Device::cpu(Some(2))?;
    let ranking = json!({"name": "MultipleNegativesRankingLoss"});
    let nested = json!({"matryoshka_dims": [1024, 512, 256, 128, 64, 32], "loss": ranking});
    for (name, rows, width, settings) in [
        ("MatryoshkaLoss", 2048, 1024, nested),
        ("MultipleNegativesRankingLoss", 2048, 1024, json!({})),
        ("MultipleNegativesRankingLoss", 8192, 384, json!({})),
    ] {
        let loss = dual_encoder_loss(name, settings.as_object().expect("an object"))?;
        let number = |index: u64| (index.wrapping_mul(2_654_435_761) >> 7) % 1000;
        let elements = (2 * rows * width) as u64;
        let values = (0..elements).map(|index| number(index) as f32 / 500.0 - 1.0).collect();
        let outputs = &Outputs { rows: 2 * rows, columns: width, values };
        let (targets, draw) = (&Targets::None, Draw { seed: 0, step: 0 });
        let batch = LossBatch {
            outputs,
            rows,
            targets,
            draw,
            layers: &[],
            parameters: &[],
            device: &device,
        };
        let mut seconds: Vec<f64> = (0..=TIMES)
            .map(|_| {
                let begun = Instant::now();
                assert!(loss.compute(&batch).value.is_finite());
                begun.elapsed().as_secs_f64()
            })
            .collect();
        // The first one allocates.
        seconds.remove(0);
        seconds.sort_by(f64::total_cmp);
        println!("{name}, {rows} x {width}: {:.3}, {:.3}", seconds[TIMES / 2], seconds[0]);
    }
    Ok(())
}
