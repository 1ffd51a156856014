use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::net::SocketAddr;

/// Why a server could not start, or stopped without a request to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A setting of [`crate::Server`] is out of range.
    #[error("{field}: expected {expected}, got {got}")]
    Setting {
        /// Name of the field.
        field: &'static str,
        /// The accepted values.
        expected: String,
        /// The value given.
        got: String,
    },
    /// The socket could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address of [`crate::Server::address`].
        address: SocketAddr,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A thread could not be started, or the listening socket failed.
    #[error("the server failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Seconds after which a client may try again when the queue is full: most batches take less.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// The response to a request that failed: a status code and the body
/// `{"error": message, "error_type": type}`, with the types of text-embeddings-inference.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    error_type: &'static str,
    message: String,
}

impl Refusal {
    /// Status 400: no texts, or an empty text.
    pub(crate) fn empty(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "Empty", message)
    }

    /// The body of a request cannot be used.
    pub(crate) fn body(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal::new(status, "Validation", message)
    }

    /// Status 413: more texts than `max_client_batch_size`.
    pub(crate) fn too_many(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "Validation", message)
    }

    /// Status 422: a field has a value of the wrong type or out of range.
    pub(crate) fn validation(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "Validation", message)
    }

    /// Status 422: the tokenizer returned an error.
    pub(crate) fn tokenizer(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "Tokenizer", message)
    }

    /// Status 424: the model does not support the route, or failed.
    pub(crate) fn backend(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::FAILED_DEPENDENCY, "Backend", message)
    }

    /// Status 429: the texts would exceed `max_concurrent_requests`.
    pub(crate) fn overloaded() -> Refusal {
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, "Overloaded", "Model is overloaded")
    }

    /// Status 503: the engine thread has ended.
    pub(crate) fn unhealthy() -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Unhealthy", "the engine thread has ended")
    }

    fn new(status: StatusCode, error_type: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, error_type, message: message.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": self.message, "error_type": self.error_type});
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
        }
        response
    }
}
