//! Tables and scores that are easily mishandled in mining.

use super::{mine, mine_rescored, miner, n_tuples, pairs, shown};
use crate::support::{TableEncoder, by_angle, message, scorer, strings, table, text};
use rankforge::base::FileError;
use rankforge::data::{Rows, Value};
use rankforge::mining::{MiningOptions, OutputFormat, SamplingStrategy, mine_hard_negatives};
use std::path::Path;

/// A query whose positive has a negative cosine, with one text that is more similar to the query
/// and one that is less similar.
fn below_zero() -> TableEncoder {
    let cosine = |cosine: f32| vec![cosine, (1.0 - cosine * cosine).sqrt()];
    TableEncoder::new([
        ("q", vec![1.0, 0.0]),
        ("p", cosine(-0.50)),
        ("n_more_similar", cosine(-0.49)),
        ("n_far", cosine(-0.80)),
    ])
}

#[test]
fn a_relative_margin_lowers_the_bound_when_the_score_of_the_positive_is_negative() {
    let options = MiningOptions { relative_margin: Some(0.05), ..n_tuples(1) };
    let corpus = strings(&["n_more_similar", "n_far"]);
    let mined = mine(&pairs(&[("q", "p")]), &below_zero(), &options, &corpus).unwrap();
    assert_eq!(shown(&mined.rows), ["q p n_far"]);
}

#[test]
fn a_corpus_may_be_smaller_than_the_range() {
    let options = MiningOptions {
        range_max: Some(50),
        num_negatives: 1,
        output_scores: true,
        ..MiningOptions::default()
    };
    let corpus = strings(&["n_more_similar"]);
    let mined = mine(&pairs(&[("q", "p")]), &below_zero(), &options, &corpus).unwrap();
    assert_eq!(shown(&mined.rows), ["q p n_more_similar [-0.5000,-0.4900]"]);
}

#[test]
fn positives_of_the_query_are_not_negatives_and_the_weakest_sets_the_margin() {
    let encoder = by_angle(&[("q", 0.0), ("near", 10.0), ("far", 60.0), ("a", 30.0), ("b", 70.0)]);
    let rows = pairs(&[("q", "near"), ("q", "far")]);
    let corpus = strings(&["a", "b"]);
    let options = MiningOptions { num_negatives: 1, ..MiningOptions::default() };
    let mined = mine(&rows, &encoder, &options, &corpus).unwrap();
    assert_eq!(shown(&mined.rows), ["q near a", "q far a"]);
    let options = MiningOptions { absolute_margin: Some(0.0), ..options };
    let mined = mine(&rows, &encoder, &options, &corpus).unwrap();
    assert_eq!(shown(&mined.rows), ["q near b", "q far b"]);
}

#[test]
fn positives_of_other_queries_and_the_query_itself_are_candidates() {
    let encoder = by_angle(&[("q", 0.0), ("r", 50.0), ("p", 20.0), ("s", 60.0)]);
    let rows = pairs(&[("q", "p"), ("r", "s")]);
    let mined = mine(&rows, &encoder, &n_tuples(1), &strings(&["q"])).unwrap();
    assert_eq!(shown(&mined.rows), ["q p q", "r s p"]);
    // Without a corpus, the positives are the only candidates.
    let mined = mine(&rows, &encoder, &n_tuples(1), &[]).unwrap();
    assert_eq!(shown(&mined.rows), ["q p s", "r s p"]);
}

#[test]
fn a_text_may_be_both_query_and_answer() {
    let encoder = by_angle(&[("same", 0.0), ("other", 20.0)]);
    let mined =
        mine(&pairs(&[("same", "same")]), &encoder, &n_tuples(1), &strings(&["other"])).unwrap();
    assert_eq!(shown(&mined.rows), ["same same other"]);
}

#[test]
fn repeated_rows_affect_the_averages_only() {
    let encoder = by_angle(&[("q", 0.0), ("p", 20.0), ("a", 30.0), ("b", 40.0)]);
    let rows = pairs(&[("q", "p"), ("q", "p"), ("q", "p")]);
    let options = MiningOptions { output_format: OutputFormat::LabeledPair, ..n_tuples(2) };
    let mined = mine(&rows, &encoder, &options, &strings(&["a", "b"])).unwrap();
    assert_eq!(shown(&mined.rows), ["q p 1", "q a 0", "q b 0"]);
    assert_eq!(mined.summary.range_max, 2 + 3);
    assert_eq!(mined.summary.average_positives, 3.0);
    assert_eq!((mined.summary.maximum_possible, mined.summary.missing), (5, 2));
}

#[test]
fn queries_without_negatives_keep_their_positives_in_labeled_pairs_only() {
    let encoder = by_angle(&[("q", 0.0), ("p", 20.0), ("r", 90.0), ("s", 80.0), ("a", 85.0)]);
    let rows = pairs(&[("q", "p"), ("r", "s")]);
    let mined = |output_format| {
        let options =
            MiningOptions { min_score: Some(0.9), output_format, ..MiningOptions::default() };
        let options = MiningOptions { num_negatives: 1, ..options };
        shown(&mine(&rows, &encoder, &options, &strings(&["a"])).unwrap().rows)
    };
    assert_eq!(mined(OutputFormat::LabeledPair), ["q p 1", "r s 1", "r a 0"]);
    assert_eq!(mined(OutputFormat::LabeledList), ["r [s,a] [1,0]"]);
    assert_eq!(mined(OutputFormat::Triplet), ["r s a"]);
    assert_eq!(mined(OutputFormat::NTuple), ["r s a"]);
}

