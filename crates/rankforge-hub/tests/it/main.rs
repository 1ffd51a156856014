//! Integration tests of rankforge-hub, against a server of the test that speaks the Hub's API.

mod names;
mod server;
mod snapshots;
