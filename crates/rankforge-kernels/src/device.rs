use crate::buffer::reserved;
use crate::isa::Isa;
use crate::pack::Format;
use crate::precision::Precision;
use crate::workers::Workers;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a device could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name is none of the known instruction sets.
    #[error("unknown instruction set {got:?}: expected scalar, avx2, avx512 or avx512bf16")]
    UnknownIsa {
        /// What was asked for.
        got: String,
    },
    /// The machine lacks the instruction set.
    #[error("this machine lacks {isa}; it has {}", available.join(", "))]
    UnsupportedIsa {
        /// What was asked for.
        isa: Isa,
        /// What the machine has.
        available: Vec<String>,
    },
    /// The worker threads could not be started.
    #[error("cannot start {threads} worker threads: {message}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the operating system said.
        message: String,
    },
}

/// Where elements are and operations run: the CPU, with an instruction set and host threads.
///
/// A handle: cloning is cheap, and clones are the same device.
#[derive(Clone)]
pub struct Device(Arc<Cpu>);

struct Cpu {
    isa: Isa,
    workers: Workers,
    /// Working memory given back by operations that are done.
    scratch: Mutex<Vec<Vec<f32>>>,
}

impl Device {
    /// The CPU with its best instruction set and new threads, `threads` as for [`Workers::new`].
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn cpu(threads: Option<usize>) -> Result<Device, DeviceError> {
        Device::cpu_on(Isa::best(), &Workers::new(threads)?)
    }

    /// The CPU with the instruction set `isa` and `threads` new threads, at least one.
    ///
    /// # Errors
    /// When the machine lacks the instruction set, or the threads cannot be started.
    pub fn cpu_with(isa: Isa, threads: usize) -> Result<Device, DeviceError> {
        Device::cpu_on(isa, &Workers::new(Some(threads))?)
    }

    /// The CPU with the instruction set `isa`, computing on the threads of `workers`.
    ///
    /// # Errors
    /// When the machine lacks the instruction set.
    pub fn cpu_on(isa: Isa, workers: &Workers) -> Result<Device, DeviceError> {
        let available = Isa::available();
        if !available.contains(&isa) {
            let available = available.iter().map(Isa::to_string).collect();
            return Err(DeviceError::UnsupportedIsa { isa, available });
        }
        let workers = workers.clone();
        Ok(Device(Arc::new(Cpu { isa, workers, scratch: Mutex::default() })))
    }

    /// The instruction set that operations use; `None` on a device that is not the CPU.
    pub fn isa(&self) -> Option<Isa> {
        Some(self.0.isa)
    }

    /// The host threads: they tokenise and read files, and on the CPU device they compute.
    pub fn workers(&self) -> &Workers {
        &self.0.workers
    }

    /// How matrix products of a precision are computed here, in words.
    pub fn product_path(&self, precision: Precision) -> String {
        let isa = self.0.isa;
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

    /// Runs host code that submits many operations, where submitting them is cheapest: on the CPU
    /// device, on one of the workers.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.workers.run(work)
    }

    /// The instruction set of the CPU.
    pub(crate) fn cpu_isa(&self) -> Isa {
        self.0.isa
    }

    /// Number of threads that compute.
    pub(crate) fn threads(&self) -> usize {
        self.0.workers.count()
    }

    /// Working memory of `length` numbers with unspecified contents, kept for the next operation
    /// when it is dropped.
    pub(crate) fn scratch(&self, length: usize) -> Scratch<'_> {
        let mut free = self.0.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that is large enough, else the largest, to grow it.
        let fitting = (0..free.len()).filter(|&i| free[i].len() >= length + CACHE_LINE);
        let fitting = fitting.min_by_key(|&i| free[i].len());
        let choice = fitting.or_else(|| (0..free.len()).max_by_key(|&i| free[i].len()));
        let mut memory = choice.map(|index| free.swap_remove(index)).unwrap_or_default();
        drop(free);
        if memory.len() < length + CACHE_LINE {
            drop(std::mem::take(&mut memory)); // given back before more is asked for
            memory = reserved(length + CACHE_LINE);
        }
        let misaligned = memory.as_ptr().addr() % (CACHE_LINE * size_of::<f32>());
        let start = (CACHE_LINE - misaligned / size_of::<f32>()) % CACHE_LINE;
        Scratch { device: self, memory, start, length }
    }

    /// Whether both handles are the same device.
    pub fn same(&self, other: &Device) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Numbers in a cache line, which is also the widest vector.
const CACHE_LINE: usize = 16;

/// Working memory of one operation, aligned to a cache line.
pub(crate) struct Scratch<'a> {
    device: &'a Device,
    memory: Vec<f32>,
    start: usize,
    length: usize,
}

impl Deref for Scratch<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl DerefMut for Scratch<'_> {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        let mut free = self.device.0.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(std::mem::take(&mut self.memory));
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = self.0.workers.count();
        write!(f, "cpu, {}, {threads} thread{}", self.0.isa, if threads == 1 { "" } else { "s" })
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({self})")
    }
}
