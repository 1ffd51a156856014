use crate::device::{Device, Kind};
use crate::reference::memory::Integers;
use std::fmt;

/// Unsigned integers on a device: rows of a table for each token, query tokens, lengths to skip.
///
/// Host code reads the values at any time; operations read the copy on the device, which is made
/// once, here. On the CPU the two are one.
#[derive(Clone)]
pub struct Indices {
    device: Device,
    values: Vec<u32>,
    /// The copy of the reference device.
    copy: Option<Integers>,
}

impl Indices {
    /// Copies `values` to the device.
    pub fn new(device: &Device, values: &[u32]) -> Indices {
        let copy = match device.kind() {
            Kind::Cpu(_) => None,
            Kind::Reference(_) => Some(Integers::copy_of(values.iter().map(|&it| u64::from(it)))),
        };
        Indices { device: device.clone(), values: values.to_vec(), copy }
    }

    /// The device that the values are on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values, on the host.
    pub fn values(&self) -> &[u32] {
        &self.values
    }

    /// The values as CPU kernels take them, for an operation on `device`.
    #[track_caller]
    pub(crate) fn host(&self, device: &Device) -> &[u32] {
        match &self.copy {
            None => &self.values,
            Some(_) => panic!("indices on {:?} of an operation on {device:?}", self.device),
        }
    }

    /// The values as the reference device takes them, for an operation on `device`.
    #[track_caller]
    pub(crate) fn reference(&self, device: &Device) -> &Integers {
        match &self.copy {
            Some(copy) if self.device.same(device) => copy,
            _ => panic!("indices on {:?} of an operation on {device:?}", self.device),
        }
    }
}

impl fmt::Debug for Indices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Indices({:?} on {:?})", self.values, self.device)
    }
}
