use crate::error::EncoderError;
use crate::json;
use crate::weights::reading::Weights;
use std::collections::HashMap;

/// What PyTorch's wrappers put into the names of the parameters of the module that they wrap, as a
/// part between points: `torch.compile`, data parallelism and the launchers of training scripts.
const WRAPPERS: [&str; 5] = [
    "_orig_mod",
    "module",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
];

/// The tensors of a checkpoint by their names without the parts that wrappers added.
pub(crate) struct Names<'a>(HashMap<String, &'a str>);

impl<'a> Names<'a> {
    /// Reads the names of all tensors.
    ///
    /// # Errors
    /// Two tensors of the same name but for wrappers: which one is meant cannot be known.
    pub(crate) fn of(weights: &'a Weights) -> Result<Names<'a>, EncoderError> {
        let mut names: HashMap<String, &str> = HashMap::new();
        for name in weights.names() {
            let bare = unwrapped(name);
            if let Some(other) = names.insert(bare.clone(), name) {
                let message = format!(
                    "expected one tensor {bare}, got {other} and {name}, which differ only in the \
                     parts that PyTorch's wrappers add"
                );
                return Err(json::file_error(weights.path(name), message));
            }
        }
        Ok(Names(names))
    }

    /// The full name of the tensor that is called `bare` without wrappers.
    pub(crate) fn get(&self, bare: &str) -> Option<&'a str> {
        self.0.get(bare).copied()
    }
}

/// A name without the parts of wrappers, wherever they stand: `bert._orig_mod.encoder` is
/// `bert.encoder`.
pub(crate) fn unwrapped(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
    if parts.is_empty() { name.to_owned() } else { parts.join(".") }
}
