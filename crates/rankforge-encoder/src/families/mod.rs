//! The model families: how each one's `config.json`, tensor names and classification head map to an
//! [`Architecture`](crate::Architecture).

mod bert;
mod builder;
mod distilbert;
mod fields;
mod modernbert;
mod mpnet;
mod roberta;
mod table;

pub(crate) use table::{aliases, is_constant, prefix};
