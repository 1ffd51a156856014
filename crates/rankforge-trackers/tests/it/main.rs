//! Integration tests of rankforge-trackers.

mod failing;
mod resuming;
mod sending;
mod server;
mod support;
