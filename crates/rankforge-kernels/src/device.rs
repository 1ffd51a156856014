use crate::Precision;
use crate::buffer::reserved;
use crate::pack::Format;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// An instruction set the kernels are built for, chosen at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Portable Rust, the reference the others are tested against.
    Scalar,
    /// AVX2 with fused multiply-add and half-precision conversion, 8 lanes.
    Avx2,
    /// AVX-512 F, BW, DQ and VL, 16 lanes.
    Avx512,
    /// AVX-512 with dot products of bfloat16 pairs (BF16) and of bytes (VNNI): Cooper Lake, Zen 4 and later.
    Avx512Bf16,
}

impl Isa {
    /// The instruction sets this machine can run, slowest first; never empty.
    pub fn available() -> Vec<Isa> {
        let mut found = vec![Isa::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            let dot_products =
                is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vnni");
            if avx2 {
                found.push(Isa::Avx2);
            }
            if avx512 {
                found.push(Isa::Avx512);
            }
            if avx512 && dot_products {
                found.push(Isa::Avx512Bf16);
            }
        }
        found
    }

    /// The fastest available instruction set.
    pub fn best() -> Isa {
        *Isa::available().last().expect("scalar is always available")
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Bf16 => "avx512bf16",
        })
    }
}

impl FromStr for Isa {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Isa, DeviceError> {
        match name.to_ascii_lowercase().as_str() {
            "scalar" => Ok(Isa::Scalar),
            "avx2" => Ok(Isa::Avx2),
            "avx512" => Ok(Isa::Avx512),
            "avx512bf16" => Ok(Isa::Avx512Bf16),
            _ => Err(DeviceError::UnknownIsa { got: name.to_owned() }),
        }
    }
}

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
    /// The machine cannot run the instruction set.
    #[error("this machine has no {isa}: RANKFORGE_ISA can be {}", available.join(" or "))]
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

/// Where buffers live and operations run: today the CPU, with an instruction set and worker threads.
///
/// Cloning is cheap; clones share the threads.
#[derive(Clone)]
pub struct Device(Arc<Cpu>);

struct Cpu {
    isa: Isa,
    pool: rayon::ThreadPool,
    /// Working memory given back by operations that are done.
    scratch: Mutex<Vec<Vec<f32>>>,
}

impl Device {
    /// The CPU with the best instruction set, or the one that `RANKFORGE_ISA` names.
    ///
    /// `threads`: worker threads; `None` is one for each core the process may use.
    ///
    /// # Errors
    /// When `RANKFORGE_ISA` is unknown or not supported here, or threads cannot be started.
    pub fn cpu(threads: Option<usize>) -> Result<Device, DeviceError> {
        let isa = match std::env::var("RANKFORGE_ISA") {
            Ok(name) if !name.is_empty() => name.parse()?,
            _ => Isa::best(),
        };
        let threads = threads
            .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
            .unwrap_or(1);
        Device::cpu_with(isa, threads)
    }

    /// The CPU with a given instruction set and number of threads.
    ///
    /// # Errors
    /// As [`Device::cpu`].
    pub fn cpu_with(isa: Isa, threads: usize) -> Result<Device, DeviceError> {
        let available = Isa::available();
        if !available.contains(&isa) {
            let available = available.iter().map(Isa::to_string).collect();
            return Err(DeviceError::UnsupportedIsa { isa, available });
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|index| format!("rankforge-{index}"))
            .build()
            .map_err(|error| DeviceError::Threads { threads, message: error.to_string() })?;
        Ok(Device(Arc::new(Cpu { isa, pool, scratch: Mutex::default() })))
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.0.isa
    }

    /// How matrix products of a precision are computed here, in words.
    pub fn product_path(&self, precision: Precision) -> String {
        let isa = self.isa();
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

    /// Number of worker threads.
    pub fn threads(&self) -> usize {
        self.0.pool.current_num_threads()
    }

    /// Runs `work` on the device's worker threads, so that rayon calls inside use them.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.pool.install(work)
    }

    /// Runs `work` once on each worker thread, all at the same time.
    pub(crate) fn broadcast<R: Send>(&self, work: impl Fn() -> R + Sync) -> Vec<R> {
        self.0.pool.broadcast(|_| work())
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

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cpu({}, {} threads)", self.isa(), self.threads())
    }
}
