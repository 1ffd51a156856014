use crate::EncoderConfig;
use rankforge_kernels::{Device, Indices, Ragged};
use std::ops::Range;

/// What one sequence is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input<'a> {
    /// One text.
    Single(&'a str),
    /// Two texts that the model reads together.
    Pair(&'a str, &'a str),
}

/// One tokenised sequence, special tokens included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Vocabulary ids.
    pub ids: Vec<u32>,
    /// Segment of each token.
    pub type_ids: Vec<u32>,
    /// Tokens cut off by the maximum length.
    pub truncated: usize,
}

/// A ragged batch, ready for the transformer: one run of tokens and the sequence lengths.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Sequence lengths.
    pub ragged: Ragged,
    /// Vocabulary ids, `T`.
    pub ids: Indices,
    /// Segment ids, for models that have segments.
    pub type_ids: Option<Indices>,
    /// Position ids, for models with learned positions.
    pub positions: Option<Indices>,
    /// Leading tokens of each sequence that belong to a prompt.
    pub prompt_tokens: usize,
}

impl Batch {
    /// Lays the sequences end to end on a device; positions and segments as `config` has them.
    ///
    /// # Panics
    /// When a sequence is longer than `config.max_positions` or an id is outside the vocabulary;
    /// the tokenizer truncates and the loader compares vocabularies, so both are bugs.
    pub fn new<'a>(
        device: &Device,
        sequences: impl IntoIterator<Item = &'a Tokens>,
        config: &EncoderConfig,
    ) -> Batch {
        let offset = config.positions.offset();
        let mut lengths = Vec::new();
        let (mut ids, mut type_ids, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for tokens in sequences {
            let length = tokens.ids.len();
            assert!(
                length <= config.max_positions,
                "a sequence of {length} tokens for {} positions",
                config.max_positions
            );
            lengths.push(length);
            ids.extend_from_slice(&tokens.ids);
            if config.type_vocab_size > 1 {
                type_ids.extend_from_slice(&tokens.type_ids);
            }
            match offset {
                None => {}
                Some(0) => positions.extend(0..length as u32),
                Some(offset) => push_positions(&tokens.ids, offset as u32 - 1, &mut positions),
            }
        }
        if config.type_vocab_size == 1 {
            // A single segment row is for all tokens, whatever the template says (RoBERTa).
            type_ids.resize(ids.len(), 0);
        }
        within("token", &ids, config.vocab_size);
        within("segment", &type_ids, config.type_vocab_size);
        Batch {
            ragged: Ragged::new(device, lengths),
            ids: Indices::new(device, &ids),
            type_ids: (config.type_vocab_size > 0).then(|| Indices::new(device, &type_ids)),
            positions: offset.map(|_| Indices::new(device, &positions)),
            prompt_tokens: 0,
        }
    }
}

/// Positions as RoBERTa counts them: padding tokens, which a text may spell out, stay at `padding`,
/// and the others are numbered from there.
fn push_positions(ids: &[u32], padding: u32, positions: &mut Vec<u32>) {
    let mut last = padding;
    for &id in ids {
        let counts = id != padding;
        last += u32::from(counts);
        positions.push(if counts { last } else { padding });
    }
}

fn within(what: &str, ids: &[u32], rows: usize) {
    if let Some(id) = ids.iter().find(|&&id| id as usize >= rows) {
        panic!("{what} id {id} for a table of {rows} rows");
    }
}

/// Splits sequences of these lengths into runs of at most `batch_size` sequences and `max_tokens`
/// tokens; a single longer sequence is a run of its own.
pub(crate) fn plan(
    lengths: impl IntoIterator<Item = usize>,
    batch_size: usize,
    max_tokens: usize,
) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let (mut start, mut tokens, mut end) = (0, 0, 0);
    for length in lengths {
        if end > start && (end - start == batch_size || tokens + length > max_tokens) {
            runs.push(start..end);
            (start, tokens) = (end, 0);
        }
        tokens += length;
        end += 1;
    }
    if end > start {
        runs.push(start..end);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::{plan, push_positions};

    #[test]
    fn padding_that_a_text_spells_out_has_the_padding_position() {
        let mut positions = Vec::new();
        push_positions(&[0, 7, 1, 8, 2], 1, &mut positions);
        assert_eq!(positions, [2, 3, 1, 4, 5]);
    }

    #[test]
    fn a_plan_covers_all_sequences_within_both_limits() {
        assert_eq!(plan([3, 3, 3, 3, 3], 2, 100), vec![0..2, 2..4, 4..5]);
        assert_eq!(plan([3, 3, 3, 3, 3], 100, 9), vec![0..3, 3..5]);
        assert_eq!(plan([50, 3, 50, 3], 100, 9), vec![0..1, 1..2, 2..3, 3..4]);
        assert_eq!(plan([0, 0, 0], 2, 1), vec![0..2, 2..3]);
        assert!(plan([], 2, 1).is_empty());
    }
}
