//! Rows rounded to bytes with a scale for each row, and bounds of the error.

use crate::cpu::simd::{Kernel, Simd, dispatch};
use crate::isa::Supported;

/// A row `x` as `scale * bytes`.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundedRow {
    pub(super) scale: f32,
    /// Sum of the bytes.
    pub(super) sum: i32,
    /// Norm of `scale * bytes`.
    pub(super) length: f64,
    /// Upper bound of the norm of `x - scale * bytes`, with room for the rounding of everything
    /// that is computed from these fields in `f32`.
    pub(super) lost: f64,
}

/// Largest byte; the range is symmetric.
const LARGEST: f64 = 127.0;

/// Least scale, so that reciprocals are finite; rows that need a smaller one become zeros.
const LEAST_SCALE: f32 = 1e-25;

/// Room for the rounding errors of a few operations in `f32`, relative.
pub(super) const ROOM: f64 = 1.0 / (1 << 20) as f64;

/// Rounds `factor * source` to `bytes`, with zeros beyond the end of `source`.
///
/// The elements must be finite, and the norm of `factor * source` at most about 1.
pub(super) fn round(isa: Supported, source: &[f32], factor: f64, bytes: &mut [i8]) -> RoundedRow {
    let (bytes, rest) = bytes.split_at_mut(source.len());
    rest.fill(0);
    dispatch(isa, RoundToBytes { source, factor, bytes })
}

struct RoundToBytes<'a> {
    source: &'a [f32],
    factor: f64,
    bytes: &'a mut [i8],
}

const LANES: usize = 16;

/// Added to a number below `2^51`, it leaves the nearest integer in the low bits of the sum.
const WHOLE: f64 = (3u64 << 51) as f64;

impl Kernel for RoundToBytes<'_> {
    type Output = RoundedRow;

    #[inline(always)]
    fn run<S: Simd>(self) -> RoundedRow {
        let mut largest = [0.0f32; LANES];
        for chunk in self.source.chunks(LANES) {
            for (largest, value) in largest.iter_mut().zip(chunk) {
                *largest = if value.abs() > *largest { value.abs() } else { *largest };
            }
        }
        let mut bound = 0.0f32;
        for value in largest {
            bound = bound.max(value);
        }
        // A little more than needed, as the scale is rounded to `f32`.
        let scale = (f64::from(bound) * self.factor / LARGEST * (1.0 + ROOM)) as f32;
        let scale = scale.max(LEAST_SCALE);
        let (to_byte, from_byte) = (self.factor / f64::from(scale), f64::from(scale));
        let (mut lost, mut squares, mut sums) = ([0.0; LANES], [0i32; LANES], [0i32; LANES]);
        for (source, bytes) in self.source.chunks(LANES).zip(self.bytes.chunks_mut(LANES)) {
            for lane in 0..source.len() {
                let value = f64::from(source[lane]);
                let byte = (value * to_byte + WHOLE).to_bits() as i8;
                let difference = value * self.factor - f64::from(byte) * from_byte;
                bytes[lane] = byte;
                lost[lane] += difference * difference;
                squares[lane] += i32::from(byte) * i32::from(byte);
                sums[lane] += i32::from(byte);
            }
        }
        let squares: f64 = squares.into_iter().map(f64::from).sum();
        let length = squares.sqrt() * from_byte;
        let lost = lost.into_iter().sum::<f64>().sqrt();
        // The last term is far below the resolution of an `f32` near 1, and above the subnormals.
        let lost = lost * (1.0 + ROOM) + length * ROOM + 1e-15;
        RoundedRow { scale, sum: sums.into_iter().sum(), length, lost }
    }
}
