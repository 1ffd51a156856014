//! The batches of an epoch over several training sets.

use crate::support::{message, table, text};
use crate::testing::arguments;
use rankforge::data::Rows;
use rankforge::training::{Dataset, Epoch, EpochSampler, SetBatch};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// Rows that are all different.
fn distinct(count: usize) -> Rows {
    table(vec![("query", (0..count).map(|row| text(&format!("row {row}"))).collect())])
}

/// A sampler of batches of 4 rows over data sets.
fn sampler(sets: &[Rows], options: Value) -> EpochSampler {
    let dataset = |(set, rows): (usize, &Rows)| {
        Dataset::new(Arc::new(rows.clone()), None, &format!("set {set}")).unwrap()
    };
    let datasets: Vec<Dataset> = sets.iter().enumerate().map(dataset).collect();
    EpochSampler::new(&datasets, 4, &arguments(Path::new("unused"), options)).unwrap()
}

fn round_robin(options: Value) -> Value {
    let mut options = options;
    options["multi_dataset_batch_sampler"] = json!("round_robin");
    options
}

/// The index of the set of each batch.
fn turns(epoch: &Epoch) -> Vec<usize> {
    epoch.batches.iter().map(|batch| batch.set).collect()
}

/// The batches of one set, in order.
fn of_set(epoch: &Epoch, set: usize) -> Vec<Vec<usize>> {
    let batches = epoch.batches.iter().filter(|batch| batch.set == set);
    batches.map(|batch| batch.rows.clone()).collect()
}

/// Three sets, with 4, 1 and 2 batches.
fn three() -> [Rows; 3] {
    [distinct(15), distinct(4), distinct(7)]
}

#[test]
fn proportional_takes_every_batch_of_every_set_in_random_order() {
    let sampler = sampler(&three(), json!({}));
    assert_eq!(sampler.batches_per_epoch(), 4 + 1 + 2);
    let epoch = sampler.epoch(0).unwrap();
    let drawn = turns(&epoch);
    assert!(!drawn.is_sorted(), "the sets are not mixed: {drawn:?}");
    for (set, rows) in [15, 4, 7].into_iter().enumerate() {
        let batches = of_set(&epoch, set);
        let short = if rows % 4 == 0 { 4 } else { rows % 4 };
        assert!(batches[..batches.len() - 1].iter().all(|batch| batch.len() == 4));
        assert_eq!(
            batches[batches.len() - 1].len(),
            short,
            "the last batch of a set is the short one"
        );
        let mut all = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..rows).collect::<Vec<_>>(), "not every row of set {set} occurs once");
    }
    assert!(epoch.warnings.is_empty());
}

#[test]
fn proportional_order_is_uniformly_random() {
    // Two batches of set 0 and one of set 1, which is at each index with probability 1/3.
    let sampler = sampler(&[distinct(8), distinct(4)], json!({}));
    let epochs = 1200;
    let mut counts = [0.0; 3];
    for epoch in 0..epochs {
        let drawn = turns(&sampler.epoch(epoch).unwrap());
        counts[drawn.iter().position(|&set| set == 1).unwrap()] += 1.0;
    }
    // The tolerance is five standard deviations of a binomial distribution.
    let (mean, deviation) = (epochs as f64 / 3.0, (epochs as f64 * 2.0 / 9.0).sqrt());
    assert!(counts.iter().all(|count: &f64| (count - mean).abs() < 5.0 * deviation), "{counts:?}");
}

#[test]
fn round_robin_takes_whole_rounds_until_the_shortest_set_ends() {
    for (sets, rounds) in [(three().to_vec(), 1), (vec![distinct(15), distinct(9)], 3)] {
        let sampler = sampler(&sets, round_robin(json!({})));
        assert_eq!(sampler.batches_per_epoch(), rounds * sets.len());
        let epoch = sampler.epoch(0).unwrap();
        let expected: Vec<usize> = (0..rounds).flat_map(|_| 0..sets.len()).collect();
        assert_eq!(turns(&epoch), expected);
    }
}

#[test]
fn the_batches_of_a_set_do_not_depend_on_other_sets() {
    for options in [json!({}), round_robin(json!({}))] {
        let both = sampler(&[distinct(15), distinct(9)], options.clone()).epoch(2).unwrap();
        for (set, rows) in [15, 9].into_iter().enumerate() {
            let alone = sampler(&[distinct(rows)], options.clone()).epoch(2).unwrap();
            let batches = of_set(&both, set);
            assert_eq!(batches, of_set(&alone, 0)[..batches.len()], "{options} {set}");
        }
    }
}

