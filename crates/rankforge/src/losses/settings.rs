//! Settings of losses. serde reads them, so that a loss declares its fields once.

use crate::error::Error;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Settings by name, as in a recipe.
pub type Settings = Map<String, Value>;

/// The settings of the loss called `name` as its fields.
///
/// # Errors
/// An unknown setting (the known ones are listed), or an unusable value.
pub(super) fn settings<L: DeserializeOwned>(name: &str, options: &Settings) -> Result<L, Error> {
    // The message of serde names the field and what was expected of it.
    serde_json::from_value(Value::Object(options.clone()))
        .map_err(|error| Error::argument(name, "settings that it has", error))
}

/// Reads an optional setting: `null`, or `"none"` in formats without null, means none.
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
