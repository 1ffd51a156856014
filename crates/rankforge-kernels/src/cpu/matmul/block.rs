//! The register-blocked core of every matrix product: a few rows times two vectors of columns.

use crate::cpu::simd::{Simd, load_up_to, store_up_to};

/// What a product does with each pair of factors.
pub(crate) trait Combine {
    /// `sum` with the pair `a`, `b` added.
    fn add<S: Simd>(a: S::V, b: S::V, sum: S::V) -> S::V;
}

/// Sums of `a * b`: the matrix product.
pub(crate) struct Multiply;

/// The matrix product of words that hold two bfloat16 each.
pub(crate) struct MultiplyPairs;

/// Sums of `(a - b)^2`.
pub(crate) struct SquaredDifference;

/// Sums of `|a - b|`.
pub(crate) struct AbsoluteDifference;

impl Combine for Multiply {
    #[inline(always)]
    fn add<S: Simd>(a: S::V, b: S::V, sum: S::V) -> S::V {
        S::mul_add(a, b, sum)
    }
}

impl Combine for MultiplyPairs {
    #[inline(always)]
    fn add<S: Simd>(a: S::V, b: S::V, sum: S::V) -> S::V {
        S::mul_add_pairs(a, b, sum)
    }
}

impl Combine for SquaredDifference {
    #[inline(always)]
    fn add<S: Simd>(a: S::V, b: S::V, sum: S::V) -> S::V {
        let difference = S::sub(a, b);
        S::mul_add(difference, difference, sum)
    }
}

impl Combine for AbsoluteDifference {
    #[inline(always)]
    fn add<S: Simd>(a: S::V, b: S::V, sum: S::V) -> S::V {
        S::add(sum, S::abs(S::sub(a, b)))
    }
}

/// Most rows of a block, so that with two vectors of columns the sums fill the registers: 24 of 32
/// with AVX-512, 12 of 16 with AVX2.
pub(crate) const fn most_rows(lanes: usize) -> usize {
    if lanes == 16 { 12 } else { 6 }
}

/// One block of the output that is summed in registers: rows times at most two vectors.
///
/// Each element is one chain over the words, in their order, so its bits do not depend on the
/// block.
pub(crate) struct Block {
    /// Word `w` of row `r` of the left factor is at `r * row_stride + w * word_stride`.
    pub(crate) left: *const f32,
    pub(crate) row_stride: usize,
    pub(crate) word_stride: usize,
    /// Word `w` of the right factor is `VECTORS` vectors at `w * right_stride`.
    pub(crate) right: *const f32,
    pub(crate) right_stride: usize,
    pub(crate) out: *mut f32,
    pub(crate) out_stride: usize,
    pub(crate) words: usize,
    /// Columns that exist in `out`, at most `VECTORS` vectors.
    pub(crate) columns: usize,
    /// Whether the sums are added to `out`.
    pub(crate) accumulate: bool,
    /// What [`Block::of_height_ahead`] prefetches: a cache line for each word. Any address.
    pub(crate) ahead: *const f32,
}

/// Elements of a cache line.
pub(crate) const LINE: usize = 16;

impl Block {
    /// Computes `height` rows, at most [`most_rows`].
    ///
    /// # Safety
    /// The pointers must reach `height` rows, `columns` columns, whole vectors of the right factor,
    /// and `words` words.
    #[inline(always)]
    pub(crate) unsafe fn of_height<S: Simd, C: Combine>(self, height: usize) {
        // SAFETY: the caller promises what `of_vectors` needs.
        unsafe {
            if self.columns > S::LANES {
                self.of_vectors::<S, C, 2, false>(height);
            } else {
                self.of_vectors::<S, C, 1, false>(height);
            }
        }
    }

    /// [`Block::of_height`] that prefetches `ahead`, for more than one vector of columns.
    ///
    /// # Safety
    /// As for [`Block::of_height`].
    #[inline(always)]
    pub(crate) unsafe fn of_height_ahead<S: Simd, C: Combine>(self, height: usize) {
        debug_assert!(self.columns > S::LANES);
        // SAFETY: the caller promises what `of_vectors` needs.
        unsafe { self.of_vectors::<S, C, 2, true>(height) }
    }