#[test]
fn the_order_of_sets_does_not_matter_for_one_set() {
    let rows = [distinct(15)];
    let proportional = sampler(&rows, json!({})).epoch(1).unwrap();
    assert_eq!(sampler(&rows, round_robin(json!({}))).epoch(1).unwrap(), proportional);
    assert_eq!(turns(&proportional), [0; 4]);
}

#[test]
fn the_order_is_a_function_of_seed_plus_epoch() {
    let epoch = |options: Value, epoch| sampler(&three(), options).epoch(epoch).unwrap();
    let seed = |seed: u64| json!({"seed": seed});
    assert_eq!(epoch(seed(42), 3), epoch(seed(42), 3));
    assert_eq!(epoch(seed(42), 3), epoch(seed(44), 1));
    assert_ne!(turns(&epoch(seed(42), 0)), turns(&epoch(seed(42), 1)));
    assert_ne!(turns(&epoch(seed(42), 0)), turns(&epoch(seed(7), 0)));
    let data_seed = json!({"seed": 42, "data_seed": 7});
    assert_eq!(epoch(data_seed, 0), epoch(seed(7), 0), "data_seed overrides seed");
    let rounds = |seed: u64| epoch(round_robin(json!({"seed": seed})), 0);
    assert_eq!(turns(&rounds(1)), turns(&rounds(2)));
    assert_ne!(rounds(1), rounds(2), "the rows are not shuffled");
}

/// The error for the set of three rows.
const NO_FULL_BATCH: &str =
    "set 1: no full batch: 3 rows, batch size 4, dataloader_drop_last = true";

#[test]
fn drop_last_drops_the_short_batch_of_every_set() {
    let drop = json!({"dataloader_drop_last": true});
    let whole = sampler(&three(), drop.clone());
    assert_eq!(whole.batches_per_epoch(), 3 + 1 + 1);
    let epoch = whole.epoch(0).unwrap();
    assert_eq!(epoch.batches.len(), 5);
    assert!(epoch.batches.iter().all(|batch| batch.rows.len() == 4));
    let rounds = sampler(&[distinct(15), distinct(7)], round_robin(drop.clone()));
    assert_eq!(rounds.batches_per_epoch(), 2);
    assert_eq!(turns(&rounds.epoch(0).unwrap()), [0, 1]);
    // A set without a full batch contributes no batch. Round robin, which needs one from every set,
    // has no batches at all.
    let without = [distinct(15), distinct(3)];
    let epoch = sampler(&without, drop.clone()).epoch(0).unwrap();
    assert_eq!(turns(&epoch), [0, 0, 0]);
    let warning = format!("{NO_FULL_BATCH}; the run does not train on it");
    assert_eq!(epoch.warnings, [warning]);
    let text = message(sampler(&without, round_robin(drop)).epoch(0));
    assert_eq!(text, NO_FULL_BATCH);
}

#[test]
fn no_duplicates_applies_to_each_set_and_its_warnings_are_passed_on() {
    let same = table(vec![("query", vec![text("same"); 8])]);
    let options = json!({"batch_sampler": "no_duplicates", "dataloader_drop_last": true});
    let epoch = sampler(&[distinct(8), same.clone()], options).epoch(0).unwrap();
    assert_eq!(turns(&epoch), [0, 0]);
    let [few, none] = &epoch.warnings[..] else { panic!("{:?}", epoch.warnings) };
    assert!(few.starts_with("set 1: NO_DUPLICATES found only 0 of the 2 batches"), "{few}");
    assert!(none.contains("8 rows") && none.contains("too few distinct values"), "{none}");
    // The second set has eight batches of one row, of which an epoch uses two.
    let options = json!({"batch_sampler": "no_duplicates"});
    let epoch = sampler(&[distinct(8), same], options).epoch(0).unwrap();
    assert_eq!((of_set(&epoch, 0).len(), of_set(&epoch, 1).len()), (2, 2));
    assert!(
        epoch.warnings[0].starts_with("set 1: NO_DUPLICATES made 6 batches more"),
        "{:?}",
        epoch.warnings
    );
}

#[test]
fn a_batch_has_the_index_of_its_set_and_its_rows() {
    let epoch = sampler(&[distinct(1), distinct(1)], round_robin(json!({}))).epoch(0).unwrap();
    let batch = |set| SetBatch { set, rows: vec![0] };
    assert_eq!(epoch.batches, [batch(0), batch(1)]);
}
