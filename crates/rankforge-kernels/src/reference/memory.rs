//! Memory of the reference device.
//!
//! Elements are `f32`, as on every device, but no slice of them ever leaves this module: as with
//! memory behind an address of another machine, the host can only copy from it and to it. Loads
//! widen to `f64`, stores round to the nearest `f32`, ties to even. (Each element is an atomic, so
//! that several exclusive views of one allocation need no `unsafe`.)

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// An allocation.
pub(crate) struct Memory(Box<[AtomicU32]>);

impl Memory {
    /// `length` zeros.
    pub(crate) fn zeros(length: usize) -> Memory {
        Memory((0..length).map(|_| AtomicU32::new(0)).collect())
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn all(&self) -> Slice<'_> {
        Slice(&self.0)
    }

    pub(crate) fn all_mut(&mut self) -> SliceMut<'_> {
        SliceMut(&self.0)
    }
}

impl Clone for Memory {
    fn clone(&self) -> Memory {
        Memory(self.0.iter().map(|word| AtomicU32::new(word.load(Ordering::Relaxed))).collect())
    }
}

/// Some of its elements: an address and a length.
#[derive(Clone, Copy)]
pub(crate) struct Slice<'a>(&'a [AtomicU32]);

impl<'a> Slice<'a> {
    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    pub(crate) fn part(self, range: Range<usize>) -> Slice<'a> {
        Slice(&self.0[range])
    }

    /// Copies all elements to the host.
    pub(crate) fn read(self, target: &mut [f32]) {
        assert_eq!(target.len(), self.len(), "copy to the host");
        for (target, word) in target.iter_mut().zip(self.0) {
            *target = f32::from_bits(word.load(Ordering::Relaxed));
        }
    }

    /// An element as it is.
    pub(super) fn load(self, index: usize) -> f32 {
        f32::from_bits(self.0[index].load(Ordering::Relaxed))
    }
}

/// Some of its elements, to be written.
pub(crate) struct SliceMut<'a>(&'a [AtomicU32]);

impl<'a> SliceMut<'a> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn as_slice(&self) -> Slice<'_> {
        Slice(self.0)
    }

    pub(crate) fn reborrow(&mut self) -> SliceMut<'_> {
        SliceMut(self.0)
    }

    pub(crate) fn part(self, range: Range<usize>) -> SliceMut<'a> {
        SliceMut(&self.0[range])
    }

    pub(crate) fn split_at(self, middle: usize) -> (SliceMut<'a>, SliceMut<'a>) {
        let (first, second) = self.0.split_at(middle);
        (SliceMut(first), SliceMut(second))
    }

    /// Copies `values`, as many as there are elements, from the host.
    pub(crate) fn write(self, values: &[f32]) {
        assert_eq!(values.len(), self.len(), "copy from the host");
        for (word, value) in self.0.iter().zip(values) {
            word.store(value.to_bits(), Ordering::Relaxed);
        }
    }

    /// Writes an element as it is.
    pub(super) fn store(&mut self, index: usize, value: f32) {
        self.0[index].store(value.to_bits(), Ordering::Relaxed);
    }
}

/// Unsigned integers, written once: a copy of what the host knows.
#[derive(Clone)]
pub(crate) struct Integers(Box<[u64]>);

impl Integers {
    /// Copies `values` from the host.
    pub(crate) fn copy_of(values: impl Iterator<Item = u64>) -> Integers {
        Integers(values.collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn at(&self, index: usize) -> usize {
        self.0[index] as usize
    }
}
