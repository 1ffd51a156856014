//! Rows rounded to bytes with a scale for each row, and bounds of the error.

use crate::cpu::simd::{Kernel, Simd, dispatch};
use crate::cpu::top_k::products::{ENERGY, GROUP, PAIR, STRETCH};
use crate::isa::Supported;

/// How a row becomes bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounding {
    /// What each element is multiplied with.
    pub(super) factor: f64,
    /// What is added to each byte.
    pub(super) offset: u8,
    /// Whether the bytes stay within [`ENERGY`] and [`PAIR`].
    pub(super) narrow_sums: bool,
}

/// A row `x` as `scale * bytes`.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundedRow {
    pub(super) scale: f32,
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

/// Rounds `factor * source` to bytes, with zeros beyond the end of `source`.
///
/// The elements must be finite, and the norm of `factor * source` at most about 1.
pub(super) fn round(
    isa: Supported,
    source: &[f32],
    rounding: Rounding,
    bytes: &mut [u8],
) -> RoundedRow {
    let (bytes, rest) = bytes.split_at_mut(source.len());
    rest.fill(rounding.offset);
    dispatch(isa, RoundToBytes { source, rounding, bytes })
}

struct RoundToBytes<'a> {
    source: &'a [f32],
    rounding: Rounding,
    bytes: &'a mut [u8],
}

const LANES: usize = 16;

/// Added to a number below `2^51`, it leaves the nearest integer in the low bits of the sum.
const WHOLE: f64 = (3u64 << 51) as f64;

impl Kernel for RoundToBytes<'_> {
    type Output = RoundedRow;

    #[inline(always)]
    fn run<S: Simd>(self) -> RoundedRow {
        let Rounding { factor, offset, narrow_sums } = self.rounding;
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
        let mut scale = f64::from(bound) / LARGEST;
        if narrow_sums {
            scale = scale.max(narrow_scale(self.source));
        }
        // A little more than needed, as the scale is rounded to `f32`.
        let scale = ((scale * factor * (1.0 + ROOM)) as f32).max(LEAST_SCALE);
        let (to_byte, from_byte) = (factor / f64::from(scale), f64::from(scale));
        let (mut lost, mut squares) = ([0.0; LANES], [0i32; LANES]);
        for (source, bytes) in self.source.chunks(LANES).zip(self.bytes.chunks_mut(LANES)) {
            for lane in 0..source.len() {
                let value = f64::from(source[lane]);
                let byte = (value * to_byte + WHOLE).to_bits() as i8;
                let difference = value * factor - f64::from(byte) * from_byte;
                bytes[lane] = (byte as u8).wrapping_add(offset);
                lost[lane] += difference * difference;
                squares[lane] += i32::from(byte) * i32::from(byte);
            }
        }
        let squares: f64 = squares.into_iter().map(f64::from).sum();
        let length = squares.sqrt() * from_byte;
        let lost = lost.into_iter().sum::<f64>().sqrt();
        // The last term is far below the resolution of an `f32` near 1, and above the subnormals.
        let lost = lost * (1.0 + ROOM) + length * ROOM + 1e-15;
        RoundedRow { scale, length, lost }
    }
}

/// The least scale by which the bytes of `source` stay within [`ENERGY`] and [`PAIR`].
#[inline(always)]
fn narrow_scale(source: &[f32]) -> f64 {
    // Rounding adds at most 1/2 to a byte: 1 to a pair, and to the root of the energy half the root
    // of the number of elements.
    let half = (STRETCH * GROUP / 2) as f64;
    let (energy, pair) = (f64::from(ENERGY).sqrt() - half.sqrt() / 2.0, f64::from(PAIR - 1));
    let (mut largest, mut highest) = ([0.0f64; LANES], [0.0f64; LANES]);
    for stretch in source.chunks(STRETCH * GROUP) {
        let mut squares = [0.0; LANES];
        for chunk in stretch.chunks(LANES) {
            for (square, &value) in squares.iter_mut().zip(chunk) {
                *square += f64::from(value) * f64::from(value);
            }
            for (place, pair) in chunk.chunks_exact(2).enumerate() {
                let sum = f64::from(pair[0].abs()) + f64::from(pair[1].abs());
                highest[place] = highest[place].max(sum);
            }
        }
        for half in 0..2 {
            let mut sum = 0.0;
            for four in squares.chunks_exact(GROUP) {
                sum += four[2 * half] + four[2 * half + 1];
            }
            largest[half] = largest[half].max(sum);
        }
    }
    let (mut bound, mut sum) = (0.0f64, 0.0);
    for lane in 0..LANES {
        (bound, sum) = (bound.max(highest[lane]), largest[lane].max(sum));
    }
    (sum.sqrt() / energy).max(bound / pair)
}
