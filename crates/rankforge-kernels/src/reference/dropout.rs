use crate::reference::matrix::{Matrix, MatrixMut};
use crate::settings::dropout::{Dropout, mix};

/// The factor of element `index`: `1 / (1 - p)` where it is kept, else 0.
///
/// It is kept when its 32 random bits are below `round(2^24 (1 - p)) * 2^8`. All of it is
/// arithmetic of integers modulo `2^32`, so every device draws the same mask.
pub(super) fn factor(dropout: Dropout, index: u64) -> f64 {
    let keep = 1.0 - f64::from(dropout.probability());
    let bound = (keep * f64::from(1 << 24)).round() as u64 * 256;
    let kept = u64::from(random_bits(dropout.key(), index)) < bound;
    if kept { f64::from((1.0 / keep) as f32) } else { 0.0 }
}

/// Wellons' hash `triple32` of the lower half of `index`, with a word of key before it and one
/// after its first round; the words come from the key and the upper half.
fn random_bits(key: u64, index: u64) -> u32 {
    let words = mix(key ^ mix(index >> 32));
    let (first, second) = (words as u32, (words >> 32) as u32);
    let mut x = index as u32 ^ first;
    x = (x ^ (x >> 17)).wrapping_mul(0xed5a_d4bb).wrapping_add(second);
    x = (x ^ (x >> 11)).wrapping_mul(0xac4c_1b51);
    x = (x ^ (x >> 15)).wrapping_mul(0x3184_8bab);
    x ^ (x >> 14)
}

/// `x = factor(i) x`, where `i` counts the elements row by row.
pub(crate) fn dropout(dropout: Dropout, mut x: MatrixMut<'_>) {
    for (index, (row, column)) in (0..).zip(x.places()) {
        let value = x.at(row, column) * factor(dropout, index);
        x.put(row, column, value);
    }
}

/// `out = factor(i) x`, where `i` counts the elements row by row.
pub(crate) fn dropout_to(dropout: Dropout, x: Matrix<'_>, mut out: MatrixMut<'_>) {
    for (index, (row, column)) in (0..).zip(x.places()) {
        out.put(row, column, x.at(row, column) * factor(dropout, index));
    }
}
