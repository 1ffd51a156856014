//! The stages of a cascade, measured side by side.

use super::assert_metrics;
use crate::support::{message, scorer};
use rankforge::base::silent;
use rankforge::data::{Beir, load_beir};
use rankforge::evaluation::cascade::{
    CascadeOptions, CascadeReport, Collection, Neighbour, PageText, Reranker, Stage, html_report,
};
use rankforge::{Error, Metrics};
use serde_json::Value;
use std::cell::Cell;
use std::time::Duration;

/// Queries q1 and q2; documents a to e, whose texts are their ids in angle brackets.
fn collection() -> Beir {
    let mut beir = Beir::default();
    for document in ["a", "b", "c", "d", "e"] {
        beir.corpus.insert(document.to_owned(), format!("<{document}>"));
    }
    for query in ["q1", "q2"] {
        beir.queries.insert(query.to_owned(), format!("text of {query} & more"));
    }
    let judged = |ids: &[(&str, f64)]| -> Vec<(String, f64)> {
        ids.iter().map(|(id, grade)| ((*id).to_owned(), *grade)).collect()
    };
    beir.relevant.insert("q1".to_owned(), judged(&[("c", 2.0), ("a", 1.0)]));
    beir.relevant.insert("q2".to_owned(), judged(&[("e", 1.0)]));
    beir
}

/// A clock that is a second later at each reading.
fn ticking() -> impl Fn() -> Duration {
    let ticks = Cell::new(0);
    move || {
        ticks.set(ticks.get() + 1);
        Duration::from_secs(ticks.get())
    }
}

/// A first stage that finds these documents for every query, with these scores.
fn stage(
    collection: &Collection<'_>,
    name: &str,
    depth: usize,
    found: &[(u32, f32)],
) -> Result<Stage, Error> {
    let found = found.iter().map(|&(index, score)| Neighbour { index, score });
    let found: Vec<Neighbour> = found.collect();
    collection.retrieve(name, depth, &ticking(), &*silent(), |_, wanted| {
        Ok::<_, Error>(found.iter().take(wanted).copied().collect())
    })
}

fn documents(ranking: &[Neighbour]) -> Vec<u32> {
    ranking.iter().map(|candidate| candidate.index).collect()
}

const FOUND: [(u32, f32); 4] = [(0, 0.9), (1, 0.8), (2, 0.8), (3, 0.1)];

#[test]
fn metrics_of_rankings_are_those_of_trec_eval() {
    let golden: Value =
        serde_json::from_str(include_str!("../../fixtures/beir_metrics.json")).unwrap();
    let mut beir = Beir::default();
    for id in golden["documents"].as_array().unwrap() {
        let id = id.as_str().unwrap().to_owned();
        beir.corpus.insert(id.clone(), id);
    }
    for (query, judged) in golden["judged"].as_object().unwrap() {
        let judged = judged.as_object().unwrap().iter();
        let judged = judged.map(|(id, grade)| (id.clone(), grade.as_f64().unwrap()));
        beir.queries.insert(query.clone(), query.clone());
        beir.relevant.insert(query.clone(), judged.filter(|(_, grade)| *grade > 0.0).collect());
    }
    let collection = Collection::new(&beir).unwrap();
    let depth = golden["depth"].as_u64().unwrap() as usize;
    let search = |query: &str, _| {
        let ranking = golden["rankings"][query].as_array().unwrap().iter();
        let index = |id: &Value| beir.corpus.get_index_of(id.as_str().unwrap()).unwrap() as u32;
        // Equal scores: the order is that of the ranking all the same.
        Ok::<_, Error>(ranking.map(|id| Neighbour { index: index(id), score: 1.0 }).collect())
    };
    let stage = collection.retrieve("golden", depth, &ticking(), &*silent(), search).unwrap();
    let at_k = golden["at_k"].as_u64().unwrap() as usize;
    let options = CascadeOptions { at_k, depths: vec![depth], ..CascadeOptions::default() };
    let report = CascadeReport::new(&collection, &[stage], &options).unwrap();
    let expected = golden["metrics"].as_object().unwrap().iter();
    let expected: Vec<(&str, f64)> = expected
        .filter(|(key, _)| *key != "accuracy@1")
        .map(|(key, value)| (key.as_str(), value.as_f64().unwrap()))
        .collect();
    assert_metrics(&report.stages[0].metrics, &expected);
}

