//! Receiving the bodies of requests: within a limit and a time, and not if the answer is known.

use crate::error::Refusal;
use crate::service::Service;
use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Time for which at most the rest of a body is received and discarded after the answer. If the
/// connection were closed at once, a client that still sends would lose the answer.
const DISCARDING: Duration = Duration::from_secs(2);

/// The body of a request, outside of the request itself: what its handler leaves is still here.
#[derive(Clone)]
struct Incoming(Arc<Mutex<Rest>>);

/// What has not been received of a body.
struct Rest {
    body: axum::body::Body,
    /// Whether all of it has been received.
    ended: bool,
}

impl Rest {
    /// Receives the rest of the body.
    ///
    /// # Errors
    /// With more than `limit` bytes, or when the connection fails.
    async fn receive(&mut self, limit: usize) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| {
                let message = format!("the body could not be received: {error}");
                Refusal::body(StatusCode::BAD_REQUEST, message)
            })?;
            let data = frame.data_ref().map_or(&[][..], |data| data);
            if data.len() > limit - bytes.len() {
                return Err(too_large(limit));
            }
            bytes.extend_from_slice(data);
        }
        self.ended = true;
        Ok(bytes)
    }
}

/// Middleware: answers that are given before the whole body was received close the connection, as
/// the next request would begin in the middle of the body.
pub(crate) async fn guard_body(
    State(service): State<Service>,
    mut request: Request,
    next: Next,
) -> Response {
    let body = std::mem::take(request.body_mut());
    let ended = axum::body::HttpBody::is_end_stream(&body);
    // Such a client waits for the answer before it sends the body.
    let expected = request.headers().get(EXPECT).cloned();
    let waits = expected
        .as_ref()
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let incoming = Incoming(Arc::new(Mutex::new(Rest { body, ended })));
    request.extensions_mut().insert(incoming.clone());
    let mut response = match &expected {
        Some(expected) if !waits => unknown_expectation(expected),
        _ => next.run(request).await,
    };
    if incoming.0.lock().await.ended {
        return response;
    }
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if !waits {
        let time = DISCARDING.min(service.server().client_timeout);
        #[expect(clippy::disallowed_methods, reason = "the answer is sent meanwhile")]
        tokio::spawn(timeout(time, incoming.discard()));
    }
    response
}

impl Incoming {
    /// Receives the rest of the body and forgets it.
    async fn discard(self) {
        let mut rest = self.0.lock().await;
        while let Some(Ok(_)) = rest.body.frame().await {}
    }
}

/// Extractor of a JSON body, as [`Json`] but with a [`Refusal`] (also JSON) when it is malformed,
/// too large or too slow.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Service> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, service: &Service) -> Result<Body<T>, Refusal> {
        let server = service.server();
        if !is_json(request.headers()) {
            let message = "expected a request with `Content-Type: application/json`";
            return Err(Refusal::body(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        if announced_length(request.headers()) > server.payload_limit as u64 {
            return Err(too_large(server.payload_limit));
        }
        let incoming = request.extensions().get::<Incoming>();
        let incoming = incoming.expect("guard_body is before every route").clone();
        let mut rest = incoming.0.lock().await;
        let received = timeout(server.client_timeout, rest.receive(server.payload_limit)).await;
        let bytes = received.map_err(|_| {
            let seconds = server.client_timeout.as_secs_f64();
            let message = format!("the body was not received within {seconds} seconds");
            Refusal::body(StatusCode::REQUEST_TIMEOUT, message)
        })??;
        match Json::from_bytes(&bytes) {
            Ok(Json(body)) => Ok(Body(body)),
            Err(rejection) => Err(Refusal::body(rejection.status(), rejection.body_text())),
        }
    }
}

/// Status 417: the request asks for what HTTP does not define.
fn unknown_expectation(expected: &HeaderValue) -> Response {
    let got = String::from_utf8_lossy(expected.as_bytes());
    let message = format!("expected `Expect: 100-continue` or no such header, got \"{got}\"");
    Refusal::body(StatusCode::EXPECTATION_FAILED, message).into_response()
}

fn too_large(limit: usize) -> Refusal {
    let message = format!("expected a body of at most {limit} bytes, got more");
    Refusal::body(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// Whether the type of the body is `application/json` or `application/*+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let subtype = kind.strip_prefix("application/").unwrap_or("");
    subtype == "json" || subtype.ends_with("+json")
}

/// The value of `Content-Length`; 0 if the length is not known in advance.
fn announced_length(headers: &HeaderMap) -> u64 {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}
