use crate::error::Error;
use crate::losses::examples::Examples;
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, LossParameter, Plan, pass_on};
use crate::losses::nesting::Nesting;
use crate::losses::settings::{Settings, optional, settings};
use rankforge_encoder::{LoadOptions, ModelKind};
use serde::Deserialize;
use serde_json::Value;
use std::num::NonZeroUsize;

/// The setting that [`InChunks`] adds to those of a loss.
pub(super) const SIZE: &str = "mini_batch_size";

/// A loss with gradient caching in chunks of at most `mini_batch_size` sequences. Value and
/// gradients are those of the loss.
pub(super) struct InChunks<L> {
    loss: L,
    mini_batch_size: usize,
}

impl<L: Loss> Loss for InChunks<L> {
    fn config(&self) -> Value {
        let mut config = self.loss.config();
        config[SIZE] = self.mini_batch_size.into();
        config
    }

    fn mini_batch_size(&self) -> Option<usize> {
        Some(self.mini_batch_size)
    }

    fn open(&mut self, options: &LoadOptions) -> Result<(), Error> {
        self.loss.open(options)
    }

    pass_on!(this => this.loss);
}

/// The setting that bounds the tokens of a chunk, in place of its sequences.
const TOKENS: &str = "mini_batch_num_tokens";

/// A loss with gradient caching in chunks of at most this number of tokens, or of one sequence that
/// has more. Value and gradients are those of the loss.
struct ByTokens {
    loss: Box<dyn Loss>,
    mini_batch_num_tokens: usize,
}

impl Loss for ByTokens {
    fn config(&self) -> Value {
        let mut config = self.loss.config();
        config[TOKENS] = self.mini_batch_num_tokens.into();
        config
    }

    fn mini_batch_num_tokens(&self) -> Option<usize> {
        Some(self.mini_batch_num_tokens)
    }

    fn open(&mut self, options: &LoadOptions) -> Result<(), Error> {
        self.loss.open(options)
    }

    pass_on!(this => this.loss);
}

/// Takes the number of tokens of a chunk out of the settings of the loss called `name`.
///
/// # Errors
/// Something else than a whole number of at least 1.
pub(super) fn take_tokens(name: &str, options: &mut Settings) -> Result<Option<usize>, Error> {
    #[derive(Deserialize)]
    struct Tokens {
        #[serde(deserialize_with = "optional")]
        mini_batch_num_tokens: Option<NonZeroUsize>,
    }
    let Some(value) = options.remove(TOKENS) else { return Ok(None) };
    let own = Settings::from_iter([(TOKENS.to_owned(), value)]);
    let Tokens { mini_batch_num_tokens } = settings(name, &own)?;
    Ok(mini_batch_num_tokens.map(NonZeroUsize::get))
}

/// `loss` as it is, or in chunks of this number of tokens.
pub(super) fn by_tokens(loss: Box<dyn Loss>, tokens: Option<usize>) -> Box<dyn Loss> {
    match tokens {
        None => loss,
        Some(mini_batch_num_tokens) => Box::new(ByTokens { loss, mini_batch_num_tokens }),
    }
}

/// Takes the chunk size out of the settings of the loss called `name`.
///
/// # Errors
/// Something else than a whole number of at least 1.
pub(super) fn take_size(name: &str, options: &mut Settings) -> Result<Option<usize>, Error> {
    #[derive(Deserialize)]
    struct Size {
        #[serde(deserialize_with = "optional")]
        mini_batch_size: Option<NonZeroUsize>,
    }
    let Some(value) = options.remove(SIZE) else { return Ok(None) };
    let own = Settings::from_iter([(SIZE.to_owned(), value)]);
    let Size { mini_batch_size } = settings(name, &own)?;
    Ok(mini_batch_size.map(NonZeroUsize::get))
}

/// `loss` as it is, or in chunks of this size.
pub(super) fn in_chunks<L: Loss + 'static>(loss: L, size: Option<usize>) -> Box<dyn Loss> {
    match size {
        None => Box::new(loss),
        Some(mini_batch_size) => Box::new(InChunks { loss, mini_batch_size }),
    }
}

/// A message of serde about a setting that a loss does not have, with the chunk size among those
/// that it has.
pub(super) fn with_size(message: String) -> String {
    match message.strip_suffix(", there are no fields") {
        Some(unknown) => format!("{unknown}, expected `{SIZE}`"),
        None if message.starts_with("unknown field") => format!("{message}, or `{SIZE}`"),
        None => message,
    }
}
