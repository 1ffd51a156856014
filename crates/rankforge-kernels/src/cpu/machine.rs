use crate::cpu::memory::{Aligned, keep_heap, trim_heap};
use crate::isa::Supported;
use crate::workers::Workers;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

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
        Lent { memory: self.take(length), cpu: self }
    }

    /// `length` elements of free working memory, with unspecified contents.
    fn take(&self, length: usize) -> Aligned {
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
    fn give_back(&self, memory: Aligned) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }

    /// Elements of working memory that no operation uses.
    pub(crate) fn free_elements(&self) -> usize {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.iter().map(Aligned::room).sum()
    }

    /// Keeps what is freed for allocations to come.
    pub(crate) fn keep_freed_memory(&self) {
        keep_heap();
    }

    /// Gives the working memory that no operation uses back to the system, and what else was freed.
    pub(crate) fn release(&self) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
        trim_heap();
    }
}

/// Working memory that the CPU lent; dropped, it is free for the next operation or buffer.
pub(crate) struct Lent<C: Deref<Target = Cpu>> {
    cpu: C,
    memory: Aligned,
}

/// Working memory of one operation.
pub(crate) type Scratch<'a> = Lent<&'a Cpu>;

/// Working memory of a buffer.
pub(crate) type Working = Lent<Arc<Cpu>>;

impl Working {
    /// `length` elements with unspecified values.
    pub(crate) fn take(cpu: &Arc<Cpu>, length: usize) -> Working {
        Lent { memory: cpu.take(length), cpu: cpu.clone() }
    }
}

impl Clone for Working {
    fn clone(&self) -> Working {
        let mut copy = Working::take(&self.cpu, self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl<C: Deref<Target = Cpu>> Deref for Lent<C> {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        &self.memory
    }
}

impl<C: Deref<Target = Cpu>> DerefMut for Lent<C> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory
    }
}

impl<C: Deref<Target = Cpu>> Drop for Lent<C> {
    fn drop(&mut self) {
        self.cpu.give_back(std::mem::replace(&mut self.memory, Aligned::new()));
    }
}
