use crate::error::Error;
use rankforge_data::Rows;
use serde::{Deserialize, Serialize};

/// `train_test_split`: a part of the rows, drawn at random. Two sections with the same rows,
/// `test_size` and `seed` divide them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainTestSplit {
    /// Share of the rows that are for tests, below 1, or their number.
    pub test_size: f64,
    /// Seed of the draw.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Which rows the section has.
    pub part: Part,
}

fn default_seed() -> u64 {
    42
}

/// A part of rows that are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Those for training.
    Train,
    /// Those for tests.
    Test,
}

impl TrainTestSplit {
    /// The number of rows for tests, which is less than all.
    fn test_rows(&self, all: usize) -> Result<usize, Error> {
        let size = self.test_size;
        let rows = match size {
            share if share > 0.0 && share < 1.0 => (share * all as f64).ceil() as usize,
            rows if rows >= 1.0 && rows.fract() == 0.0 => rows as usize,
            _ => {
                let expected = "a share between 0 and 1, or a number of rows";
                return Err(Error::argument("train_test_split.test_size", expected, size));
            }
        };
        if rows >= all {
            let expected = format!("fewer than the {all} rows that there are");
            return Err(Error::argument("train_test_split.test_size", expected, size));
        }
        Ok(rows)
    }

    /// The part of the rows.
    ///
    /// # Errors
    /// A size that is none, or that leaves no row to train on.
    pub(super) fn of(&self, rows: &Rows) -> Result<Rows, Error> {
        let (train, test) = rows.train_test_split(self.test_rows(rows.len())?, self.seed);
        Ok(match self.part {
            Part::Train => train,
            Part::Test => test,
        })
    }
}
