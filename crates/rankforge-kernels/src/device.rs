use crate::cpu::machine::Cpu;
use crate::cpu::matmul;
use crate::error::DeviceError;
use crate::isa::{Isa, Supported};
use crate::precision::Precision;
use crate::reference::Reference;
use crate::workers::Workers;
use std::fmt;
use std::sync::Arc;

/// Where elements are and operations run.
///
/// A handle: cloning is cheap, and clones are the same device. Two CPU devices share the memory of
/// the host, so an operation on one takes operands of the other; any other operand of another
/// device is refused with both names.
#[derive(Clone)]
pub struct Device(Kind);

/// The kinds of devices; each operation has one body for each of them.
#[derive(Clone)]
pub(crate) enum Kind {
    Cpu(Arc<Cpu>),
    Reference(Arc<Reference>),
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
        let Some(supported) = Supported::check(isa) else {
            let available = Isa::available().iter().map(Isa::to_string).collect();
            return Err(DeviceError::UnsupportedIsa { isa, available });
        };
        Ok(Device(Kind::Cpu(Arc::new(Cpu::new(supported, workers.clone())))))
    }

    /// The reference device: every operation as plain scalar loops in `f64` over memory of its own.
    ///
    /// It is slow and says what the others must compute: tests hold each device against it, and a
    /// new device is written from it. It has one host thread, which computes nothing.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn reference() -> Result<Device, DeviceError> {
        let workers = Workers::new(Some(1))?;
        Ok(Device(Kind::Reference(Arc::new(Reference { workers }))))
    }

    /// The instruction set that operations use; `None` on a device that is not the CPU.
    pub fn isa(&self) -> Option<Isa> {
        match &self.0 {
            Kind::Cpu(cpu) => Some(cpu.isa().isa()),
            Kind::Reference(_) => None,
        }
    }

    /// The host threads: they tokenise and read files, and on the CPU device they help the calling
    /// thread to compute.
    pub fn workers(&self) -> &Workers {
        match &self.0 {
            Kind::Cpu(cpu) => cpu.workers(),
            Kind::Reference(reference) => &reference.workers,
        }
    }

    /// Whether the device computes on memory of the host, so that a
    /// [`View::borrowed`](crate::View::borrowed) needs no copy: true on the CPU.
    pub fn shares_host_memory(&self) -> bool {
        match &self.0 {
            Kind::Cpu(_) => true,
            Kind::Reference(_) => false,
        }
    }

    /// How this device computes matrix products of a precision, for people to read.
    pub fn product_path(&self, precision: Precision) -> String {
        match &self.0 {
            Kind::Cpu(cpu) => matmul::product_path(cpu.isa(), precision),
            Kind::Reference(_) => format!("{precision} operands, f64 loops"),
        }
    }

    /// Bytes of working memory that operations left for those to come, spare capacity included.
    pub fn working_memory_in_bytes(&self) -> usize {
        match &self.0 {
            Kind::Cpu(cpu) => cpu.free_elements() * size_of::<f32>(),
            Kind::Reference(_) => 0,
        }
    }

    /// Gives that working memory back to the system, and with it whatever the process has freed.
    /// It is for a program that will not compute for a while: the next operations allocate anew.
    pub fn release_working_memory(&self) {
        match &self.0 {
            Kind::Cpu(cpu) => cpu.release(),
            Kind::Reference(_) => {}
        }
    }

    /// Keeps memory that the process frees for its next allocations, until it is released
    /// ([`Device::release_working_memory`]). It is for work that allocates the same buffers again
    /// and again, as the steps of training do.
    pub fn keep_freed_memory(&self) {
        match &self.0 {
            Kind::Cpu(cpu) => cpu.keep_freed_memory(),
            Kind::Reference(_) => {}
        }
    }

    /// Whether both handles are the same device.
    pub fn same(&self, other: &Device) -> bool {
        match (&self.0, &other.0) {
            (Kind::Cpu(a), Kind::Cpu(b)) => Arc::ptr_eq(a, b),
            (Kind::Reference(a), Kind::Reference(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Cpu(cpu) => {
                let (isa, threads) = (cpu.isa().isa(), cpu.threads());
                write!(f, "cpu, {isa}, {threads} thread{}", if threads == 1 { "" } else { "s" })
            }
            Kind::Reference(_) => f.write_str("reference"),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({self})")
    }
}
