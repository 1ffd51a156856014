use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::net::SocketAddr;

/// Why a server does not start or stops by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A setting cannot be used.
    #[error("{field}: expected {expected}, got {got}")]
    Setting {
        /// Which setting.
        field: &'static str,
        /// What would do.
        expected: String,
        /// What came.
        got: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Threads or sockets failed.
    #[error("the server failed: {0}")]
    Io(#[from] std::io::Error),
}

/// A request that is not answered: `{"error": ..., "error_type": ...}` with a status.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    error_type: &'static str,
    message: String,
}

impl Refusal {
    /// Nothing to work on.
    pub(crate) fn empty(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "Empty", message)
    }

    /// More inputs than a request may have.
    pub(crate) fn too_many(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "Validation", message)
    }

    /// A field that cannot be used.
    pub(crate) fn validation(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "Validation", message)
    }

    /// A text that the tokenizer refuses.
    pub(crate) fn tokenizer(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "Tokenizer", message)
    }

    /// The model cannot do this, or failed.
    pub(crate) fn backend(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::FAILED_DEPENDENCY, "Backend", message)
    }

    /// The queue is full.
    pub(crate) fn overloaded() -> Refusal {
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, "Overloaded", "Model is overloaded")
    }

    /// The engine has stopped.
    pub(crate) fn unhealthy() -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "Unhealthy", "the engine has stopped")
    }

    fn new(status: StatusCode, error_type: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, error_type, message: message.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": self.message, "error_type": self.error_type});
        (self.status, Json(body)).into_response()
    }
}

/// A JSON body; what is wrong with it comes back as JSON too.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Refusal> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Body(body)),
            Err(rejection) => {
                Err(Refusal::new(rejection.status(), "Validation", rejection.body_text()))
            }
        }
    }
}
