use crate::cpu;
use crate::device::{Device, Kind};
use crate::reference::matrix::Sequences;
use crate::reference::memory::Integers;
use std::fmt;
use std::ops::Range;

/// The lengths of the sequences of a ragged batch: one run of tokens, no padding, no mask.
///
/// Host code reads the lengths at any time; operations read the copy on the device, which is made
/// once, here. On the CPU the two are one.
#[derive(Clone)]
pub struct Ragged {
    device: Device,
    cu_seqlens: Vec<usize>,
    /// The copy of the reference device.
    copy: Option<Integers>,
}

impl Ragged {
    /// From the length of each sequence; lengths may be zero.
    ///
    /// # Panics
    /// When the lengths together exceed `usize::MAX`.
    pub fn new(device: &Device, lengths: impl IntoIterator<Item = usize>) -> Ragged {
        let mut cu_seqlens = vec![0];
        let mut total = 0;
        for length in lengths {
            total = usize::checked_add(total, length).expect("as many tokens as can be counted");
            cu_seqlens.push(total);
        }
        let copy = match device.kind() {
            Kind::Cpu(_) => None,
            Kind::Reference(_) => {
                Some(Integers::copy_of(cu_seqlens.iter().map(|&start| start as u64)))
            }
        };
        Ragged { device: device.clone(), cu_seqlens, copy }
    }

    /// The device that the lengths are on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Number of sequences, `B`.
    pub fn sequences(&self) -> usize {
        self.cu_seqlens.len() - 1
    }

    /// Number of tokens, `T`.
    pub fn tokens(&self) -> usize {
        self.cu_seqlens[self.cu_seqlens.len() - 1]
    }

    /// The rows of the tokens of one sequence.
    pub fn range(&self, sequence: usize) -> Range<usize> {
        self.cu_seqlens[sequence]..self.cu_seqlens[sequence + 1]
    }

    /// Length of the longest sequence, `L`; 0 without sequences.
    pub fn longest(&self) -> usize {
        (0..self.sequences()).map(|sequence| self.range(sequence).len()).max().unwrap_or(0)
    }

    /// Cumulative sequence lengths: `B + 1` numbers from 0 to `T`.
    pub fn cu_seqlens(&self) -> &[usize] {
        &self.cu_seqlens
    }

    /// The lengths as CPU kernels take them, for an operation on `device`.
    #[track_caller]
    pub(crate) fn host(&self, device: &Device) -> cpu::sequences::Sequences<'_> {
        match &self.copy {
            None => cpu::sequences::Sequences::new(&self.cu_seqlens),
            Some(_) => panic!("sequences on {:?} of an operation on {device:?}", self.device),
        }
    }

    /// The lengths as the reference device takes them, for an operation on `device`.
    #[track_caller]
    pub(crate) fn reference(&self, device: &Device) -> Sequences<'_> {
        match &self.copy {
            Some(copy) if self.device.same(device) => Sequences::new(copy),
            _ => panic!("sequences on {:?} of an operation on {device:?}", self.device),
        }
    }
}

impl fmt::Debug for Ragged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ragged({:?} on {:?})", self.cu_seqlens, self.device)
    }
}
