use crate::cpu::memory::{Aligned, Scratch, trim_heap};
use crate::isa::Supported;
use crate::workers::Workers;
use std::sync::{Mutex, PoisonError};

/// The CPU as kernels use it: an instruction set, threads, and working memory.
pub(crate) struct Cpu {
    isa: Supported,
    workers: Workers,
    /// Working memory that no operation uses.
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

    /// Working memory of `length` elements with unspecified contents, kept for the next operation
    /// when it is dropped.
    pub(crate) fn scratch(&self, length: usize) -> Scratch<'_> {
        Scratch { memory: self.take(length), cpu: self }
    }

    /// `length` elements of free working memory, with unspecified contents.
    pub(super) fn take(&self, length: usize) -> Aligned {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough, else the largest, which then grows.
        let fitting = (0..free.len()).filter(|&i| free[i].room() >= length);
        let fitting = fitting.min_by_key(|&i| free[i].room());
        let choice = fitting.or_else(|| (0..free.len()).max_by_key(|&i| free[i].room()));
        let mut memory = choice.map(|index| free.swap_remove(index)).unwrap_or(Aligned::new());
        drop(free);
        memory.set_length(length);
        memory
    }

    /// Makes working memory free for others.
    pub(super) fn give_back(&self, memory: Aligned) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }

    /// Elements of working memory that no operation uses.
    pub(crate) fn free_elements(&self) -> usize {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.iter().map(Aligned::room).sum()
    }

    /// Gives the working memory that no operation uses back to the system, and what else was freed.
    pub(crate) fn release(&self) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
        trim_heap();
    }
}
