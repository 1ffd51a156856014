//! Offline runs of Weights & Biases, which `wandb sync` uploads.

mod record_log;
mod settings;
mod sink;

pub(crate) use settings::WandbSettings;
pub(crate) use sink::WandbSink;
