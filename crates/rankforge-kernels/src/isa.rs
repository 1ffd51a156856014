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
    /// AVX-512 with dot products of bfloat16 pairs (BF16) and of bytes (VNNI): Cooper Lake, Zen 4
    /// and later.
    Avx512Bf16,
}

impl Isa {
    /// All of them, slowest first.
    pub const ALL: [Isa; 5] = [Isa::Scalar, Isa::Avx2, Isa::Avx2Vnni, Isa::Avx512, Isa::Avx512Bf16];

    /// The instruction sets this machine has, slowest first; never empty.
    pub fn available() -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// The fastest instruction set this machine has.
    pub fn best() -> Isa {
        Isa::ALL.into_iter().rfind(|isa| isa.is_available()).unwrap_or(Isa::Scalar)
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
            Isa::Avx512Bf16 => {
                Isa::Avx512.is_available()
                    && is_x86_feature_detected!("avx512bf16")
                    && is_x86_feature_detected!("avx512vnni")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        self == Isa::Scalar
    }
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
            Isa::Avx512Bf16 => "avx512bf16",
        })
    }
}
