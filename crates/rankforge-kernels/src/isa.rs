use crate::device::DeviceError;
use std::fmt;
use std::str::FromStr;

/// An instruction set the kernels are built for, chosen at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Portable Rust, the reference the others are tested against.
    Scalar,
    /// AVX2 with fused multiply-add and half-precision conversion, 8 lanes.
    Avx2,
    /// AVX-512 F, BW, DQ and VL, 16 lanes.
    Avx512,
    /// AVX-512 with dot products of bfloat16 pairs (BF16) and of bytes (VNNI): Cooper Lake, Zen 4
    /// and later.
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
