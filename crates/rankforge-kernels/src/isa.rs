use std::fmt;

/// An instruction set the kernels are built for, chosen at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Portable Rust, on any machine.
    Scalar,
    /// AVX2 with fused multiply-add and half-precision conversion, 8 lanes.
    Avx2,
    /// AVX2 with dot products of bytes (AVX-VNNI): Alder Lake and later. Whatever is no product of
    /// bytes has the bits of [`Isa::Avx2`].
    Avx2Vnni,
    /// AVX-512 F, BW, DQ and VL, 16 lanes.
    Avx512,
    /// AVX-512 with dot products of bytes (VNNI): Cascade Lake and later, Zen 4 and later. Whatever
    /// is no product of bytes has the bits of [`Isa::Avx512`].
    Avx512Vnni,
    /// AVX-512 with dot products of bytes (VNNI) and of bfloat16 pairs (BF16): Cooper Lake, Zen 4
    /// and later.
    Avx512Bf16,
}

impl Isa {
    /// All of them, slowest first.
    pub const ALL: [Isa; 6] =
        [Isa::Scalar, Isa::Avx2, Isa::Avx2Vnni, Isa::Avx512, Isa::Avx512Vnni, Isa::Avx512Bf16];

    /// The instruction sets this machine has, slowest first; never empty.
    pub fn available() -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// The fastest instruction set this machine has.
    ///
    /// A Xeon with AMX multiplies pairs of bfloat16 at half the rate of its products in `f32`, so
    /// that processors by Intel get [`Isa::Avx512Vnni`] (`docs/LOG.md`, 2026-11-27).
    pub fn best() -> Isa {
        let gains = |isa: &Isa| *isa != Isa::Avx512Bf16 || !is_made_by_intel();
        let usable = |isa: &Isa| isa.is_available() && gains(isa);
        Isa::ALL.into_iter().rfind(usable).unwrap_or(Isa::Scalar)
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        match self {
            Isa::Scalar => true,
            Isa::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            Isa::Avx2Vnni => Isa::Avx2.is_available() && is_x86_feature_detected!("avxvnni"),
            Isa::Avx512 => {
                Isa::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            Isa::Avx512Vnni => Isa::Avx512.is_available() && is_x86_feature_detected!("avx512vnni"),
            Isa::Avx512Bf16 => {
                Isa::Avx512Vnni.is_available() && is_x86_feature_detected!("avx512bf16")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        self == Isa::Scalar
    }
}

#[cfg(target_arch = "x86_64")]
fn is_made_by_intel() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    name.as_flattened() == b"GenuineIntel"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_made_by_intel() -> bool {
    false
}

/// An instruction set that this machine has: code that needs it may run.
///
/// Only [`Supported::check`] makes one, so its holder need not check again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Supported(Isa);

impl Supported {
    /// `isa`, where this machine has it.
    pub(crate) fn check(isa: Isa) -> Option<Supported> {
        isa.is_available().then_some(Supported(isa))
    }

    /// The fastest that this machine has.
    pub(crate) fn best() -> Supported {
        Supported(Isa::best())
    }

    /// All that this machine has.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Supported> {
        Isa::ALL.into_iter().filter_map(Supported::check).collect()
    }

    /// The instruction set.
    #[inline(always)]
    pub(crate) fn isa(self) -> Isa {
        self.0
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx2Vnni => "avx2vnni",
            Isa::Avx512 => "avx512",
            Isa::Avx512Vnni => "avx512vnni",
            Isa::Avx512Bf16 => "avx512bf16",
        })
    }
}
