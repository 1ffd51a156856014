//! Sizes of matrices.

/// Most elements of a matrix: no allocation has more bytes than `isize::MAX`.
const MOST: usize = isize::MAX as usize / size_of::<f32>();

/// `rows * columns`.
///
/// Kernels trust that a matrix has as many elements as its shape says, so a product that wraps must
/// not pass for the length of a small matrix.
///
/// # Panics
/// When no memory can hold as many.
#[track_caller]
pub(crate) fn elements(rows: usize, columns: usize) -> usize {
    match rows.checked_mul(columns) {
        Some(elements) if elements <= MOST => elements,
        _ => panic!("a matrix of {rows} x {columns} is larger than any memory"),
    }
}
