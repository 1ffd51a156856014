use crate::losses::loss::LossBatch;
use crate::losses::nesting::{LEAST_LENGTH, Nesting, squared_length};
use rankforge_encoder::Outputs;
use rankforge_kernels::{Buffer, Device, View, Workers};
use std::ops::Range;

/// The embeddings of a batch on its device, cut into the segments between nested dimensions, from
/// small to large.
///
/// Where scores are cosines, rows are divided by their lengths, so that products do not overflow;
/// the factors are the inverse lengths of their leading dimensions. A row without length has the
/// factor 0, and so the score 0 and no gradient.
pub(super) struct Texts {
    /// One for each nesting: `N` rows, as many columns as it has more than the one before.
    segments: Vec<Buffer>,
    /// One for each nesting, `N x 1`.
    factors: Vec<Buffer>,
    /// The same on the host; empty where scores are dot products.
    host_factors: Vec<Vec<f64>>,
    weights: Vec<f64>,
    /// The dimensions of each segment.
    ranges: Vec<Range<usize>>,
    /// What the rows were multiplied by; empty where scores are dot products.
    scales: Vec<f64>,
    device: Device,
}

impl Texts {
    pub(super) fn new(batch: &LossBatch<'_>, cosine: bool, nestings: &[Nesting]) -> Texts {
        let (outputs, device) = (batch.outputs, batch.device);
        let (texts, width, workers) = (outputs.rows, outputs.columns, device.workers());
        let nestings = by_size(nestings);
        let ends = nestings.iter().map(|nesting| nesting.dimensions);
        let starts = std::iter::once(0).chain(ends.clone());
        let ranges: Vec<Range<usize>> = starts.zip(ends).map(|(start, end)| start..end).collect();
        let last = ranges.last().map_or(0, |range| range.end);
        assert!(
            (1..=width).contains(&last) && (cosine || (ranges.len() == 1 && last == width)),
            "ranges up to {last} of {width} dimensions, cosine: {cosine}"
        );
        let squares = match cosine {
            true => squares_of_leading(outputs, &ranges, workers),
            false => Vec::new(),
        };
        let scales: Vec<f64> = squares.last().map_or_else(Vec::new, |whole| {
            whole.iter().map(|square| inverse(square.sqrt())).collect()
        });
        let lengths = |squares: &Vec<f64>| {
            let scaled = squares.iter().zip(&scales).map(|(square, scale)| square.sqrt() * scale);
            scaled.map(inverse).collect()
        };
        let host_factors: Vec<Vec<f64>> = squares.iter().map(lengths).collect();
        let factors = |index: usize| match host_factors.get(index) {
            Some(factors) => factors.iter().map(|factor| *factor as f32).collect(),
            None => vec![1.0; texts],
        };
        let factors = (0..ranges.len())
            .map(|index| Buffer::from_vec(device, texts, 1, factors(index)))
            .collect();
        let scale = |row: usize| scales.get(row).copied().unwrap_or(1.0);
        let segment = |range: &Range<usize>| {
            let mut segment = Buffer::working(device, texts, range.len());
            segment.view_mut().write_rows(|row, out| {
                let scale = scale(row);
                for (out, x) in out.iter_mut().zip(&outputs.row(row)[range.clone()]) {
                    *out = (f64::from(*x) * scale) as f32;
                }
            });
            segment
        };
        Texts {
            segments: ranges.iter().map(segment).collect(),
            factors,
            host_factors,
            weights: nestings.iter().map(|nesting| nesting.weight).collect(),
            ranges,
            scales,
            device: device.clone(),
        }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn nestings(&self) -> usize {
        self.segments.len()
    }

    pub(super) fn weight(&self, nesting: usize) -> f64 {
        self.weights[nesting]
    }

    /// The dimensions that a nesting has more than the one before.
    pub(super) fn segment(&self, nesting: usize) -> View<'_> {
        self.segments[nesting].view()
    }

    /// What makes a score of a dot product, for each text: `N x 1`.
    pub(super) fn factors(&self, nesting: usize) -> View<'_> {
        self.factors[nesting].view()
    }
}

/// Gradients of the texts.
pub(super) struct Gradients {
    /// Those through dot products at fixed factors, in the shapes of the segments.
    segments: Vec<Buffer>,
    /// For each nesting and text, the sum of scores times their gradients.
    sums: Vec<Vec<f64>>,
}

