use std::fs::read_to_string;

/// The memory that this process has in RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessMemory {
    /// Now, in bytes.
    pub now: u64,
    /// The most since the process began, in bytes.
    pub peak: u64,
}

impl ProcessMemory {
    /// As the operating system counts it; `None` where it is not Linux.
    pub fn read() -> Option<ProcessMemory> {
        parse(&read_to_string("/proc/self/status").ok()?)
    }
}

/// Reads `/proc/self/status`, whose sizes are in units of 1,024 bytes.
fn parse(status: &str) -> Option<ProcessMemory> {
    let bytes = |name: &str| {
        let size = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = size.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
    };
    Some(ProcessMemory { now: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_bytes() {
        let status = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t  200 kB\nVmRSS:\t  100 kB\n";
        let expected = ProcessMemory { now: 102_400, peak: 204_800 };
        assert_eq!(parse(status), Some(expected));
        assert_eq!(parse("Name:\tx\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_has_memory() {
        let memory = ProcessMemory::read().unwrap();
        assert!(memory.now > 100_000 && memory.peak >= memory.now, "{memory:?}");
    }
}
