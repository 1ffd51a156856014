//! The CPU device: kernels over host slices, for each instruction set, on the workers' threads.
//!
//! `ops` checks shapes and calls the function of the same name here. Arrows go one way:
//! operations use `matmul` and `parallel`, these use `simd` and `math`, and nothing here knows of
//! views, buffers or devices.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod dropout;
pub(crate) mod elementwise;
pub(crate) mod embedding;
pub(crate) mod fill;
pub(crate) mod linear;
mod math;
pub(crate) mod matmul;
pub(crate) mod matrix;
mod memory;
pub(crate) mod norm;
pub(crate) mod optimizer;
mod parallel;
pub(crate) mod peak;
pub(crate) mod pooling;
pub(crate) mod rotary;
mod simd;
pub(crate) mod top_k;

use crate::cpu::matmul::pack::Format;
use crate::cpu::memory::{Aligned, Scratch};
use crate::isa::Supported;
use crate::precision::Precision;
use crate::workers::Workers;
use std::sync::{Mutex, PoisonError};

/// What kernels run on: an instruction set, threads, and working memory.
pub(crate) struct Cpu {
    isa: Supported,
    workers: Workers,
    /// Working memory given back by operations that are done.
    free: Mutex<Vec<Aligned>>,
}

impl Cpu {
    pub(crate) fn new(isa: Supported, workers: Workers) -> Cpu {
        Cpu { isa, workers, free: Mutex::default() }
    }

    pub(crate) fn isa(&self) -> Supported {
        self.isa
    }

    pub(crate) fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Number of threads.
    pub(crate) fn threads(&self) -> usize {
        self.workers.count()
    }

    /// How matrix products of a precision are computed, in words.
    pub(crate) fn product_path(&self, precision: Precision) -> String {
        let isa = self.isa.isa();
        match Format::of(isa, precision) {
            Format::Exact => format!("fp32 operands, {isa} multiply-add"),
            Format::Bf16Pairs => format!("bf16 operands, {isa} dot products of pairs (vdpbf16ps)"),
            Format::RoundedBf16 => {
                format!("bf16 operands, widened while packing, {isa} multiply-add")
            }
            Format::RoundedF16 => {
                format!("fp16 operands, widened while packing, {isa} multiply-add")
            }
        }
    }

    /// Working memory of `length` elements with unspecified contents, kept for the next operation
    /// when it is dropped.
    pub(crate) fn scratch(&self, length: usize) -> Scratch<'_> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough, else the largest, to grow it.
        let fitting = (0..free.len()).filter(|&i| free[i].room() >= length);
        let fitting = fitting.min_by_key(|&i| free[i].room());
        let choice = fitting.or_else(|| (0..free.len()).max_by_key(|&i| free[i].room()));
        let mut memory = choice.map(|index| free.swap_remove(index)).unwrap_or(Aligned::new());
        drop(free);
        memory.set_length(length);
        Scratch { free: &self.free, memory }
    }
}
