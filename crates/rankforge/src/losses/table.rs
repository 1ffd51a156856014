use crate::error::Error;
use crate::losses::in_chunks::{by_tokens, in_chunks, take_size, take_tokens, with_size};
use crate::losses::loss::Loss;
use crate::losses::settings::{Settings, settings};
use rankforge_base::nearest;
use serde::de::DeserializeOwned;

/// Builds a loss from its name and settings.
pub(crate) type Build = fn(&Settings) -> Result<Box<dyn Loss>, Error>;

/// A loss that a table can list.
pub trait NamedLoss: Loss + DeserializeOwned {
    /// Name as in sentence-transformers.
    const NAME: &'static str;
    /// BibTeX of the paper, for the model card; empty when there is none.
    const CITATION: &'static str;

    /// The loss with these settings.
    ///
    /// # Errors
    /// An unknown setting (the error lists the known ones), or a value of another type.
    fn from_settings(options: &Settings) -> Result<Self, Error> {
        settings(Self::NAME, options)
    }
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
        let build = |options: &Settings| -> Result<Box<dyn Loss>, Error> {
            let loss = L::from_settings(options)?;
            loss.check()?;
            Ok(Box::new(loss))
        };
        LossEntry { name: L::NAME, citation: L::CITATION, build }
    }

    /// The entry of a loss that is deserialized from its settings, and of `mini_batch_size`.
    pub(crate) const fn in_chunks<L: NamedLoss + 'static>() -> LossEntry {
        let build = |options: &Settings| -> Result<Box<dyn Loss>, Error> {
            let mut options = options.clone();
            let size = take_size(L::NAME, &mut options)?;
            let loss = L::from_settings(&options).map_err(|error| match error {
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

    /// The entry of a loss that is built by a function.
    pub(crate) const fn built(name: &'static str, citation: &'static str, build: Build) -> Self {
        LossEntry { name, citation, build }
    }

    /// Builds the loss with these settings. Every loss has `mini_batch_num_tokens`.
    ///
    /// # Errors
    /// An unknown setting (the error lists the known ones), or an invalid value.
    pub fn build(&self, options: &Settings) -> Result<Box<dyn Loss>, Error> {
        let mut options = options.clone();
        let tokens = take_tokens(self.name, &mut options)?;
        Ok(by_tokens((self.build)(&options)?, tokens))
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
    if let Some(entry) = table.iter().find(|entry| entry.name == name) {
        return entry.build(options);
    }
    let known = names(table);
    let mut expected = format!("one of {}", known.join(", "));
    if let Some(meant) = nearest(name, known) {
        expected.push_str(&format!(" (did you mean {meant}?)"));
    }
    Err(Error::argument("loss", expected, format!("\"{name}\"")))
}
