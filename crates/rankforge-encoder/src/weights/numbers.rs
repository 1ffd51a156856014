//! The number types of tensors, and how their elements become f32 or indices.

use half::{bf16, f16};
use safetensors::Dtype;

/// Appends the elements in some bytes to a vector.
pub(super) type Decode<T> = fn(&[u8], &mut Vec<T>);

/// Whether the elements are floating-point numbers that [`decoder`] reads.
pub(super) fn is_float(dtype: Dtype) -> bool {
    matches!(
        dtype,
        Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F8_E4M3 | Dtype::F8_E5M2
    )
}

/// The function that decodes elements of this type to f32, by value, as PyTorch converts them;
/// `None` for complex numbers and the types of quantised tensors. It decodes many elements in a
/// call, as a call per element would take longer than reading the file.
pub(super) fn decoder(dtype: Dtype) -> Option<Decode<f32>> {
    /// A function that decodes elements whose bytes `$decode` takes as an array.
    macro_rules! each {
        ($decode:expr) => {
            Some(|bytes, values| values.extend(bytes.as_chunks().0.iter().copied().map($decode)))
        };
    }
    match dtype {
        Dtype::F64 => each!(|bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F32 => each!(f32::from_le_bytes),
        Dtype::F16 => each!(|bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => each!(|bytes| bf16::from_le_bytes(bytes).to_f32()),
        Dtype::F8_E4M3 => each!(|[byte]: [u8; 1]| from_e4m3(byte)),
        // The upper half of an f16.
        Dtype::F8_E5M2 => each!(|[byte]: [u8; 1]| f16::from_le_bytes([0, byte]).to_f32()),
        Dtype::I8 => each!(|bytes| f32::from(i8::from_le_bytes(bytes))),
        Dtype::U8 => each!(|bytes| f32::from(u8::from_le_bytes(bytes))),
        Dtype::I16 => each!(|bytes| f32::from(i16::from_le_bytes(bytes))),
        Dtype::U16 => each!(|bytes| f32::from(u16::from_le_bytes(bytes))),
        Dtype::I32 => each!(|bytes| i32::from_le_bytes(bytes) as f32),
        Dtype::U32 => each!(|bytes| u32::from_le_bytes(bytes) as f32),
        Dtype::I64 => each!(|bytes| i64::from_le_bytes(bytes) as f32),
        Dtype::U64 => each!(|bytes| u64::from_le_bytes(bytes) as f32),
        Dtype::BOOL => each!(|[byte]: [u8; 1]| f32::from(byte != 0)),
        _ => None,
    }
}

/// The function that decodes elements of an integer type; `None` for other types.
pub(super) fn integer_decoder(dtype: Dtype) -> Option<Decode<i128>> {
    /// A function that decodes elements of the integer type `$integer`.
    macro_rules! each {
        ($integer:ty) => {
            Some(|bytes, values| {
                let integer = |bytes| i128::from(<$integer>::from_le_bytes(bytes));
                values.extend(bytes.as_chunks().0.iter().copied().map(integer));
            })
        };
    }
    match dtype {
        Dtype::I8 => each!(i8),
        Dtype::U8 => each!(u8),
        Dtype::I16 => each!(i16),
        Dtype::U16 => each!(u16),
        Dtype::I32 => each!(i32),
        Dtype::U32 => each!(u32),
        Dtype::I64 => each!(i64),
        Dtype::U64 => each!(u64),
        _ => None,
    }
}

/// An 8-bit number of a sign, 4 bits of exponent with bias 7 and 3 of mantissa. It has no infinity;
/// all ones is NaN.
fn from_e4m3(byte: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(byte >> 3 & 0xf), f32::from(byte & 7));
    let magnitude = match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 512.0,
        _ => (8.0 + mantissa) * 2.0_f32.powi(exponent - 10),
    };
    if byte >> 7 == 0 { magnitude } else { -magnitude }
}
