//! Static embedding models: the embedding of a text is the mean of the table rows of its tokens.

use crate::architecture::{Architecture, Initializer};
use crate::directory::modules::ModuleEntry;
use crate::directory::parameters::{load_model, push_modules};
use crate::dual_encoder::encoder::DualEncoder;
use crate::error::EncoderError;
use crate::json;
use crate::memory::check_memory;
use crate::model::Model;
use crate::modules::{EMBEDDING, Module, POOLING_MODES};
use crate::options::LoadOptions;
use crate::parts::Parts;
use crate::stages::HeadStage;
use crate::tokenizer::Tokenizer;
use crate::weights::{Names, Weights};
use indexmap::IndexMap;
use rankforge_base::quoted_list;
use rankforge_kernels::ParameterId;
use rankforge_kernels::ops::{Pooling, Similarity};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The name of the table in files of sentence-transformers.
const TABLE: &str = "embedding.weight";

/// The name of the table in files of model2vec.
const MODEL2VEC_TABLE: &str = "embeddings";

impl DualEncoder {
    /// A static embedding model with initialised parameters.
    ///
    /// The elements of its table are normal with mean 0 and standard deviation `1 / sqrt(width)`,
    /// so that a row has an expected squared length of 1.
    ///
    /// # Shapes
    /// The table is `vocab_size x width`, with the `vocab_size` of the tokenizer.
    ///
    /// # Errors
    /// A width of 0 or for which there is no memory, a `max_length` or `truncate_dim` of 0, or no
    /// device in `options` when none can be opened.
    pub fn new_static(
        tokenizer: Tokenizer,
        width: usize,
        options: &LoadOptions,
    ) -> Result<DualEncoder, EncoderError> {
        let deviation = 1.0 / (width as f32).sqrt();
        random(tokenizer.into_static()?, width, deviation, options)
    }

    /// A static embedding model to train from nothing, as `StaticEmbedding(tokenizer,
    /// embedding_dim=width)` of sentence-transformers. `path` is that of a `tokenizer.json`, which
    /// is used as it is, or of a directory, whose tokenizer is read as by [`Tokenizer::load`].
    ///
    /// The elements of its table are normal with mean 0 and standard deviation 1, as in PyTorch's
    /// `EmbeddingBag`.
    ///
    /// # Errors
    /// As [`DualEncoder::new_static`], or files that are no tokenizer.
    pub fn untrained_static(
        path: &Path,
        width: usize,
        options: &LoadOptions,
    ) -> Result<DualEncoder, EncoderError> {
        let tokenizer = match path.is_dir() {
            true => Tokenizer::load(path)?,
            false => Tokenizer::from_json_file(path)?,
        };
        tokenizer.warnings().iter().for_each(|text| options.reporter.warning(text));
        let mut encoder = random(tokenizer.into_static()?, width, 1.0, options)?;
        // There is no model that it is trained from.
        encoder.parts.base_model.clear();
        Ok(encoder)
    }
}

/// A static model whose elements are normal with this standard deviation.
fn random(
    mut tokenizer: Tokenizer,
    width: usize,
    deviation: f32,
    options: &LoadOptions,
) -> Result<DualEncoder, EncoderError> {
    if width == 0 {
        return Err(EncoderError::argument("width", "a positive number", width));
    }
    check_truncate_dim(options)?;
    check_pooling(options)?;
    let mut architecture = architecture(tokenizer.vocab_size(), width);
    architecture.parameters[0].initializer = Initializer::Normal(deviation);
    let (model, _) = Model::open(architecture, &[], options)?;
    set_max_length(&mut tokenizer, options)?;
    let base_model = "StaticEmbedding".to_owned();
    Ok(encoder(model, tokenizer, Vec::new(), base_model, options))
}

/// Loads the module StaticEmbedding and the modules after it.
pub(super) fn load(
    path: &Path,
    entries: &[ModuleEntry],
    options: &LoadOptions,
) -> Result<DualEncoder, EncoderError> {
    load_table(path, &entries[0].folder, &entries[1..], options)
}

/// Whether a directory without `modules.json` is a model2vec model.
pub(super) fn is_model2vec(path: &Path) -> Result<bool, EncoderError> {
    let config = json::read_optional_object(&path.join("config.json"))?;
    Ok(config.is_some_and(|config| config.get("model_type") == Some(&"model2vec".into())))
}

