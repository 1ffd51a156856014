use crate::{
    TEXTS, answer, assert_close, cross_encoder, get, numbers, post, start, unlimited_dual_encoder,
};
use axum::http::StatusCode;
use rankforge_serve::{Server, Service};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

fn body(index: usize) -> Value {
    let texts: Vec<&str> = (0..1 + index % 4).map(|text| TEXTS[(index + text) % 6]).collect();
    let pairs: Vec<_> = texts.iter().map(|text| [TEXTS[index % 6], *text]).collect();
    json!({"inputs": pairs, "raw_scores": true})
}

fn scores(answer: &Value) -> Vec<f32> {
    let rows = answer.as_array().unwrap();
    rows.iter().flat_map(|row| numbers(&row[0]["score"])).collect()
}

#[expect(clippy::disallowed_methods, reason = "requests at the same time")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_get_their_own_scores() {
    let alone =
        start(cross_encoder(1), Server { max_batch_requests: Some(1), ..Server::default() });
    let together = start(cross_encoder(1), Server { max_batch_tokens: 100, ..Server::default() });
    let requests: Vec<_> = (0..40)
        .map(|index| {
            let service = together.clone();
            tokio::spawn(async move { answer(&service, "/predict", body(index)).await })
        })
        .collect();
    for (index, request) in requests.into_iter().enumerate() {
        let expected = scores(&answer(&alone, "/predict", body(index)).await);
        assert_close(&scores(&request.await.unwrap()), &expected);
    }
}

#[tokio::test]
async fn a_full_queue_is_status_429_until_its_texts_are_done() {
    let server =
        Server { max_concurrent_requests: 4, max_client_batch_size: 4, ..Server::default() };
    let service = start(cross_encoder(1), server);
    // The runtime has one thread, so the first request holds all four slots of the queue before the
    // second one starts.
    let (first, second) =
        tokio::join!(post(&service, "/predict", body(3)), post(&service, "/predict", body(0)));
    assert_eq!(first.0, StatusCode::OK);
    assert_eq!(second.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(second.1, json!({"error": "Model is overloaded", "error_type": "Overloaded"}));
    assert_eq!(post(&service, "/predict", body(3)).await.0, StatusCode::OK);
}

/// Texts of 3.8 MB in all, none of which can be cut: each takes many milliseconds to tokenise.
fn slow_body() -> Value {
    let texts = (0..32).map(|length| "\u{e9}".repeat(60_000 + length));
    json!({"inputs": texts.collect::<Vec<_>>()})
}

#[test]
fn a_slow_request_does_not_hold_up_others_and_ends_with_its_client() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // One thread tokenises, as on a machine with two cores.
    let runtime = runtime.max_blocking_threads(1).enable_time().build().unwrap();
    runtime.block_on(async {
        let limits = Server { max_concurrent_requests: 33, ..Server::default() };
        let service = start(unlimited_dual_encoder(), Server { payload_limit: 1 << 22, ..limits });
        let quick = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            answer(&service, "/embed", json!({"inputs": "salt"})).await
        };
        // The slow request is dropped when the other one is answered.
        tokio::select! {
            biased;
            answer = quick => assert_eq!(numbers(&answer).len(), 16),
            _ = post(&service, "/embed", slow_body()) => panic!("the slow request was first"),
        }
        let texts = json!({"inputs": vec!["salt"; 32]});
        assert_eq!(post(&service, "/embed", texts).await.0, StatusCode::OK, "no slot was freed");
    });
}

#[tokio::test]
async fn a_long_query_is_tokenised_once_and_only_its_beginning() {
    let service = start(cross_encoder(1), Server::default());
    let body = |query: String| json!({"query": query, "texts": vec![TEXTS[1]; 32]});
    let start = Instant::now();
    let long = answer(&service, "/rerank", body(".".repeat(1_900_000))).await;
    // It took minutes.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let short = answer(&service, "/rerank", body(".".repeat(100))).await;
    assert_close(&numbers(&long[0]["score"]), &numbers(&short[0]["score"]));
}

#[tokio::test]
async fn memory_is_given_back_after_a_time_without_work() {
    let never = Server { release_after: Duration::MAX, ..Server::default() };
    let keeping = start(cross_encoder(1), never);
    let release_after = Duration::from_millis(200);
    let releasing = start(cross_encoder(1), Server { release_after, ..Server::default() });
    assert_eq!(releasing.working_memory_in_bytes(), 0);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let begun = Instant::now();
        answers.push(answer(&releasing, "/predict", body(3)).await);
        answer(&keeping, "/predict", body(3)).await;
        let held = releasing.working_memory_in_bytes();
        assert!(held > 0 || begun.elapsed() > release_after, "nothing was held");
        while releasing.working_memory_in_bytes() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing was given back");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(begun.elapsed() >= release_after, "given back at once");
    }
    assert_eq!(answers[0], answers[1]);
    assert!(keeping.working_memory_in_bytes() > 0, "given back before its time");
}

#[tokio::test]
async fn the_engine_ends_when_its_service_is_dropped() {
    let (service, engine) = Service::start(cross_encoder(1), &Server::default()).unwrap();
    assert_eq!(get(&service, "/health").await.0, StatusCode::OK);
    assert_eq!(post(&service, "/predict", body(2)).await.0, StatusCode::OK);
    drop(service);
    engine.join();
}