#[test]
fn a_filter_that_drops_everything_gives_an_empty_table_and_a_message() {
    let encoder = by_angle(&[("q", 0.0), ("p", 20.0), ("a", 30.0)]);
    let options =
        MiningOptions { max_score: Some(-0.5), range_max: Some(4), ..MiningOptions::default() };
    let mined = mine(&pairs(&[("q", "p")]), &encoder, &options, &strings(&["a"])).unwrap();
    assert!(mined.rows.is_empty());
    assert_eq!(mined.rows.column_names(), ["query", "answer", "negative"]);
    let missing = mined.lines.last().unwrap();
    assert!(missing.starts_with("Could not find enough negatives for 3 samples (100.00%)."));
    assert_eq!(mined.lines[2], "Count               1              0               ");
    assert_eq!(mined.lines[3], "Mean           0.9397            nan            nan");
    assert_eq!(mined.lines[6], "Min            0.9397            inf            inf");
    assert_eq!(mined.lines[10], "Max            0.9397           -inf           -inf");
}

#[test]
fn the_message_about_missing_negatives_names_the_parameters_that_are_set() {
    let encoder = by_angle(&[("q", 0.0), ("p", 20.0), ("a", 30.0)]);
    let last = |options| {
        let mined = mine(&pairs(&[("q", "p")]), &encoder, &options, &strings(&["a"])).unwrap();
        mined.lines.last().unwrap().clone()
    };
    let line = last(MiningOptions::default());
    assert!(line.contains("Consider adjusting the range_max parameter if"), "{line}");
    let line = last(MiningOptions {
        range_min: 1,
        absolute_margin: Some(0.1),
        relative_margin: Some(0.1),
        max_score: Some(0.9),
        ..MiningOptions::default()
    });
    let list = "range_max, range_min, absolute_margin, relative_margin and max_score parameters if";
    assert!(line.contains(list), "{line}");
}

#[test]
fn range_min_skips_candidates_that_passed_the_filters() {
    let encoder =
        by_angle(&[("q", 0.0), ("p", 20.0), ("a", 5.0), ("b", 30.0), ("c", 40.0), ("d", 50.0)]);
    let options = MiningOptions {
        range_min: 1,
        range_max: Some(10),
        absolute_margin: Some(0.0),
        ..n_tuples(2)
    };
    let corpus = strings(&["a", "b", "c", "d"]);
    let mined = mine(&pairs(&[("q", "p")]), &encoder, &options, &corpus).unwrap();
    assert_eq!(shown(&mined.rows), ["q p c d"], "a is dropped by the margin, b by the range");
}

