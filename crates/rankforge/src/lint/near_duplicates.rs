use crate::lint::words::{differ_in_numbers_only, mixed, shingles, word_hashes};
use rankforge_kernels::Workers;
use std::collections::HashSet;

/// Bands of a signature; texts that share one are compared.
const BANDS: usize = 20;
/// Bins of a band. Two texts share a band with probability `1 - (1 - J^6)^20` for the Jaccard
/// similarity `J` of their shingles: 0.998 at 0.8.
const ROWS: usize = 6;
const BINS: usize = BANDS * ROWS;

/// Two texts of a bucket, the first one before the other.
struct Compared {
    pair: [u32; 2],
    similar: bool,
}

/// What the words of a text say of it.
#[derive(Clone, Copy, Default)]
pub(super) struct Words {
    /// Their number.
    pub(super) count: u32,
    /// One key for each band; `None` without words.
    keys: Option<[u32; BANDS]>,
}

/// Groups near duplicates: texts whose sets of word shingles have a Jaccard similarity of at least
/// `threshold`, or that are connected by such. Returns for each text the lowest index of its group.
/// The similarity of a pair is computed exactly; which pairs are compared is decided by MinHash, so
/// that a pair at the threshold may be missed (see [`ROWS`]). Texts that differ in nothing but
/// numbers are no near duplicates: `type 1` is not `type 2`.
///
/// # Papers
/// Broder 1997, On the resemblance and containment of documents. Li et al. 2012, One Permutation
/// Hashing, arXiv:1208.1259. Shrivastava and Li 2014, Densifying One Permutation Hashing,
/// arXiv:1406.4784.
pub(super) fn groups(
    texts: &[&str],
    words: &[Words],
    threshold: f64,
    workers: &Workers,
) -> Vec<u32> {
    let mut groups = Groups::new(texts.len());
    let mut order: Vec<(u32, u32)> = Vec::new();
    let mut different: HashSet<[u32; 2]> = HashSet::new();
    for band in 0..BANDS {
        order.clear();
        let with_key =
            words.iter().zip(0..).filter_map(|(words, id)| Some((words.keys.as_ref()?[band], id)));
        order.extend(with_key);
        order.sort_unstable();
        let mut pairs: Vec<Compared> = Vec::new();
        for bucket in order.chunk_by(|a, b| a.0 == b.0) {
            for (place, &(_, id)) in bucket.iter().enumerate().skip(1) {
                // The first of a bucket and the one before: linear in the size of the bucket.
                for other in [bucket[0].1, bucket[place - 1].1] {
                    let pair = [other, id];
                    if groups.root(id) != groups.root(other) && !different.contains(&pair) {
                        pairs.push(Compared { pair, similar: false });
                    }
                }
            }
        }
        workers.map_chunks_mut(&mut pairs, CHUNK, |_, pairs| {
            for Compared { pair, similar } in pairs {
                let texts = pair.map(|id| texts[id as usize]);
                *similar = jaccard(texts) >= threshold && !differ_in_numbers_only(texts);
            }
        });
        for Compared { pair, similar } in pairs {
            if similar {
                groups.join(pair[0], pair[1]);
            } else {
                different.insert(pair);
            }
        }
    }
    (0..texts.len() as u32).map(|id| groups.root(id)).collect()
}

/// The Jaccard similarity of the sets of word shingles of two texts; 0 without words.
fn jaccard(texts: [&str; 2]) -> f64 {
    let set = |text: &str| {
        let mut words = Vec::new();
        word_hashes(text, &mut words);
        let mut set: Vec<u64> = shingles(&words).collect();
        set.sort_unstable();
        set.dedup();
        set
    };
    let [a, b] = texts.map(set);
    let shared = a.iter().filter(|shingle| b.binary_search(shingle).is_ok()).count();
    let all = a.len() + b.len() - shared;
    if all == 0 { 0.0 } else { shared as f64 / all as f64 }
}

/// Reads the words of each text.
pub(super) fn words(texts: &[&str], workers: &Workers) -> Vec<Words> {
    let mut all = vec![Words::default(); texts.len()];
    workers.map_chunks_mut(&mut all, CHUNK, |chunk, all| {
        let mut hashes = Vec::new();
        for (words, text) in all.iter_mut().zip(&texts[chunk * CHUNK..]) {
            word_hashes(text, &mut hashes);
            words.count = u32::try_from(hashes.len()).unwrap_or(u32::MAX);
            words.keys = signature(&hashes).map(|signature| bands(&signature));
        }
    });
    all
}

