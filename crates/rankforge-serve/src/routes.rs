use crate::body::{Body, guard_body};
use crate::error::Refusal;
use crate::inputs::{self, TruncationDirection};
use crate::served_model::ServedModel;
use crate::service::{ReadOptions, Service};
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::{Json, Router};
use rankforge_encoder::kernels::Precision;
use rankforge_encoder::kernels::ops::{Pooling, SMALLEST_NORM};
use rankforge_encoder::{CrossEncoder, DualEncoder};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The HTTP routes of a service: `/health`, `/info`, `/rerank`, `/predict` and `/embed`.
pub fn router(service: Service) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/info", get(info))
        .route("/rerank", post(rerank))
        .route("/predict", post(predict))
        .route("/embed", post(embed))
        .layer(from_fn_with_state(service.clone(), guard_body))
        .with_state(service)
}

async fn health(State(service): State<Service>) -> Result<(), Refusal> {
    if service.is_healthy() { Ok(()) } else { Err(Refusal::unhealthy()) }
}

async fn info(State(service): State<Service>) -> Json<Value> {
    let server = service.server();
    let model = service.model().as_model();
    Json(json!({
        "model_id": server.model_id,
        "model_sha": null,
        "model_dtype": dtype(model.model().precision()),
        "served_model_name": server.model_id,
        "model_type": model_type(service.model()),
        "max_concurrent_requests": server.max_concurrent_requests,
        "max_input_length": model.max_length(),
        "max_batch_tokens": server.max_batch_tokens,
        "max_batch_requests": server.max_batch_requests,
        "max_client_batch_size": server.max_client_batch_size,
        "auto_truncate": server.auto_truncate,
        "tokenization_workers": server.tokenization_workers,
        "version": env!("CARGO_PKG_VERSION"),
        "sha": null,
        "docker_label": null,
    }))
}

#[derive(Deserialize)]
struct RerankRequest {
    query: String,
    texts: Vec<String>,
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: TruncationDirection,
    #[serde(default)]
    raw_scores: bool,
    #[serde(default)]
    return_text: bool,
}

#[derive(Serialize)]
struct Rank {
    index: usize,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// `POST /rerank`: the texts sorted by their score for the query, highest first. Texts with equal
/// scores keep the order of the request.
async fn rerank(
    State(service): State<Service>,
    Body(request): Body<RerankRequest>,
) -> Result<Json<Vec<Rank>>, Refusal> {
    if cross_encoder(&service)?.num_labels() != 1 {
        return Err(Refusal::backend("model is not a re-ranker model: it has several labels"));
    }
    if request.texts.is_empty() {
        return Err(Refusal::empty("`texts` cannot be empty"));
    }
    let query: Arc<str> = request.query.into();
    let pairs = request
        .texts
        .iter()
        .map(|text| inputs::pair(query.clone(), text.clone()))
        .collect::<Result<Vec<_>, _>>()?;
    let options = ReadOptions {
        truncate: request.truncate,
        truncation_direction: request.truncation_direction,
        prompt_name: None,
    };
    let rows = service.outputs(pairs, options).await?;
    let mut ranks = Vec::with_capacity(rows.len());
    for (index, (row, text)) in rows.into_iter().zip(request.texts).enumerate() {
        let score = scores(row, request.raw_scores)?[0];
        ranks.push(Rank { index, score, text: request.return_text.then_some(text) });
    }
    ranks.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(Json(ranks))
}

#[derive(Deserialize)]
struct PredictRequest {
    inputs: Value,
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: TruncationDirection,
    #[serde(default)]
    raw_scores: bool,
}

#[derive(Serialize)]
struct Prediction {
    score: f32,
    label: String,
}

/// `POST /predict`: the labels of a text or pair sorted by score, highest first. The result of a
/// batch is a list of such lists.
async fn predict(
    State(service): State<Service>,
    Body(request): Body<PredictRequest>,
) -> Result<Json<Value>, Refusal> {
    let encoder = cross_encoder(&service)?;
    let inputs = inputs::texts_or_pairs(request.inputs)?;
    let options = ReadOptions {
        truncate: request.truncate,
        truncation_direction: request.truncation_direction,
        prompt_name: None,
    };
    let mut results = Vec::new();
    for row in service.outputs(inputs.texts, options).await? {
        let scores = scores(row, request.raw_scores)?.into_iter();
        let mut predictions: Vec<Prediction> = scores
            .zip(encoder.labels())
            .map(|(score, label)| Prediction { score, label: label.clone() })
            .collect();
        predictions.sort_by(|a, b| b.score.total_cmp(&a.score));
        results.push(json!(predictions));
    }
    Ok(Json(if inputs.is_list { Value::Array(results) } else { results.swap_remove(0) }))
}

#[derive(Deserialize)]
struct EmbedRequest {
    inputs: Value,
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: TruncationDirection,
    prompt_name: Option<String>,
    #[serde(default = "default_true")]
    normalize: bool,
    dimensions: Option<usize>,
}

fn default_true() -> bool {
    true
}

/// `POST /embed`: one embedding per text, truncated to `dimensions` and then normalised.
async fn embed(
    State(service): State<Service>,
    Body(request): Body<EmbedRequest>,
) -> Result<Json<Vec<Vec<f32>>>, Refusal> {
    let encoder = dual_encoder(&service)?;
    let dimension = request.dimensions.unwrap_or(encoder.dimension());
    if dimension == 0 || dimension > encoder.dimension() {
        let largest = encoder.dimension();
        let message = format!("`dimensions`: expected 1 to {largest}, got {dimension}");
        return Err(Refusal::validation(message));
    }
    let inputs = inputs::single_texts(request.inputs)?;
    let options = ReadOptions {
        truncate: request.truncate,
        truncation_direction: request.truncation_direction,
        prompt_name: request.prompt_name,
    };
    let mut embeddings = service.outputs(inputs.texts, options).await?;
    for embedding in &mut embeddings {
        embedding.truncate(dimension);
        if request.normalize {
            normalize(embedding);
        }
        check_finite(embedding)?;
    }
    Ok(Json(embeddings))
}

fn cross_encoder(service: &Service) -> Result<&CrossEncoder, Refusal> {
    match service.model() {
        ServedModel::CrossEncoder(encoder) => Ok(encoder),
        ServedModel::DualEncoder(_) => Err(Refusal::backend("model is not a re-ranker model")),
    }
}

fn dual_encoder(service: &Service) -> Result<&DualEncoder, Refusal> {
    match service.model() {
        ServedModel::DualEncoder(encoder) => Ok(encoder),
        ServedModel::CrossEncoder(_) => Err(Refusal::backend("model is not an embedding model")),
    }
}

/// The name that text-embeddings-inference gives a precision in `/info`.
fn dtype(precision: Precision) -> &'static str {
    match precision {
        Precision::Float32 => "float32",
        Precision::BFloat16 => "bfloat16",
        Precision::Float16 => "float16",
    }
}