#[test]
fn a_score_bound_and_random_sampling_can_be_combined() {
    let names: Vec<String> = (0..60).map(|index| format!("d{index}")).collect();
    let mut angles: Vec<(&str, f32)> =
        names.iter().zip(0..).map(|(name, index)| (name.as_str(), index as f32)).collect();
    angles.extend([("q", 0.0), ("p", 45.5)]);
    let options = MiningOptions {
        max_score: Some(0.9),
        sampling_strategy: SamplingStrategy::Random,
        output_scores: true,
        output_format: OutputFormat::LabeledList,
        num_negatives: 5,
        range_max: Some(60),
        ..MiningOptions::default()
    };
    let mined = mine(&pairs(&[("q", "p")]), &by_angle(&angles), &options, &names).unwrap();
    let Value::List(scores) = &mined.rows.column("scores").unwrap()[0] else { panic!() };
    let scores: Vec<f64> = scores
        .iter()
        .map(|score| match score {
            Value::Float(score) => *score,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(scores.len(), 6);
    assert!(scores[1..].iter().all(|score| *score <= 0.9));
    assert!(scores[1..].is_sorted_by(|a, b| a > b), "{scores:?}");
}

/// The scores are above 1 and below 0, like raw logits.
#[test]
fn a_cross_encoder_rescores_candidates_and_positives() {
    let encoder = by_angle(&[("q", 0.0), ("p", 20.0), ("a", 5.0), ("b", 30.0), ("c", 80.0)]);
    let logits = scorer(|_, text| match text {
        "p" => -4.0,
        "a" => 7.5,
        "b" => -4.1,
        _ => -6.0,
    });
    let options = MiningOptions {
        relative_margin: Some(0.25),
        output_scores: true,
        num_negatives: 1,
        ..MiningOptions::default()
    };
    let corpus = strings(&["a", "b", "c"]);
    let rows = pairs(&[("q", "p")]);
    let mined = mine_rescored(&rows, &encoder, &options, &corpus, &logits);
    assert_eq!(shown(&mined.rows), ["q p c [-4.0000,-6.0000]"], "the bound is -4 - 1");
    let options = MiningOptions { relative_margin: None, min_score: Some(-4.5), ..options };
    let mined = mine_rescored(&rows, &encoder, &options, &corpus, &logits);
    assert_eq!(shown(&mined.rows), ["q p a [-4.0000,7.5000]"]);
    assert_eq!(
        mined.summary.range_max, 11,
        "min_score widens the range when a cross-encoder rescores"
    );
}

#[test]
fn a_cross_encoder_scores_all_queries_in_one_call_with_the_nearest_texts_only() {
    let names: Vec<String> = (0..40).map(|index| index.to_string()).collect();
    let queries: Vec<String> = (0..40).map(|index| format!("q{index}")).collect();
    let angles: Vec<(&str, f32)> = names
        .iter()
        .chain(&queries)
        .zip(0..)
        .map(|(name, index)| (name.as_str(), (index % 40) as f32 * 4.0))
        .collect();
    let table: Vec<(&str, &str)> =
        queries.iter().zip(&names).map(|(query, text)| (query.as_str(), text.as_str())).collect();
    let model = scorer(|_, _| 0.5);
    let options = MiningOptions { range_max: Some(3), max_score: Some(1.0), ..n_tuples(2) };
    let rows = pairs(&table);
    let mined = mine_rescored(&rows, &by_angle(&angles), &options, &[], &model);
    // Three candidates, one more in case the positive is among them, and the positive itself.
    assert_eq!(*model.calls.lock().unwrap(), [40 * (3 + 1 + 1)]);
    // Equal scores keep the order of the search.
    assert_eq!(shown(&mined.rows)[20], "q20 20 19 21");
    let chunked = MiningOptions { faiss_batch_size: 7, ..options };
    let mined_in_chunks = mine_rescored(&rows, &by_angle(&angles), &chunked, &[], &model);
    assert_eq!(mined_in_chunks, mined);
}

#[test]
fn tables_that_cannot_be_mined_are_refused() {
    let encoder = by_angle(&[("q", 0.0), ("p", 20.0)]);
    let refused = |rows| message(mine(&rows, &encoder, &MiningOptions::default(), &[]));
    let got = refused(pairs(&[]));
    assert_eq!(got, "mining: expected (anchor, positive) pairs, got an empty data set");
    let got = refused(table(vec![("query", vec![text("q")])]));
    assert_eq!(got, "mining: expected at least two columns, anchor and positive, got `query`");
    let got = refused(table(vec![("query", vec![text("q")]), ("answer", vec![Value::Integer(3)])]));
    assert_eq!(got, "row 1, column `answer`: expected text, got integer 3");
}

#[test]
fn rows_are_written_in_pieces() {
    let texts: Vec<(String, String)> =
        (0..2500).map(|number| (format!("q{number}"), format!("p{number}"))).collect();
    let angle = |number: usize| (number as f32 * 0.03).to_radians().sin_cos();
    let vector = |number| vec![angle(number).0, angle(number).1];
    let vectors = texts.iter().enumerate().flat_map(|(number, (query, answer))| {
        [(query.clone(), vector(number)), (answer.clone(), vector(number))]
    });
    let encoder = TableEncoder::new(vectors);
    let columns: Vec<(&str, &str)> =
        texts.iter().map(|(query, answer)| (query.as_str(), answer.as_str())).collect();
    let (rows, options) = (pairs(&columns), n_tuples(2));
    let whole = mine(&rows, &encoder, &options, &[]).unwrap();
    let [queries, answers] = ["query", "answer"].map(|name| whole.rows.texts(name).unwrap());
    assert_eq!((queries.len(), whole.summary.rows), (2500, 2500));
    for (row, (query, answer)) in columns.iter().enumerate() {
        assert_eq!((queries[row], answers[row]), (*query, *answer));
    }

    let miner = miner(&encoder, &options, &[]);
    let mut pieces = Vec::new();
    let write = |piece| {
        pieces.push(piece);
        Ok::<(), rankforge::Error>(())
    };
    miner.mine_to(&rows, write).unwrap();
    assert!(pieces.len() > 2 && pieces.iter().all(|piece: &Rows| piece.len() < 2500));
    let mut joined = Rows::default();
    pieces.into_iter().for_each(|piece| joined.append(piece).unwrap());
    assert_eq!(joined, whole.rows);
    // The convenience function without a corpus gives the same rows.
    assert_eq!(mine_hard_negatives(&rows, &encoder, &options).unwrap(), whole);

    let mut written = 0;
    let write = |_| -> Result<(), rankforge::Error> {
        written += 1;
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        Err(FileError::io(Path::new("mined.jsonl"))(full).into())
    };
    let error = miner.mine_to(&rows, write).unwrap_err();
    assert!(matches!(&error, rankforge::Error::File(FileError::Io { .. })), "{error}");
    assert!(error.to_string().starts_with("mined.jsonl: "), "{error}");
    assert!(error.hint().unwrap().starts_with("the disk is full"), "{:?}", error.hint());
    assert_eq!(written, 1, "mining goes on after an error");
}
