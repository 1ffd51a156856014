//! Losses by the names that they have in sentence-transformers.

use crate::error::Error;
use crate::losses::cross_encoder::CROSS_ENCODER_LOSSES;
use crate::losses::dual_encoder::DUAL_ENCODER_LOSSES;
use crate::losses::loss::Loss;
use crate::losses::settings::Settings;
use crate::losses::table::{LossEntry, build, names};
use serde_json::Value;

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
/// forward and backward pass of gradient caching; or, in its place, `mini_batch_num_tokens`, the
/// maximum number of their tokens.
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
    check_available(table, ("loss", name), name, options)?;
    build(table, name, options)
}

/// Checks the name of a loss, and of those inside it. `path` is that of the settings in errors.
///
/// # Errors
/// Why there is no such loss. Names that no loss has are not looked for here.
pub(crate) fn check_available(
    table: &[LossEntry],
    (field, path): (&str, &str),
    name: &str,
    options: &Settings,
) -> Result<(), Error> {
    if let Some(why) = why_unavailable(table, name) {
        let expected = format!("one of {}", names(table).join(", "));
        return Err(Error::argument(field, expected, format!("\"{name}\": {why}")));
    }
    let inner = options.get("loss").and_then(Value::as_object);
    match inner.and_then(|inner| Some((inner, inner.get("name")?.as_str()?))) {
        None => Ok(()),
        Some((inner, name)) => {
            let path = format!("{path}.loss");
            check_available(table, (&format!("{path}.name"), &path), name, inner)
        }
    }
}
