//! Pointers to losses are losses.

use crate::error::Error;
use crate::losses::examples::Examples;
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, LossParameter, Plan, pass_on};
use crate::losses::nesting::Nesting;
use rankforge_encoder::{LoadOptions, ModelKind};
use std::sync::Arc;

/// Implements [`Loss`] for a pointer to a loss. Data sets share a loss through `Arc`, and the table
/// of losses returns any of them in a `Box`.
macro_rules! through_pointer {
    ($pointer:ident, |$own:ident, $options:ident| $open:expr) => {
        impl<L: Loss + ?Sized> Loss for $pointer<L> {
            fn config(&self) -> serde_json::Value {
                (**self).config()
            }

            fn mini_batch_size(&self) -> Option<usize> {
                (**self).mini_batch_size()
            }

            fn mini_batch_num_tokens(&self) -> Option<usize> {
                (**self).mini_batch_num_tokens()
            }

            fn open(&mut self, $options: &LoadOptions) -> Result<(), Error> {
                let $own = self;
                $open
            }

            pass_on!(this => (**this));
        }
    };
}

through_pointer!(Box, |own, options| (**own).open(options));
through_pointer!(Arc, |own, options| match Arc::get_mut(own) {
    Some(loss) => loss.open(options),
    // Whoever shares a loss has opened what it needs; `check_model` finds out.
    None => Ok(()),
});
