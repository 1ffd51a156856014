//! What a model is when its checkpoint and its architecture do not have the same tensors.

use crate::architecture::{Architecture, ParameterSpec};
use crate::checkpoint::LoadReport;
use crate::error::{EncoderError, first_names};
use crate::families;
use crate::json;
use crate::weights::{Weights, unwrapped};
use rankforge_base::Reporter;
use std::collections::HashSet;

/// Checks that what was loaded is a model, and not in part noise. The same holds for inference and
/// for training: only a classification head may be new, as a whole or from its last layer's inputs
/// on, which is how a pretrained transformer becomes a classifier.
///
/// # Errors
/// - A tensor of the transformer is missing.
/// - The last layer of the classification head is there, but another tensor of the head is missing.
/// - A tensor of a module such as Dense is missing, or the module's file has one more: its config
///   then describes another module. sentence-transformers refuses both.
pub(super) fn check(
    architecture: &Architecture,
    module: &str,
    weights: &Weights,
    report: &LoadReport,
) -> Result<(), EncoderError> {
    if !module.is_empty() {
        check_all(architecture, module, weights, report)?;
        if !report.unused.is_empty() {
            let names = first_names(&report.unused);
            let message = format!("tensors that the module's config does not describe: {names}");
            return Err(json::file_error(weights.source(), message));
        }
        return Ok(());
    }
    let missing = Missing { architecture, module, weights, report };
    missing.refuse("the transformer", |spec| spec.head_stage().is_none())?;
    let last = architecture.parameters.last().and_then(ParameterSpec::head_stage);
    let is_last = |spec: &ParameterSpec| last.is_some() && spec.head_stage() == last;
    if missing.names(is_last).len() == missing.expected(is_last) {
        return Ok(());
    }
    missing.refuse("the classification head", |spec| spec.head_stage().is_some())
}

/// Checks that a module has all its tensors.
///
/// # Errors
/// When it lacks one.
pub(super) fn check_all(
    architecture: &Architecture,
    module: &str,
    weights: &Weights,
    report: &LoadReport,
) -> Result<(), EncoderError> {
    let part = if module.is_empty() { "the model" } else { module };
    Missing { architecture, module, weights, report }.refuse(part, |_| true)
}

/// What a checkpoint lacks.
struct Missing<'a> {
    architecture: &'a Architecture,
    module: &'a str,
    weights: &'a Weights,
    report: &'a LoadReport,
}

impl Missing<'_> {
    /// The error for tensors that are missing in the parameters that `chosen` chooses.
    fn refuse(
        &self,
        part: &str,
        chosen: impl Fn(&ParameterSpec) -> bool,
    ) -> Result<(), EncoderError> {
        let missing = self.names(&chosen);
        if missing.is_empty() {
            return Ok(());
        }
        let expected = self.expected(chosen);
        Err(EncoderError::MissingTensors {
            path: self.weights.source().to_owned(),
            part: part.to_owned(),
            expected,
            unused: self.candidates(&missing, expected),
            missing,
        })
    }

    /// The tensors that are not used and that may be some of `missing` under other names: not those
    /// of other heads, once it is known what the tensors of the transformer are called.
    fn candidates(&self, missing: &[String], expected: usize) -> Vec<String> {
        let unused = self.report.unused.iter();
        if missing.len() == expected || !self.module.is_empty() {
            return unused.cloned().collect();
        }
        let own: HashSet<String> =
            self.tensors(|_| true).map(|name| root(self.architecture, name)).collect();
        let is_candidate = |name: &&String| {
            own.contains(&root(self.architecture, name))
                || missing.iter().any(|missing| name.ends_with(missing.as_str()))
        };
        unused.filter(is_candidate).cloned().collect()
    }

    /// The names of the missing tensors of the parameters that `chosen` chooses.
    fn names(&self, chosen: impl Fn(&ParameterSpec) -> bool) -> Vec<String> {
        let missing: HashSet<&str> = self.report.missing.iter().map(String::as_str).collect();
        let names = self.tensors(chosen).filter(|name| missing.contains(name));
        names.map(str::to_owned).collect()
    }

    /// The number of tensors of the parameters that `chosen` chooses.
    fn expected(&self, chosen: impl Fn(&ParameterSpec) -> bool) -> usize {
        self.tensors(chosen).count()
    }

    fn tensors(&self, chosen: impl Fn(&ParameterSpec) -> bool) -> impl Iterator<Item = &str> {
        let specs = self.architecture.parameters.iter().filter(move |spec| chosen(spec));
        let parts = specs.flat_map(|spec| &spec.parts);
        parts.filter(|part| part.module == self.module).map(|part| part.name.as_str())
    }
}

/// Warns about a new classification head and about tensors of the transformer that are not used, as
/// those of layers beyond `num_hidden_layers`; logs other tensors that are not used, as those of
/// another head.
pub(super) fn report(
    architecture: &Architecture,
    weights: &Weights,
    report: &LoadReport,
    reporter: &dyn Reporter,
) {
    let source = weights.source().display();
    if !report.missing.is_empty() {
        let missing = first_names(&report.missing);
        reporter.warning(&format!(
            "{source}: tensors missing from the checkpoint, newly initialised: {missing}"
        ));
    }
    let specs = architecture.parameters.iter().filter(|spec| spec.head_stage().is_none());
    let parts = specs.flat_map(|spec| &spec.parts);
    let roots: HashSet<String> = parts.map(|part| root(architecture, &part.name)).collect();
    let (transformer, other): (Vec<String>, Vec<String>) =
        report.unused.iter().cloned().partition(|name| roots.contains(&root(architecture, name)));
    if !transformer.is_empty() {
        let names = first_names(&transformer);
        reporter.warning(&format!(
            "{source}: tensors of the transformer that its config does not describe, not used: \
             {names}"
        ));
    }
    if !other.is_empty() {
        let names = first_names(&other);
        reporter
            .message(&format!("{source}: tensors of the checkpoint that are not used: {names}"));
    }
}

/// The first part of a tensor's name after wrappers and the family's prefix, such as `encoder`.
fn root(architecture: &Architecture, name: &str) -> String {
    let name = unwrapped(name);
    let prefix = families::prefix(&architecture.encoder.model_type);
    let bare = name.strip_prefix(prefix).unwrap_or(&name);
    bare.split('.').next().unwrap_or(bare).to_owned()
}
