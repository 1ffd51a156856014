//! Batches in which no text occurs twice, in time that is linear in the rows but for a logarithm.

use crate::error::Error;
use crate::training::dataset::Dataset;
use rankforge_data::Value;
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// A hash of each text cell of each row, 8 bytes a cell. Two of the texts of a batch have equal
/// hashes by chance once in some 10^15 batches; one of their rows then comes in a later batch.
#[derive(Clone, Debug)]
pub(super) struct TextHashes {
    columns: usize,
    hashes: Vec<u64>,
}

impl TextHashes {
    /// The hashes of all rows.
    ///
    /// # Errors
    /// When a row cannot be read.
    pub(super) fn new(dataset: &Dataset) -> Result<TextHashes, Error> {
        let columns = dataset.text_columns().len();
        let mut hashes = Vec::with_capacity(columns * dataset.len());
        dataset.for_each_piece(|_, rows| {
            let texts: Vec<&[Value]> =
                dataset.text_columns().iter().map(|&index| &rows.columns()[index].1[..]).collect();
            for row in 0..rows.len() {
                hashes.extend(texts.iter().map(|column| fingerprint(&column[row])));
            }
            Ok(())
        })?;
        Ok(TextHashes { columns, hashes })
    }

    fn of(&self, row: usize) -> &[u64] {
        &self.hashes[row * self.columns..(row + 1) * self.columns]
    }

    /// Divides the rows, in this order, into batches: each goes through the rows that are left,
    /// and takes those that repeat no text of the batch until it is full.
    pub(super) fn batches(&self, order: Vec<usize>, batch_size: usize) -> Vec<Vec<usize>> {
        let mut walk = Walk {
            texts: self,
            order,
            unseen: 0,
            waiting: HashMap::new(),
            first: BinaryHeap::new(),
            taken: HashSet::new(),
        };
        std::iter::from_fn(|| walk.next_batch(batch_size)).collect()
    }
}

/// The rows that are left. A row that repeated a text waits for a batch without that text, behind
/// the other rows that wait for the same: only the first of them is looked at.
struct Walk<'a> {
    texts: &'a TextHashes,
    order: Vec<usize>,
    /// Place in the order of the first row that no batch has looked at.
    unseen: usize,
    /// Places of the waiting rows, by the text that they wait for.
    waiting: HashMap<u64, BinaryHeap<Reverse<usize>>>,
    /// The first place of each text that rows wait for. May also hold places that no longer are.
    first: BinaryHeap<Reverse<(usize, u64)>>,
    /// The texts of the batch.
    taken: HashSet<u64>,
}

impl Walk<'_> {
    /// The next batch; `None` when no row is left.
    fn next_batch(&mut self, batch_size: usize) -> Option<Vec<usize>> {
        self.taken.clear();
        let mut batch = Vec::new();
        let mut blocked = Vec::new();
        // Waiting rows stand before all unseen ones.
        while batch.len() < batch_size {
            let Some(Reverse((place, text))) = self.first.pop() else { break };
            let Some(queue) = self.waiting.get_mut(&text) else { continue };
            if queue.peek() != Some(&Reverse(place)) {
                continue;
            }
            if self.taken.contains(&text) {
                blocked.push(text);
                continue;
            }
            queue.pop();
            match queue.peek() {
                Some(Reverse(next)) => self.first.push(Reverse((*next, text))),
                None => drop(self.waiting.remove(&text)),
            }
            self.take_or_defer(place, &mut batch, &mut blocked);
        }
        while batch.len() < batch_size && self.unseen < self.order.len() {
            self.unseen += 1;
            self.take_or_defer(self.unseen - 1, &mut batch, &mut blocked);
        }
        blocked.sort_unstable();
        blocked.dedup();
        for text in blocked {
            if let Some(Reverse(place)) = self.waiting.get(&text).and_then(BinaryHeap::peek) {
                self.first.push(Reverse((*place, text)));
            }
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Adds the row at a place to the batch, or lets it wait for a text that the batch has.
    fn take_or_defer(&mut self, place: usize, batch: &mut Vec<usize>, blocked: &mut Vec<u64>) {
        let row = self.order[place];
        let texts = self.texts.of(row);
        let Some(&repeated) = texts.iter().find(|text| self.taken.contains(text)) else {
            self.taken.extend(texts);
            batch.push(row);
            return;
        };
        match self.waiting.entry(repeated) {
            Entry::Vacant(entry) => {
                entry.insert(BinaryHeap::from([Reverse(place)]));
                blocked.push(repeated);
            }
            Entry::Occupied(mut entry) => {
                let first = entry.get().peek().map(|Reverse(first)| *first);
                entry.get_mut().push(Reverse(place));
                if first.is_none_or(|first| place < first) {
                    self.first.push(Reverse((place, repeated)));
                }
            }
        }
    }
}

/// The first bytes of the SHA-256 of a text cell, by which equal cells are found.
fn fingerprint(value: &Value) -> u64 {
    let hash = match value {
        Value::Text(text) | Value::Untyped(text) => Sha256::digest(text),
        other => Sha256::digest(value_text(other)),
    };
    u64::from_le_bytes(*hash.first_chunk().expect("a hash of 32 bytes"))
}

/// The content of a text cell as one string; a list of texts is one value.
fn value_text(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Untyped(text) => text.clone(),
        Value::List(items) => {
            // Quoted, so that ["a, b"] and ["a", "b"] differ.
            let items: Vec<String> =
                items.iter().map(|item| format!("{:?}", value_text(item))).collect();
            format!("[{}]", items.join(", "))
        }
        other => unreachable!("{} in a column of texts that was checked", other.describe()),
    }
}
