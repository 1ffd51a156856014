use std::ops::Range;

/// The sequences of a ragged batch, by their cumulative lengths: `B + 1` numbers from 0 to `T`.
#[derive(Clone, Copy)]
pub(crate) struct Sequences<'a>(&'a [usize]);

impl<'a> Sequences<'a> {
    pub(crate) fn new(cu_seqlens: &'a [usize]) -> Sequences<'a> {
        Sequences(cu_seqlens)
    }

    /// Number of sequences, `B`.
    pub(super) fn count(self) -> usize {
        self.0.len() - 1
    }

    /// Number of tokens, `T`.
    pub(super) fn tokens(self) -> usize {
        self.0[self.0.len() - 1]
    }

    /// The tokens of one sequence.
    pub(super) fn range(self, sequence: usize) -> Range<usize> {
        self.0[sequence]..self.0[sequence + 1]
    }

    /// Length of the longest sequence, `L`.
    pub(super) fn longest(self) -> usize {
        (0..self.count()).map(|sequence| self.range(sequence).len()).max().unwrap_or(0)
    }

    /// The last sequence that begins at or before a token.
    pub(super) fn of_token(self, token: usize) -> usize {
        self.0.partition_point(|&start| start <= token) - 1
    }
}
