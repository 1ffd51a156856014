//! Golden values of sentence-transformers, for ten unit vectors and four rows, two of which are
//! equal.

use super::{mine, mine_recorded, n_tuples, pairs, shown};
use crate::support::{by_angle, strings};
use rankforge::mining::{Mined, MiningOptions, OutputFormat};

const ANGLES: [(&str, f32); 10] = [
    ("q1", 0.0),
    ("q2", 90.0),
    ("p1a", 20.0),
    ("p1b", 40.0),
    ("p2", 100.0),
    ("d1", 5.0),
    ("d2", 30.0),
    ("d3", 60.0),
    ("d4", 130.0),
    ("d5", 170.0),
];

fn golden(options: &MiningOptions) -> Mined {
    let rows = pairs(&[("q1", "p1a"), ("q2", "p2"), ("q1", "p1b"), ("q1", "p1a")]);
    let corpus = strings(&["d1", "d2", "d3", "d4", "d5"]);
    mine(&rows, &by_angle(&ANGLES), options, &corpus).unwrap()
}

fn format(num_negatives: i64, output_format: OutputFormat) -> MiningOptions {
    MiningOptions { num_negatives, output_format, ..MiningOptions::default() }
}

#[test]
fn triplets_with_scores() {
    let options = MiningOptions { output_scores: true, ..format(2, OutputFormat::Triplet) };
    let mined = golden(&options);
    assert_eq!(mined.rows.column_names(), ["query", "answer", "negative", "scores"]);
    assert_eq!(
        shown(&mined.rows),
        [
            "q1 p1a d1 [0.9397,0.9962]",
            "q1 p1a d2 [0.9397,0.8660]",
            "q1 p1b d1 [0.7660,0.9962]",
            "q1 p1b d2 [0.7660,0.8660]",
            "q2 p2 d3 [0.9848,0.8660]",
            "q2 p2 d4 [0.9848,0.7660]",
        ]
    );
    let mined = golden(&format(2, OutputFormat::Triplet));
    assert_eq!(mined.rows.column_names(), ["query", "answer", "negative"]);
    assert_eq!(mined.rows.len(), 6);
}

#[test]
fn tuples_with_scores() {
    let mined = golden(&MiningOptions { output_scores: true, ..n_tuples(2) });
    assert_eq!(
        mined.rows.column_names(),
        ["query", "answer", "negative_1", "negative_2", "scores"]
    );
    assert_eq!(
        shown(&mined.rows),
        [
            "q1 p1a d1 d2 [0.9397,0.9962,0.8660]",
            "q1 p1b d1 d2 [0.7660,0.9962,0.8660]",
            "q2 p2 d3 d4 [0.9848,0.8660,0.7660]",
        ]
    );
    let alias = golden(&format(2, OutputFormat::NTupleScores));
    assert_eq!(alias.rows, mined.rows);
    assert_eq!(golden(&n_tuples(2)).rows.column_names(), mined.rows.column_names()[..4]);
}

#[test]
fn labeled_pairs() {
    let mined = golden(&format(2, OutputFormat::LabeledPair));
    assert_eq!(mined.rows.column_names(), ["query", "answer", "label"]);
    assert_eq!(
        shown(&mined.rows),
        ["q1 p1a 1", "q1 p1b 1", "q1 d1 0", "q1 d2 0", "q2 p2 1", "q2 d3 0", "q2 d4 0"]
    );
}

#[test]
fn labeled_lists() {
    let mined = golden(&format(2, OutputFormat::LabeledList));
    assert_eq!(mined.rows.column_names(), ["query", "answer", "labels"]);
    assert_eq!(
        shown(&mined.rows),
        ["q1 [p1a,d1,d2] [1,0,0]", "q1 [p1b,d1,d2] [1,0,0]", "q2 [p2,d3,d4] [1,0,0]"]
    );
}

