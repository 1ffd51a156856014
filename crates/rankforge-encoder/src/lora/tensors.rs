//! The tensors of an adapter's file: merging them into a model, and reading them into one.

use crate::adapter::Update;
use crate::architecture::{Architecture, TensorPart};
use crate::checkpoint::{ModuleTensors, check_shape};
use crate::error::{EncoderError, first_names};
use crate::families;
use crate::json;
use crate::lora::folder::AdapterFolder;
use crate::lora::modules::is_saved;
use crate::weights::{Weights, unwrapped};
use rankforge_base::Reporter;
use rankforge_kernels::{Arena, Buffer, ParameterId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

/// What peft puts before the names of a model's tensors.
const PREFIX: &str = "base_model.model.";

/// The tensors of an adapter and where they belong in a model.
pub(crate) struct AdapterTensors<'a> {
    weights: &'a Weights,
    updates: Vec<LowRank>,
    /// Tensors that take the place of the base model's: name in the model, name in the file.
    replaced: Vec<Replaced>,
}

/// The two factors of an adapter.
struct LowRank {
    /// Names of `lora_A` and `lora_B` in the file.
    names: [String; 2],
    id: ParameterId,
    rows: Range<usize>,
    columns: usize,
    rank: usize,
    scale: f32,
}

struct Replaced {
    /// Name in the model.
    name: String,
    /// Name in the file.
    stored: String,
    id: ParameterId,
    rows: Range<usize>,
    columns: usize,
}

/// A tensor of a model.
#[derive(Clone, Copy)]
struct Place<'a> {
    id: ParameterId,
    part: &'a TensorPart,
    columns: usize,
}

impl<'a> AdapterTensors<'a> {
    /// Finds the places of the tensors of an adapter's file. Those of a head that the model does
    /// not have are told to `reporter`.
    ///
    /// # Errors
    /// A tensor of the transformer that the model does not have, one of another kind of adapter, an
    /// adapter with one factor, or shapes that do not fit.
    pub(crate) fn find(
        architecture: &Architecture,
        folder: &AdapterFolder,
        weights: &'a Weights,
        reporter: &dyn Reporter,
    ) -> Result<AdapterTensors<'a>, EncoderError> {
        let places = places(architecture);
        let mut factors: BTreeMap<String, [Option<String>; 2]> = BTreeMap::new();
        let (mut replaced, mut unused) = (Vec::new(), Vec::new());
        for stored in weights.names() {
            weights.check_floats(stored)?;
            match parse(stored) {
                Name::Factor(module, index) => {
                    factors.entry(module).or_default()[index] = Some(stored.to_owned());
                }
                Name::Tensor(name) => match places.get(&name) {
                    Some(place) => replaced.push(replacement(place, stored, weights)?),
                    None => unused.push(name),
                },
                Name::Original => {}
                Name::Other => {
                    let message = format!(
                        "tensor {stored}: expected lora_A.weight, lora_B.weight or a tensor of \
                         the model (other adapters are not supported)"
                    );
                    return Err(json::file_error(weights.source(), message));
                }
            }
        }
        let mut updates = Vec::new();
        for (module, names) in factors {
            let [Some(down), Some(up)] = names else {
                let message = format!("expected lora_A.weight and lora_B.weight of {module}");
                return Err(json::file_error(weights.source(), message));
            };
            match places.get(&format!("{module}.weight")) {
                Some(place) => updates.push(low_rank(place, [down, up], folder, weights)?),
                None => unused.push(module),
            }
        }
        check_unused(architecture, &unused, weights, reporter)?;
        Ok(AdapterTensors { weights, updates, replaced })
    }

    /// Whether a tensor of the model is in the file.
    pub(crate) fn replaces(&self, name: &str) -> bool {
        self.replaced.iter().any(|tensor| tensor.name == name)
    }

    /// Merges the adapters into the weights that `parameters` has memory for, and replaces the
    /// other tensors.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn apply(&self, parameters: &mut Arena) -> Result<(), EncoderError> {
        let device = parameters.device().clone();
        for LowRank { names: [down, up], id, rows, columns, rank, scale } in &self.updates {
            if !parameters.has(*id) {
                continue;
            }
            let down = Buffer::upload(&device, *rank, *columns, &self.weights.read(down)?);
            let up = Buffer::upload(&device, rows.len(), *rank, &self.weights.read(up)?);
            let update = Update { down: down.view(), up: up.view(), scale: *scale };
            update.add_to(parameters.view_mut(*id).slice_rows(rows.clone()));
        }
        for Replaced { stored, id, rows, columns, .. } in &self.replaced {
            if parameters.has(*id) {
                self.weights.read_blocks(stored, *columns, |first, values| {
                    let first = rows.start + first;
                    let rows = first..first + values.len() / columns;
                    parameters.view_mut(*id).slice_rows(rows).write(values);
                })?;
            }
        }
        Ok(())
    }
}

/// Finds the tensors of an adapter's file in a model that has these adapters: its own, and those of
/// modules that are saved as a whole.
///
/// # Errors
/// Tensors of another shape or type.
pub(crate) fn find_saved<'a>(
    architecture: &Architecture,
    modules_to_save: &[String],
    weights: &'a Weights,
) -> Result<ModuleTensors<'a>, EncoderError> {
    let names = |part: &TensorPart| stored_name(part, modules_to_save).into_iter().collect();
    ModuleTensors::find_named(architecture, weights, names)
}

