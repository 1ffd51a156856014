use super::{
    BinaryCrossEntropyLoss, CachedMultipleNegativesRankingLoss, Loss, MultipleNegativesRankingLoss,
};
use crate::Error;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The cross-encoder losses [`cross_encoder_loss`] knows.
pub const CROSS_ENCODER_LOSSES: [&str; 3] = [
    "BinaryCrossEntropyLoss",
    "MultipleNegativesRankingLoss",
    "CachedMultipleNegativesRankingLoss",
];

/// A cross-encoder loss by its name and settings in sentence-transformers; a setting that may be
/// nothing there takes `null` or `"none"`.
///
/// # Errors
/// An unknown name or setting (those there are get listed), or an unusable value.
///
/// # Examples
/// ```
/// let options = serde_json::json!({ "pos_weight": 5 });
/// let loss = rankforge::losses::cross_encoder_loss("BinaryCrossEntropyLoss", options.as_object().unwrap())?;
/// assert_eq!(loss.config()["pos_weight"], 5.0);
/// # Ok::<(), rankforge::Error>(())
/// ```
pub fn cross_encoder_loss(
    name: &str,
    options: &Map<String, Value>,
) -> Result<Box<dyn Loss>, Error> {
    match name {
        "BinaryCrossEntropyLoss" => {
            let loss: BinaryCrossEntropyLoss = settings(name, options)?;
            loss.check()?;
            Ok(Box::new(loss))
        }
        "MultipleNegativesRankingLoss" => {
            let loss: MultipleNegativesRankingLoss = settings(name, options)?;
            loss.check()?;
            Ok(Box::new(loss))
        }
        "CachedMultipleNegativesRankingLoss" => {
            let loss: CachedMultipleNegativesRankingLoss = settings(name, options)?;
            loss.check()?;
            Ok(Box::new(loss))
        }
        _ => Err(Error::Argument {
            field: "loss".to_owned(),
            expected: format!("one of {}", CROSS_ENCODER_LOSSES.join(", ")),
            got: format!("{name:?}"),
        }),
    }
}

fn settings<L: DeserializeOwned>(name: &str, options: &Map<String, Value>) -> Result<L, Error> {
    serde_json::from_value(Value::Object(options.clone()))
        .map_err(|error| Error::Input(format!("settings of {name}: {error}")))
}

/// Reads a setting that may be nothing: `null`, or `"none"` for formats without a null.
pub(super) fn optional<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(word) if word.eq_ignore_ascii_case("none") => Ok(None),
        value => serde_json::from_value(value).map(Some).map_err(D::Error::custom),
    }
}
