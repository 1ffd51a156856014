use crate::{TEXTS, answer, assert_close, cross_encoder, dual_encoder, numbers, post, send, start};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use rankforge_serve::{ServeError, Server, Service};
use serde_json::{Value, json};
use std::time::Duration;

#[track_caller]
fn assert_refused((status, answer): (StatusCode, Value), code: u16, error_type: &str, part: &str) {
    assert_eq!(status.as_u16(), code, "{answer}");
    assert_eq!(answer["error_type"], error_type, "{answer}");
    let message = answer["error"].as_str().unwrap();
    assert!(message.contains(part), "expected {part:?} in: {message}");
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
}

#[tokio::test]
async fn empty_inputs_are_status_400() {
    let reranker = start(cross_encoder(1), Server::default());
    let embedder = start(dual_encoder(), Server::default());
    for body in [json!({"query": "a", "texts": []}), json!({"query": "", "texts": ["b", ""]})] {
        assert_refused(post(&reranker, "/rerank", body).await, 400, "Empty", "empty");
    }
    for inputs in [json!([]), json!(""), json!([["", ""], ["a", "b"]]), json!([[""]])] {
        let body = json!({"inputs": inputs});
        assert_refused(post(&reranker, "/predict", body).await, 400, "Empty", "empty");
    }
    for inputs in [json!([]), json!(""), json!(["a", ""])] {
        let body = json!({"inputs": inputs});
        assert_refused(post(&embedder, "/embed", body).await, 400, "Empty", "empty");
    }
}

#[tokio::test]
async fn one_text_of_a_pair_may_be_empty() {
    let service = start(cross_encoder(1), Server::default());
    let pairs = [("sea", "salt"), ("sea", ""), ("", "salt")];
    let expected = cross_encoder(1).predict(&pairs).unwrap().values;
    let inputs = pairs.map(|(first, second)| [first, second]);
    let predicted = answer(&service, "/predict", json!({"inputs": inputs})).await;
    let scores: Vec<f32> = (0..3).flat_map(|at| numbers(&predicted[at][0]["score"])).collect();
    assert_close(&scores, &expected);
    let ranks = answer(&service, "/rerank", json!({"query": "sea", "texts": ["salt", ""]})).await;
    let empty = ranks.as_array().unwrap().iter().find(|rank| rank["index"] == 1).unwrap();
    assert_close(&numbers(&empty["score"]), &expected[1..2]);
    let ranks = answer(&service, "/rerank", json!({"query": "", "texts": ["salt"]})).await;
    assert_close(&numbers(&ranks[0]["score"]), &expected[2..]);
}

#[tokio::test]
async fn too_many_texts_are_status_413() {
    let server = Server { max_client_batch_size: 3, ..Server::default() };
    let service = start(cross_encoder(1), server);
    let body = |texts: &[&str]| json!({"query": "a", "texts": texts});
    let refused = post(&service, "/rerank", body(&TEXTS[..4])).await;
    assert_refused(refused, 413, "Validation", "batch size 4 > maximum allowed batch size 3");
    assert_eq!(post(&service, "/rerank", body(&TEXTS[..3])).await.0, StatusCode::OK);
}

#[tokio::test]
async fn large_bodies_are_status_413() {
    let service = start(cross_encoder(1), Server { payload_limit: 100, ..Server::default() });
    let body = json!({"query": "a", "texts": ["x".repeat(200)]});
    assert_refused(post(&service, "/rerank", body).await, 413, "Validation", "at most 100 bytes");
}

#[tokio::test]
async fn invalid_fields_are_status_422() {
    let embedder = start(dual_encoder(), Server::default());
    for (fields, part) in [
        (json!({"inputs": "a", "dimensions": 0}), "1 to 16, got 0"),
        (json!({"inputs": "a", "dimensions": 17}), "1 to 16, got 17"),
        (json!({"inputs": "a", "prompt_name": "nobody"}), "no prompt named \"nobody\""),
        (json!({"inputs": "a", "truncation_direction": "Left"}), "truncation_direction"),
        (json!({"inputs": "a", "truncation_direction": "up"}), "truncation_direction"),
        (json!({"inputs": [1, 2]}), "input 1: expected a string (token ids are not supported)"),
        (json!({"inputs": ["a", null]}), "input 2: expected a string"),
        (json!({"inputs": {"a": 1}}), "got an object"),
        (json!({"input": "a"}), "inputs"),
    ] {
        assert_refused(post(&embedder, "/embed", fields).await, 422, "Validation", part);
    }
    let reranker = start(cross_encoder(1), Server::default());
    let three = json!({"inputs": ["a", "b", "c"]});
    assert_refused(post(&reranker, "/predict", three).await, 422, "Validation", "got 3");
    for (inputs, part) in [
        (json!([["a"], "b"]), "input 2: expected a list of one or two strings, got a string"),
        (json!([["a", "b"], ["a", "b", "c"]]), "input 2: expected a list of one or two strings"),
    ] {
        let refused = post(&reranker, "/predict", json!({"inputs": inputs})).await;
        assert_refused(refused, 422, "Validation", part);
    }
}