/// Loads a model2vec model. Its config determines whether embeddings are normalised.
pub(super) fn load_model2vec(
    path: &Path,
    options: &LoadOptions,
) -> Result<DualEncoder, EncoderError> {
    let config_path = path.join("config.json");
    let config = json::read_object(&config_path)?;
    let normalize = json::truth(&config, "normalize").unwrap_or(false);
    let folder = path.to_owned();
    let entries = [ModuleEntry { class: "Normalize".to_owned(), folder }];
    load_table(path, path, if normalize { &entries } else { &[] }, options)
}

/// Loads the table and the tokenizer from `folder`, and the modules of `entries`; `path` is the
/// model directory.
fn load_table(
    path: &Path,
    folder: &Path,
    entries: &[ModuleEntry],
    options: &LoadOptions,
) -> Result<DualEncoder, EncoderError> {
    check_pooling(options)?;
    let weights = Weights::open(folder)?;
    let tensors = Tensors::find(&weights)?;
    let shape = weights.shape(tensors.table).unwrap_or_default();
    let &[rows, width @ 1..=usize::MAX] = shape else {
        let expected = "two dimensions, of which the second, the width, is positive";
        let message = format!("tensor {}: expected {expected}, got {shape:?}", tensors.table);
        return Err(json::file_error(weights.path(tensors.table), message));
    };
    let values = match tensors {
        Tensors { mapping: None, scales: None, .. } => None,
        _ => Some(expand(&weights, &tensors, rows, width)?),
    };
    let rows = values.as_ref().map_or(rows, |values| values.len() / width);
    let mut tokenizer = Tokenizer::load_static(folder)?;
    tokenizer.check_table(rows, weights.path(tensors.table))?;
    tokenizer.set_rows(rows);
    set_max_length(&mut tokenizer, options)?;
    let mut architecture = architecture(rows, width);
    let mut folders: Vec<(String, PathBuf)> = Vec::new();
    if values.is_none() {
        folders.push((String::new(), folder.to_owned()));
    }
    let modules = push_modules(path, &mut architecture, entries, &mut folders, options)?;
    check_embeds(&modules, path)?;
    let mut model = load_model(architecture, &folders, options)?;
    if let Some(kind) = weights.other_type(tensors.table) {
        options.reporter.message(&format!(
            "{}: the table is of type {kind}; its values are taken as they are, as model2vec does",
            weights.path(tensors.table).display()
        ));
    }
    if let Some(values) = values {
        model.parameters_mut().view_mut(ParameterId(0)).write(&values);
    }
    Ok(encoder(model, tokenizer, modules, path.display().to_string(), options))
}

/// Checks that no other pooling than the mean is asked for.
fn check_pooling(options: &LoadOptions) -> Result<(), EncoderError> {
    match options.pooling.as_deref() {
        None | Some([Pooling::Mean]) => Ok(()),
        Some(other) => {
            let expected = "mean, as a static embedding model has no other pooling";
            let name = |mode: &Pooling| {
                let entry = POOLING_MODES.iter().find(|(listed, ..)| listed == mode);
                entry.expect("POOLING_MODES lists every mode").1
            };
            let got = other.iter().map(name).collect::<Vec<_>>().join(", ");
            Err(EncoderError::argument("pooling", expected, got))
        }
    }
}

/// Sets the maximum length of the options, where they have one.
fn set_max_length(tokenizer: &mut Tokenizer, options: &LoadOptions) -> Result<(), EncoderError> {
    match options.max_length {
        None => {}
        Some(0) => return Err(EncoderError::argument("max_length", "a positive number", 0)),
        length => tokenizer.set_max_length(length),
    }
    Ok(())
}

/// The full names of the tensors of a static model.
struct Tensors<'a> {
    table: &'a str,
    /// The row of the table for each token id, in a model2vec model whose tokens share rows.
    mapping: Option<&'a str>,
    /// A factor for each token id, in a model2vec model.
    scales: Option<&'a str>,
}

