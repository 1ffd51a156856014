//! Rates of attention by shape, forward and backward.
//!
//!     cargo bench -p rankforge-kernels --bench attention -- [THREADS] [ISA] [FILTER]
//!
//! Rates are in G multiply-add operations per second: 2 products forward and 5 backward, recomputed
//! scores included, for each precision, without and with dropout. Each is the best of a third of a
//! second of calls.
#![expect(clippy::disallowed_methods, reason = "a program that measures time and prints")]

use rankforge_kernels::ops::{
    Attention, AttentionBackward, Dropout, Qkv, attention, attention_backward,
};
use rankforge_kernels::{Buffer, Device, Isa, Precision, Ragged, Workers};
use std::error::Error;
use std::io::Write;
use std::time::Instant;

/// Heads, head dimension, sequences, their length and window.
struct Shape {
    name: &'static str,
    heads: usize,
    dim: usize,
    sequences: usize,
    length: usize,
    window: Option<usize>,
}

const SHAPES: [Shape; 5] = [
    Shape { name: "minilm", heads: 12, dim: 32, sequences: 16, length: 180, window: None },
    Shape { name: "minilm", heads: 12, dim: 32, sequences: 16, length: 150, window: None },
    Shape { name: "minilm", heads: 12, dim: 32, sequences: 16, length: 27, window: None },
    Shape { name: "modernbert", heads: 12, dim: 64, sequences: 8, length: 180, window: None },
    Shape {
        name: "modernbert, local",
        heads: 12,
        dim: 64,
        sequences: 2,
        length: 1024,
        window: Some(64),
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let threads = arguments.iter().find_map(|argument| argument.parse().ok());
    let isa = arguments.iter().find_map(|argument| argument.parse().ok());
    let filter = arguments
        .iter()
        .find(|argument| argument.parse::<usize>().is_err() && argument.parse::<Isa>().is_err());
    let device = Device::cpu_on(isa.unwrap_or(Isa::best()), &Workers::new(threads)?)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{device:?}; G/s forward, backward, then both with dropout")?;
    for shape in &SHAPES {
        for precision in Precision::ALL {
            let Shape { name, sequences, length, .. } = shape;
            let name = format!("{name} {sequences} x {length} {precision}");
            if filter.is_some_and(|filter| !name.contains(filter.as_str())) {
                continue;
            }
            write!(out, "{name:28}")?;
            for dropout in [None, Some(Dropout::new(0.1, 1, 2, 3, 4))] {
                let [forward, backward] = rates(&device, shape, precision, dropout);
                write!(out, "  {forward:6.1} {backward:6.1}")?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

/// G/s forward and backward.
fn rates(
    device: &Device,
    shape: &Shape,
    precision: Precision,
    dropout: Option<Dropout>,
) -> [f64; 2] {
    let Shape { heads, dim, sequences, length, window, .. } = *shape;
    let ragged = Ragged::new(device, vec![length; sequences]);
    let (tokens, hidden) = (ragged.tokens(), heads * dim);
    let scale = (dim as f32).powf(-0.5);
    let config = Attention {
        ragged: &ragged,
        queries: None,
        heads,
        scale,
        window,
        causal: false,
        bias: None,
        dropout,
        precision,
    };
    let buffer = |columns: usize| {
        let numbers: Vec<f32> =
            (0..tokens * columns).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect();
        Buffer::upload(device, tokens, columns, &numbers)
    };
    let (qkv, d_out) = (buffer(3 * hidden), buffer(hidden));
    let (mut context, mut sums, mut d_qkv) = (buffer(hidden), buffer(heads), buffer(3 * hidden));
    let forward = seconds(|| {
        attention(&config, Qkv::Together(qkv.view()), context.view_mut(), sums.view_mut())
    });
    let backward = seconds(|| {
        let (qkv, d_qkv) = (Qkv::Together(qkv.view()), Qkv::Together(d_qkv.view_mut()));
        let (d_out, out, log_sum_exp) = (d_out.view(), context.view(), sums.view());
        let inputs = AttentionBackward { d_out, qkv, out, log_sum_exp };
        attention_backward(&config, inputs, d_qkv, None);
    });
    let reach = |query: usize| match window {
        Some(window) => query.min(window) + 1 + (length - 1 - query).min(window),
        None => length,
    };
    let pairs = sequences * (0..length).map(reach).sum::<usize>();
    let product = 2e-9 * (pairs * hidden) as f64;
    [2.0 * product / forward, 5.0 * product / backward]
}

/// The shortest of a third of a second of calls, after one to warm up.
fn seconds(mut work: impl FnMut()) -> f64 {
    work();
    let (begun, mut best) = (Instant::now(), f64::MAX);
    while begun.elapsed().as_secs_f64() < 0.33 {
        let call = Instant::now();
        work();
        best = best.min(call.elapsed().as_secs_f64());
    }
    best
}
