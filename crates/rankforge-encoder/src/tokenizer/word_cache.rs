//! A cache of the tokens of words.

/// Maximum length of a cached word, in bytes.
const MAX_BYTES: usize = 24;

/// Maximum number of tokens of a cached word.
const MAX_TOKENS: usize = 6;

/// Number of pairs of slots of a cache: 112 bytes each, 3.5 MiB in all.
const PAIRS: usize = 1 << 15;

/// Maps words to their tokens. Of the words with the same hash, it holds the two that occurred
/// latest, the latest first.
pub(super) struct WordCache {
    pairs: Vec<[Slot; 2]>,
}

/// A word and its tokens.
#[derive(Clone, Copy, Default)]
struct Slot {
    bytes: [u64; MAX_BYTES / 8],
    ids: [u32; MAX_TOKENS],
    /// Length of the word in bytes, plus 1; 0 in an empty slot.
    length: u8,
    /// Number of tokens.
    tokens: u8,
}

impl Default for WordCache {
    fn default() -> WordCache {
        WordCache { pairs: vec![[Slot::default(); 2]; PAIRS] }
    }
}

impl WordCache {
    /// Appends the tokens of a word to `ids`. `tokenize` computes them when they are not cached.
    pub(super) fn append_tokens(
        &mut self,
        word: &str,
        ids: &mut Vec<u32>,
        tokenize: impl FnOnce() -> tokenizers::Result<Vec<u32>>,
    ) -> tokenizers::Result<()> {
        if word.len() > MAX_BYTES {
            ids.extend(tokenize()?);
            return Ok(());
        }
        let mut bytes = [0; MAX_BYTES];
        bytes[..word.len()].copy_from_slice(word.as_bytes());
        let (parts, _) = bytes.as_chunks::<8>();
        let bytes = [parts[0], parts[1], parts[2]].map(u64::from_le_bytes);
        let length = word.len() as u8 + 1;
        let [latest, earlier] = &mut self.pairs[pair_index(bytes)];
        let holds = |slot: &Slot| slot.length == length && slot.bytes == bytes;
        if !holds(latest) {
            std::mem::swap(latest, earlier);
        }
        if holds(latest) {
            ids.extend_from_slice(&latest.ids[..usize::from(latest.tokens)]);
            return Ok(());
        }
        let tokens = tokenize()?;
        if tokens.len() <= MAX_TOKENS {
            *latest = Slot { bytes, length, tokens: tokens.len() as u8, ..Slot::default() };
            latest.ids[..tokens.len()].copy_from_slice(&tokens);
        }
        ids.extend(tokens);
        Ok(())
    }
}

/// Hash of a word: the index of its pair of slots.
fn pair_index(bytes: [u64; MAX_BYTES / 8]) -> usize {
    /// Odd multipliers with irregular bits: 2^64 divided by the golden ratio, which is the positive
    /// root of `x^2 = x + 1`, and 2^64 divided by that of `x^4 = x + 1`.
    const FACTORS: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xD1B5_4A32_D192_ED03];
    let mix = |hash: u64, part: u64| (hash ^ part).wrapping_mul(FACTORS[0]).rotate_left(29);
    let hash = bytes.into_iter().fold(FACTORS[1], mix).wrapping_mul(FACTORS[1]);
    (hash >> (u64::BITS - PAIRS.trailing_zeros())) as usize
}
