use std::io;

/// Rows of numbers that are read a few at a time, wherever they are: in a file, mapped or not, or
/// of less precision.
pub trait RowSource: Sync {
    /// Reads the rows from `first` on into `rows`, row-major, which holds a whole number of them.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read(&self, first: usize, rows: &mut [f32]) -> io::Result<()>;
}

/// Rows that a search skips, one bit each: bit `row % 64` of word `row / 64`. Rows beyond the last
/// word are not skipped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Skipped<'a>(pub &'a [u64]);

impl Skipped<'_> {
    /// Whether `row` is skipped.
    #[inline]
    pub fn contains(self, row: usize) -> bool {
        self.0.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// How many of the first `rows` rows are skipped.
    pub fn count(self, rows: usize) -> usize {
        let whole = (rows / 64).min(self.0.len());
        let ones: u32 = self.0[..whole].iter().map(|word| word.count_ones()).sum();
        let rest = (whole * 64..rows.min(self.0.len() * 64)).filter(|&row| self.contains(row));
        ones as usize + rest.count()
    }
}