#[tokio::test]
async fn long_texts_are_truncated_unless_the_request_or_the_server_forbids_it() {
    let long = "bread and salt ".repeat(40);
    let body = |truncate: Value| json!({"query": "sea", "texts": [long], "truncate": truncate});
    let truncating = start(cross_encoder(1), Server::default());
    let strict = start(cross_encoder(1), Server { auto_truncate: false, ..Server::default() });
    for (service, truncate) in
        [(&truncating, json!(null)), (&truncating, json!(true)), (&strict, json!(true))]
    {
        assert_eq!(post(service, "/rerank", body(truncate)).await.0, StatusCode::OK);
    }
    for (service, truncate) in [(&truncating, json!(false)), (&strict, json!(null))] {
        let refused = post(service, "/rerank", body(truncate)).await;
        assert_refused(refused, 422, "Validation", "input 1: expected at most 24 tokens, got more");
    }
    // 250 characters for each of 24 tokens, counted before the text is tokenised.
    let body = |length: usize, truncate: bool| {
        let text = "\u{e9}".repeat(length);
        json!({"query": "sea", "texts": ["salt", text], "truncate": truncate})
    };
    assert_eq!(post(&strict, "/rerank", body(6000, false)).await.0, StatusCode::OK);
    assert_eq!(post(&strict, "/rerank", body(6001, true)).await.0, StatusCode::OK);
    let refused = post(&strict, "/rerank", body(6001, false)).await;
    assert_refused(refused, 422, "Validation", "input 2: expected at most 6000 characters");
}

#[tokio::test]
async fn a_model_of_the_other_kind_is_status_424() {
    let embedder = start(dual_encoder(), Server::default());
    let rerank = json!({"query": "a", "texts": ["b"]});
    let refused = post(&embedder, "/rerank", rerank.clone()).await;
    assert_refused(refused, 424, "Backend", "model is not a re-ranker model");
    let classifier = start(cross_encoder(3), Server::default());
    let refused = post(&classifier, "/rerank", rerank).await;
    assert_refused(refused, 424, "Backend", "model is not a re-ranker model");
    let refused = post(&classifier, "/embed", json!({"inputs": "a"})).await;
    assert_refused(refused, 424, "Backend", "model is not an embedding model");
}

#[tokio::test]
async fn malformed_bodies_get_a_json_error() {
    let service = start(cross_encoder(1), Server::default());
    let request = |kind: &str, body: &str| {
        let request = Request::post("/rerank").header("content-type", kind);
        request.body(Body::from(body.to_owned())).unwrap()
    };
    let broken = send(&service, request("application/json", "{\"query\": ")).await;
    assert_refused(broken, 400, "Validation", "JSON");
    let plain = send(&service, request("text/plain", "{}")).await;
    assert_refused(plain, 415, "Validation", "application/json");
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = |server: Server| match Service::start(dual_encoder(), &server) {
        Err(ServeError::Setting { field, .. }) => field,
        other => panic!("expected a refused setting, got {:?}", other.map(|_| ()).err()),
    };
    let server = Server::default();
    assert_eq!(refused(Server { max_batch_tokens: 0, ..server.clone() }), "max_batch_tokens");
    assert_eq!(
        refused(Server { max_batch_requests: Some(0), ..server.clone() }),
        "max_batch_requests"
    );
    assert_eq!(refused(Server { max_connections: 0, ..server.clone() }), "max_connections");
    let many = usize::MAX;
    assert_eq!(refused(Server { max_connections: many, ..server.clone() }), "max_connections");
    for client_timeout in [Duration::ZERO, Duration::MAX] {
        assert_eq!(refused(Server { client_timeout, ..server.clone() }), "client_timeout");
    }
    assert_eq!(refused(Server { max_client_batch_size: 600, ..server }), "max_client_batch_size");
}
