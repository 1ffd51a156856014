//! The softmax over in-batch candidates against its twin in f64.

use crate::support::{
    EPS, assert_close, assert_same_bits_for_any_threads, central_difference, devices, random,
    refusal, wide,
};
use rankforge_kernels::ops::{ContrastGuide, ContrastScores, OwnColumns, contrast};
use rankforge_kernels::{Buffer, Device};

const SLOPE: f32 = 5.0;
const WEIGHT: f32 = 0.25;

/// Scores of `rows` texts against `columns`, on the host.
struct Scores {
    columns: usize,
    products: Vec<f32>,
    larger: Option<Vec<f32>>,
    row_factors: Vec<f32>,
    column_factors: Vec<f32>,
    own: OwnColumns,
    guide: Option<(Vec<f32>, Vec<f32>)>,
}

/// Matrices with every kind of own columns, with and without a guide and larger nestings.
fn scores(rows: usize, columns: usize) -> Vec<Scores> {
    let factors = |seed, count| random(seed, count).iter().map(|x| x + 1.5).collect();
    let make = |seed: u64, start: usize, own: [Option<f32>; 2], others: f32, guided: bool| Scores {
        columns,
        products: random(seed, rows * columns),
        larger: (start == 0 && !guided).then(|| random(seed + 5, rows * columns)),
        row_factors: factors(seed + 1, rows),
        column_factors: factors(seed + 2, columns),
        own: OwnColumns { start, period: rows.max(1), first: own[0], further: own[1], others },
        guide: guided.then(|| (random(seed + 3, rows * columns), random(seed + 4, rows))),
    };
    let plain = Some(SLOPE);
    vec![
        make(10, 0, [plain, Some(7.0)], 6.0, true),
        make(20, 0, [None, plain], SLOPE, false),
        make(30, 1, [None, None], SLOPE, false),
        make(40, 0, [plain, plain], SLOPE, true),
    ]
}

/// Losses, then for each matrix gradients of products, sums of rows, and sums of columns to which
/// ones were added.
fn computed(device: &Device, rows: usize, scores: &[Scores]) -> Vec<Vec<f32>> {
    let upload =
        |rows: usize, columns: usize, values: &[f32]| Buffer::upload(device, rows, columns, values);
    struct On {
        products: Buffer,
        larger: Option<Buffer>,
        factors: [Buffer; 2],
        guide: Option<[Buffer; 2]>,
        sums: [Buffer; 2],
    }
    let mut on: Vec<On> = scores
        .iter()
        .map(|it| On {
            products: upload(rows, it.columns, &it.products),
            larger: it.larger.as_ref().map(|larger| upload(rows, it.columns, larger)),
            factors: [upload(rows, 1, &it.row_factors), upload(1, it.columns, &it.column_factors)],
            guide: it.guide.as_ref().map(|(scores, limits)| {
                [upload(rows, it.columns, scores), upload(rows, 1, limits)]
            }),
            sums: [Buffer::zeros(device, rows, 1), upload(1, it.columns, &vec![1.0; it.columns])],
        })
        .collect();
    let mut losses = upload(rows, 1, &vec![1.0; rows]);
    let parts = on.iter_mut().zip(scores).map(|(on, it)| {
        let [row_sums, column_sums] = &mut on.sums;
        ContrastScores {
            products: on.products.view_mut(),
            larger: on.larger.as_ref().map(Buffer::view),
            row_factors: on.factors[0].view(),
            column_factors: on.factors[1].view(),
            own: it.own,
            guide: on.guide.as_ref().map(|[scores, limits]| ContrastGuide {
                scores: scores.view(),
                limits: limits.view(),
            }),
            row_sums: row_sums.view_mut(),
            column_sums: column_sums.view_mut(),
        }
    });
    contrast(SLOPE, WEIGHT, parts.collect(), losses.view_mut());
    let mut all = vec![losses.view().to_vec()];
    for on in &on {
        all.extend([&on.products, &on.sums[0], &on.sums[1]].map(|it| it.view().to_vec()));
    }
    all
}

