//! Memory of a device, and places in it.
//!
//! A device with memory of its own adds a variant to each of the three enums: an allocation, an
//! address with a length, and the same to be written. Nothing outside the device's own module looks
//! inside a place; what the host wants of it is copied by `View::read` and `ViewMut::write`.

use crate::cpu::machine::Working;
use crate::device::{Device, Kind};
use crate::reference::memory::{Memory, Slice, SliceMut};
use std::ops::Range;

/// Elements that a buffer or an arena owns.
#[derive(Clone)]
pub(crate) enum Storage {
    /// Host memory, of the CPU device.
    Host(Vec<f32>),
    /// Working memory of the CPU device.
    Working(Working),
    /// Memory of the reference device.
    Reference(Memory),
}

impl Storage {
    /// `length` zeros. Host pages are mapped when they are first touched, by the threads that
    /// compute them.
    pub(crate) fn zeros(device: &Device, length: usize) -> Storage {
        match device.kind() {
            Kind::Cpu(_) => Storage::Host(vec![0.0; length]),
            Kind::Reference(_) => Storage::Reference(Memory::zeros(length)),
        }
    }

    /// `length` elements with unspecified values, from the working memory of the device, to which
    /// they return. On a device without such memory, zeros.
    pub(crate) fn working(device: &Device, length: usize) -> Storage {
        match device.kind() {
            Kind::Cpu(cpu) => Storage::Working(Working::take(cpu, length)),
            Kind::Reference(_) => Storage::zeros(device, length),
        }
    }

    /// Becomes storage of the same kind for `length` elements with unspecified values, freed before
    /// more is allocated.
    pub(crate) fn grow(&mut self, device: &Device, length: usize) {
        let works = matches!(self, Storage::Working(_));
        *self = Storage::zeros(device, 0);
        *self = match works {
            true => Storage::working(device, length),
            // Half as many again, for somewhat larger batches to come.
            false => Storage::zeros(device, length + length / 2),
        };
    }

    /// The elements of `values`; on the host without a copy.
    pub(crate) fn from_vec(device: &Device, values: Vec<f32>) -> Storage {
        match device.kind() {
            Kind::Cpu(_) => Storage::Host(values),
            Kind::Reference(_) => {
                let mut memory = Memory::zeros(values.len());
                memory.all_mut().write(&values);
                Storage::Reference(memory)
            }
        }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        match self {
            Storage::Host(data) => data.len(),
            Storage::Working(data) => data.len(),
            Storage::Reference(memory) => memory.len(),
        }
    }

    /// The elements in `range`.
    pub(crate) fn place(&self, range: Range<usize>) -> Place<'_> {
        match self {
            Storage::Host(data) => Place::Host(&data[range]),
            Storage::Working(data) => Place::Host(&data[range]),
            Storage::Reference(memory) => Place::Reference(memory.all().part(range)),
        }
    }

    /// The elements in `range`, to be written.
    pub(crate) fn place_mut(&mut self, range: Range<usize>) -> PlaceMut<'_> {
        match self {
            Storage::Host(data) => PlaceMut::Host(&mut data[range]),
            Storage::Working(data) => PlaceMut::Host(&mut data[range]),
            Storage::Reference(memory) => PlaceMut::Reference(memory.all_mut().part(range)),
        }
    }
}

/// Where the elements of a view are.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Host(&'a [f32]),
    Reference(Slice<'a>),
}

impl<'a> Place<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Place::Host(data) => data.len(),
            Place::Reference(slice) => slice.len(),
        }
    }

    pub(crate) fn part(self, range: Range<usize>) -> Place<'a> {
        match self {
            Place::Host(data) => Place::Host(&data[range]),
            Place::Reference(slice) => Place::Reference(slice.part(range)),
        }
    }

    /// Copies all elements to the host.
    pub(crate) fn read(self, target: &mut [f32]) {
        match self {
            Place::Host(data) => target.copy_from_slice(data),
            Place::Reference(slice) => slice.read(target),
        }
    }
}

/// Where the elements of an exclusive view are.
pub(crate) enum PlaceMut<'a> {
    Host(&'a mut [f32]),
    Reference(SliceMut<'a>),
}

impl<'a> PlaceMut<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            PlaceMut::Host(data) => data.len(),
            PlaceMut::Reference(slice) => slice.len(),
        }
    }

    pub(crate) fn as_place(&self) -> Place<'_> {
        match self {
            PlaceMut::Host(data) => Place::Host(data),
            PlaceMut::Reference(slice) => Place::Reference(slice.as_slice()),
        }
    }

    pub(crate) fn reborrow(&mut self) -> PlaceMut<'_> {
        match self {
            PlaceMut::Host(data) => PlaceMut::Host(data),
            PlaceMut::Reference(slice) => PlaceMut::Reference(slice.reborrow()),
        }
    }

    pub(crate) fn part(self, range: Range<usize>) -> PlaceMut<'a> {
        match self {
            PlaceMut::Host(data) => PlaceMut::Host(&mut data[range]),
            PlaceMut::Reference(slice) => PlaceMut::Reference(slice.part(range)),
        }
    }

    /// The first `middle` elements, and the others.
    pub(crate) fn split_at(self, middle: usize) -> (PlaceMut<'a>, PlaceMut<'a>) {
        match self {
            PlaceMut::Host(data) => {
                let (first, second) = data.split_at_mut(middle);
                (PlaceMut::Host(first), PlaceMut::Host(second))
            }
            PlaceMut::Reference(slice) => {
                let (first, second) = slice.split_at(middle);
                (PlaceMut::Reference(first), PlaceMut::Reference(second))
            }
        }
    }

    /// Copies `values`, as many as there are elements, from the host.
    pub(crate) fn write(self, values: &[f32]) {
        match self {
            PlaceMut::Host(data) => data.copy_from_slice(values),
            PlaceMut::Reference(slice) => slice.write(values),
        }
    }
}
