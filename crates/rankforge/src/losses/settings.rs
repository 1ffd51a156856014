//! Settings of losses, which serde deserializes into the fields of the loss.

use crate::error::Error;
use crate::value_types::wrong_type;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Settings by name, as in a recipe.
pub type Settings = Map<String, Value>;

/// What is expected where the message of serde says what is wrong.
pub(crate) const SETTINGS: &str = "settings that it has";

/// Builds the loss called `name` from its settings.
///
/// # Errors
/// An unknown setting (the error lists the known ones), or an invalid value.
pub(super) fn settings<L: DeserializeOwned>(name: &str, options: &Settings) -> Result<L, Error> {
    serde_path_to_error::deserialize(Value::Object(options.clone())).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        // serde names an unknown field itself.
        if path == "." || message.starts_with("unknown field") {
            return Error::argument(name, SETTINGS, message);
        }
        let field = format!("{name}.{path}");
        match wrong_type(&message) {
            Some((expected, got)) => Error::argument(field, expected, got),
            None => Error::argument(field, SETTINGS, message),
        }
    })
}

/// Deserializes a setting that has one of these names, with or without a module before it, in upper
/// or lower case: `util.pairwise_cos_sim`, `SiameseDistanceMetric.EUCLIDEAN`. `what` is what the
/// setting names, in errors.
pub(super) fn by_name<'de, T: Copy, D: Deserializer<'de>>(
    deserializer: D,
    what: &str,
    names: &[(&str, T)],
) -> Result<T, D::Error> {
    let given = String::deserialize(deserializer)?;
    let last = given.rsplit('.').next().unwrap_or_default();
    match names.iter().find(|(name, _)| name.eq_ignore_ascii_case(last)) {
        Some((_, value)) => Ok(*value),
        None => {
            let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            let known = known.join(", ");
            Err(D::Error::custom(format!("unknown {what} \"{given}\": expected one of {known}")))
        }
    }
}

/// The first of the names of a setting that means `value`.
pub(super) fn name_of<T: PartialEq>(value: &T, names: &[(&'static str, T)]) -> &'static str {
    names.iter().find(|(_, named)| named == value).expect("every value has a name").0
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