/// Texts or pairs that a thread takes at a time.
const CHUNK: usize = 1024;

/// The least hash of the shingles that fall into each bin. An empty bin takes the value of the next
/// one that is not, marked by the distance.
fn signature(words: &[u64]) -> Option<[u64; BINS]> {
    const EMPTY: u64 = u64::MAX;
    let mut least = [EMPTY; BINS];
    for shingle in shingles(words) {
        let hash = mixed(shingle);
        let bin = (hash % BINS as u64) as usize;
        least[bin] = least[bin].min(hash / BINS as u64);
    }
    let filled = least;
    let first = filled.iter().position(|value| *value != EMPTY)?;
    // Backwards, so that the next bin that is not empty is the last one that was seen; after the
    // last bin comes the first.
    let (mut next, mut distance) = (filled[first], first as u64);
    for (bin, value) in least.iter_mut().enumerate().rev() {
        distance += 1;
        if filled[bin] != EMPTY {
            (next, distance) = (filled[bin], 0);
        }
        *value = next.wrapping_add(mixed(distance));
    }
    Some(least)
}

fn bands(signature: &[u64; BINS]) -> [u32; BANDS] {
    let mut keys = [0; BANDS];
    for (key, band) in keys.iter_mut().zip(signature.chunks_exact(ROWS)) {
        *key = band.iter().fold(0, |hash, value| mixed(hash ^ value)) as u32;
    }
    keys
}

/// Disjoint sets of which each is named by its lowest member.
struct Groups(Vec<u32>);

impl Groups {
    fn new(size: usize) -> Groups {
        Groups((0..size as u32).collect())
    }

    fn root(&mut self, mut id: u32) -> u32 {
        while self.0[id as usize] != id {
            let parent = self.0[id as usize];
            self.0[id as usize] = self.0[parent as usize];
            id = parent;
        }
        id
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b) as usize] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouped(texts: &[&str]) -> Vec<u32> {
        let [one, two] = [1, 2].map(|threads| {
            let workers = Workers::new(Some(threads)).unwrap();
            groups(texts, &words(texts, &workers), 0.8, &workers)
        });
        assert_eq!(one, two);
        one
    }

    /// `count` words, of which `changed` of the last ones are other ones.
    fn passage(count: usize, changed: usize) -> String {
        let word = |place| {
            let name = if place + changed < count { "word" } else { "other" };
            format!("{name}{place}")
        };
        (0..count).map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn near_duplicates_are_found_and_others_are_not() {
        let original = passage(100, 0);
        let near = passage(100, 5);
        let far = passage(100, 40);
        // 98 shingles each, of which 5 differ: 93 / 103.
        assert!((jaccard([&original, &near]) - 93.0 / 103.0).abs() < 1e-12);
        assert_eq!(grouped(&[&far, &original, "short", &near]), [0, 1, 2, 1]);
    }

    #[test]
    fn a_word_more_makes_another_question_and_punctuation_does_not() {
        let texts = ["how to brew tea", "how to brew green tea", "How to brew tea?", "", "..."];
        assert_eq!(grouped(&texts), [0, 1, 0, 3, 4]);
    }

    #[test]
    fn texts_that_differ_in_numbers_only_are_other_texts() {
        let one = format!("{} type 1 of the kind", passage(90, 0));
        let two = one.replace("type 1", "type 2");
        assert!(jaccard([&one, &two]) > 0.9);
        assert_eq!(grouped(&[&one, &two]), [0, 1]);
        // A word besides, or as many numbers in other places, is an edit of the same text.
        let edited = two.replace("of the", "of a");
        assert_eq!(grouped(&[&one, &edited]), [0, 0]);
        assert_eq!(grouped(&[&one, &format!("{one} 7")]), [0, 0]);
        assert_eq!(grouped(&[&one, &one.to_uppercase()]), [0, 0]);
    }

    #[test]
    fn nearly_all_pairs_above_the_threshold_are_found() {
        let mut missed = 0;
        for number in 0..200 {
            let common = passage(60, 0);
            let a = format!("{number} {common} tail{number} a b c");
            let b = format!("{number} {common} tail{number} d e f");
            assert!(jaccard([&a, &b]) > 0.8);
            missed += usize::from(grouped(&[&a, &b]) != [0, 0]);
        }
        assert!(missed <= 2, "{missed} of 200");
    }
}
