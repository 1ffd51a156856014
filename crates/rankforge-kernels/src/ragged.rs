use std::ops::Range;

/// The lengths of the sequences of a ragged batch: one run of tokens, no padding, no mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ragged {
    cu_seqlens: Vec<usize>,
}

impl Ragged {
    /// From the length of each sequence; lengths may be zero.
    pub fn from_lengths(lengths: impl IntoIterator<Item = usize>) -> Ragged {
        let mut cu_seqlens = vec![0];
        let mut total = 0;
        for length in lengths {
            total += length;
            cu_seqlens.push(total);
        }
        Ragged { cu_seqlens }
    }

    /// Number of sequences, `B`.
    pub fn sequences(&self) -> usize {
        self.cu_seqlens.len() - 1
    }

    /// Number of tokens, `T`.
    pub fn tokens(&self) -> usize {
        self.cu_seqlens[self.cu_seqlens.len() - 1]
    }

    /// The token rows of one sequence.
    pub fn range(&self, sequence: usize) -> Range<usize> {
        self.cu_seqlens[sequence]..self.cu_seqlens[sequence + 1]
    }

    /// Length of the longest sequence, `L`; 0 without sequences.
    pub fn longest(&self) -> usize {
        (0..self.sequences()).map(|sequence| self.range(sequence).len()).max().unwrap_or(0)
    }

    /// Running token counts: `B + 1` numbers from 0 to `T`.
    pub fn cu_seqlens(&self) -> &[usize] {
        &self.cu_seqlens
    }
}

/// Row numbers into a table, one for each token (word, position and segment ids).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indices {
    pub(crate) values: Vec<u32>,
}

impl Indices {
    /// Copies the numbers to the device.
    pub fn new(values: &[u32]) -> Indices {
        Indices { values: values.to_vec() }
    }

    /// Count of numbers.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}