#[test]
fn a_relative_margin() {
    let options = MiningOptions { relative_margin: Some(0.05), ..n_tuples(3) };
    let scored = golden(&MiningOptions { output_scores: true, ..options.clone() });
    assert_eq!(
        shown(&scored.rows),
        [
            "q1 p1a d3 p2 d4 [0.9397,0.5000,-0.1736,-0.6428]",
            "q1 p1b d3 p2 d4 [0.7660,0.5000,-0.1736,-0.6428]",
            "q2 p2 d3 d4 p1b [0.9848,0.8660,0.7660,0.6428]",
        ]
    );
    let options = MiningOptions { output_format: OutputFormat::Triplet, ..options };
    let mined = golden(&options);
    assert_eq!(
        mined.lines,
        [
            "Setting range_max to 33 based on the other parameters.",
            "Found 2 unique queries out of 4 total queries.",
            "Found an average of 2.000 positives per query.",
            "Negative candidates mined, preparing dataset...",
            "Metric       Positive       Negative     Difference",
            "Count               3              9               ",
            "Mean           0.8968         0.1824         0.7144",
            "Median         0.9397         0.5000         0.4397",
            "Std            0.1155         0.5955         0.5547",
            "Min            0.7660        -0.6428         0.1188",
            "25%            0.8529        -0.1736         0.2660",
            "50%            0.9397         0.5000         0.4397",
            "75%            0.9623         0.6428         1.1133",
            "Max            0.9848         0.8660         1.5825",
            "Skipped 2 potential negatives (2.78%) due to the relative_margin of 0.05.",
        ]
    );
    assert_eq!((mined.summary.range_max, mined.summary.missing), (33, 0));
}

#[test]
fn an_absolute_margin() {
    let options = MiningOptions {
        absolute_margin: Some(0.3),
        output_scores: true,
        ..format(3, OutputFormat::LabeledList)
    };
    let mined = golden(&options);
    assert_eq!(mined.rows.column_names(), ["query", "answer", "scores"]);
    assert_eq!(
        shown(&mined.rows),
        [
            "q1 [p1a,p2,d4,d5] [0.9397,-0.1736,-0.6428,-0.9848]",
            "q1 [p1b,p2,d4,d5] [0.7660,-0.1736,-0.6428,-0.9848]",
            "q2 [p2,p1b,d2,p1a] [0.9848,0.6428,0.5000,0.3420]",
        ]
    );
}

#[test]
fn score_bounds() {
    let options = MiningOptions {
        max_score: Some(0.8),
        min_score: Some(-0.1),
        output_scores: true,
        ..format(3, OutputFormat::LabeledPair)
    };
    let mined = golden(&options);
    assert_eq!(mined.rows.column_names(), ["query", "answer", "score"]);
    assert_eq!(
        shown(&mined.rows),
        [
            "q1 p1a 0.9397",
            "q1 p1b 0.7660",
            "q1 d3 0.5000",
            "q2 p2 0.9848",
            "q2 d4 0.7660",
            "q2 p1b 0.6428",
            "q2 d2 0.5000",
        ]
    );
    let lines = &mined.lines;
    assert_eq!(lines[6], "Mean           0.8968         0.5818         0.3503");
    assert_eq!(
        lines[14..],
        [
            "Skipped 3 potential negatives (4.17%) due to the max_score of 0.8.",
            "Skipped 65 potential negatives (90.28%) due to the min_score of -0.1.",
            "Could not find enough negatives for 3 samples (30.00%). Consider adjusting the \
             range_max and max_score parameters if you need more of them.",
        ]
    );
    assert_eq!((mined.summary.maximum_possible, mined.summary.missing), (10, 3));
}

#[test]
fn a_range() {
    let mined = golden(&MiningOptions { range_min: 1, range_max: Some(3), ..n_tuples(2) });
    assert_eq!(shown(&mined.rows), ["q1 p1a d2 d3", "q1 p1b d2 d3", "q2 p2 d4 p1b"]);
}

#[test]
fn positives_included() {
    let options = MiningOptions { include_positives: true, output_scores: true, ..n_tuples(4) };
    let expected = [
        "q1 p1a d1 p1a d2 p1b [0.9397,0.9962,0.9397,0.8660,0.7660]",
        "q1 p1b d1 p1a d2 p1b [0.7660,0.9962,0.9397,0.8660,0.7660]",
        "q2 p2 p2 d3 d4 p1b [0.9848,0.9848,0.8660,0.7660,0.6428]",
    ];
    assert_eq!(shown(&golden(&options).rows), expected);
    let rows = pairs(&[("q1", "p1a"), ("q2", "p2"), ("q1", "p1b"), ("q1", "p1a")]);
    let corpus = strings(&["d1", "d2", "d3", "d4", "d5"]);
    let options = MiningOptions {
        output_format: OutputFormat::LabeledPair,
        min_score: Some(-2.0),
        range_max: Some(8),
        ..options
    };
    let (mined, recorder) = mine_recorded(&rows, &by_angle(&ANGLES), &options, &corpus);
    assert_eq!(shown(&mined.rows), expected, "the format is forced");
    let warnings = recorder.warnings();
    assert!(warnings[0].contains("can drop positives"), "{warnings:?}");
    assert!(warnings[1].contains("set to n-tuple"), "{warnings:?}");
}
