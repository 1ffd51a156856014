use crate::error::Error;
use crate::losses::loss::Loss;
use crate::losses::settings::{Settings, settings};
use rankforge_base::nearest;
use serde::de::DeserializeOwned;

/// Makes the loss of a name from its settings.
type Build = fn(&'static str, &Settings) -> Result<Box<dyn Loss>, Error>;

/// A loss that recipes know by its name.
pub struct LossEntry {
    /// Name as in sentence-transformers.
    pub name: &'static str,
    build: Build,
}

impl LossEntry {
    /// The entry of a loss whose settings are its fields.
    pub(crate) const fn of<L: Loss + DeserializeOwned + 'static>(name: &'static str) -> LossEntry {
        let build = |name: &'static str, options: &Settings| -> Result<Box<dyn Loss>, Error> {
            let loss: L = settings(name, options)?;
            loss.check()?;
            Ok(Box::new(loss))
        };
        LossEntry { name, build }
    }

    /// The loss with these settings.
    ///
    /// # Errors
    /// An unknown setting (the known ones are listed), or an unusable value.
    pub fn build(&self, options: &Settings) -> Result<Box<dyn Loss>, Error> {
        (self.build)(self.name, options)
    }
}

/// The names of a table of losses.
pub fn names(table: &[LossEntry]) -> Vec<&'static str> {
    table.iter().map(|entry| entry.name).collect()
}

/// Builds the loss `name` of a table.
pub(crate) fn build(
    table: &[LossEntry],
    name: &str,
    options: &Settings,
) -> Result<Box<dyn Loss>, Error> {
    match table.iter().find(|entry| entry.name == name) {
        Some(entry) => entry.build(options),
        None => {
            let known = names(table);
            let mut expected = format!("one of {}", known.join(", "));
            if let Some(meant) = nearest(name, known) {
                expected.push_str(&format!(" (did you mean {meant}?)"));
            }
            Err(Error::argument("loss", expected, format!("{name:?}")))
        }
    }
}
