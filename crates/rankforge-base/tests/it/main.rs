//! Integration tests of rankforge-base.

mod directory;
mod files;
mod names;
mod reporter;