#[test]
fn a_reranker_orders_the_best_documents_and_the_others_follow() {
    let beir = collection();
    let collection = Collection::new(&beir).unwrap();
    let first = stage(&collection, "first", 4, &FOUND).unwrap();
    assert_eq!(first.name(), "first");
    assert_eq!(first.seconds, [1.0, 1.0]);
    // Prefers later letters, and cannot tell a from b.
    let model = scorer(|_, text| match text {
        "<a>" | "<b>" => -5.0,
        "<c>" => -2.0,
        _ => -1.0,
    });
    let mut reranker = Reranker::new(&model, &collection, &[2, 3], 32).unwrap();
    let clock = ticking();
    let reranked = reranker.rerank(&first, &clock, &*silent()).unwrap();
    assert_eq!(reranked.len(), 2);
    assert_eq!(reranked[0].name(), "first+rerank@2");
    assert_eq!(documents(&reranked[0].rankings[1]), [0, 1, 2, 3]);
    assert_eq!(documents(&reranked[1].rankings[0]), [2, 0, 1, 3]);
    // A second for the first two documents, another one for the third.
    assert_eq!(reranked[0].seconds, [2.0, 2.0]);
    assert_eq!(reranked[1].seconds, [3.0, 3.0]);
    // Of the documents of another first stage, only d is new; the others take what they took.
    let other = stage(&collection, "other", 3, &[(3, 3.0), (0, 2.0), (2, 1.0)]).unwrap();
    let again = reranker.rerank(&other, &clock, &*silent()).unwrap();
    assert_eq!(documents(&again[1].rankings[0]), [3, 2, 0]);
    assert_eq!(again[0].seconds, [2.5, 2.5]);
    assert_eq!(again[1].seconds, [3.5, 3.5]);
}

fn stages(collection: &Collection<'_>) -> Vec<Stage> {
    let first = stage(collection, "first", 4, &FOUND).unwrap();
    let model = scorer(|_, text| if text == "<c>" { 3.0 } else { 0.5 });
    let mut reranker = Reranker::new(&model, collection, &[2, 3], 32).unwrap();
    let reranked = reranker.rerank(&first, &ticking(), &*silent()).unwrap();
    let second = stage(collection, "second", 4, &[(4, 2.0), (0, 1.0)]).unwrap();
    [vec![first], reranked, vec![second]].concat()
}

fn report(collection: &Collection<'_>) -> CascadeReport {
    let options = CascadeOptions { depths: vec![2, 4], ..CascadeOptions::default() };
    CascadeReport::new(collection, &stages(collection), &options).unwrap()
}

