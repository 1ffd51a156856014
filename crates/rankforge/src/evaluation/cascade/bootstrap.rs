//! Paired bootstrap over queries.

use crate::error::Error;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

/// How intervals of differences are computed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BootstrapOptions {
    /// Number of times that queries are drawn, with replacement, as many as there are.
    pub resamples: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// Share of the resampled differences that an interval covers, from quantile to quantile.
    pub confidence: f64,
}

impl Default for BootstrapOptions {
    /// 10,000 resamples, seed 42, 95 %.
    fn default() -> BootstrapOptions {
        BootstrapOptions { resamples: 10_000, seed: 42, confidence: 0.95 }
    }
}

/// Means of every column of a table over resampled queries. All columns see the same draws, so
/// differences of two of them are paired by query.
pub(super) struct Resampled {
    columns: usize,
    /// `resamples x columns`.
    means: Vec<f64>,
    confidence: f64,
}

impl Resampled {
    /// Draws from `values`, `queries x columns`. Resample number `r` depends on the seed and `r`
    /// only.
    ///
    /// # Errors
    /// No resample, or a confidence that is not between 0 and 1.
    ///
    /// # Paper
    /// Sakai 2006, "Evaluating evaluation metrics based on the bootstrap"; the interval is Efron's
    /// percentile interval.
    pub(super) fn new(
        values: &[f64],
        columns: usize,
        options: &BootstrapOptions,
    ) -> Result<Resampled, Error> {
        let BootstrapOptions { resamples, seed, confidence } = *options;
        if resamples == 0 {
            return Err(Error::argument("resamples", "at least 1", 0));
        }
        if !(confidence > 0.0 && confidence < 1.0) {
            return Err(Error::argument("confidence", "a number between 0 and 1", confidence));
        }
        let queries = values.len() / columns;
        let mut means = vec![0.0; resamples * columns];
        for (resample, sums) in means.chunks_mut(columns).enumerate() {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(resample as u64);
            for _ in 0..queries {
                let query = random.random_range(0..queries);
                let drawn = &values[query * columns..][..columns];
                sums.iter_mut().zip(drawn).for_each(|(sum, value)| *sum += value);
            }
            sums.iter_mut().for_each(|sum| *sum /= queries as f64);
        }
        Ok(Resampled { columns, means, confidence })
    }

    /// The interval of the difference `mean(column) - mean(other)`.
    pub(super) fn interval(&self, column: usize, other: usize) -> [f64; 2] {
        let rows = self.means.chunks(self.columns);
        let mut differences: Vec<f64> = rows.map(|means| means[column] - means[other]).collect();
        differences.sort_by(f64::total_cmp);
        let tail = (1.0 - self.confidence) / 2.0;
        [quantile(&differences, tail), quantile(&differences, 1.0 - tail)]
    }
}

/// The quantile of sorted values, with linear interpolation between two of them.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + part * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_as_numpy_does() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(
            [0.0, 0.5, 0.75, 1.0].map(|share| quantile(&sorted, share)),
            [1.0, 3.0, 5.0, 8.0]
        );
        assert_eq!(quantile(&[3.0], 0.95), 3.0);
    }

    #[test]
    fn the_interval_of_a_paired_difference_is_that_of_its_normal_approximation() {
        // 400 queries: the second column is the first plus 0.1 or minus 0.1, 3 times of 4 plus.
        let values: Vec<f64> = (0..400)
            .flat_map(|query| {
                let first = f64::from(query % 7) / 7.0;
                [first, first + if query % 4 == 0 { -0.1 } else { 0.1 }]
            })
            .collect();
        let options = BootstrapOptions::default();
        let resampled = Resampled::new(&values, 2, &options).unwrap();
        let [low, high] = resampled.interval(1, 0);
        // Mean 0.05; standard error sqrt(0.01 - 0.0025) / 20 = 0.00433.
        assert!((low - (0.05 - 1.96 * 0.00433)).abs() < 5e-4, "{low}");
        assert!((high - (0.05 + 1.96 * 0.00433)).abs() < 5e-4, "{high}");
        assert_eq!(resampled.interval(0, 0), [0.0, 0.0]);
        let [negative_high, negative_low] = resampled.interval(0, 1).map(|bound| -bound);
        assert!((negative_low - low).abs() < 1e-12 && (negative_high - high).abs() < 1e-12);
        // The same seed gives the same bits, another one does not.
        let again = Resampled::new(&values, 2, &options).unwrap();
        assert_eq!(again.interval(1, 0), [low, high]);
        let other = BootstrapOptions { seed: 7, ..options };
        assert_ne!(Resampled::new(&values, 2, &other).unwrap().interval(1, 0), [low, high]);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (options, field) in [
            (BootstrapOptions { resamples: 0, ..BootstrapOptions::default() }, "resamples"),
            (BootstrapOptions { confidence: 1.0, ..BootstrapOptions::default() }, "confidence"),
            (BootstrapOptions { confidence: f64::NAN, ..Default::default() }, "confidence"),
        ] {
            let Err(error) = Resampled::new(&[1.0], 1, &options) else { panic!("{options:?}") };
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }
}
