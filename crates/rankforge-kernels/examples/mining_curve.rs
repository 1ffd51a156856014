//! Time of a nearest-neighbour search against the rows of the corpus, one line of JSON per point.
//!
//!     cargo run --release -p rankforge-kernels --example mining_curve -- [THREADS [ISA]] \
//!         > docs/mining-curve.jsonl
//!     target/benchmarks/venv/bin/python benchmarks/draw.py docs/mining-curve.jsonl \
//!         docs/mining-curve.svg
#![expect(clippy::disallowed_methods, reason = "a program that measures time and prints")]

use rankforge_kernels::ops::{Corpus, Similarity};
use rankforge_kernels::{Buffer, Device, Isa, Workers};
use std::error::Error;
use std::io::Write;
use std::time::Instant;

/// Rows of the corpus.
const SIZES: [usize; 6] = [10_000, 25_000, 54_612, 100_000, 200_000, 400_000];

/// Queries of a search, as many as in a chunk of mining.
const QUERIES: usize = 16_384;

const DIMENSION: usize = 256;

/// Neighbours that mining searches for: 20 candidates and the positive.
const NEIGHBOURS: usize = 21;

/// Searches of each size; the quickest, the median and the slowest are printed.
const REPEATS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().map(|text| text.parse()).transpose()?;
    let isa = arguments.next().map_or(Ok(Isa::best()), |text| text.parse())?;
    let workers = Workers::new(threads)?;
    let device = Device::cpu_on(isa, &workers)?;
    let largest = SIZES[SIZES.len() - 1];
    let queries = Buffer::upload(&device, QUERIES, DIMENSION, &directions(1, QUERIES));
    let numbers = directions(2, largest);
    let threads = workers.count();
    let panel = format!("{QUERIES} queries, {DIMENSION} dimensions, {threads} threads, {isa}");
    for rows in SIZES {
        let corpus = Buffer::upload(&device, rows, DIMENSION, &numbers[..rows * DIMENSION]);
        let mut seconds = Vec::new();
        for _ in 0..REPEATS {
            let start = Instant::now();
            let prepared = Corpus::prepare(Similarity::Cosine, corpus.view());
            let found = prepared.top_k(queries.view(), NEIGHBOURS, &|_| ());
            seconds.push(start.elapsed().as_secs_f64());
            assert!(
                found.iter().all(|list| list.len() == NEIGHBOURS),
                "a full list for each query"
            );
        }
        seconds.sort_by(f64::total_cmp);
        let nanoseconds = |seconds: f64| seconds * 1e9 / (QUERIES as f64 * rows as f64);
        for (series, seconds) in ["least", "median", "most"].into_iter().zip(&seconds) {
            let y = nanoseconds(*seconds);
            let (x_axis, y_axis) = ("corpus, rows", "time per query and row, ns");
            let series = format!("{series} of {REPEATS}");
            let mut out = std::io::stdout().lock();
            write!(out, r#"{{"panel": "{panel}", "series": "{series}", "x_axis": "{x_axis}", "#)?;
            writeln!(out, r#""y_axis": "{y_axis}", "x": {rows}, "y": {y:.4}}}"#)?;
        }
    }
    Ok(())
}

/// Rows around 2,000 centres, so that some are near each other, as texts are.
fn directions(seed: u64, rows: usize) -> Vec<f32> {
    const CENTRES: usize = 2_000;
    let centres = noise(7, CENTRES * DIMENSION);
    let mut values = noise(seed, rows * DIMENSION);
    for (row, values) in values.chunks_exact_mut(DIMENSION).enumerate() {
        let centre = &centres[row * 7919 % CENTRES * DIMENSION..][..DIMENSION];
        values.iter_mut().zip(centre).for_each(|(value, centre)| *value = 0.7 * *value + centre);
    }
    values
}

fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| uniform() + uniform() + uniform() + uniform()).collect()
}
