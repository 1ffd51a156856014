//! The sizes of the machine's caches, which decide how much work is done on data at a time.

use std::sync::LazyLock;

/// Bytes of the L2 cache of a core, or 1 MiB where the machine does not tell.
pub(crate) fn second_level() -> usize {
    /// Bytes, read once.
    static BYTES: LazyLock<usize> = LazyLock::new(|| read().unwrap_or(1 << 20));
    *BYTES
}

#[cfg(target_arch = "x86_64")]
fn read() -> Option<usize> {
    use std::arch::x86_64::__cpuid;
    /// The leaf whose register ECX holds the kilobytes of L2 in its upper half, on Intel's and
    /// AMD's machines alike.
    const LEAF: u32 = 0x8000_0006;
    let known = __cpuid(0x8000_0000).eax >= LEAF;
    let kilobytes = known.then(|| __cpuid(LEAF).ecx as usize >> 16)?;
    (kilobytes > 0).then_some(kilobytes << 10)
}

#[cfg(not(target_arch = "x86_64"))]
fn read() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_level_cache_has_a_believable_size() {
        let bytes = second_level();
        assert!((64 << 10..=64 << 20).contains(&bytes), "{bytes} bytes");
    }
}