impl Gradients {
    pub(super) fn new(texts: &Texts) -> Gradients {
        let zeros = |segment: &Buffer| {
            let mut zeros = Buffer::working(&texts.device, segment.rows(), segment.columns());
            zeros.view_mut().fill(0.0);
            zeros
        };
        Gradients {
            segments: texts.segments.iter().map(zeros).collect(),
            sums: texts.segments.iter().map(|segment| vec![0.0; segment.rows()]).collect(),
        }
    }

    pub(super) fn segment(&mut self, nesting: usize) -> &mut Buffer {
        &mut self.segments[nesting]
    }

    /// Adds sums of scores times gradients of the texts in a range, a row for each nesting.
    pub(super) fn add_sums(&mut self, texts: &Range<usize>, sums: &[f32]) {
        for (all, sums) in self.sums.iter_mut().zip(sums.chunks_exact(texts.len().max(1))) {
            for (all, sum) in all[texts.clone()].iter_mut().zip(sums) {
                *all += f64::from(*sum);
            }
        }
    }

    /// The gradients of the outputs. A score `s = r x·y` with `r = 1 / |x|` in it has the gradient
    /// `r y - s r² x`: the first part is that at fixed factors, the second comes from the sums.
    pub(super) fn of_outputs(mut self, texts: &Texts, batch: &LossBatch<'_>) -> Outputs {
        let (rows, columns) = (batch.outputs.rows, batch.outputs.columns);
        // A segment takes part in the lengths of its own nesting and of all larger ones.
        let mut larger = vec![0.0; rows];
        for (sums, factors) in self.sums.iter_mut().zip(&texts.host_factors).rev() {
            for ((larger, sum), factor) in larger.iter_mut().zip(sums).zip(factors) {
                *larger += *sum * factor * factor;
                *sum = *larger;
            }
        }
        let mut values = vec![0.0; rows * columns];
        batch.device.workers().map_chunks_mut(&mut values, columns.max(1), |row, out| {
            let scale = texts.scales.get(row).copied();
            let segments = texts.ranges.iter().zip(&self.segments);
            for ((range, segment), sums) in segments.zip(&self.sums) {
                let out = &mut out[range.clone()];
                segment.view().slice_rows(row..row + 1).read(out);
                let Some(scale) = scale else { continue };
                let along = sums[row] * scale;
                for (d, x) in out.iter_mut().zip(&batch.outputs.row(row)[range.clone()]) {
                    *d = ((f64::from(*d) - along * f64::from(*x)) * scale) as f32;
                }
            }
        });
        Outputs { rows, columns, values }
    }
}

/// The nestings from small to large; those of equal size are one.
fn by_size(nestings: &[Nesting]) -> Vec<Nesting> {
    let mut sorted = nestings.to_vec();
    sorted.sort_by_key(|nesting| nesting.dimensions);
    sorted.dedup_by(|next, kept| {
        let same = next.dimensions == kept.dimensions;
        if same {
            kept.weight += next.weight;
        }
        same
    });
    sorted
}

/// `1 / length`, or 0 where there is no length to divide by. NaN stays NaN.
fn inverse(length: f64) -> f64 {
    if length <= LEAST_LENGTH { 0.0 } else { 1.0 / length }
}

/// For the leading dimensions up to the end of each range, the squared length of each row.
fn squares_of_leading(
    outputs: &Outputs,
    ranges: &[Range<usize>],
    workers: &Workers,
) -> Vec<Vec<f64>> {
    const TOGETHER: usize = 64;
    let mut all = vec![0.0; outputs.rows * ranges.len()];
    workers.map_chunks_mut(&mut all, TOGETHER * ranges.len(), |chunk, squares| {
        let rows = chunk * TOGETHER..;
        for (row, squares) in rows.zip(squares.chunks_exact_mut(ranges.len())) {
            let mut sum = 0.0;
            for (square, range) in squares.iter_mut().zip(ranges) {
                sum += squared_length(&outputs.row(row)[range.clone()]);
                *square = sum;
            }
        }
    });
    let nesting = |index: usize| all.iter().skip(index).step_by(ranges.len()).copied().collect();
    (0..ranges.len()).map(nesting).collect()
}