/// The name of a tensor in the file of an adapter; `None` for one that is in the base model.
pub(crate) fn stored_name(part: &TensorPart, modules_to_save: &[String]) -> Option<String> {
    let is_own = part.module.is_empty() && is_saved(&part.name, modules_to_save);
    (part.is_of_adapter() || is_own).then(|| format!("{PREFIX}{}", part.name))
}

/// What a tensor of an adapter's file is.
enum Name {
    /// `lora_A` (0) or `lora_B` (1) of a module.
    Factor(String, usize),
    /// A tensor of the model.
    Tensor(String),
    /// The tensor that one of a saved module replaces.
    Original,
    /// Something else.
    Other,
}

/// Takes a name apart: without peft's prefix, and without the parts that its wrappers add.
fn parse(stored: &str) -> Name {
    let bare = unwrapped(stored);
    let name = bare.strip_prefix(PREFIX).unwrap_or(&bare);
    let parts: Vec<&str> = name.split('.').collect();
    if parts.contains(&"original_module") {
        return Name::Original;
    }
    if let Some(at) = parts.iter().position(|part| part.starts_with("lora_")) {
        let index = ["lora_A", "lora_B"].iter().position(|factor| *factor == parts[at]);
        let is_weight = matches!(parts[at + 1..], ["weight"] | ["default", "weight"]);
        return match index {
            Some(index) if is_weight => Name::Factor(parts[..at].join("."), index),
            _ => Name::Other,
        };
    }
    let wrappers = ["modules_to_save", "base_layer"];
    let inside = |at: usize| at > 0 && parts[at - 1] == "modules_to_save" && parts[at] == "default";
    let kept = parts.iter().enumerate();
    let kept = kept.filter(|(at, part)| !wrappers.contains(part) && !inside(*at));
    Name::Tensor(kept.map(|(_, part)| *part).collect::<Vec<_>>().join("."))
}

/// The tensors of the transformer and its head, under all names that a checkpoint may have for
/// them.
fn places(architecture: &Architecture) -> HashMap<String, Place<'_>> {
    let model_type = &architecture.encoder.model_type;
    let mut places = HashMap::new();
    for (id, spec) in architecture.parameters.iter().enumerate() {
        for part in spec.parts.iter().filter(|part| part.module.is_empty()) {
            let place = Place { id: ParameterId(id), part, columns: spec.columns };
            for name in families::aliases(model_type, &part.name) {
                places.entry(name).or_insert(place);
            }
        }
    }
    places
}

fn replacement(
    place: &Place<'_>,
    stored: &str,
    weights: &Weights,
) -> Result<Replaced, EncoderError> {
    check_shape(weights, stored, &place.part.shape)?;
    Ok(Replaced {
        name: place.part.name.clone(),
        stored: stored.to_owned(),
        id: place.id,
        rows: place.part.rows.clone(),
        columns: place.columns,
    })
}

fn low_rank(
    place: &Place<'_>,
    names: [String; 2],
    folder: &AdapterFolder,
    weights: &Weights,
) -> Result<LowRank, EncoderError> {
    let (rows, columns) = (place.part.rows.clone(), place.columns);
    let rank = weights.shape(&names[0]).and_then(|shape| shape.first()).copied().unwrap_or(0);
    check_shape(weights, &names[0], &[rank.max(1), columns])?;
    check_shape(weights, &names[1], &[rows.len(), rank])?;
    let module = place.part.name.strip_suffix(".weight").unwrap_or(&place.part.name);
    let scale = folder.scale(module, rank);
    Ok(LowRank { names, id: place.id, rows, columns, rank, scale })
}

/// Tensors that the model has no place for may be of a head or pooler that it does not have.
///
/// # Errors
/// One of the transformer, whose blocks have an index in their names: the adapter is of another
/// model.
fn check_unused(
    architecture: &Architecture,
    unused: &[String],
    weights: &Weights,
    reporter: &dyn Reporter,
) -> Result<(), EncoderError> {
    let prefix = families::prefix(&architecture.encoder.model_type);
    let root = |name: &str| {
        let bare = name.strip_prefix(prefix).unwrap_or(name);
        bare.split('.').next().unwrap_or(bare).to_owned()
    };
    let specs = architecture.parameters.iter().filter(|spec| spec.head_stage().is_none());
    let roots: HashSet<String> =
        specs.flat_map(|spec| &spec.parts).map(|part| root(&part.name)).collect();
    let is_index = |part: &str| part.parse::<usize>().is_ok();
    let in_transformer =
        |name: &&String| roots.contains(&root(name)) || name.split('.').any(is_index);
    let (transformer, others): (Vec<String>, Vec<String>) =
        unused.iter().cloned().partition(|name| in_transformer(&name));
    if !transformer.is_empty() {
        let names = first_names(&transformer);
        let message = format!("adapters of modules that the base model does not have: {names}");
        return Err(json::file_error(weights.source(), message));
    }
    if !others.is_empty() {
        let (source, names) = (weights.source().display(), first_names(&others));
        reporter.message(&format!("{source}: tensors of the adapter that are not used: {names}"));
    }
    Ok(())
}
