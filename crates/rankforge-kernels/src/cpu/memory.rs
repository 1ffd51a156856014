//! Working memory, aligned for vectors.

use std::ops::{Deref, DerefMut};

/// Elements in a cache line, which is also the widest vector.
const LINE: usize = 16;

/// Elements that begin at a cache line, so that no aligned vector load straddles two lines. The
/// allocation only grows.
pub(crate) struct Aligned {
    memory: Vec<f32>,
    /// Index of the first element in `memory`, and the number of elements.
    start: usize,
    length: usize,
}

impl Aligned {
    /// No element.
    pub(crate) const fn new() -> Aligned {
        Aligned { memory: Vec::new(), start: 0, length: 0 }
    }

    /// `length` zeros and no room for more.
    pub(crate) fn zeros(length: usize) -> Aligned {
        Aligned::allocate(length, length)
    }

    /// Zeros from the allocator, whose pages are mapped when they are first touched.
    fn allocate(length: usize, room: usize) -> Aligned {
        let memory = vec![0.0; room + LINE];
        let misaligned = memory.as_ptr().addr() % (LINE * size_of::<f32>());
        let start = (LINE - misaligned / size_of::<f32>()) % LINE;
        Aligned { memory, start, length }
    }

    /// Elements that fit without a new allocation.
    pub(crate) fn room(&self) -> usize {
        self.memory.len().saturating_sub(LINE)
    }

    /// Changes the number of elements, whose values are unspecified afterwards.
    pub(crate) fn set_length(&mut self, length: usize) {
        if self.room() < length {
            *self = Aligned::new(); // freed before more is allocated
            // Half as many again, for somewhat larger batches to come.
            *self = Aligned::allocate(length, length + length / 2);
        }
        self.length = length;
    }

    /// Separate slices of these lengths, each aligned, with unspecified values.
    pub(crate) fn split<const N: usize>(&mut self, lengths: [usize; N]) -> [&mut [f32]; N] {
        self.set_length(lengths.iter().map(|length| length.next_multiple_of(LINE)).sum());
        let mut rest: &mut [f32] = self;
        lengths.map(|length| {
            let lines = length.next_multiple_of(LINE);
            let (part, tail) = std::mem::take(&mut rest).split_at_mut(lines);
            rest = tail;
            &mut part[..length]
        })
    }
}

impl Deref for Aligned {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl DerefMut for Aligned {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

impl Clone for Aligned {
    fn clone(&self) -> Aligned {
        // A new allocation has its own alignment.
        let mut copy = Aligned::zeros(self.length);
        copy.copy_from_slice(self);
        copy
    }
}

/// Gives the pages that hold nothing but freed memory back to the system.
///
/// The allocator of glibc gives back large allocations on its own, but once some were freed, it
/// keeps those of up to 32 MiB for others to come.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn trim_heap() {
    // SAFETY: this may be called at any time and from any thread; it changes nothing that is
    // allocated.
    unsafe { libc::malloc_trim(0) };
}

/// Nothing to do: allocators other than that of glibc are left to themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn trim_heap() {}

/// Keeps freed memory in the process, up to a quarter of a gigabyte, for allocations to come.
///
/// By default glibc gives allocations back as soon as the freed end of the heap is large. Where
/// the same buffers are allocated in every step, each then costs page faults again, and changes of
/// page tables that stop other threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn keep_heap() {
    /// The greatest value that glibc takes. Larger allocations are mappings of their own.
    const MAPPED_FROM: libc::c_int = 32 << 20;
    const TRIMMED_FROM: libc::c_int = 256 << 20;
    // SAFETY: these may be called at any time and from any thread; they change nothing that is
    // allocated.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIMMED_FROM);
    }
}

/// Nothing to do: allocators other than that of glibc are left to themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_heap() {}
