//! Searches in stored rows against searches in rows in memory.

use crate::support::{devices, random};
use rankforge_kernels::ops::{
    ByteRows, Corpus, Neighbour, RowSource, Similarity, Skipped, StoredCorpus,
};
use rankforge_kernels::{Buffer, Device, Isa, Mapping, View};
use std::io;

const ALL: [Similarity; 4] =
    [Similarity::Cosine, Similarity::Dot, Similarity::Euclidean, Similarity::Manhattan];

/// The search in stored rows, which go through slices as those of a file do.
fn stored(
    device: &Device,
    bytes: &ByteRows<'_>,
    rows: &dyn RowSource,
    (queries, k): (&[f32], usize),
    skipped: &[u64],
) -> io::Result<Vec<Vec<Neighbour>>> {
    let (similarity, dim) = (bytes.similarity(), bytes.columns());
    let mapped = ByteRows::borrowed(similarity, dim, bytes.bytes(), bytes.terms());
    let queries = Buffer::upload(device, queries.len() / dim, dim, queries);
    StoredCorpus::new(device, &mapped, rows).top_k(queries.view(), k, Skipped(skipped), &|_| ())
}

/// The search in memory.
fn whole(
    device: &Device,
    similarity: Similarity,
    dim: usize,
    rows: &[f32],
    (queries, k): (&[f32], usize),
) -> Vec<Vec<Neighbour>> {
    let queries = Buffer::upload(device, queries.len() / dim, dim, queries);
    let corpus = Corpus::prepare(similarity, Buffer::upload(device, rows.len() / dim, dim, rows));
    corpus.top_k(queries.view(), k, &|_| ())
}

/// Rows in memory as a source.
struct Rows<'a>(&'a [f32]);

impl RowSource for Rows<'_> {
    fn read(&self, first: usize, rows: &mut [f32]) -> io::Result<()> {
        // A single row here: its length is that of all.
        let start = first * rows.len();
        rows.copy_from_slice(&self.0[start..start + rows.len()]);
        Ok(())
    }
}

fn round(device: &Device, similarity: Similarity, dim: usize, rows: &[f32]) -> ByteRows<'static> {
    ByteRows::round(similarity, Buffer::upload(device, rows.len() / dim, dim, rows).view())
}

#[test]
fn stored_rows_are_found_like_rows_in_memory_by_one_query_and_by_many() {
    for (case, &(dim, rows)) in
        [(1, 40), (5, 700), (32, 3001), (67, 1000), (100, 65)].iter().enumerate()
    {
        let corpus = random(40 + case as u64, rows * dim);
        let queries = random(50 + case as u64, 70 * dim);
        for kind in ALL {
            for device in devices() {
                let buffer = Buffer::upload(device, rows, dim, &corpus);
                let (view, bytes) = (buffer.view(), round(device, kind, dim, &corpus));
                for (count, k) in [(1, 10), (3, rows + 5), (8, 1), (9, 4), (70, 30)] {
                    let search = (&queries[..count * dim], k);
                    let found = stored(device, &bytes, &view, search, &[]).unwrap();
                    let expected = whole(device, kind, dim, &corpus, search);
                    assert_eq!(found, expected, "{kind:?} {device:?} {dim} {count}");
                }
            }
        }
    }
}

#[test]
fn skipped_rows_are_not_found_and_hide_no_others() {
    let (dim, rows, k) = (24, 2000, 12);
    let (corpus, queries) = (random(60, rows * dim), random(61, 20 * dim));
    // Fewer words than rows, so that the last rows are all kept.
    let skipped: Vec<u64> = (0..25).map(|word| 0x9249_2492_4924_9249u64 << (word % 3)).collect();
    let kept: Vec<u32> =
        (0..rows as u32).filter(|&row| !Skipped(&skipped).contains(row as usize)).collect();
    assert_eq!(kept.len(), rows - Skipped(&skipped).count(rows));
    let others: Vec<f32> =
        kept.iter().flat_map(|&row| &corpus[row as usize * dim..][..dim]).copied().collect();
    for kind in ALL {
        for device in devices() {
            let buffer = Buffer::upload(device, rows, dim, &corpus);
            let (view, bytes) = (buffer.view(), round(device, kind, dim, &corpus));
            for count in [1, 20] {
                let queries = &queries[..count * dim];
                let found = stored(device, &bytes, &view, (queries, k), &skipped).unwrap();
                let mut expected = whole(device, kind, dim, &others, (queries, k));
                for row in expected.iter_mut().flatten() {
                    row.index = kept[row.index as usize];
                }
                assert_eq!(found, expected, "{kind:?} {device:?}");
                let all = stored(device, &bytes, &view, (queries, k), &[u64::MAX; 32]).unwrap();
                assert!(all.len() == count && all.iter().all(Vec::is_empty));
                // More neighbours than rows are left.
                let left = stored(device, &bytes, &view, (queries, rows), &skipped).unwrap();
                assert!(left.iter().all(|found| found.len() == kept.len()));
            }
        }
    }
}

