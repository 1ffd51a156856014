//! Losses by the names that they have in sentence-transformers.

use crate::error::Error;
use crate::losses::cross_encoder::CROSS_ENCODER_LOSSES;
use crate::losses::dual_encoder::DUAL_ENCODER_LOSSES;
use crate::losses::loss::Loss;
use crate::losses::settings::Settings;
use crate::losses::table::{LossEntry, build, names};

/// Losses of dual encoders in sentence-transformers that are not here, and why.
const MISSING: &[(&str, &str)] = &[(
    "DenoisingAutoEncoderLoss",
    "it needs a decoder that writes the text from its embedding, and there are encoders only",
)];

/// Why `table` has no loss called `name`; `None` if it has, or if no loss is called so.
pub fn why_unavailable(table: &[LossEntry], name: &str) -> Option<String> {
    let has = |table: &[LossEntry]| table.iter().any(|entry| entry.name == name);
    if has(table) {
        return None;
    }
    if has(CROSS_ENCODER_LOSSES) {
        return Some(format!("{name} is a loss for cross-encoders"));
    }
    if has(DUAL_ENCODER_LOSSES) {
        return Some(format!("{name} is a loss for dual encoders"));
    }
    let missing = MISSING.iter().find(|(missing, _)| *missing == name);
    missing.map(|(_, why)| format!("{name} is not supported: {why}"))
}

/// Builds a cross-encoder loss from its name and settings in sentence-transformers. For an optional
/// setting, `null` and `"none"` mean Python's `None`.
///
/// # Errors
/// An unknown name or setting (the error lists the known ones), or an invalid value.
///
/// # Examples
/// ```
/// let options = serde_json::json!({ "pos_weight": 5 });
/// let options = options.as_object().unwrap();
/// let loss = rankforge::losses::cross_encoder_loss("BinaryCrossEntropyLoss", options)?;
/// assert_eq!(loss.config()["pos_weight"], 5.0);
/// # Ok::<(), rankforge::Error>(())
/// ```
pub fn cross_encoder_loss(name: &str, options: &Settings) -> Result<Box<dyn Loss>, Error> {
    available(CROSS_ENCODER_LOSSES, name, options)
}

/// Builds a dual-encoder loss from its name and settings in sentence-transformers. Functions and
/// classes are given by their names: `"pairwise_cos_sim"`, `"SiameseDistanceMetric.EUCLIDEAN"`.
/// Beside its own settings, every loss has `mini_batch_size`: the maximum number of texts in one
/// forward and backward pass of gradient caching.
///
/// # Errors
/// An unknown name or setting (the error lists the known ones), or an invalid value.
///
/// # Examples
/// ```
/// let options = serde_json::json!({ "distance_metric": "cosine", "mini_batch_size": 16 });
/// let options = options.as_object().unwrap();
/// let loss = rankforge::losses::dual_encoder_loss("TripletLoss", options)?;
/// assert_eq!(loss.mini_batch_size(), Some(16));
/// # Ok::<(), rankforge::Error>(())
/// ```
pub fn dual_encoder_loss(name: &str, options: &Settings) -> Result<Box<dyn Loss>, Error> {
    available(DUAL_ENCODER_LOSSES, name, options)
}

/// The loss called `name`, or why there is none.
fn available(table: &[LossEntry], name: &str, options: &Settings) -> Result<Box<dyn Loss>, Error> {
    match why_unavailable(table, name) {
        None => build(table, name, options),
        Some(why) => {
            let expected = format!("one of {}", names(table).join(", "));
            Err(Error::argument("loss", expected, format!("\"{name}\": {why}")))
        }
    }
}