/// The field `model_type` of `/info`.
fn model_type(model: &ServedModel) -> Value {
    match model {
        ServedModel::CrossEncoder(encoder) => {
            let labels = encoder.labels().iter().enumerate();
            let id2label: Map<String, Value> =
                labels.clone().map(|(id, label)| (id.to_string(), json!(label))).collect();
            let label2id: Map<String, Value> =
                labels.map(|(id, label)| (label.clone(), json!(id))).collect();
            let kind = if encoder.num_labels() == 1 { "reranker" } else { "classifier" };
            json!({kind: {"id2label": id2label, "label2id": label2id}})
        }
        ServedModel::DualEncoder(encoder) => {
            let pooling = match encoder.pooling() {
                [Pooling::Cls] => "cls",
                [Pooling::LastToken] => "last-token",
                [Pooling::Max] => "max",
                [Pooling::MeanSqrtLen] => "mean-sqrt-len",
                [Pooling::WeightedMean] => "weighted-mean",
                [Pooling::Mean] => "mean",
                _ => "several",
            };
            json!({"embedding": {"pooling": pooling}})
        }
    }
}

/// The scores of one output row: the sigmoid of a single logit, the softmax of several, or the
/// logits themselves if `raw`.
fn scores(mut logits: Vec<f32>, raw: bool) -> Result<Vec<f32>, Refusal> {
    check_finite(&logits)?;
    match logits.as_mut_slice() {
        _ if raw => {}
        [logit] => *logit = 1.0 / (1.0 + (-*logit).exp()),
        logits => {
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            logits.iter_mut().for_each(|logit| *logit = (*logit - largest).exp());
            let sum: f32 = logits.iter().sum();
            logits.iter_mut().for_each(|logit| *logit /= sum);
        }
    }
    Ok(logits)
}

/// Refuses NaN and infinities: JSON cannot represent them, and they mean that the weights are
/// unusable.
fn check_finite(row: &[f32]) -> Result<(), Refusal> {
    match row.iter().find(|value| !value.is_finite()) {
        Some(value) => {
            Err(Refusal::backend(format!("expected finite outputs, the model gave {value}")))
        }
        None => Ok(()),
    }
}

/// Divides a vector by its Euclidean norm, or by [`SMALLEST_NORM`] if the norm is smaller, as
/// PyTorch's `normalize` does; so a vector of zeros is unchanged.
fn normalize(row: &mut [f32]) {
    let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt().max(SMALLEST_NORM);
    row.iter_mut().for_each(|value| *value /= norm);
}