/// Factor and score of each column that counts in the softmax of a row.
fn counted(it: &Scores, products: &[f64], row: usize, is_first: bool) -> Vec<(usize, f64, f64)> {
    let columns = it.columns;
    let counts = |column: usize| {
        let target = is_first && column == row + it.own.start;
        let guided = it.guide.as_ref().is_some_and(|(scores, limits)| {
            !target && scores[row * columns + column] > limits[row]
        });
        let distance = column.checked_sub(it.own.start + row);
        let factor = match distance {
            Some(0) => it.own.first,
            Some(distance) if distance % it.own.period == 0 => it.own.further,
            _ => Some(it.own.others),
        };
        let factors = f64::from(it.row_factors[row]) * f64::from(it.column_factors[column]);
        let score = products[row * columns + column] * factors;
        factor.filter(|_| !guided).map(|factor| (column, f64::from(factor), score))
    };
    (0..columns).filter_map(counts).collect()
}

/// The weighted loss of a row, in which the score of matrix `part` and `column` counts with
/// `offset` in its logit.
fn loss(scores: &[Scores], row: usize, moved: (usize, usize, f64)) -> f64 {
    let mut logits = Vec::new();
    let mut at_target = 0.0;
    for (part, it) in scores.iter().enumerate() {
        for (column, factor, score) in counted(it, &wide(&it.products), row, part == 0) {
            let offset = if (part, column) == (moved.0, moved.1) { moved.2 } else { 0.0 };
            let logit = factor * score + f64::from(SLOPE) * offset;
            logits.push(logit);
            if part == 0 && column == row + it.own.start {
                at_target = logit;
            }
        }
    }
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - highest).exp()).sum();
    f64::from(WEIGHT) * (sum.ln() + highest - at_target)
}

#[test]
fn losses_gradients_and_sums_agree_with_their_twin() {
    for (rows, columns) in [(1, 1), (2, 4), (3, 8), (7, 15), (16, 33), (17, 17), (33, 70)] {
        let mut scores = scores(rows, columns);
        if rows == columns {
            scores[2].own.start = 0;
        }
        let losses: Vec<f64> = (0..rows).map(|row| 1.0 + loss(&scores, row, (0, 0, 0.0))).collect();
        // Logits are at most 7 * 2.5^2, and so are the relative errors of their exponentials.
        let error = 7.0 * 6.25 * 8.0 * EPS;
        for device in devices() {
            let found = computed(device, rows, &scores);
            let what = |name: &str| format!("{name}, {rows} x {columns} on {device:?}");
            assert_close(&found[0], &losses, |_| error, what("losses"));
            for (part, it) in scores.iter().enumerate() {
                let [d_products, row_sums, column_sums] = &found[1 + 3 * part..][..3] else {
                    unreachable!("three for each")
                };
                let larger = it.larger.as_ref().map(|larger| wide(larger));
                let mut expected = larger.unwrap_or_else(|| vec![0.0; rows * columns]);
                let (mut by_row, mut by_column) = (vec![0.0; rows], vec![1.0; columns]);
                for row in 0..rows {
                    for (column, _, score) in counted(it, &wide(&it.products), row, part == 0) {
                        let at = |x: &[f64]| loss(&scores, row, (part, column, x[0]));
                        let d_score = central_difference(at, &[0.0], 0);
                        let factors =
                            f64::from(it.row_factors[row]) * f64::from(it.column_factors[column]);
                        expected[row * columns + column] += d_score * factors;
                        by_row[row] += d_score * score;
                        by_column[column] += d_score * score;
                    }
                }
                // A gradient is a probability times weight, slope and factors: 8 at most.
                let terms = (rows + columns) as f64;
                assert_close(d_products, &expected, |_| 8.0 * error, what("products"));
                assert_close(row_sums, &by_row, |_| terms * error, what("rows"));
                assert_close(column_sums, &by_column, |_| terms * error, what("columns"));
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let (rows, columns) = (150, 310);
    let scores = scores(rows, columns);
    assert_same_bits_for_any_threads("contrast", |device| computed(device, rows, &scores).concat());
}

#[test]
fn not_a_number_reaches_the_loss() {
    let mut scores = scores(3, 9);
    scores[1].products[9 + 2] = f32::NAN;
    for device in devices() {
        let losses = &computed(device, 3, &scores)[0];
        assert!(losses[0].is_finite() && losses[1].is_nan(), "{losses:?} on {device:?}");
    }
}

#[test]
fn rows_without_a_target_are_refused() {
    let device = Device::cpu(Some(1)).expect("starts");
    let message = refusal(|| computed(&device, 3, &scores(3, 2)));
    assert!(message.contains("the targets of 3 rows end at column 3 of 2"), "{message}");
}
