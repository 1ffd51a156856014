//! The reranker that is evaluated.

use crate::commands::evaluate::dual_encoder::is_dual_encoder;
use crate::commands::evaluate::shared::SharedArgs;
use crate::console::Console;
use crate::failure::CliError;
use rankforge::encoder::{CrossEncoder, EncoderError, LoadOptions, Packing, TextModel};
use std::path::Path;

/// The directory of a reranker and how it is opened.
pub(super) struct Reranker<'a> {
    path: &'a Path,
    shared: &'a SharedArgs,
    console: &'a Console,
    /// The options of the command line for every model.
    pub(super) base: LoadOptions,
}

impl<'a> Reranker<'a> {
    /// Names the directory and opens the device, but does not yet read the model.
    ///
    /// # Errors
    /// If --model is missing or names a dual encoder, or the device cannot be opened.
    pub(super) fn new(
        shared: &'a SharedArgs,
        console: &'a Console,
    ) -> anyhow::Result<Reranker<'a>> {
        let path = shared.model("the directory of the reranker")?;
        if is_dual_encoder(path)? {
            let message = format!("{}: expected a reranker, got a dual encoder", path.display());
            let hint = "`evaluate similarity` measures correlations of a dual encoder";
            return Err(CliError::input(message).hint(hint).into());
        }
        Ok(Reranker { path, shared, console, base: console.load_options()? })
    }

    /// Opens the model.
    ///
    /// # Errors
    /// If its directory cannot be read.
    pub(super) fn open(&self) -> Result<CrossEncoder, EncoderError> {
        let options = LoadOptions {
            max_length: self.shared.max_length,
            activation_fn: self.shared.activation_fn,
            precision: self.shared.precision.precision,
            packing: Packing::Instead,
            ..self.base.clone()
        };
        let model = CrossEncoder::open_with(self.path, &options)?;
        self.shared.precision.report(model.model(), self.console);
        Ok(model)
    }
}
