//! HTTP, queue and batching over the encoder; cannot see training code.
//!
//! Routes and bodies are those of text-embeddings-inference: `GET /health`, `GET /info`, `POST /rerank`,
//! `POST /predict` and `POST /embed`. Handlers tokenise; one engine thread batches what all of them wait for, within a
//! budget of tokens, so that many small requests cost what a large one does.
#![forbid(unsafe_code)]

mod engine;
mod error;
mod inputs;
mod routes;
mod server;
mod service;

pub use engine::Engine;
pub use error::ServeError;
pub use routes::router;
pub use server::{Server, Stop};
pub use service::{Served, Service};
