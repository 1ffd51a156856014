//! Values of the command line in place of those of a recipe.

use std::fmt;
use std::str::FromStr;
use toml::{Table, Value};

/// A value that replaces the one in the recipe, or adds to it: `section.field=value`. The value is
/// TOML where it can be read as TOML, and a string otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    pub(super) keys: Vec<String>,
    pub(super) value: Value,
    pub(super) text: String,
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Override, String> {
        let malformed = || {
            format!(
                "expected section.field=value, for example arguments.learning_rate=2e-5, \
                 got \"{text}\""
            )
        };
        let (key, value) = text.split_once('=').ok_or_else(malformed)?;
        let keys: Vec<String> = key.trim().split('.').map(|key| key.trim().to_owned()).collect();
        if keys.len() < 2 || keys.iter().any(String::is_empty) {
            return Err(malformed());
        }
        Ok(Override { keys, value: toml_or_string(value.trim()), text: text.to_owned() })
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn toml_or_string(text: &str) -> Value {
    match format!("value = {text}").parse::<Table>() {
        Ok(mut table) if table.len() == 1 => table.remove("value").expect("it is the only key"),
        _ => Value::String(text.to_owned()),
    }
}
