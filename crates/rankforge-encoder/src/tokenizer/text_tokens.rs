use std::sync::OnceLock;

/// The tokens of a text without special tokens, as far as a sequence of the maximum length can hold
/// them. Created by [`Tokenizer::text_tokens`](crate::Tokenizer::text_tokens).
#[derive(Clone, Debug)]
pub struct TextTokens {
    pub(super) ids: Vec<u32>,
    /// Whether `ids` are all tokens of the text. If not, they are more than the maximum length.
    pub(super) complete: bool,
    /// Number of tokens of the whole text, once something asked for it.
    length: OnceLock<usize>,
}

impl TextTokens {
    /// All tokens of a text.
    pub(super) fn all(ids: Vec<u32>) -> TextTokens {
        TextTokens { ids, complete: true, length: OnceLock::new() }
    }

    /// The first tokens of a text that has more than `max_length` of them.
    pub(super) fn beginning(mut ids: Vec<u32>, max_length: usize) -> TextTokens {
        ids.truncate(max_length + 1);
        TextTokens { ids, complete: false, length: OnceLock::new() }
    }

    /// Number of tokens of the whole text. `count` tokenises it, if that has not been done yet.
    pub(super) fn length<E>(&self, count: impl FnOnce() -> Result<usize, E>) -> Result<usize, E> {
        if self.complete {
            return Ok(self.ids.len());
        }
        match self.length.get() {
            Some(&length) => Ok(length),
            None => count().map(|length| *self.length.get_or_init(|| length)),
        }
    }
}

/// The number of tokens to keep of each text of a pair with `first` and `second` tokens, so that at
/// most `limit` are kept in all.
///
/// The longer text is truncated first. When both are truncated, each keeps half of `limit`, and an
/// odd token goes to the longer text, or to the second one when both have the same length. This is
/// the strategy `longest_first` of transformers' fast tokenizers.
///
/// If a length is more than `limit`, its value matters only where [`needs_lengths`] says so.
pub(super) fn longest_first(first: usize, second: usize, limit: usize) -> (usize, usize) {
    if first.saturating_add(second) <= limit {
        return (first, second);
    }
    let (short, long) = (first.min(second), first.max(second));
    let (short, long) = if short > limit || short.max(limit - short) + short > limit {
        (limit / 2, limit / 2 + limit % 2)
    } else {
        (short, long.min(limit - short))
    };
    if first > second { (long, short) } else { (short, long) }
}

/// Whether [`longest_first`] depends on more than that `first` and `second` are greater than
/// `limit`: an odd token goes to the longer text.
pub(super) fn needs_lengths(first: usize, second: usize, limit: usize) -> bool {
    first > limit && second > limit && !limit.is_multiple_of(2)
}

/// `keep` ids of a sequence: the last ones if `left`, else the first ones.
pub(super) fn truncated(ids: &[u32], keep: usize, left: bool) -> &[u32] {
    if left { &ids[ids.len() - keep..] } else { &ids[..keep] }
}

#[cfg(test)]
mod tests {
    use super::{longest_first, needs_lengths};

    /// The usual definition of the strategy: removes one token at a time from the longer text.
    fn one_by_one(mut first: usize, mut second: usize, limit: usize) -> (usize, usize) {
        while first + second > limit {
            if first > second {
                first -= 1;
            } else {
                second -= 1;
            }
        }
        (first, second)
    }

    #[test]
    fn longest_first_keeps_as_many_tokens_as_fit() {
        for first in 0..12 {
            for second in 0..12 {
                for limit in 0..26 {
                    let (a, b) = longest_first(first, second, limit);
                    assert_eq!(a + b, (first + second).min(limit), "{first} {second} {limit}");
                    let (c, d) = one_by_one(first, second, limit);
                    assert!(a.abs_diff(c) <= 1 && b.abs_diff(d) <= 1, "{first} {second} {limit}");
                }
            }
        }
    }

    #[test]
    fn lengths_beyond_the_limit_matter_only_where_both_are_needed() {
        for limit in 0..9 {
            for (first, second) in (0..24).flat_map(|a| (0..24).map(move |b| (a, b))) {
                if !needs_lengths(first, second, limit) {
                    let (a, b) = (first.min(limit + 1), second.min(limit + 1));
                    let expected = longest_first(first, second, limit);
                    assert_eq!(longest_first(a, b, limit), expected, "{first} {second} {limit}");
                }
            }
        }
    }

    #[test]
    fn longest_first_gives_the_odd_token_to_the_same_text_as_fast_tokenizers() {
        assert_eq!(longest_first(4, 4, 7), (3, 4));
        assert_eq!(longest_first(4, 8, 7), (3, 4));
        assert_eq!(longest_first(8, 4, 7), (4, 3));
        assert_eq!(longest_first(8, 8, 7), (3, 4));
        assert_eq!(longest_first(8, 2, 7), (5, 2));
        assert_eq!(longest_first(2, 8, 7), (2, 5));
        assert_eq!(longest_first(0, 8, 7), (0, 7));
        assert_eq!(longest_first(9, 9, 0), (0, 0));
    }
}
