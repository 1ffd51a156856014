use crate::architecture::Architecture;
use crate::checkpoint::ModuleTensors;
use crate::directory::completeness;
use crate::directory::modules::ModuleEntry;
use crate::error::EncoderError;
use crate::json;
use crate::lora::{ADAPTER_WEIGHTS, AdapterFolder, AdapterTensors, find_saved};
use crate::model::Model;
use crate::modules::Module;
use crate::options::LoadOptions;
use crate::parts::Parts;
use crate::weights::Weights;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Reads the modules after the first one and appends their stages to the head of `architecture`.
///
/// `directory` is the model directory. For each module with parameters, its name and its directory
/// are appended to `folders`. Pooling has the modes of `options`, where they name some.
///
/// # Errors
/// A module that is not supported, or whose input is not what the module before it gives.
pub(crate) fn push_modules(
    directory: &Path,
    architecture: &mut Architecture,
    entries: &[ModuleEntry],
    folders: &mut Vec<(String, PathBuf)>,
    options: &LoadOptions,
) -> Result<Vec<Module>, EncoderError> {
    let mut modules = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let mut module = Module::read(entry, &*options.reporter)?;
        if let (Module::Pooling { modes, .. }, Some(chosen)) = (&mut module, &options.pooling) {
            modes.clone_from(chosen);
        }
        let width = architecture.output_columns();
        let class = module.class();
        if let Some(module_width) = module.width().filter(|&expected| expected != width) {
            let message = format!(
                "{class} has an input width of {module_width}, but the module before it gives a \
                 width of {width}"
            );
            return Err(json::file_error(&entry.folder, message));
        }
        let pools = matches!(module, Module::Pooling { .. });
        if pools != architecture.head.is_empty() {
            let message = format!(
                "module {} is {class}: expected exactly one Pooling module, directly after the \
                 transformer",
                index + 1
            );
            return Err(json::file_error(&entry.folder, message));
        }
        let name = module.folder(index);
        architecture.push_stage(module.stage(), &name);
        if module.has_weights() {
            folders.push((name, entry.folder.clone()));
        }
        modules.push(module);
    }
    if architecture.head.is_empty() {
        return Err(json::file_error(directory, "expected a Pooling module, got none"));
    }
    Ok(modules)
}

/// Reads the parameters of each module from its directory, merges an adapter in that of the
/// transformer into those of its base model, and reports which tensors were missing
/// and which were not used. `folders` are pairs (module name, directory).
///
/// # Errors
/// Weights that are malformed, of another shape or incomplete; see [`completeness::check`].
pub(crate) fn load_model(
    architecture: Architecture,
    folders: &[(String, PathBuf)],
    options: &LoadOptions,
) -> Result<Model, EncoderError> {
    let transformer = folders.iter().find(|(module, _)| module.is_empty());
    let adapter = match transformer {
        Some((_, folder)) => AdapterFolder::open(folder, options)?,
        None => None,
    };
    let (mut weights, mut of_adapter) = (Vec::new(), None);
    for (module, folder) in folders {
        weights.push(match &adapter {
            Some(adapter) if module.is_empty() => {
                let (base, own) = adapter.weights()?;
                of_adapter = Some(own);
                base
            }
            _ => Weights::open(folder)?,
        });
    }
    let tensors = match (&adapter, &of_adapter) {
        (Some(adapter), Some(weights)) => {
            Some(AdapterTensors::find(&architecture, adapter, weights, &*options.reporter)?)
        }
        _ => None,
    };
    let modules: Vec<(&str, &Weights)> =
        folders.iter().zip(&weights).map(|((name, _), weights)| (name.as_str(), weights)).collect();
    let (model, reports) = Model::open_merged(architecture, &modules, tensors.as_ref(), options)?;
    for ((module, weights), report) in modules.into_iter().zip(&reports) {
        completeness::check(model.architecture(), module, weights, report)?;
        completeness::report(model.architecture(), weights, report, &*options.reporter);
    }
    Ok(model)
}

impl Parts {
    /// Replaces all parameters by those in a model directory that was saved from this model. The
    /// files of all modules are checked before the first parameter is replaced.
    ///
    /// # Errors
    /// A file that is missing or malformed, or parameters that are missing or of another shape. The
    /// model is then left as it was, unless a file that was checked cannot be read.
    pub(crate) fn load_parameters(&mut self, directory: &Path) -> Result<(), EncoderError> {
        let architecture = self.model.architecture();
        let lora = self.model.lora();
        let parts = architecture.parameters.iter().flat_map(|spec| &spec.parts);
        // The tensors of adapters and of the transformer are in one file, in either case.
        let parts = parts.filter(|part| !part.is_of_adapter());
        let modules: BTreeSet<&str> = parts.map(|part| part.module.as_str()).collect();
        let open = |module: &&str| match lora.filter(|_| module.is_empty()) {
            Some(_) => Weights::open_file(&directory.join(ADAPTER_WEIGHTS)),
            None => Weights::open(&directory.join(module)),
        };
        let weights = modules.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mut found = Vec::new();
        for (module, weights) in modules.iter().zip(&weights) {
            let tensors = match lora.filter(|_| module.is_empty()) {
                Some(lora) => find_saved(architecture, &lora.modules_to_save, weights)?,
                None => ModuleTensors::find(architecture, module, weights)?,
            };
            completeness::check_all(architecture, module, weights, &tensors.report)?;
            found.push(tensors);
        }
        found.iter().try_for_each(|tensors| self.model.read(tensors))
    }
}
