//! Settings of losses, which serde deserializes into the fields of the loss.

use crate::error::Error;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Settings by name, as in a recipe.
pub type Settings = Map<String, Value>;

/// Builds the loss called `name` from its settings.
///
/// # Errors
/// An unknown setting (the error lists the known ones), or an invalid value.
pub(super) fn settings<L: DeserializeOwned>(name: &str, options: &Settings) -> Result<L, Error> {
    // serde's message names the field and the expected type.
    serde_json::from_value(Value::Object(options.clone()))
        .map_err(|error| Error::argument(name, "settings that it has", error))
}

/// Deserializes an optional setting. `null`, or `"none"` in formats without null, gives `None`.
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
