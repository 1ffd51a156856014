//! Rows rounded to bytes with a scale for each row, and bounds of the error.

use crate::cpu::simd::{Kernel, Simd, dispatch};
use crate::isa::Supported;

/// Bytes of a row that one instruction takes in: the length of a row is padded to a multiple.
pub(crate) const GROUP: usize = 4;

/// Added to a byte of a row, as the instructions multiply unsigned bytes with signed ones.
pub(crate) const OFFSET: u8 = 128;

/// Groups of bytes whose products are summed in 16 bits.
///
/// With more, fewer instructions widen the sums, and [`ENERGY`] leaves fewer bits to each byte.
pub(crate) const STRETCH: usize = 8;

/// Where sums have 16 bits, the most that the sum of the squares may be in each half of a stretch:
/// of the elements 0, 1, 4, 5, 8, 9 and so on, and of the others. Then no sum of products of a
/// query and a row is larger (Cauchy-Schwarz).
pub(crate) const ENERGY: i32 = i16::MAX as i32;

/// Where sums have 16 bits, the most that two neighbouring bytes may be together. `vpmaddubsw` adds
/// their products with bytes of up to 255, and saturates.
pub(crate) const PAIR: i32 = 128;

/// What turns sums of products with a rounded row into bounds of scores: four `f32`, as files keep
/// them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub(crate) struct Row {
    /// Minus room for the rounding of sums, in units of the bytes; minus infinity for a row that
    /// bytes do not bound, and infinity for one that is not there.
    pub(crate) base: f32,
    /// One over the scale.
    pub(crate) inverse_scale: f32,
    /// Upper bound of the norm of the rounding error.
    pub(crate) lost: f32,
    /// Upper bound of the norm of the rounded row.
    pub(crate) length: f32,
}

impl Row {
    /// A row with infinities or NaN, or too long: every query needs its score.
    pub(crate) const UNBOUNDED: Row = Row { base: f32::NEG_INFINITY, ..Row::ABSENT };

    /// A row beyond the last one.
    pub(crate) const ABSENT: Row =
        Row { base: f32::INFINITY, inverse_scale: 1.0, lost: 0.0, length: 0.0 };

    /// The terms of a rounded row.
    pub(crate) fn new(row: &RoundedRow) -> Row {
        Row {
            base: -2.0,
            inverse_scale: row.inverse_scale,
            lost: row.lost as f32,
            length: (row.length * (1.0 + ROOM)) as f32,
        }
    }

    /// Whether bytes bound the scores of the row.
    #[inline]
    pub(crate) fn is_bounded(&self) -> bool {
        self.base > f32::NEG_INFINITY
    }

    /// What a byte of 1 stands for.
    #[inline]
    pub(crate) fn scale(&self) -> f32 {
        1.0 / self.inverse_scale
    }

    /// Rows by their terms, four each.
    pub(crate) fn of_terms(terms: &[f32]) -> &[Row] {
        let four = terms.as_chunks::<4>().0;
        // SAFETY: a `Row` is four `f32`, and any four are one.
        unsafe { std::slice::from_raw_parts(four.as_ptr().cast(), four.len()) }
    }

    /// The terms of rows.
    pub(crate) fn to_terms(rows: &[Row]) -> &[f32] {
        // SAFETY: a `Row` is four `f32`, without padding.
        unsafe { std::slice::from_raw_parts(rows.as_ptr().cast(), 4 * rows.len()) }
    }

    /// The terms where the bytes are all that is kept of the row, so that none of it is lost.
    pub(crate) fn of_bytes_alone(self) -> Row {
        Row { lost: self.length * ROOM as f32 + LEAST_LOST, ..self }
    }
}

/// How a row becomes bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounding {
    /// What each element is multiplied with.
    pub(crate) factor: f64,
    /// What is added to each byte.
    pub(crate) offset: u8,
    /// Whether the bytes stay within [`ENERGY`] and [`PAIR`].
    pub(crate) narrow_sums: bool,
}

/// A row `x` as `scale * bytes`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundedRow {
    /// One over the scale; the scale is one over this number, in `f32`.
    pub(crate) inverse_scale: f32,
    /// Norm of `scale * bytes`.
    pub(crate) length: f64,
    /// Upper bound of the norm of `x - scale * bytes`, with room for the rounding of everything
    /// that is computed from these fields in `f32`.
    pub(crate) lost: f64,
}

impl RoundedRow {
    /// What a byte of 1 stands for.
    pub(crate) fn scale(&self) -> f32 {
        1.0 / self.inverse_scale
    }
}

/// Norm of the longest row that bytes stand for without a factor.
pub(crate) const LONGEST: f64 = 1e12;

/// Largest byte; the range is symmetric.
const LARGEST: f64 = 127.0;

/// Least scale, so that reciprocals are finite; rows that need a smaller one become zeros.
const LEAST_SCALE: f32 = 1e-25;

/// Added to the norm of a rounding error: far below the resolution of an `f32` near 1, and above
/// the subnormals.
const LEAST_LOST: f32 = 1e-15;

/// Room for the rounding errors of a few operations in `f32`, relative.
pub(crate) const ROOM: f64 = 1.0 / (1 << 20) as f64;

/// Rounds `factor * source` to bytes, with zeros beyond the end of `source`.
///
/// The elements must be finite, and the norm of `factor * source` at most about [`LONGEST`].
pub(crate) fn round(
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
        let inverse_scale = 1.0 / scale;
        let from_byte = f64::from(1.0 / inverse_scale);
        let to_byte = factor / from_byte;
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
        let lost = lost * (1.0 + ROOM) + length * ROOM + f64::from(LEAST_LOST);
        RoundedRow { inverse_scale, length, lost }
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
