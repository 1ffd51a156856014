use crate::isa::{Isa, Supported};
use crate::precision::Precision;

/// What a packed word holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// An element as it is.
    Exact,
    /// An element rounded to bfloat16, as `f32`.
    RoundedBf16,
    /// An element rounded to half precision, as `f32`.
    RoundedF16,
    /// Two elements, neighbours along the depth, each rounded to bfloat16.
    Bf16Pairs,
}

impl Format {
    /// The format for products of a precision on an instruction set.
    pub(crate) fn of(isa: Isa, precision: Precision) -> Format {
        match precision {
            Precision::Float32 => Format::Exact,
            Precision::BFloat16 if isa == Isa::Avx512Bf16 => Format::Bf16Pairs,
            Precision::BFloat16 => Format::RoundedBf16,
            Precision::Float16 => Format::RoundedF16,
        }
    }

    /// Elements along the depth in a word.
    pub(crate) fn per_word(self) -> usize {
        if self == Format::Bf16Pairs { 2 } else { 1 }
    }
}

/// How matrix products of a precision are computed, for people to read.
pub(crate) fn product_path(isa: Supported, precision: Precision) -> String {
    let isa = isa.isa();
    match Format::of(isa, precision) {
        Format::Exact => format!("fp32 operands, {isa} multiply-add"),
        Format::Bf16Pairs => format!("bf16 operands, {isa} dot products of pairs (vdpbf16ps)"),
        Format::RoundedBf16 => {
            format!("bf16 operands, widened while packing, {isa} multiply-add; slower than fp32")
        }
        Format::RoundedF16 => {
            format!("fp16 operands, widened while packing, {isa} multiply-add; slower than fp32")
        }
    }
}
