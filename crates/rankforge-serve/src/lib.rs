//! An HTTP server for rerankers and dual encoders. It does not depend on the training code.
//!
//! Routes and bodies are those of text-embeddings-inference: `GET /health`, `GET /info`,
//! `POST /rerank`, `POST /predict` and `POST /embed`.
//!
//! Request handlers tokenise their texts and put them into one queue. One engine thread takes the
//! queued texts of all requests, forms batches within a token budget and runs the model, so that
//! many small requests cost as much as one large request.
#![forbid(unsafe_code)]

mod engine;
mod error;
mod inputs;
mod routes;
mod served_model;
mod server;
mod service;
mod settings;

pub use engine::Engine;
pub use error::ServeError;
pub use routes::router;
pub use served_model::ServedModel;
pub use server::Stop;
pub use service::Service;
pub use settings::Server;
