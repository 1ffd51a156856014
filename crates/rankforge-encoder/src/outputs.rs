use rankforge_kernels::ops::SMALLEST_NORM;

/// A matrix of scores or embeddings in host memory, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// Number of sequences, `B`.
    pub rows: usize,
    /// Number of labels, or embedding dimension.
    pub columns: usize,
    /// The `rows * columns` elements.
    pub values: Vec<f32>,
}

impl Outputs {
    /// The outputs of the sequence at index `row`.
    ///
    /// # Panics
    /// When `row` is not less than `rows`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// A copy of the outputs of a range of sequences.
    ///
    /// # Panics
    /// When the range is not within `rows`.
    pub fn rows(&self, rows: std::ops::Range<usize>) -> Outputs {
        let values = &self.values[rows.start * self.columns..rows.end * self.columns];
        Outputs { rows: rows.len(), columns: self.columns, values: values.to_vec() }
    }

    /// Outputs of the same sequences side by side.
    ///
    /// # Panics
    /// When the numbers of sequences differ.
    pub fn side_by_side(parts: &[Outputs]) -> Outputs {
        let rows = parts.first().map_or(0, |part| part.rows);
        assert!(parts.iter().all(|part| part.rows == rows), "outputs of other sequences");
        let columns = parts.iter().map(|part| part.columns).sum();
        let mut values = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            parts.iter().for_each(|part| values.extend_from_slice(part.row(row)));
        }
        Outputs { rows, columns, values }
    }

    /// A copy of a range of columns.
    ///
    /// # Panics
    /// When the range is not within `columns`.
    pub fn columns(&self, range: std::ops::Range<usize>) -> Outputs {
        let rows = (0..self.rows).flat_map(|row| &self.row(row)[range.clone()]);
        let values = rows.copied().collect();
        Outputs { rows: self.rows, columns: range.len(), values }
    }

    /// Appends the outputs of further sequences. Outputs without sequences become `more`.
    ///
    /// # Panics
    /// When the number of columns differs.
    pub fn append(&mut self, more: Outputs) {
        if self.rows == 0 {
            *self = more;
            return;
        }
        assert_eq!(self.columns, more.columns, "appended outputs have another number of columns");
        self.rows += more.rows;
        self.values.extend(more.values);
    }
    /// The leading `dimension` columns; all of them when there are fewer.
    pub fn truncated(self, dimension: usize) -> Outputs {
        if dimension >= self.columns {
            return self;
        }
        let rows = self.values.chunks(self.columns);
        let values = rows.flat_map(|row| &row[..dimension]).copied().collect();
        Outputs { rows: self.rows, columns: dimension, values }
    }

    /// `x = x / max(|x|, SMALLEST_NORM)` for each row. A zero vector stays zero.
    pub fn normalize(&mut self) {
        for row in self.values.chunks_mut(self.columns.max(1)) {
            let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt().max(SMALLEST_NORM);
            row.iter_mut().for_each(|value| *value /= norm);
        }
    }
}