impl<'a> Tensors<'a> {
    /// As in sentence-transformers, model2vec's tensors are looked for where there is no table
    /// under the name of sentence-transformers.
    ///
    /// # Errors
    /// When there is no table.
    fn find(weights: &'a Weights) -> Result<Tensors<'a>, EncoderError> {
        let names = Names::of(weights)?;
        if let Some(table) = names.get(TABLE) {
            return Ok(Tensors { table, mapping: None, scales: None });
        }
        let Some(table) = names.get(MODEL2VEC_TABLE) else {
            let got = quoted_list(weights.names());
            let message = format!("expected a tensor `{TABLE}` or `{MODEL2VEC_TABLE}`, got {got}");
            return Err(json::file_error(weights.source(), message));
        };
        Ok(Tensors { table, mapping: names.get("mapping"), scales: names.get("weights") })
    }
}

/// The table of a model2vec model in which several tokens may share a row:
/// `row(id) = weights[id] * embeddings[mapping[id]]`.
///
/// A missing `mapping` is the identity, missing `weights` are ones. Integers count by value, also
/// those of 8-bit tables, whose scale model2vec does not keep.
///
/// # Shapes
/// `embeddings` is `rows x width`; `mapping` and `weights` have one element per token id.
fn expand(
    weights: &Weights,
    tensors: &Tensors<'_>,
    rows: usize,
    width: usize,
) -> Result<Vec<f32>, EncoderError> {
    let table = weights.read(tensors.table)?;
    let mapping = tensors.mapping.map(|name| weights.read_indices(name)).transpose()?;
    let ids = mapping.as_ref().map_or(rows, Vec::len);
    if let Some(name) = tensors.scales
        && weights.shape(name) != Some(&[ids][..])
    {
        let got = weights.shape(name).unwrap_or_default();
        let message = format!("tensor {name}: expected shape [{ids}], got {got:?}");
        return Err(json::file_error(weights.path(name), message));
    }
    let scales = match tensors.scales {
        Some(name) => weights.read(name)?,
        None => vec![1.0; ids],
    };
    // The table of a small file may be large, as many tokens may share a wide row.
    check_memory(&architecture(ids, width))?;
    let mut expanded = Vec::with_capacity(ids * width);
    for (id, scale) in scales.into_iter().enumerate() {
        let row = mapping.as_ref().map_or(id, |mapping| mapping[id]);
        if row >= rows {
            let name = tensors.mapping.unwrap_or_default();
            return Err(json::file_error(
                weights.path(name),
                format!(
                    "tensor {name}: token {id} maps to row {row}, but the table has {rows} rows"
                ),
            ));
        }
        expanded.extend(table[row * width..(row + 1) * width].iter().map(|value| value * scale));
    }
    Ok(expanded)
}

/// An embedding table and mean pooling.
fn architecture(rows: usize, width: usize) -> Architecture {
    let mut architecture = Architecture::static_embedding(rows, width, "", TABLE);
    let mean = HeadStage::Pool { modes: vec![Pooling::Mean], skip_prompt: false };
    architecture.push_stage(mean, "");
    architecture
}

fn encoder(
    model: Model,
    tokenizer: Tokenizer,
    modules: Vec<Module>,
    base_model: String,
    options: &LoadOptions,
) -> DualEncoder {
    DualEncoder {
        parts: parts(model, tokenizer, None, modules, base_model),
        similarity: options.similarity.unwrap_or(Similarity::Cosine),
        truncate_dim: options.truncate_dim,
    }
}

/// The parts of a dual encoder, with empty prompts `query` and `document`, which every
/// SentenceTransformer has unless its files define them.
pub(super) fn parts(
    model: Model,
    tokenizer: Tokenizer,
    config: Option<Value>,
    modules: Vec<Module>,
    base_model: String,
) -> Parts {
    let prompts: IndexMap<String, String> =
        ["query", "document"].into_iter().map(|name| (name.to_owned(), String::new())).collect();
    Parts {
        model,
        tokenizer,
        prompts,
        default_prompt_name: None,
        base_model,
        base: None,
        config,
        task: "feature-extraction",
        modules,
    }
}

/// Checks that embeddings are not truncated to nothing.
pub(super) fn check_truncate_dim(options: &LoadOptions) -> Result<(), EncoderError> {
    match options.truncate_dim {
        Some(0) => Err(EncoderError::argument("truncate_dim", "a positive number", 0)),
        _ => Ok(()),
    }
}

/// Checks that all dense modules read and write the feature [`EMBEDDING`].
pub(super) fn check_embeds(modules: &[Module], path: &Path) -> Result<(), EncoderError> {
    for module in modules {
        if let Module::Dense(dense) = module
            && (dense.input_name != EMBEDDING || dense.output_name != EMBEDDING)
        {
            let (input, output) = (&dense.input_name, &dense.output_name);
            let message = format!(
                "module Dense: expected module_input_name and module_output_name \
                 \"{EMBEDDING}\", got \"{input}\" and \"{output}\""
            );
            return Err(json::file_error(path, message));
        }
    }
    Ok(())
}