#[test]
fn rows_rounded_block_by_block_on_any_device_have_the_same_bytes_and_terms() {
    let (dim, rows) = (37, 900);
    let corpus = random(62, rows * dim);
    for kind in [Similarity::Cosine, Similarity::Dot] {
        let expected = round(&Device::cpu(Some(2)).unwrap(), kind, dim, &corpus);
        for device in devices() {
            let (mut bytes, mut terms) = (Vec::new(), Vec::new());
            for block in corpus.chunks(211 * dim) {
                let block = round(device, kind, dim, block);
                bytes.extend_from_slice(block.bytes());
                terms.extend(block.terms().iter().map(|term| term.to_bits()));
            }
            assert_eq!(bytes, expected.bytes(), "{device:?}");
            let expected: Vec<u32> = expected.terms().iter().map(|term| term.to_bits()).collect();
            assert_eq!(terms, expected, "{device:?}");
        }
    }
}

#[test]
fn equal_rows_go_by_lower_index_for_one_query() {
    let (dim, rows) = (8, 20_000);
    let corpus: Vec<f32> = random(63, 6 * dim).iter().copied().cycle().take(rows * dim).collect();
    let query = random(64, dim);
    for device in devices() {
        let buffer = Buffer::upload(device, rows, dim, &corpus);
        let (view, bytes) = (buffer.view(), round(device, Similarity::Cosine, dim, &corpus));
        let found = stored(device, &bytes, &view, (&query, 50), &[]).unwrap();
        let first = found[0][0].index;
        let expected: Vec<u32> = (0..50).map(|place| first + 6 * place).collect();
        let found: Vec<u32> = found[0].iter().map(|row| row.index).collect();
        assert!(first < 6 && found == expected, "{device:?}: {found:?}");
    }
}

#[test]
fn rows_that_bytes_do_not_bound_are_ranked_by_their_scores() {
    let (dim, rows) = (16, 3000);
    let mut corpus = random(65, rows * dim);
    for (row, values) in corpus.chunks_exact_mut(dim).enumerate() {
        match row % 11 {
            0 => values[row % dim] = f32::NAN,
            1 => values[3] = f32::INFINITY,
            2 => values[4] = f32::NEG_INFINITY,
            3 => values.iter_mut().for_each(|value| *value *= 1e20),
            4 => values.iter_mut().for_each(|value| *value *= 1e-20),
            5 => values.fill(0.0),
            _ => {}
        }
    }
    let mut queries = random(66, 12 * dim);
    queries[dim] = f32::INFINITY;
    queries[2 * dim] = f32::NAN;
    queries[3 * dim..4 * dim].fill(0.0);
    for scaled in [4, 5] {
        let factor = [1e-30, 1e15][scaled - 4];
        queries[scaled * dim..(scaled + 1) * dim].iter_mut().for_each(|value| *value *= factor);
    }
    for kind in [Similarity::Cosine, Similarity::Dot] {
        for device in devices() {
            let buffer = Buffer::upload(device, rows, dim, &corpus);
            let (view, bytes) = (buffer.view(), round(device, kind, dim, &corpus));
            for query in queries.chunks_exact(dim) {
                let search = (query, 700);
                let found = stored(device, &bytes, &view, search, &[]).unwrap();
                assert_eq!(found, whole(device, kind, dim, &corpus, search), "{kind:?} {device:?}");
            }
            let search = (&queries[..], 40);
            let found = stored(device, &bytes, &view, search, &[]).unwrap();
            assert_eq!(found, whole(device, kind, dim, &corpus, search), "{kind:?} {device:?}");
        }
    }
}

