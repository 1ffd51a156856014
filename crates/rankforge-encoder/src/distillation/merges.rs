//! The merges of a BPE tokenizer, so that words can become tokens.

use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// Pairs of pieces that become one, the earlier ones first.
pub(super) struct Merges {
    list: Vec<[String; 2]>,
    ranks: HashMap<[String; 2], usize>,
}

impl Merges {
    /// The merges of `tokenizer.json`: pairs, or texts with a space between the pieces. `None` if
    /// they are something else.
    pub(super) fn read(merges: &Value) -> Option<Merges> {
        let pair = |merge: &Value| match merge {
            Value::String(text) => {
                let (left, right) = text.split_once(' ')?;
                Some([left.to_owned(), right.to_owned()])
            }
            pair => match pair.as_array()?.as_slice() {
                [left, right] => Some([left.as_str()?.to_owned(), right.as_str()?.to_owned()]),
                _ => None,
            },
        };
        let list = merges.as_array()?.iter().map(pair).collect::<Option<Vec<_>>>()?;
        Some(Merges::of(list))
    }

    fn of(list: Vec<[String; 2]>) -> Merges {
        let ranks = list.iter().cloned().zip(0..).collect();
        Merges { list, ranks }
    }

    pub(super) fn json(&self) -> Value {
        json!(self.list)
    }

    /// The merges without those that have one of these tokens, as a part or as the whole.
    pub(super) fn without(self, tokens: &HashSet<&str>) -> Merges {
        let has = |[left, right]: &[String; 2]| {
            let whole = format!("{left}{right}");
            [left, right, &whole].iter().any(|piece| tokens.contains(piece.as_str()))
        };
        Merges::of(self.list.into_iter().filter(|merge| !has(merge)).collect())
    }

    /// Adds the merges that make one token of `word`. Returns the pieces that they are made of.
    pub(super) fn add(&mut self, word: &str) -> Vec<String> {
        let mut parts = Vec::new();
        loop {
            let pieces = self.merged(word);
            if pieces.len() < 2 {
                return parts;
            }
            for pair in pieces.chunks_exact(2) {
                let pair = [pair[0].clone(), pair[1].clone()];
                parts.extend(pair.iter().cloned());
                if !self.ranks.contains_key(&pair) {
                    self.ranks.insert(pair.clone(), self.list.len());
                    self.list.push(pair);
                }
            }
        }
    }

    /// The pieces that the merges leave of a word.
    fn merged(&self, word: &str) -> Vec<String> {
        let mut pieces: Vec<String> = word.chars().map(String::from).collect();
        loop {
            let rank = |pair: &[String]| self.ranks.get(&[pair[0].clone(), pair[1].clone()]);
            let Some(first) = pieces.windows(2).filter_map(rank).min() else { return pieces };
            let [left, right] = &self.list[*first];
            let mut index = 0;
            while index + 1 < pieces.len() {
                if pieces[index] == *left && pieces[index + 1] == *right {
                    let next = pieces.remove(index + 1);
                    pieces[index].push_str(&next);
                }
                index += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_becomes_one_token_by_merges_of_its_parts() {
        let mut merges = Merges::read(&json!(["t h", ["th", "e"]])).unwrap();
        assert_eq!(merges.merged("theft"), ["the", "f", "t"]);
        assert_eq!(merges.add("theft"), ["the", "f", "thef", "t"]);
        assert_eq!(merges.merged("theft"), ["theft"]);
        assert_eq!(merges.add("theft"), [""; 0]);
        let without = merges.without(&HashSet::from(["thef"]));
        assert_eq!(without.json(), json!([["t", "h"], ["th", "e"]]));
        assert!(Merges::read(&json!([["a"]])).is_none());
        assert!(Merges::read(&json!(["ab"])).is_none());
    }
}
