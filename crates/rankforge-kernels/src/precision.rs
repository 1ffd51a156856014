use std::fmt;
use std::str::FromStr;

/// How the operands of matrix products are rounded; sums, activations and parameters are always
/// `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Not rounded.
    #[default]
    Float32,
    /// To bfloat16, ties to even: the range of `f32`, 8 significant bits.
    BFloat16,
    /// To IEEE half precision, ties to even: 11 significant bits, infinity from 65,520 on.
    Float16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 3] = [Precision::Float32, Precision::BFloat16, Precision::Float16];

    /// Largest relative error of rounding a normal number.
    pub fn unit_roundoff(self) -> f64 {
        match self {
            Precision::Float32 => 0.0,
            Precision::BFloat16 => 2f64.powi(-8),
            Precision::Float16 => 2f64.powi(-11),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::Float32 => "fp32",
            Precision::BFloat16 => "bf16",
            Precision::Float16 => "fp16",
        })
    }
}

/// The name is none of the precisions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown precision {got:?}: expected fp32, bf16 or fp16")]
pub struct UnknownPrecision {
    /// The requested name.
    pub got: String,
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Precision, UnknownPrecision> {
        match name.to_ascii_lowercase().as_str() {
            "fp32" | "float32" => Ok(Precision::Float32),
            "bf16" | "bfloat16" => Ok(Precision::BFloat16),
            "fp16" | "float16" => Ok(Precision::Float16),
            _ => Err(UnknownPrecision { got: name.to_owned() }),
        }
    }
}
