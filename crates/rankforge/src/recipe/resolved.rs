//! The recipe of a run as a file: with all arguments, and with the overrides of the command line.

use crate::error::Error;
use crate::recipe::document::Document;
use crate::recipe::parse::Recipe;
use crate::training::{RECIPE, RunRecord};
use serde_json::Value as Json;
use toml::{Table, Value};

impl Document {
    /// The run that the recipe is of, if it is in the directory of one.
    ///
    /// # Errors
    /// A record of the run that cannot be read.
    pub(super) fn repeated_run(&self) -> Result<Option<RunRecord>, Error> {
        match (self.path().parent(), self.path().file_name()) {
            (Some(folder), Some(name)) if name == RECIPE => RunRecord::read(folder),
            _ => Ok(None),
        }
    }
}

/// The text of the file that the run leaves in its output directory.
pub(super) fn resolved(recipe: &Recipe) -> String {
    let mut table = match recipe.document.table() {
        Value::Table(table) => table,
        _ => unreachable!("a recipe is a table"),
    };
    let mut arguments = recipe.arguments.to_map();
    // Whoever repeats a run begins it anew.
    arguments.remove("resume_from_checkpoint");
    table.insert("arguments".to_owned(), Value::Table(to_toml(arguments)));
    let directory = recipe.working_directory.as_deref().map(|path| path.display().to_string());
    let relative = match directory {
        Some(directory) => format!(" Relative paths start from\n# {directory}"),
        None => String::new(),
    };
    let text = toml::to_string(&table).expect("what was read from TOML can be written");
    format!("# The recipe of the run in this directory, with all arguments.{relative}\n\n{text}")
}

/// The same as TOML, without what is null: that is the default of all arguments that can be null.
fn to_toml(map: serde_json::Map<String, Json>) -> Table {
    map.into_iter().filter_map(|(name, value)| Some((name, value_of(value)?))).collect()
}

fn value_of(value: Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(value) => Value::Boolean(value),
        Json::String(text) => Value::String(text),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Integer(whole),
            None => Value::Float(number.as_f64()?),
        },
        Json::Array(values) => Value::Array(values.into_iter().filter_map(value_of).collect()),
        Json::Object(map) => Value::Table(to_toml(map)),
    })
}
