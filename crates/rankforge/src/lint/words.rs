/// Hashes of the words of a text, regardless of case.
pub(super) fn word_hashes(text: &str, hashes: &mut Vec<u64>) {
    hashes.clear();
    let mut hash = OFFSET;
    for_each_part(text, |part| match part {
        Part::Character(character) => {
            for lower in character.to_lowercase() {
                for byte in lower.encode_utf8(&mut [0; 4]).bytes() {
                    hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
                }
            }
        }
        Part::End => hashes.push(std::mem::replace(&mut hash, OFFSET)),
    });
}

/// Whether two texts have the same words at the same places, but for numbers that differ.
pub(super) fn differ_in_numbers_only(texts: [&str; 2]) -> bool {
    let [a, b] = texts.map(words_and_numbers);
    a.len() == b.len() && a != b && a.iter().zip(&b).all(|(a, b)| a == b || a.1 && b.1)
}

/// The words of a text, in lower case, and whether each is a number: has digits only.
fn words_and_numbers(text: &str) -> Vec<(String, bool)> {
    let (mut words, mut word, mut number) = (Vec::new(), String::new(), true);
    for_each_part(text, |part| match part {
        Part::Character(character) => {
            word.extend(character.to_lowercase());
            number &= character.is_numeric();
        }
        Part::End => {
            words.push((std::mem::take(&mut word), number));
            number = true;
        }
    });
    words
}

enum Part {
    /// A character of a word.
    Character(char),
    /// The end of a word.
    End,
}

/// Calls `found` with the words of a text: runs of letters and digits. Characters of scripts that
/// are written without spaces are words of their own.
fn for_each_part(text: &str, mut found: impl FnMut(Part)) {
    let mut within = false;
    for character in text.chars() {
        let alone = is_a_word(character);
        if within && (alone || !character.is_alphanumeric()) {
            found(Part::End);
            within = false;
        }
        if character.is_alphanumeric() {
            found(Part::Character(character));
            within = !alone;
        }
        if alone {
            found(Part::End);
        }
    }
    if within {
        found(Part::End);
    }
}

/// Hashes of the runs of `LENGTH` successive words; of all words together in a shorter text.
pub(super) fn shingles(words: &[u64]) -> impl Iterator<Item = u64> {
    words.windows(LENGTH.min(words.len()).max(1)).map(|run| {
        let together = |hash: u64, word: &u64| mixed(hash.rotate_left(5) ^ word);
        run.iter().fold(run.len() as u64, together)
    })
}

/// Words in a shingle.
const LENGTH: usize = 3;

/// FNV-1a of 64 bits.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The finalizer of SplitMix64: every bit of the result depends on every bit of `x`.
pub(super) fn mixed(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Whether the character is an ideograph, a kana or a Hangul syllable.
fn is_a_word(character: char) -> bool {
    matches!(character, '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
        && character.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(text: &str) -> Vec<u64> {
        let mut hashes = Vec::new();
        word_hashes(text, &mut hashes);
        assert_eq!(hashes.len(), words_and_numbers(text).len(), "{text}");
        hashes
    }

    #[test]
    fn words_have_no_case_and_no_punctuation() {
        assert_eq!(hashes("Red, green-BLUE!"), hashes("red green blue"));
        assert_eq!(hashes("ÄRGER"), hashes("ärger"));
        assert_ne!(hashes("ab c"), hashes("a bc"));
        assert!(hashes(" ,. ").is_empty());
    }

    #[test]
    fn ideographs_are_words_of_their_own() {
        assert_eq!(hashes("検索は a1").len(), 4);
        assert_eq!(hashes("검색").len(), 2);
    }

    #[test]
    fn short_texts_have_one_shingle_and_empty_ones_none() {
        assert_eq!(shingles(&hashes("one two three four")).count(), 2);
        assert_eq!(shingles(&hashes("one two")).count(), 1);
        assert_eq!(shingles(&[]).count(), 0);
        let order = |text| shingles(&hashes(text)).next().unwrap();
        assert_ne!(order("one two three"), order("two one three"));
    }
}