    /// [`Block::of_height`] for `VECTORS` vectors of columns; `AHEAD` when something is prefetched.
    ///
    /// # Safety
    /// As for [`Block::of_height`].
    #[inline(always)]
    unsafe fn of_vectors<S: Simd, C: Combine, const VECTORS: usize, const AHEAD: bool>(
        self,
        height: usize,
    ) {
        // SAFETY: the caller promises what `sum` needs, for as many rows as `height` says.
        unsafe {
            match height {
                1 => self.sum::<S, C, 1, VECTORS, AHEAD>(),
                2 => self.sum::<S, C, 2, VECTORS, AHEAD>(),
                3 => self.sum::<S, C, 3, VECTORS, AHEAD>(),
                4 => self.sum::<S, C, 4, VECTORS, AHEAD>(),
                5 => self.sum::<S, C, 5, VECTORS, AHEAD>(),
                6 => self.sum::<S, C, 6, VECTORS, AHEAD>(),
                7 if S::LANES == 16 => self.sum::<S, C, 7, VECTORS, AHEAD>(),
                8 if S::LANES == 16 => self.sum::<S, C, 8, VECTORS, AHEAD>(),
                9 if S::LANES == 16 => self.sum::<S, C, 9, VECTORS, AHEAD>(),
                10 if S::LANES == 16 => self.sum::<S, C, 10, VECTORS, AHEAD>(),
                11 if S::LANES == 16 => self.sum::<S, C, 11, VECTORS, AHEAD>(),
                12 if S::LANES == 16 => self.sum::<S, C, 12, VECTORS, AHEAD>(),
                _ => unreachable!("a block of {height} rows"),
            }
        }
    }

    /// Computes `ROWS` rows of `VECTORS` vectors.
    ///
    /// # Safety
    /// As for [`Block::of_height`] with `ROWS` rows.
    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "with iterators the compiler keeps the last sum in memory, at half the speed"
    )]
    unsafe fn sum<
        S: Simd,
        C: Combine,
        const ROWS: usize,
        const VECTORS: usize,
        const AHEAD: bool,
    >(
        self,
    ) {
        let mut sums = [[S::splat(0.0); VECTORS]; ROWS];
        // Prefetches the lines that are written at the end.
        for row in 0..ROWS {
            for vector in 0..VECTORS {
                S::prefetch(self.out.wrapping_add(row * self.out_stride + vector * S::LANES));
            }
        }
        // SAFETY: every address is inside the block that the caller promised.
        unsafe {
            let (mut left, mut right, mut ahead) = (self.left, self.right, self.ahead);
            for _ in 0..self.words {
                if AHEAD {
                    S::prefetch(ahead);
                    ahead = ahead.wrapping_add(LINE);
                }
                let mut factors = [S::splat(0.0); VECTORS];
                for (vector, factor) in factors.iter_mut().enumerate() {
                    *factor = load::<S>(right.add(vector * S::LANES));
                }
                for row in 0..ROWS {
                    let a = S::splat(*left.add(row * self.row_stride));
                    for vector in 0..VECTORS {
                        sums[row][vector] = C::add::<S>(a, factors[vector], sums[row][vector]);
                    }
                }
                left = left.wrapping_add(self.word_stride);
                right = right.wrapping_add(self.right_stride);
            }
            if self.columns == VECTORS * S::LANES {
                self.put::<S, ROWS, VECTORS, true>(sums);
            } else {
                self.put::<S, ROWS, VECTORS, false>(sums);
            }
        }
    }

    /// Writes the sums, or adds them to what is there; `WHOLE` when all vectors are.
    ///
    /// Without a branch inside, the loops are short enough to be unrolled. Otherwise the sums would
    /// be stored to be indexed, which costs as much as several words of the product.
    ///
    /// # Safety
    /// As for [`Block::of_height`] with `ROWS` rows.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "as for `sum`")]
    unsafe fn put<S: Simd, const ROWS: usize, const VECTORS: usize, const WHOLE: bool>(
        &self,
        mut sums: [[S::V; VECTORS]; ROWS],
    ) {
        let last = VECTORS - 1;
        // The bound always holds, and lets the compiler drop the case of a whole last vector.
        let count =
            if WHOLE { S::LANES } else { (self.columns - last * S::LANES).min(S::LANES - 1) };
        let at = |row: usize, vector: usize| {
            let out = self.out.wrapping_add(row * self.out_stride + vector * S::LANES);
            let count = if vector == last { count } else { S::LANES };
            // SAFETY: inside the block that the caller promised, and no two of these slices are
            // alive at once.
            unsafe { std::slice::from_raw_parts_mut(out, count) }
        };
        if self.accumulate {
            for row in 0..ROWS {
                for vector in 0..VECTORS {
                    let before = load_up_to::<S>(at(row, vector));
                    sums[row][vector] = S::add(before, sums[row][vector]);
                }
            }
        }
        for row in 0..ROWS {
            for vector in 0..VECTORS {
                store_up_to::<S>(sums[row][vector], at(row, vector));
            }
        }
    }
}

/// A vector from memory.
///
/// # Safety
/// `S::LANES` elements must be readable at `source`.
#[inline(always)]
unsafe fn load<S: Simd>(source: *const f32) -> S::V {
    // SAFETY: the caller promises that this number of elements is readable.
    S::load(unsafe { std::slice::from_raw_parts(source, S::LANES) })
}
