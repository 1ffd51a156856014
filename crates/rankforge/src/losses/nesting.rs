use rankforge_encoder::Outputs;

/// The leading dimensions of embeddings, normalised to unit length, with a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nesting {
    /// Number of leading dimensions.
    pub dimensions: usize,
    /// Factor on the loss of the truncated embeddings.
    pub weight: f64,
}

/// The least length of an embedding that has a direction, as in `torch.nn.functional.normalize`.
pub(super) const LEAST_LENGTH: f64 = 1e-12;

/// Embeddings that were cut to their leading dimensions and normalised.
pub(super) struct Truncated {
    /// The embeddings; zero where the cut one is.
    pub outputs: Outputs,
    lengths: Vec<f64>,
}

impl Truncated {
    /// The leading `dimensions` of each row, divided by their length.
    pub(super) fn new(outputs: &Outputs, dimensions: usize) -> Truncated {
        let rows = 0..outputs.rows;
        let cut = |row: usize| &outputs.row(row)[..dimensions];
        let lengths: Vec<f64> = rows.clone().map(|row| length(cut(row))).collect();
        let units = rows.flat_map(|row| {
            let divisor = lengths[row].max(LEAST_LENGTH);
            cut(row).iter().map(move |value| (f64::from(*value) / divisor) as f32)
        });
        let values = units.collect();
        let outputs = Outputs { rows: outputs.rows, columns: dimensions, values };
        Truncated { outputs, lengths }
    }

    /// Adds `weight` times the gradient of the embeddings before they were cut, given that of
    /// [`Truncated::outputs`].
    pub(super) fn add_gradient(&self, d_units: &Outputs, weight: f64, d_outputs: &mut Outputs) {
        let (width, dimensions) = (d_outputs.columns, self.outputs.columns);
        for (row, d_output) in d_outputs.values.chunks_exact_mut(width.max(1)).enumerate() {
            if self.lengths[row] <= LEAST_LENGTH {
                continue;
            }
            let (d_unit, unit) = (d_units.row(row), self.outputs.row(row));
            let pairs = d_unit.iter().zip(unit);
            let along: f64 = pairs.map(|(d, u)| f64::from(*d) * f64::from(*u)).sum();
            let factor = weight / self.lengths[row];
            for ((sum, d), u) in d_output[..dimensions].iter_mut().zip(d_unit).zip(unit) {
                *sum += (factor * (f64::from(*d) - along * f64::from(*u))) as f32;
            }
        }
    }
}

/// `|x|`.
pub(super) fn length(x: &[f32]) -> f64 {
    squared_length(x).sqrt()
}

/// `|x|²`, in chains that do not wait for each other.
pub(super) fn squared_length(x: &[f32]) -> f64 {
    let square = |value: &f32| f64::from(*value) * f64::from(*value);
    let (chunks, rest) = x.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, value)| *sum += square(value));
    }
    sums.iter().sum::<f64>() + rest.iter().map(square).sum::<f64>()
}
