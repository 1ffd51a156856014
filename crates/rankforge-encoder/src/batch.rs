use crate::config::EncoderConfig;
use crate::input::Tokens;
use rankforge_kernels::{Device, Indices, Ragged};
use std::ops::Range;

/// The input of a forward pass: `B` sequences, ragged, with `T` tokens in all.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Lengths of the sequences, `B`.
    pub ragged: Ragged,
    /// Vocabulary ids of the tokens, `T`.
    pub ids: Indices,
    /// Segment ids of the tokens, `T`; for models with segment embeddings.
    pub type_ids: Option<Indices>,
    /// Rows of the tokens in the position table, `T`; for models with learned positions.
    pub positions: Option<Indices>,
    /// Number of leading tokens of each sequence that belong to its prompt, `B`; `None` when no
    /// sequence has a prompt.
    pub prompt_tokens: Option<Indices>,
    /// Layers whose hidden states go through the head too, besides the last: 0 is the output of the
    /// embeddings, `n` that of block `n`. Their outputs follow those of the last layer, side by
    /// side in this order.
    pub layers: Vec<usize>,
}

impl Batch {
    /// The same batch with outputs of these layers besides those of the last.
    pub fn with_layers(self, layers: &[usize]) -> Batch {
        Batch { layers: layers.to_vec(), ..self }
    }

    /// Concatenates sequences on `device` and computes the segment ids and positions that a model
    /// of this `config` needs.
    ///
    /// # Panics
    /// When a sequence is longer than `config.max_positions`, or when an id is outside the
    /// vocabulary or the segments. The tokenizer truncates and loading a model compares its
    /// vocabulary with the tokenizer's, so either is a programming error.
    pub fn new<'a>(
        device: &Device,
        sequences: impl IntoIterator<Item = &'a Tokens>,
        config: &EncoderConfig,
    ) -> Batch {
        let offset = config.positions.offset();
        let (mut lengths, mut prompts) = (Vec::new(), Vec::new());
        let (mut ids, mut type_ids, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for tokens in sequences {
            let length = tokens.ids.len();
            assert!(
                length <= config.max_positions,
                "a sequence has {length} tokens, more than the {} positions of the model",
                config.max_positions
            );
            lengths.push(length);
            prompts.push(tokens.prompt_tokens as u32);
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
            // RoBERTa has one segment, but the tokenizer's template may give two.
            type_ids.resize(ids.len(), 0);
        }
        check_ids("token", &ids, config.vocab_size);
        check_ids("segment", &type_ids, config.type_vocab_size);
        let indices = |needed: bool, values: &[u32]| needed.then(|| Indices::new(device, values));
        Batch {
            ragged: Ragged::new(device, lengths),
            ids: Indices::new(device, &ids),
            type_ids: indices(config.type_vocab_size > 0, &type_ids),
            positions: indices(offset.is_some(), &positions),
            prompt_tokens: indices(prompts.iter().any(|&tokens| tokens > 0), &prompts),
            layers: Vec::new(),
        }
    }
}

/// Limits of a batch. A sequence longer than `max_tokens` becomes a batch of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchBudget {
    /// Maximum number of sequences.
    pub max_sequences: usize,
    /// Maximum number of tokens in all sequences.
    pub max_tokens: usize,
}

impl BatchBudget {
    /// Whether a sequence of `length` tokens may join a batch of `sequences` sequences with
    /// `tokens` tokens in all.
    pub fn admits(&self, sequences: usize, tokens: usize, length: usize) -> bool {
        sequences == 0 || (sequences < self.max_sequences && tokens + length <= self.max_tokens)
    }

    /// Splits sequences into consecutive batches, each as large as the limits allow. `lengths` are
    /// the lengths of the sequences; the ranges are of their indices.
    pub fn split(&self, lengths: impl IntoIterator<Item = usize>) -> Vec<Range<usize>> {
        let mut batches = Vec::new();
        let (mut start, mut tokens, mut end) = (0, 0, 0);
        for length in lengths {
            if !self.admits(end - start, tokens, length) {
                batches.push(start..end);
                (start, tokens) = (end, 0);
            }
            tokens += length;
            end += 1;
        }
        if end > start {
            batches.push(start..end);
        }
        batches
    }
}

/// Appends the positions of a sequence as RoBERTa counts them: `padding` for padding tokens, and
/// `padding + 1`, `padding + 2`, ... for the others. A text can contain padding tokens by spelling
/// them out.
fn push_positions(ids: &[u32], padding: u32, positions: &mut Vec<u32>) {
    let mut last = padding;
    for &id in ids {
        if id == padding {
            positions.push(padding);
        } else {
            last += 1;
            positions.push(last);
        }
    }
}

fn check_ids(what: &str, ids: &[u32], rows: usize) {
    if let Some(id) = ids.iter().find(|&&id| id as usize >= rows) {
        panic!("{what} id {id} is outside the embedding table of {rows} rows");
    }
}

#[cfg(test)]
mod tests {
    use super::{BatchBudget, push_positions};
    use std::ops::Range;

    fn split(
        lengths: impl IntoIterator<Item = usize>,
        max_sequences: usize,
        max_tokens: usize,
    ) -> Vec<Range<usize>> {
        BatchBudget { max_sequences, max_tokens }.split(lengths)
    }

    #[test]
    fn padding_tokens_of_a_text_have_the_padding_position() {
        let mut positions = Vec::new();
        push_positions(&[0, 7, 1, 8, 2], 1, &mut positions);
        assert_eq!(positions, [2, 3, 1, 4, 5]);
    }

    #[test]
    fn batches_cover_all_sequences_and_keep_both_limits() {
        assert_eq!(split([3, 3, 3, 3, 3], 2, 100), vec![0..2, 2..4, 4..5]);
        assert_eq!(split([3, 3, 3, 3, 3], 100, 9), vec![0..3, 3..5]);
        assert_eq!(split([50, 3, 50, 3], 100, 9), vec![0..1, 1..2, 2..3, 3..4]);
        assert_eq!(split([0, 0, 0], 2, 1), vec![0..2, 2..3]);
        assert!(split([], 2, 1).is_empty());
    }
}