#[test]
fn bytes_without_rows_are_found_by_the_scores_of_what_they_stand_for() {
    let (dim, rows, k) = (50, 4000, 25);
    let (corpus, queries) = (random(67, rows * dim), random(68, 17 * dim));
    for kind in ALL {
        for device in devices() {
            let bytes = round(device, kind, dim, &corpus).without_rows();
            let mut rounded = vec![0.0; rows * dim];
            bytes.read(0, &mut rounded).unwrap();
            let furthest = corpus.chunks_exact(dim).zip(rounded.chunks_exact(dim)).map(|(a, b)| {
                let norm = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>().sqrt();
                let norms = if kind == Similarity::Cosine { norm(a) } else { 1.0 };
                let difference: Vec<f32> = a.iter().zip(b).map(|(a, b)| a / norms - b).collect();
                norm(&difference) / norm(b)
            });
            assert!(furthest.fold(0.0, f32::max) < 0.02, "{kind:?}");
            for count in [1, 17] {
                let search = (&queries[..count * dim], k);
                let found = stored(device, &bytes, &bytes, search, &[]).unwrap();
                assert_eq!(
                    found,
                    whole(device, kind, dim, &rounded, search),
                    "{kind:?} {device:?}"
                );
            }
        }
    }
}

#[test]
fn a_row_that_cannot_be_read_is_an_error() {
    struct Broken;
    impl RowSource for Broken {
        fn read(&self, first: usize, _: &mut [f32]) -> io::Result<()> {
            Err(io::Error::other(format!("row {first} is gone")))
        }
    }
    let (dim, rows) = (8, 500);
    let (corpus, queries) = (random(69, rows * dim), random(70, 20 * dim));
    for device in devices() {
        let bytes = round(device, Similarity::Dot, dim, &corpus);
        for count in [1, 20] {
            let search = (&queries[..count * dim], 3);
            let error = stored(device, &bytes, &Broken, search, &[]).unwrap_err();
            assert!(error.to_string().ends_with("is gone"), "{error}");
        }
    }
}

#[test]
fn searches_on_all_instruction_sets_and_threads_agree_on_a_mapped_file() {
    let (dim, rows, k) = (384, 5000, 20);
    let (corpus, queries) = (random(71, rows * dim), random(72, 11 * dim));
    let device = Device::cpu(Some(1)).unwrap();
    let bytes = round(&device, Similarity::Cosine, dim, &corpus);
    let mut file = tempfile::tempfile().unwrap();
    let terms: Vec<u8> = bytes.terms().iter().flat_map(|term| term.to_ne_bytes()).collect();
    io::Write::write_all(&mut file, &terms).unwrap();
    let mapping = Mapping::new(&file).unwrap();
    mapping.expect_random_reads().unwrap();
    assert_eq!(mapping.bytes(), terms);
    assert_eq!(Mapping::first(&file, 18).unwrap().bytes(), &terms[..18]);
    let error = Mapping::first(&file, terms.len() as u64 + 1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let terms = mapping.floats().expect("whole numbers");
    let mapped = ByteRows::borrowed(Similarity::Cosine, dim, bytes.bytes(), terms);
    let mut expected: Option<Vec<Vec<Neighbour>>> = None;
    for isa in Isa::available().into_iter().filter(|&isa| isa != Isa::Scalar) {
        for threads in 1..4 {
            let device = Device::cpu_with(isa, threads).unwrap();
            let source = Rows(&corpus);
            let stored = StoredCorpus::new(&device, &mapped, &source);
            for count in [1, 8, 11] {
                let queries = View::borrowed(&device, count, dim, &queries[..count * dim]);
                let found = stored.top_k(queries, k, Skipped::default(), &|_| ()).unwrap();
                let expected = expected.get_or_insert_with(|| {
                    whole(&device, Similarity::Cosine, dim, &corpus, (&queries.to_vec(), k))
                });
                assert_eq!(found[0], expected[0], "{isa} {threads}");
            }
        }
    }
}
