//! Rows in another order, and parts of them.

use crate::error::DataError;
use crate::rows::Rows;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

impl Rows {
    /// The rows in an order that the seed determines.
    pub fn shuffled(&self, seed: u64) -> Rows {
        self.select(&shuffled(self.len(), seed))
    }

    /// All rows but `test_rows`, and these, drawn as the seed determines; both in the order of the
    /// draw.
    ///
    /// # Panics
    /// When there are fewer rows.
    pub fn train_test_split(&self, test_rows: usize, seed: u64) -> (Rows, Rows) {
        let order = shuffled(self.len(), seed);
        let (test, train) = order.split_at(test_rows);
        (self.select(train), self.select(test))
    }

    /// The rows whose columns have other names, each a pair (old, new).
    ///
    /// # Errors
    /// A column that does not exist, or two columns of one name.
    pub fn renamed(self, names: &[(String, String)]) -> Result<Rows, DataError> {
        for (old, _) in names {
            self.column(old)?;
        }
        self.map_columns(|(name, values)| {
            let pair = names.iter().find(|(old, _)| *old == name);
            (pair.map_or(name, |(_, new)| new.clone()), values)
        })
    }
}

fn shuffled(rows: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}
