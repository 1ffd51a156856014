//! Each kernel against plain loops.

use super::*;
use crate::cpu::top_k::bytes::{ENERGY, PAIR, Rounding, Row, round};

/// One for every instruction set of the machine that has one.
fn all() -> Vec<(Supported, ByteProducts)> {
    let with_products = |isa| ByteProducts::of(isa).map(|products| (isa, products));
    Supported::all().into_iter().filter_map(with_products).collect()
}

fn draws(mut state: u32) -> impl FnMut(u32) -> u32 {
    move |below| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    }
}

/// Bytes of a half of a stretch that are as large as [`ENERGY`] and [`PAIR`] allow.
const LARGE: [[i8; STRETCH * GROUP / 2]; 3] = [
    [45; 16],
    [127, 1, 127, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0],
];

/// The same where only [`ENERGY`] holds, and where neither does.
const LARGE_PAIR: [i8; 16] = [127, 127, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const LARGEST: [i8; 16] = [127; 16];

/// Rows of bytes whose halves of stretches are drawn from `halves`; every third row has one sign.
fn rows(halves: &[[i8; 16]], count: usize, width: usize) -> Vec<Vec<i8>> {
    let mut draw = draws(count as u32);
    let mut row = |number: usize| -> Vec<i8> {
        let half = halves[number % halves.len()];
        let element = |place: usize| {
            let byte = half[place % (STRETCH * GROUP) / GROUP * 2 + place % 2];
            let negative = match number % 6 {
                0 => true,
                3 => false,
                _ => draw(2) == 0,
            };
            if negative { -byte } else { byte }
        };
        (0..width).map(element).collect()
    };
    (0..count).map(&mut row).collect()
}

#[test]
fn sums_of_the_largest_bytes_are_those_of_plain_loops() {
    for (isa, products) in all() {
        let (of_queries, of_rows) = if products.has_narrow_sums() {
            (LARGE.to_vec(), [&LARGE[..], &[LARGE_PAIR]].concat())
        } else {
            (vec![LARGEST], vec![LARGEST])
        };
        for groups in [1, 2, 7, 8, 9, 16, 65] {
            let width = groups * GROUP;
            let queries = rows(&of_queries, QUERIES, width);
            let corpus = rows(&of_rows, ROWS, width);
            let mut panel = products.panel(width);
            for (lane, query) in queries.iter().enumerate() {
                let bytes: Vec<u8> = query.iter().map(|&byte| byte as u8).collect();
                products.pack(&bytes, lane, &mut panel);
            }
            let bytes = corpus.concat().iter().map(|&byte| byte as u8 ^ OFFSET).collect::<Vec<_>>();
            let thresholds = Thresholds {
                score: [f32::NEG_INFINITY; QUERIES],
                length: [1.0; QUERIES],
                lost: [0.0; QUERIES],
            };
            let row = Row { base: -2.0, inverse_scale: 1.0, lost: 0.0, length: 1.0 };
            let terms = [row; ROWS];
            let tile = Tile {
                panel: &panel,
                queries: QUERIES,
                thresholds: &thresholds,
                bytes: &bytes,
                rows: &terms,
            };
            let mut hits = Hits { masks: [0; ROWS], sums: [[0; QUERIES]; ROWS] };
            assert!(products.compare(tile, &mut hits));
            assert_eq!(hits.masks, [u64::MAX; ROWS], "{isa:?}");
            for (row, sums) in corpus.iter().zip(&hits.sums) {
                for (query, &sum) in queries.iter().zip(sums) {
                    let pairs = row.iter().zip(query);
                    let expected: i32 = pairs.map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
                    assert_eq!(sum, expected, "{groups} groups on {isa:?}");
                }
            }
        }
    }
}

#[test]
fn sums_are_compared_with_the_threshold_of_each_query_and_row() {
    for (isa, products) in all() {
        let width = 2 * GROUP;
        let mut panel = products.panel(width);
        (0..QUERIES).for_each(|lane| products.pack(&[1; 8], lane, &mut panel));
        let mut thresholds =
            Thresholds { score: [0.0; QUERIES], length: [1.0; QUERIES], lost: [0.5; QUERIES] };
        // A sum is 80, and what a score of s needs (s - 4 - 0.5 * 2) * 2 - 2: 78, 80 or 82.
        for (lane, score) in thresholds.score.iter_mut().enumerate() {
            *score = [45.0, 46.0, 47.0][lane % 3];
        }
        let mut terms = [Row { base: -2.0, inverse_scale: 2.0, lost: 4.0, length: 2.0 }; ROWS];
        terms[4].base = f32::INFINITY;
        let bytes = [OFFSET + 10; ROWS * 8];
        let tile = Tile {
            panel: &panel,
            queries: QUERIES,
            thresholds: &thresholds,
            bytes: &bytes,
            rows: &terms,
        };
        let mut hits = Hits { masks: [7; ROWS], sums: [[0; QUERIES]; ROWS] };
        assert!(products.compare(tile, &mut hits));
        let expected =
            (0..QUERIES).filter(|lane| lane % 3 < 2).fold(0, |mask, lane| mask | 1 << lane);
        for (row, &mask) in hits.masks.iter().enumerate() {
            assert_eq!(mask, if row == 4 { 0 } else { expected }, "row {row} on {isa:?}");
        }
        thresholds.score = [47.0; QUERIES];
        let tile = Tile {
            panel: &panel,
            queries: QUERIES,
            thresholds: &thresholds,
            bytes: &bytes,
            rows: &terms,
        };
        assert!(!products.compare(tile, &mut hits) && hits.masks == [0; ROWS], "{isa:?}");
    }
}

#[test]
fn rows_one_by_one_have_the_sums_of_plain_loops_and_are_compared_with_their_thresholds() {
    for (isa, products) in all() {
        let of_queries = if products.has_narrow_sums() { LARGE.to_vec() } else { vec![LARGEST] };
        for (groups, count) in [(1, 1), (7, 4), (8, 3), (16, 6), (17, 5), (65, 9), (96, 8)] {
            let width = groups * GROUP;
            // Rows without limits: their sums are never of 16 bits.
            let corpus = rows(&[LARGEST, LARGE_PAIR, LARGE[0]], count, width);
            let bytes = corpus.concat().iter().map(|&byte| byte as u8 ^ OFFSET).collect::<Vec<_>>();
            for query in rows(&of_queries, 3, width) {
                let sums: Vec<i32> = corpus
                    .iter()
                    .map(|row| {
                        row.iter().zip(&query).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
                    })
                    .collect();
                let query: Vec<u8> = query.iter().map(|&byte| byte as u8).collect();
                let query = RowQuery::new(&query, (1.0, 0.5));
                // A sum has to reach (s - 4 - 0.5 * 2) * 2 - 2, here its own, or 2 more or less.
                for more in [-1.0, 0.0, 1.0] {
                    let mut hits = Vec::new();
                    for (row, &sum) in sums.iter().enumerate() {
                        let terms =
                            [Row { base: -2.0, inverse_scale: 2.0, lost: 4.0, length: 2.0 }];
                        let score = (sum as f32 + 2.0) / 2.0 + 5.0 + more;
                        let bytes = &bytes[row * width..(row + 1) * width];
                        hits.clear();
                        let one = Rows { bytes, terms: &terms, score };
                        products.compare_rows(&query, one, &mut hits);
                        let expected = (more <= 0.0).then_some(RowHit { row: 0, sum });
                        assert_eq!(hits, Vec::from_iter(expected), "{groups} groups on {isa:?}");
                    }
                }
                let mut terms = vec![Row { base: -2.0, ..Row::ABSENT }; count];
                terms[count / 2] = Row::UNBOUNDED;
                let mut hits = Vec::new();
                let all = Rows { bytes: &bytes, terms: &terms, score: f32::NEG_INFINITY };
                products.compare_rows(&query, all, &mut hits);
                let expected = sums
                    .iter()
                    .enumerate()
                    .map(|(row, &sum)| RowHit { row, sum })
                    .collect::<Vec<_>>();
                assert_eq!(hits, expected, "{groups} groups on {isa:?}");
                hits.clear();
                products.compare_rows(&query, Rows { score: 1e30, ..all }, &mut hits);
                assert_eq!(hits, [expected[count / 2]], "{groups} groups on {isa:?}");
            }
        }
    }
}

#[test]
fn rounded_rows_stay_within_the_limits_and_lose_no_more_than_is_said() {
    let mut draw = draws(3);
    for (isa, products) in all() {
        let narrow_sums = products.has_narrow_sums();
        for (case, count) in [1, 2, 3, 31, 32, 33, 64, 200].into_iter().cycle().take(80).enumerate()
        {
            let element = |place: usize| match case % 10 {
                0 => 1.0,
                1 => f32::MAX,
                2 => f32::from_bits(1),
                3 => [3e38, -3e38][place % 2],
                4 => f32::from(place as u8 == 7),
                5 if place % 4 > 1 => 1.0,
                _ => draw(2001) as f32 - 1000.0,
            };
            let source: Vec<f32> = (0..count).map(element).collect();
            let norm = source.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let factor = 1.0 / norm.max(1e-12);
            let mut bytes = vec![9; count.next_multiple_of(GROUP)];
            let row = round(isa, &source, Rounding { factor, offset: 0, narrow_sums }, &mut bytes);
            let mut offset = vec![9; bytes.len()];
            let rounding = Rounding { factor, offset: OFFSET, narrow_sums };
            round(isa, &source, rounding, &mut offset);
            assert!(bytes.iter().zip(&offset).all(|(a, b)| a ^ OFFSET == *b));
            let signed = bytes.iter().map(|&byte| i32::from(byte as i8)).collect::<Vec<_>>();
            assert!(signed[count..].iter().all(|&byte| byte == 0));
            if narrow_sums {
                for stretch in signed.chunks(STRETCH * GROUP) {
                    for half in [0, 2] {
                        let pairs = stretch.chunks(GROUP).map(|four| [four[half], four[half + 1]]);
                        let energy: i32 = pairs.clone().map(|[a, b]| a * a + b * b).sum();
                        assert!(energy <= ENERGY, "case {case} on {isa:?}: {energy}");
                        let pair = pairs.map(|[a, b]| a.abs() + b.abs()).max();
                        assert!(pair <= Some(PAIR), "case {case} on {isa:?}: {pair:?}");
                    }
                }
            }
            let errors = source.iter().zip(&signed).map(|(&x, &byte)| {
                f64::from(x) * factor - f64::from(byte) * f64::from(row.scale())
            });
            let lost = errors.map(|error| error * error).sum::<f64>().sqrt();
            assert!(lost <= row.lost, "case {case} on {isa:?}: {lost} of {}", row.lost);
            assert!(row.lost < 0.2, "case {case} on {isa:?}: {}", row.lost);
        }
    }
}

#[test]
fn selections_in_lists_and_dot_products_are_those_of_plain_loops() {
    let mut draw = draws(5);
    let special = [f32::NEG_INFINITY, -0.0, 0.0, 2.0, f32::INFINITY];
    for (isa, products) in all() {
        for length in [0, 16, 32, 144] {
            let mut values = || -> Vec<f32> {
                let value = |draw: &mut dyn FnMut(u32) -> u32| match draw(10) {
                    few @ 0..5 => special[few as usize],
                    _ => draw(100) as f32 - 50.0,
                };
                (0..length).map(|_| value(&mut draw)).collect()
            };
            let (numbers, others) = (values(), values());
            for bound in [-20.0, 0.0, 2.0, f32::INFINITY, f32::NEG_INFINITY] {
                let reached = || (0..length).filter(|&place| numbers[place] >= bound);
                assert_eq!(products.count_at_least(&numbers, bound), reached().count(), "{isa:?}");
                let (mut a, mut b) = (numbers.clone(), others.clone());
                let mut index: Vec<u32> = (0..length as u32).collect();
                let kept = products.keep_at_least(bound, &mut a, &mut b, &mut index, length);
                let expected: Vec<u32> = reached().map(|place| place as u32).collect();
                assert_eq!(index[..kept], expected, "{isa:?}");
                for (place, &from) in expected.iter().enumerate() {
                    let from = from as usize;
                    assert_eq!((a[place], b[place]), (numbers[from], others[from]), "{isa:?}");
                }
            }
            let (a, b) = (&numbers[..length - length / 5], &others[..length - length / 5]);
            let finite = |x: &[f32]| x.iter().map(|x| x.clamp(-9.5, 9.7)).collect::<Vec<_>>();
            let (a, b) = (finite(a), finite(b));
            let expected = crate::cpu::top_k::exact::dot(isa, &a, &b);
            assert_eq!(products.dot(&a, &b).to_bits(), expected.to_bits(), "{isa:?}");
        }
    }
}
