//! An HTTP server for rerankers and dual encoders. It does not depend on the training code.
//!
//! Routes and bodies are those of text-embeddings-inference: `GET /health`, `GET /info`,
//! `POST /rerank`, `POST /predict` and `POST /embed`.
//!
//! Request handlers tokenise their texts in small parts and put them into one queue. One engine
//! thread takes queued texts from all requests in turn, forms batches within a token budget and
//! runs the model, so that many small requests cost as much as one large request, and a large one
//! does not hold up the others. The work for a request ends when its client has disconnected.
#![forbid(unsafe_code)]

mod body;
mod connection;
mod engine;
mod error;
mod inputs;
mod queue;
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
