//! Rounding of the operands of products.

use crate::precision::Precision;
use crate::reference::matrix::Matrix;

/// An operand of a product: to the nearest `f32`, then to the nearest number of the precision, ties
/// to even.
///
/// A number of the precision is `± m 2^e` with an integer `m` of at most `bits` bits and `e` no
/// less than the least exponent. What rounds beyond the largest becomes infinite.
pub(super) fn operand(precision: Precision, x: f64) -> f64 {
    let x = f64::from(x as f32);
    let (bits, least_exponent, largest) = match precision {
        Precision::Float32 => return x,
        Precision::BFloat16 => (8, -133, (2.0 - 2f64.powi(-7)) * 2f64.powi(127)),
        Precision::Float16 => (11, -24, 65_504.0),
    };
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    // The exponent of the leading bit, from the representation: logarithms would be rounded.
    let leading = ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    let unit = 2f64.powi((leading - (bits - 1)).max(least_exponent));
    let rounded = (x / unit).round_ties_even() * unit;
    if rounded.abs() > largest { f64::INFINITY.copysign(x) } else { rounded }
}

/// All elements of a matrix as operands, row by row.
pub(super) fn operands(precision: Precision, x: Matrix<'_>) -> Vec<f64> {
    x.places().map(|(row, column)| operand(precision, x.at(row, column))).collect()
}
