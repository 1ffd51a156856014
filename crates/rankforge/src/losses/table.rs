use crate::error::Error;
use crate::losses::loss::Loss;
use crate::losses::settings::{Settings, settings};
use rankforge_base::nearest;
use serde::de::DeserializeOwned;

/// Builds a loss from its name and settings.
type Build = fn(&'static str, &Settings) -> Result<Box<dyn Loss>, Error>;

/// A loss that a table can list.
pub trait NamedLoss: Loss + DeserializeOwned {
    /// Name as in sentence-transformers.
    const NAME: &'static str;
    /// BibTeX of the paper, for the model card; empty when there is none.
    const CITATION: &'static str;
}

/// An entry of a table of losses.
pub struct LossEntry {
    /// Name as in sentence-transformers.
    pub name: &'static str,
    /// BibTeX of the paper; empty when there is none.
    pub citation: &'static str,
    build: Build,
}

impl LossEntry {
    /// The entry of a loss that is deserialized from its settings.
    pub(crate) const fn of<L: NamedLoss + 'static>() -> LossEntry {
        let build = |name: &'static str, options: &Settings| -> Result<Box<dyn Loss>, Error> {
            let loss: L = settings(name, options)?;
            loss.check()?;
            Ok(Box::new(loss))
        };
        LossEntry { name: L::NAME, citation: L::CITATION, build }
    }

    /// Builds the loss with these settings.
    ///
    /// # Errors
    /// An unknown setting (the error lists the known ones), or an invalid value.
    pub fn build(&self, options: &Settings) -> Result<Box<dyn Loss>, Error> {
        (self.build)(self.name, options)
    }
}

/// The names of the losses in a table.
pub fn names(table: &[LossEntry]) -> Vec<&'static str> {
    table.iter().map(|entry| entry.name).collect()
}

/// Builds the loss called `name` in a table.
///
/// # Errors
/// An unknown name or setting (the error lists the known ones), or an invalid value.
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
            Err(Error::argument("loss", expected, format!("\"{name}\"")))
        }
    }
}
