//! What evaluators hand over besides metrics.

use crate::support::{TableEncoder, by_angle, strings};
use indexmap::IndexMap;
use rankforge::evaluation::{
    BinaryClassificationEvaluator, Candidates, DetailCollector, EvaluationContext,
    EvaluationDetails, Evaluator, InformationRetrievalEvaluator, RerankingEvaluator,
    RerankingSample, TripletEvaluator,
};
use std::collections::HashSet;

/// The details of an evaluation after an earlier one.
fn details(
    evaluator: &dyn Evaluator<TableEncoder>,
    model: &TableEncoder,
    when: &str,
    earlier: Vec<EvaluationDetails>,
) -> Vec<EvaluationDetails> {
    let collector = DetailCollector::new(when, earlier);
    let context = EvaluationContext { details: Some(&collector), ..EvaluationContext::default() };
    evaluator.evaluate(model, &context).unwrap();
    collector.into_details()
}

/// Models that find "wrong" nearer to "query" than "right", and the reverse.
fn before_and_after() -> [TableEncoder; 2] {
    [(20.0, 60.0), (60.0, 20.0)].map(|(wrong, right)| {
        by_angle(&[("query", 0.0), ("wrong", wrong), ("right", right), ("far", 120.0)])
    })
}

fn assert_gained(evaluator: &dyn Evaluator<TableEncoder>, id: &str) {
    let [before, after] = before_and_after();
    let first = details(evaluator, &before, "step 0", Vec::new());
    assert_eq!((first.len(), &first[0].changes), (1, &None));
    let second = details(evaluator, &after, "step 9", first);
    let change = second[0].changes.as_ref().unwrap();
    assert_eq!((&*change.before, &*change.after), ("step 0", "model"));
    assert_eq!((change.gained, change.lost, change.unchanged), (1, 0, 0));
    let query = &change.most_gained[0];
    assert_eq!((&*query.text, query.after), ("query", 1.0));
    let best = &query.passages[0];
    assert_eq!((&*best.id, &*best.text, best.grade), (id, "right", 1.0));
    assert_eq!((best.rank_before, best.rank_after), (Some(2), Some(1)));
    let scores = second[0].scores.as_ref().unwrap();
    let sums = [&scores.positives, &scores.negatives].map(|bins| bins.iter().sum::<u64>());
    assert_eq!(sums, [1, 2]);
}

#[test]
fn evaluators_of_rankings_compare_with_the_earlier_evaluation() {
    let owned = |text: &str| text.to_owned();
    let queries = IndexMap::from([(owned("q"), owned("query"))]);
    let corpus =
        [("a", "wrong"), ("b", "right"), ("c", "far")].map(|(id, text)| (owned(id), owned(text)));
    let relevant = IndexMap::from([(owned("q"), HashSet::from([owned("b")]))]);
    let corpus = IndexMap::from(corpus);
    let retrieval = InformationRetrievalEvaluator::new(queries, corpus, &relevant, "nq").unwrap();
    assert_gained(&retrieval, "b");
    let samples = vec![RerankingSample {
        query: owned("query"),
        positive: strings(&["right"]),
        candidates: Candidates::Negative(strings(&["wrong", "far"])),
    }];
    assert_gained(&RerankingEvaluator::new(samples, "nq").unwrap(), "");
}

#[test]
fn evaluators_of_pairs_hand_over_their_scores() {
    let (anchors, positives) = (strings(&["query"; 2]), strings(&["right"; 2]));
    let negatives = strings(&["wrong", "far"]);
    let triplets =
        TripletEvaluator::new(anchors.clone(), positives.clone(), negatives, "t").unwrap();
    let labels = vec![true, false];
    let pairs =
        BinaryClassificationEvaluator::new(anchors, strings(&["right", "far"]), labels, "p")
            .unwrap();
    let evaluators: [(&dyn Evaluator<TableEncoder>, [u64; 2]); 2] =
        [(&triplets, [2, 2]), (&pairs, [1, 1])];
    let [_, model] = before_and_after();
    for (evaluator, expected) in evaluators {
        let found = details(evaluator, &model, "step 1", Vec::new());
        let scores = found[0].scores.as_ref().unwrap();
        let sums = [&scores.positives, &scores.negatives].map(|bins| bins.iter().sum::<u64>());
        assert_eq!((sums, &*found[0].name), (expected, evaluator.name()));
    }
}
