//! Downloads models and data sets of the Hugging Face Hub, into the cache that its Python client
//! has, so that one cache serves both: the same folders, variables and token.
//!
//! What is downloaded has the size and the hash that the Hub says, or is an error. A download that
//! was cut continues where it was. A token is sent to the Hub only, never to the servers that it
//! redirects to, and stands in no message.
//!
//! This crate knows nothing of models and data: which files are wanted, its callers say.
#![forbid(unsafe_code)]

mod cache;
mod client;
mod download;
mod error;
mod hub;
mod repo;
mod settings;
mod tree;

pub use error::HubError;
pub use hub::{Hub, Snapshot};
pub use repo::{Repo, RepoKind};
pub use settings::{HubSettings, Token};