#[test]
fn the_report_compares_stages_query_by_query() {
    let mut beir = collection();
    beir.unjudged = 7;
    beir.relevant["q2"].push(("gone".to_owned(), 1.0));
    beir.unknown.documents = 1;
    beir.unknown.document_judgements = 1;
    let report = report(&Collection::new(&beir).unwrap());
    assert_eq!(report.metrics, ["ndcg@10", "mrr@10", "map@4", "recall@2", "recall@4"]);
    let second = 1.0 / 3f64.log2();
    // q1 finds a (grade 1) first and c (grade 2) third; q2 nothing.
    let ideal = 2.0 + second;
    let expected = [
        ("ndcg@10", (1.0 + 2.0 * 0.5) / ideal / 2.0),
        ("mrr@10", 0.5),
        ("map@4", (1.0 + 2.0 / 3.0) / 2.0 / 2.0),
        ("recall@2", 0.25),
        ("recall@4", 0.5),
    ];
    assert_metrics(&report.stages[0].metrics, &expected);
    let perfect: Metrics = report.stages[2].metrics.clone();
    assert_eq!(perfect.get("ndcg@10"), Some(0.5));
    // e is found first, and `gone` is missed.
    let ndcg = 1.0 / (1.0 + second) + second / ideal;
    assert!((report.stages[3].metrics.get("ndcg@10").unwrap() - ndcg / 2.0).abs() < 1e-12);
    let pairs: Vec<(&str, &str)> = report
        .differences
        .iter()
        .map(|difference| (difference.stage.as_str(), difference.against.as_str()))
        .collect();
    let expected = [
        ("first+rerank@2", "first"),
        ("first+rerank@3", "first"),
        ("first+rerank@3", "first+rerank@2"),
        ("second", "first"),
    ];
    assert_eq!(pairs, expected);
    // Two queries: one gains, the other does not; so the interval goes from none to the gain.
    let gain = report.differences[1].metrics["mrr@10"];
    assert_eq!((gain.difference, gain.low, gain.high), (0.0, 0.0, 0.0));
    let gain = report.differences[1].metrics["ndcg@10"];
    assert!(gain.difference > 0.0 && gain.low == 0.0 && !gain.is_clear(), "{gain:?}");
    assert!((gain.high - 2.0 * gain.difference).abs() < 1e-12, "{gain:?}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["queries_without_judgements"], 7);
    assert_eq!(json["missing_documents"], 1);
    assert_eq!(json["bootstrap"]["resamples"], 10_000);
    assert_eq!(json["stages"][1]["seconds_per_query"]["p95"], 2.0);

    let change = &report.changes[0];
    assert_eq!((change.before.as_str(), change.after.as_str()), ("first", "first+rerank@3"));
    assert_eq!((change.gained, change.lost, change.unchanged), (1, 0, 1));
    let passages = &change.most_gained[0].passages;
    assert_eq!(passages[0].id, "c");
    assert_eq!((passages[0].rank_before, passages[0].rank_after), (Some(3), Some(1)));
    assert_eq!(passages.len(), 3, "the best three before are the best three after");
}

#[test]
fn the_page_escapes_texts_marks_relevant_passages_and_needs_no_other_file() {
    let beir = collection();
    let mut text = PageText { title: "a < b".to_owned(), ..PageText::default() };
    let setting = [("model".to_owned(), "<script>alert(1)</script>".to_owned())];
    text.settings.insert("reranker".to_owned(), setting.into_iter().collect());
    let page = html_report(&report(&Collection::new(&beir).unwrap()), &text).unwrap();
    for part in [
        "<title>a &lt; b</title>",
        "&lt;script&gt;",
        "text of q1 &amp; more",
        "&lt;c&gt;</li>",
        "relevant, grade 2",
        "<svg ",
        "time per query",
        "10000 resamples",
        "first+rerank@3",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    for part in ["<script", "<link", "src=", "href=", "@import", "NaN", "inf"] {
        assert!(!page.contains(part), "{part} is in {page}");
    }
    let links = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!links.contains("://"), "{page}");
}

#[test]
fn a_stage_has_ids_and_scores_for_a_run_file() {
    let beir = collection();
    let collection = Collection::new(&beir).unwrap();
    collection.check_run_ids().unwrap();
    let ranking = [("c", 3.0), ("a", 0.5), ("b", 0.5), ("d", 0.1)];
    let ranking: Vec<(String, f32)> =
        ranking.iter().map(|(id, score)| ((*id).to_owned(), *score)).collect();
    let expected = ["q1", "q2"].map(|query| (query.to_owned(), ranking.clone()));
    assert_eq!(stages(&collection)[2].by_id(&collection), expected);

    let mut spaced = beir.clone();
    spaced.corpus.insert("a b".to_owned(), String::new());
    let refused = message(Collection::new(&spaced).unwrap().check_run_ids());
    assert!(refused.contains("document") && refused.contains("\"a b\""), "{refused}");
    let mut empty = beir.clone();
    empty.queries.insert(String::new(), String::new());
    let refused = message(Collection::new(&empty).unwrap().check_run_ids());
    assert!(refused.contains("query"), "{refused}");
}

#[test]
fn a_query_does_not_find_the_document_with_its_own_id() {
    let mut beir = collection();
    beir.corpus.insert("q2".to_owned(), "itself".to_owned());
    let collection = Collection::new(&beir).unwrap();
    let found = stage(&collection, "first", 2, &[(5, 1.0), (0, 0.5), (1, 0.25)]).unwrap();
    assert_eq!(documents(&found.rankings[0]), [5, 0]);
    assert_eq!(documents(&found.rankings[1]), [0, 1], "a full depth is left");
}

#[test]
fn what_is_no_ranking_of_the_corpus_is_refused() {
    let beir = collection();
    let collection = Collection::new(&beir).unwrap();
    for (found, part) in [
        (&[(5, 1.0)][..], "got index 5"),
        (&[(0, f32::NAN)], "finite scores, got NaN"),
        (&[(0, 1.0), (1, 2.0)], "descending"),
        (&[(3, 1.0), (3, 1.0)], "document d twice"),
    ] {
        let refused = message(stage(&collection, "odd", 4, found));
        assert!(refused.contains("odd") && refused.contains("q1"), "{refused}");
        assert!(refused.contains(part), "{part} is not in {refused}");
    }
    assert!(message(stage(&collection, "first", 0, &FOUND)).contains("depth"));
    let model = scorer(|_, _| 0.0);
    for depths in [&[][..], &[0, 1], &[3, 3], &[3, 2]] {
        let refused = message(Reranker::new(&model, &collection, depths, 32).map(|_| ()));
        assert!(refused.contains("depth"), "{refused}");
    }
    assert!(message(Collection::new(&Beir::default()).map(|_| ())).contains("0 and 0"));
    let options = |at_k, depths: &[usize]| CascadeOptions {
        at_k,
        depths: depths.to_vec(),
        ..CascadeOptions::default()
    };
    let refused = |stages: &[Stage], options: CascadeOptions| {
        message(CascadeReport::new(&collection, stages, &options).map(|_| ()))
    };
    let stages = stages(&collection);
    assert!(refused(&stages, options(0, &[2])).contains("at_k"));
    assert!(refused(&stages, options(1, &[])).contains("depths"));
    assert!(refused(&[], options(1, &[2])).contains("stages"));
}

#[test]
fn queries_without_judgements_are_counted_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("corpus.jsonl", "{\"_id\": \"a\", \"text\": \"one\"}\n");
    let query = |id: &str| format!("{{\"_id\": \"{id}\", \"text\": \"query\"}}\n");
    write("queries.jsonl", &["q1", "q2", "q3"].map(query).concat());
    std::fs::create_dir(folder.path().join("qrels")).unwrap();
    write("qrels/test.tsv", "q1\ta\t0\nq2\ta\t1\n");
    let beir = load_beir(folder.path(), None).unwrap();
    let collection = Collection::new(&beir).unwrap();
    let stages = [stage(&collection, "first", 1, &[(0, 1.0)]).unwrap()];
    let report = CascadeReport::new(&collection, &stages, &CascadeOptions::default()).unwrap();
    assert_eq!((report.queries, report.queries_without_judgements), (1, 2));
    assert_eq!(report.stages[0].metrics.get("ndcg@10"), Some(1.0));
}
