//! Integration tests of rankforge-serve.

mod batching;
mod refusals;
mod routes;
mod socket;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use rankforge_encoder::kernels::Device;
use rankforge_encoder::{CrossEncoder, DualEncoder, LoadOptions, Tokenizer, train_word_piece};
use rankforge_serve::{ServedModel, Server, Service, router};
use serde_json::{Value, json};
use tower::ServiceExt;

const TEXTS: [&str; 6] = [
    "rivers carry water from the mountains to the sea",
    "the sea is salt",
    "a violin has four strings",
    "the strings of a piano are struck by hammers",
    "bread rises because of yeast",
    "salt keeps bread from going stale and the sea from freezing over in winter near the mountains",
];

fn tokenizer() -> Tokenizer {
    let mut tokenizer = train_word_piece(&TEXTS, 200).unwrap();
    tokenizer.set_max_length(Some(24));
    tokenizer
}

/// A randomly initialised BERT. The large `initializer_range` makes the scores differ clearly.
fn cross_encoder(num_labels: usize) -> CrossEncoder {
    let tokenizer = tokenizer();
    let config = json!({
        "model_type": "bert", "vocab_size": tokenizer.vocab_size(), "hidden_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
        "max_position_embeddings": 32, "initializer_range": 0.3,
    });
    let mut options = LoadOptions::new(&Device::cpu(Some(2)).unwrap());
    options.num_labels = Some(num_labels);
    CrossEncoder::from_config(&config, tokenizer, &options).unwrap()
}

fn dual_encoder() -> DualEncoder {
    let options = LoadOptions::new(&Device::cpu(Some(2)).unwrap());
    DualEncoder::new_static(tokenizer(), 16, &options).unwrap()
}

/// As [`dual_encoder`], without a maximum length.
fn unlimited_dual_encoder() -> DualEncoder {
    let options = LoadOptions::new(&Device::cpu(Some(2)).unwrap());
    let mut tokenizer = tokenizer();
    tokenizer.set_max_length(None);
    DualEncoder::new_static(tokenizer, 16, &options).unwrap()
}

/// Starts a service. Its engine ends when the service is dropped.
fn start(model: impl Into<ServedModel>, server: Server) -> Service {
    Service::start(model, &server).unwrap().0
}

async fn send(service: &Service, request: Request<Body>) -> (StatusCode, Value) {
    let response = router(service.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap());
    assert_eq!(retry_after, (status == StatusCode::TOO_MANY_REQUESTS).then_some("1"));
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() })
}

async fn get(service: &Service, path: &str) -> (StatusCode, Value) {
    send(service, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn post(service: &Service, path: &str, body: Value) -> (StatusCode, Value) {
    let request = Request::post(path).header("content-type", "application/json");
    send(service, request.body(Body::from(body.to_string())).unwrap()).await
}

/// The body of the response to a request that must succeed.
async fn answer(service: &Service, path: &str, body: Value) -> Value {
    let (status, answer) = post(service, path, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// The numbers of arbitrarily nested lists, in order.
fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap() as f32],
    }
}

/// Asserts that two vectors are equal up to the order of floating point additions.
///
/// A text that is computed in another batch may have the additions of a product grouped
/// differently: up to 48 terms, through about ten products and norms.
#[track_caller]
fn assert_close(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    let scale = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
    let tolerance = 10.0 * 48.0 * f32::EPSILON * scale;
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= tolerance, "expected {expected}, got {got}");
    }
}
