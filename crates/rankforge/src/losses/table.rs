use crate::error::Error;
use crate::losses::in_chunks::{in_chunks, take_size, with_size};
use crate::losses::loss::Loss;
use crate::losses::settings::{Settings, settings};
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

    /// The entry of a loss that is deserialized from its settings, and of `mini_batch_size`.
    pub(crate) const fn in_chunks<L: NamedLoss + 'static>() -> LossEntry {
        let build = |name: &'static str, options: &Settings| -> Result<Box<dyn Loss>, Error> {
            let mut options = options.clone();
            let size = take_size(name, &mut options)?;
            let loss: L = settings(name, &options).map_err(|error| match error {
                Error::Argument { field, expected, got } => {
                    Error::Argument { field, expected, got: with_size(got) }
                }
                other => other,
            })?;
            loss.check()?;
            Ok(in_chunks(loss, size))
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
