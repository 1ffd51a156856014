use crate::{TEXTS, answer, assert_close, cross_encoder, dual_encoder, get, numbers, start};
use axum::http::StatusCode;
use rankforge_encoder::{EncodeOptions, OutputActivation, PredictOptions};
use rankforge_serve::Server;
use serde_json::{Value, json};

const QUERY: &str = "which strings are struck";

fn predicted(activation: OutputActivation, num_labels: usize) -> Vec<f32> {
    let pairs: Vec<(&str, &str)> = TEXTS.iter().map(|text| (QUERY, *text)).collect();
    let options = PredictOptions { activation_fn: Some(activation), ..PredictOptions::default() };
    cross_encoder(num_labels).predict_with(&pairs, &options).unwrap().values
}

#[tokio::test]
async fn health_has_no_body_and_info_describes_the_model() {
    let server =
        Server { model_id: "tiny".into(), max_batch_requests: Some(4), ..Server::default() };
    let service = start(cross_encoder(1), server);
    assert_eq!(get(&service, "/health").await, (StatusCode::OK, Value::Null));
    let (status, info) = get(&service, "/info").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(info["model_id"], "tiny");
    assert_eq!(info["max_input_length"], 24);
    assert_eq!(info["max_client_batch_size"], 32);
    assert_eq!(info["max_batch_requests"], 4);
    let labels = json!({"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}});
    assert_eq!(info["model_type"], json!({"reranker": labels}));

    let (_, info) = get(&start(cross_encoder(3), Server::default()), "/info").await;
    assert_eq!(info["model_type"]["classifier"]["id2label"]["2"], "LABEL_2");
    let (_, info) = get(&start(dual_encoder(), Server::default()), "/info").await;
    assert_eq!(info["model_dtype"], "float32");
    assert_eq!(info["model_type"], json!({"embedding": {"pooling": "mean"}}));
}

#[tokio::test]
async fn rerank_sorts_texts_by_the_scores_of_the_encoder() {
    let service = start(cross_encoder(1), Server::default());
    for (raw, activation) in
        [(false, OutputActivation::Sigmoid), (true, OutputActivation::Identity)]
    {
        let body = json!({"query": QUERY, "texts": TEXTS, "raw_scores": raw, "return_text": true});
        let ranks = answer(&service, "/rerank", body).await;
        let ranks = ranks.as_array().unwrap();
        let expected = predicted(activation, 1);
        let index = |rank: &Value| rank["index"].as_u64().unwrap() as usize;
        let mut order: Vec<usize> = (0..TEXTS.len()).collect();
        order.sort_by(|&a, &b| expected[b].total_cmp(&expected[a]));
        assert_eq!(ranks.iter().map(index).collect::<Vec<_>>(), order);
        for rank in ranks {
            assert_eq!(rank["text"], TEXTS[index(rank)]);
            assert_close(&numbers(&rank["score"]), &[expected[index(rank)]]);
        }
        let distinct = expected.iter().any(|score| (score - expected[0]).abs() > 1e-3);
        assert!(distinct, "scores {expected:?} are too alike to show an order");
    }
    let ranks = answer(&service, "/rerank", json!({"query": "a", "texts": ["b"]})).await;
    assert!(ranks[0].get("text").is_none());
}

#[tokio::test]
async fn predict_returns_a_list_of_lists_for_a_batch() {
    let service = start(cross_encoder(3), Server::default());
    let raw = predicted(OutputActivation::Identity, 3);
    let one = answer(&service, "/predict", json!({"inputs": [QUERY, TEXTS[0]]})).await;
    let batch = json!({"inputs": [[QUERY, TEXTS[0]], [QUERY, TEXTS[1]]], "raw_scores": true});
    let batch = answer(&service, "/predict", batch).await;
    let by_label = |predictions: &Value| -> Vec<f32> {
        let find = |label: &str| {
            let found = predictions.as_array().unwrap().iter().find(|one| one["label"] == label);
            found.unwrap()["score"].as_f64().unwrap() as f32
        };
        ["LABEL_0", "LABEL_1", "LABEL_2"].map(find).to_vec()
    };
    assert_close(&by_label(&batch[0]), &raw[..3]);
    assert_close(&by_label(&batch[1]), &raw[3..6]);
    let exponentials: Vec<f32> = raw[..3].iter().map(|logit| logit.exp()).collect();
    let softmax: Vec<f32> =
        exponentials.iter().map(|one| one / exponentials.iter().sum::<f32>()).collect();
    assert_close(&by_label(&one), &softmax);
    let scores = [0, 1, 2].map(|index| one[index]["score"].as_f64().unwrap());
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");

    let single = answer(&service, "/predict", json!({"inputs": TEXTS[0]})).await;
    assert_eq!(single, answer(&service, "/predict", json!({"inputs": [TEXTS[0]]})).await);
    assert_ne!(by_label(&single), by_label(&one));
}

#[tokio::test]
async fn embed_returns_the_embeddings_of_the_encoder() {
    let service = start(dual_encoder(), Server::default());
    let encode = |normalize_embeddings, truncate_dim| {
        let options =
            EncodeOptions { normalize_embeddings, truncate_dim, ..EncodeOptions::default() };
        dual_encoder().encode_with(&TEXTS, &options).unwrap().values
    };
    for (fields, expected) in [
        (json!({}), encode(true, None)),
        (json!({"normalize": false}), encode(false, None)),
        (json!({"dimensions": 5}), encode(true, Some(5))),
        (json!({"dimensions": 5, "normalize": false, "truncate": true}), encode(false, Some(5))),
        (json!({"prompt_name": "query", "truncation_direction": "right"}), encode(true, None)),
    ] {
        let mut body = fields;
        body["inputs"] = json!(TEXTS);
        let embeddings = answer(&service, "/embed", body).await;
        assert_eq!(embeddings.as_array().unwrap().len(), TEXTS.len());
        assert_close(&numbers(&embeddings), &expected);
    }
    let single = answer(&service, "/embed", json!({"inputs": TEXTS[0]})).await;
    assert_close(&numbers(&single[0]), &encode(true, None)[..16]);
}
