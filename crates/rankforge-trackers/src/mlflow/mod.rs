//! Runs of an MLflow server, over its REST API.

mod client;
mod parameters;
mod settings;
mod sink;

pub(crate) use settings::MlflowSettings;
pub(crate) use sink::MlflowSink;
