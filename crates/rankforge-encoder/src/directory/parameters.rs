use crate::architecture::Architecture;
use crate::checkpoint::ModuleTensors;
use crate::directory::completeness;
use crate::directory::modules::ModuleEntry;
use crate::error::EncoderError;
use crate::json;
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

/// Reads the parameters of each module from its directory, and reports which tensors were missing
/// and which were not used. `folders` are pairs (module name, directory).
///
/// # Errors
/// Weights that are malformed, of another shape or incomplete; see [`completeness::check`].
pub(crate) fn load_model(
    architecture: Architecture,
    folders: &[(String, PathBuf)],
    options: &LoadOptions,
) -> Result<Model, EncoderError> {
    let weights: Vec<Weights> =
        folders.iter().map(|(_, folder)| Weights::open(folder)).collect::<Result<_, _>>()?;
    let modules: Vec<(&str, &Weights)> =
        folders.iter().zip(&weights).map(|((name, _), weights)| (name.as_str(), weights)).collect();
    let (model, reports) = Model::open(architecture, &modules, options)?;
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
    /// A file that is missing or malformed, parameters that are missing or of another shape, or a
    /// model with adapters, which are not in such a directory. The model is then left as it was,
    /// unless a file that was checked cannot be read.
    pub(crate) fn load_parameters(&mut self, directory: &Path) -> Result<(), EncoderError> {
        if self.model.has_adapters() {
            let expected = "none, as a model is saved with its adapters merged into its weights";
            return Err(EncoderError::argument("adapters", expected, "a model that has adapters"));
        }
        let architecture = self.model.architecture();
        let parts = architecture.parameters.iter().flat_map(|spec| &spec.parts);
        let modules: BTreeSet<&str> = parts.map(|part| part.module.as_str()).collect();
        let open = |module: &&str| Weights::open(&directory.join(module));
        let weights = modules.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mut found = Vec::new();
        for (module, weights) in modules.iter().zip(&weights) {
            let tensors = ModuleTensors::find(architecture, module, weights)?;
            completeness::check_all(architecture, module, weights, &tensors.report)?;
            found.push(tensors);
        }
        found.iter().try_for_each(|tensors| self.model.read(tensors))
    }
}
